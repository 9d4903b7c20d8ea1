"""The tables of a report for a paper: booktabs, the levels as groups of columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .blocks import Cell, Grid, Section

# Written by hand, since pandas' Styler has neither rules under groups of columns nor a table that
# shrinks to the width of the page.
PREAMBLE = """\
% Needs \\usepackage{booktabs} and \\usepackage{graphicx}; UTF-8.
"""
_ESCAPED = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "[": "{[}",  # after the end of a row it would begin a length
    "]": "{]}",
    "*": "{*}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "<": r"$<$",
    "↓": r"$\downarrow$",
    ">": r"$>$",
}


def escaped(text: str) -> str:
    """Plain text as LaTeX shows it, not as it would read it."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def latex_tables(sections: Iterable[Section]) -> str:
    """A ``table*`` for every table of the report that is meant for LaTeX."""
    tables = [
        latex_table(block, f"{section.title}: {block.title}", section.anchor(block))
        for section in sections
        for block in section.blocks
        if isinstance(block, Grid) and block.in_latex
    ]
    return PREAMBLE + "\n".join(tables)


def latex_table(grid: Grid, title: str, label: str) -> str:
    """One table, no wider than the page."""
    head = [_line(["", *(f"\\multicolumn{{{n}}}{{c}}{{{escaped(g)}}}" for g, n in grid.groups)])]
    head += [
        _rules(grid.groups),
        _line(map(escaped, [grid.corner, *(name for _, name in grid.columns)])),
    ]
    body = [_line([escaped(row.name), *map(_cell, row.cells)]) for row in grid.rows]
    lines = [
        r"\begin{table*}",
        r"\centering",
        f"\\caption{{{escaped(title)}. {escaped(grid.note)}}}",
        f"\\label{{tab:{label.replace('_', '-')}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"\\begin{{tabular}}{{l{'r' * len(grid.columns)}}}",
        r"\toprule",
        *head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _rules(groups: Sequence[tuple[str, int]]) -> str:
    """A line below the name of each group; those without a name have none."""
    rules, start = [], 2
    for name, width in groups:
        if name:
            rules.append(f"\\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    return " ".join(rules)


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    if text.startswith("-") and not text.startswith("--"):
        text = f"$-${text[1:]}"  # a hyphen is shorter than the plus signs next to it
    return f"\\textbf{{{text}}}" if cell.is_best else text


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
