"""Names of any kind in every format of a report, in files and in figures."""

import json
import re
import warnings
import zlib
from pathlib import Path

import html5lib
import matplotlib
import numpy as np
import pytest
from dataset_trees import MEAN_COLOUR, write_image
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hostile_names import HOSTILE
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from test_report import make_store
from test_report_latex import check_table

from benchmarks.command_line import main
from benchmarks.datasets.features import load_photographs
from benchmarks.datasets.folder import list_folder
from benchmarks.files import write_whole
from benchmarks.names import printable
from benchmarks.report import embedding_map, fonts, page
from benchmarks.report.blocks import Cell, Grid, Row, Section, Text
from benchmarks.report.fonts import legible
from benchmarks.report.style import as_png

SCRIPT = (Path(page.__file__).parent / "templates" / "report.js").read_text().strip()
NAMES = [pytest.param(name, id=kind) for kind, name in HOSTILE.items()]


def words(text):
    return text.split()


def report_of(name, folder):
    """A report in which a name stands wherever one can."""
    cells = (Cell(name), Cell(name, is_best=True))
    grid = Grid(name, ((name, name), ("", name)), (Row(name, cells),), name, name, in_latex=True)
    sections = [Section(name, (Text((name, name)), grid)), Section("other", (Text(("x",)),))]
    written = page._write(name, sections, folder)
    return [path.read_text() for path in written]


def elements(tree):
    return {element.tag for element in tree.iter() if isinstance(element.tag, str)}


@pytest.mark.parametrize("name", NAMES)
def test_names_reach_the_reader_of_markdown_as_they_are(name, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["", "run", "--data-root", name])
    name = printable(name)
    markdown, _, _ = report_of(name, tmp_path)
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)
    tree = html5lib.HTMLParser(namespaceHTMLElements=False).parse(rendered)
    assert not elements(tree) & {"script", "img", "em", "ol", "hr", "blockquote", "pre", "s"}
    assert all(link.get("href", "#").startswith(("#", "figures/tree_")) for link in tree.iter("a"))
    assert len(list(tree.iter("h1"))) == 1
    (table,) = tree.iter("table")
    for row in table.iter("tr"):
        assert len(row) == 3
    for cell in table.iter("td"):
        assert words("".join(cell.itertext())) == words(name)
    paragraphs = [words("".join(p.itertext())) for p in tree.iter("p")]
    assert paragraphs.count(words(name)) == (3 if words(name) else 0)


@pytest.mark.parametrize("name", NAMES)
def test_names_reach_the_reader_of_html_as_they_are(name, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["", "run", "--data-root", name])
    name = printable(name)
    _, html, _ = report_of(name, tmp_path)
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    tree = parser.parse(html)
    assert parser.errors == []
    assert not elements(tree) & {"img"}
    (script,) = tree.iter("script")  # that of the page
    assert script.text.strip() == SCRIPT
    anchors = [element.get("id") for element in tree.iter() if element.get("id") is not None]
    assert all(anchors)
    assert len(set(anchors)) == len(anchors)
    for cell in tree.iter("td"):
        assert words("".join(cell.itertext())) in (words(name), [])


@pytest.mark.parametrize("name", NAMES)
def test_names_do_nothing_in_latex(name, tmp_path):
    _, _, latex = report_of(printable(name), tmp_path)
    (table,) = re.findall(r"\\begin\{table\*\}.*\\end\{table\*\}", latex, re.DOTALL)
    check_table(table, 3)
    commands = set(re.findall(r"\\([a-zA-Z]+)", table.replace(r"\textbackslash{}", "")))
    assert commands <= {
        *("begin", "end", "centering", "caption", "label", "resizebox", "ifdim", "width"),
        *("linewidth", "else", "fi", "toprule", "midrule", "bottomrule", "multicolumn", "cmidrule"),
        *("textbf", "textasciitilde", "textasciicircum", "textbar", "textquotedbl", "pm"),
    }
    assert not re.search(r"\\\\\s*[*\[]", table)  # would be read as the end of a row with options


@pytest.mark.parametrize("name", NAMES)
def test_names_are_drawn_without_a_formula_or_a_box(name):
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.set(title=printable(name), xlabel=printable(name))
    axes.text(0.5, 0.5, printable(name))
    axes.plot([0, 1], label="x")
    figure.legend([axes.lines[0]], [printable(name)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "Glyph ... missing from font(s)"
        assert as_png(figure)


def test_no_name_is_lost_in_the_legend_of_a_map(tmp_path, monkeypatch):
    """Two that begin alike, and one that matplotlib takes for private."""
    monkeypatch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])
    labels = np.stack([np.arange(30), np.arange(30) % 3], axis=1)
    arrays = {"test_labels": labels, "test_indices": np.arange(30)}
    np.savez(tmp_path / "test.npz", test_embeddings=np.ones((30, 2)), **arrays)
    names = ("a" * 50 + "1", "a" * 50 + "2", "_c")
    fine = tuple(map(str, range(30)))
    maps = embedding_map.read_maps({"loss": tmp_path / "test.npz"}, (fine, names))
    figure = embedding_map.map_figure(maps, (fine, names))
    as_png(figure)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(shown) == 3
    assert "_c" in shown


def test_what_no_font_has_is_an_escape_and_a_font_that_has_it_is_found(tmp_path):
    # Tifinagh, Yi and Cuneiform: DejaVu has the first only
    missing = "\U00012000"
    if missing in legible(missing):
        pytest.skip("a font with cuneiform is installed")
    assert legible(f"a{missing}ⵣ") == r"a\U00012000ⵣ"
    file = tmp_path / "cuneiform.ttf"
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "A"])
    builder.setupCharacterMap({ord(missing): "A"})
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((500, 900)), pen.lineTo((900, 0)), pen.closePath()
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "A": pen.glyph()})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", "A"), (1000, 0)))
    builder.setupHorizontalHeader()
    builder.setupNameTable({"familyName": "Cuneiform Test", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(file)
    known = list(fontManager.ttflist)
    try:
        fontManager.addfont(file)
        assert legible(missing) == missing
        assert fonts.families_for(missing)[-1] == "Cuneiform Test"
        figure = Figure()
        figure.text(0.1, 0.1, f"a{missing}")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            as_png(figure)
    finally:
        fontManager.ttflist[:] = known


def test_a_report_of_hostile_classes(tmp_path, monkeypatch, capsys):
    """From the files of the runs to all formats, by the command."""
    monkeypatch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])
    folder = make_store(tmp_path / "[red]" / "small", folds=[0])
    about = json.loads((folder / "dataset.json").read_text())
    names = list(HOSTILE.values())
    about["name"] = about["title"] = "$_$"
    about["untrained_name"] = "/x \udcff"
    about["level_names"] = ["<b>|", "苹果"]
    about["class_names"] = [names[5:11], [HOSTILE["Chinese"], HOSTILE["formula"]]]
    (folder / "dataset.json").write_text(json.dumps(about))
    out = tmp_path / "report"
    monkeypatch.setattr("sys.argv", ["", "report", "caf\udce9"])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")
        assert main(["report", str(folder), "--out", str(out)]) == 0
    assert len(list(out.rglob("*.png"))) == 6
    text = (out / "report.md").read_text()
    assert "Noto Sans CJK" in text or legible("苹果") == "苹果"
    assert not list(tmp_path.rglob("passwd"))


def test_figures_of_hostile_data_sets_stay_in_the_report(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_map, "project", lambda embeddings: embeddings[:, :2])
    for number, name in enumerate(("$", "%", "/etc/passwd", "../..")):
        folder = make_store(tmp_path / str(number), folds=[0], values={"arcface": 0.5})
        about = json.loads((folder / "dataset.json").read_text())
        (folder / "dataset.json").write_text(json.dumps({**about, "name": name, "title": name}))
    before = set(tmp_path.rglob("*.png"))
    page.write_joint_report([tmp_path], tmp_path / "out")
    new = set(tmp_path.rglob("*.png")) - before
    assert len(new) == 4 * 4
    assert all(tmp_path / "out" / "figures" in path.parents for path in new)


def test_a_folder_of_hostile_names_is_read_and_described(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PML_HIERARCHICAL_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "root"
    kept = [n for n in HOSTILE.values() if n.strip() and not set("/\0") & set(n) and len(n) < 200]
    for name in kept:
        path = root / f"x{name}" / "1.png"
        path.parent.mkdir(parents=True)
        (root / "seed.png").unlink(missing_ok=True)
        write_image(root / "seed.png", seed=[zlib.crc32(repr(name).encode())])
        (root / "seed.png").rename(path)
        path.with_name(f"2{name[:50]}.png").write_bytes(path.read_bytes() + b" ")
    data = load_photographs(list_folder(root), backbone=MEAN_COLOUR)
    assert len(data.class_names[0]) == len(kept)
    assert all(name == printable(name) for name in data.class_names[0])
    command = ["describe", "folder", "--data-root", str(root), "--out", str(tmp_path / "out")]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")
        assert main(command) == 0
    (root / "xnull" / "1.png").write_bytes(b"")
    assert main([*command, "--skip-broken"]) == 0
    assert "1 file left out" in capsys.readouterr().out


def test_text_that_utf8_cannot_hold_is_written(tmp_path):
    write_whole(tmp_path / "a", "caf\udce9")
    assert (tmp_path / "a").read_bytes() == rb"caf\udce9"


def test_parse_math_of_others_is_left_alone():
    assert matplotlib.rcParams["text.parse_math"]
