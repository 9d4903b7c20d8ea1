"""Names in the plots of a report, and the name of a folder of one's own."""

import json
from pathlib import Path

import html5lib
import numpy as np
from hostile_names import HOSTILE
from test_report import make_store

from benchmarks.names import printable
from benchmarks.report import page
from benchmarks.report.blocks import Picture, Section
from benchmarks.report.embedding_map import EmbeddingMaps
from benchmarks.report.folders import read_folders
from benchmarks.report.plots import map_panels
from benchmarks.request import DataSource


def test_hostile_names_stay_inside_the_script_of_the_plots(tmp_path):
    names = tuple(map(printable, HOSTILE.values()))
    labels = np.arange(len(names))[:, None]
    places = {f"hpl:{HOSTILE['script']}": np.zeros((len(names), 2))}
    maps = EmbeddingMaps(places, labels, np.arange(len(names)))
    panels, legend = map_panels(maps, (names,), ("class",), {})
    picture = Picture("map", "Map", "caption", b"png", None, panels, legend)
    page._write("title", [Section("section", (picture,))], tmp_path)
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    tree = parser.parse((tmp_path / "report.html").read_text())
    assert parser.errors == []
    assert len(list(tree.iter("script"))) == 4  # two of bokeh, the plots, the page
    assert not list(tree.iter("img"))
    headings = ["".join(element.itertext()) for element in tree.iter("h4")]
    assert headings == [f"HPL on {HOSTILE['script']}"]


def test_a_folder_of_ones_own_is_called_by_its_name(tmp_path):
    assert DataSource("folder", Path("/data/my shop")).title == "my shop"
    assert DataSource("glyphs").title == "glyphs"
    folder = make_store(tmp_path / "folder", folds=[0], dataset="folder")
    about = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**about, "title": "my shop"}))
    assert list(read_folders([folder])) == ["my shop"]


def test_the_command_as_it_can_be_typed(monkeypatch):
    for program, expected in (
        ("/usr/bin/pml-hierarchical", "pml-hierarchical report 'a b'"),
        ("/x/benchmarks/__main__.py", "python -m benchmarks report 'a b'"),
        ("/x/pml_hierarchical/__main__.py", "python -m pml_hierarchical report 'a b'"),
        ("", "python -m benchmarks report 'a b'"),
    ):
        monkeypatch.setattr("sys.argv", [program, "report", "a b"])
        assert page.command_line() == expected
