import re

import pytest

from benchmarks.report.blocks import Cell, Grid, Row, Section
from benchmarks.report.latex import escaped, latex_table, latex_tables
from benchmarks.report.paper import PAPER, paper_grid
from benchmarks.report.tables import markdown_table

GRID = Grid(
    "Results",
    (("class & kind", "P@1"), ("class & kind", "MAP@R"), ("100%", "P@1"), ("", "s")),
    (
        Row("hpl:a_b", tuple(map(Cell, ("1.0 ±0.1", "-2.0", "–", "3")))),
        Row("c#{d}", (Cell("9.0 ±0.2", is_best=True), Cell("+2.0"), Cell("1.0"), Cell("4"))),
    ),
    "50% of $x$ | ~ ^ \\ <&>",
    in_latex=True,
)


def check_table(text: str, columns: int) -> None:
    """Rows have as many cells as there are columns, braces close, and nothing is left bare."""
    (format_,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert len(format_) == columns
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    for line in lines:
        spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
        ampersands = len(re.findall(r"(?<!\\)&", line))
        assert ampersands + 1 + sum(n - 1 for n in spans) == columns
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
    for bare in ("_", "#", "±", "−", "–"):
        assert not re.search(rf"(?<!\\){bare}", text.replace(r"\label", ""))
    ends = re.findall(r"\\(begin|end)\{(\w+\*?)\}", text)
    assert [kind for kind, _ in ends].count("begin") == [kind for kind, _ in ends].count("end")


def test_table_is_balanced_and_escaped():
    text = latex_table(GRID, "a_b: 100%", "a-b")
    check_table(text, 5)
    assert r"\multicolumn{2}{c}{class \& kind} & \multicolumn{1}{c}{100\%}" in text
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-4}" in text
    assert r"hpl:a\_b & 1.0 $\pm$0.1 & $-$2.0 & -- & 3 \\" in text
    assert r"c\#\{d\} & \textbf{9.0 $\pm$0.2} & +2.0 & 1.0 & 4 \\" in text


@pytest.mark.parametrize("character", "\\&%$#_{}~^")
def test_special_characters_do_not_reach_latex_as_they_are(character):
    text = escaped(f"a{character}b")
    assert text != f"a{character}b"
    assert re.sub(r"\\text\w+\{\}|\\.", "", text) == "ab"


def test_only_what_is_meant_for_latex_is_in_the_file():
    other = Grid("Other", GRID.columns, GRID.rows)
    text = latex_tables([Section("one", (GRID, other)), Section("two", (GRID,))])
    assert re.findall(r"\\label\{(.*)\}", text) == ["tab:one-results", "tab:two-results"]


def test_markdown_of_cells_with_bars_keeps_its_columns():
    table = markdown_table([("", "x")], [Row("a|b", (Cell("c|d"),))], corner="what", prose=True)
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()] == [3, 3, 3]
    assert "what" in table
    assert "-:" not in table


def test_paper_beside_nothing_of_ours():
    grid = paper_grid("cub", None)
    assert grid is not None
    rows = {row.key: [cell.text for cell in row.cells] for row in grid.rows}
    scores = [PAPER["cub"][key][2] for key in rows if key in PAPER["cub"]]
    assert scores == sorted(scores, reverse=True)
    assert rows["hpl:proxy_anchor"] == ["–"] * 3 + ["68.25", "37.57", "26.72"]
    assert rows["hpl:proxy_anchor − proxy_anchor"] == ["–"] * 3 + ["+0.61", "+0.28", "+0.25"]
    assert set(rows) == {*PAPER["cub"], "hpl:proxy_anchor − proxy_anchor"}
    assert paper_grid("glyphs", None) is None
    check_table(latex_table(grid, "cub", "cub"), 7)
