"""Answers as a table for people, as JSON and CSV for programs, and as a page."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..datasets.folder import why_not_read
from ..files import linked, refuse_inputs, write_whole
from ..names import printable
from ..progress import print_written
from .answers import Answer, Answers, Query
from .answers_page import answers_page

PAGE = Path("answers.html")
FORMS = {".json": "json", ".csv": "csv", ".html": "page", ".htm": "page"}  # by suffix
COLUMNS = ("query", "rank", "similarity", "distance", "picture")
DIGITS = 6  # of float32


def form_of(out: Path | None) -> str:
    """The form that the suffix of a file asks for; a table without one."""
    return "table" if out is None else FORMS.get(out.suffix.lower(), "table")


def check_out(
    form: str, out: Path | None, given: Sequence[Path] = (), gallery: Path | None = None
) -> None:
    """Refuse a file that answers cannot be written to, before they are searched for.

    Arguments:
        form, out: see :func:`write_answers`.
        given: the files and folders to search for.
        gallery: the folder that is searched in.

    Raises:
        OSError: if it is a folder, a picture, one of those that were given or a file of the
            gallery, or the folder that it is in does not exist or is not writable.
    """
    file = PAGE if out is None and form == "page" else out
    if file is None:
        return
    shown, folder = printable(file), file.parent
    if file.is_dir():
        raise IsADirectoryError(f"--out {shown} is a folder: name a file in it")
    if not folder.is_dir():
        where = printable(folder)
        raise FileNotFoundError(f"--out {shown}: there is no folder {where}: make it first")
    if file.is_file() and (
        why_not_read(file) is None or any(one.exists() and one.samefile(file) for one in given)
    ):
        raise FileExistsError(
            f"--out {shown} is a picture or a list of pictures: choose another file"
        )
    refuse_inputs("--out", file, [] if gallery is None else [gallery])
    is_replaced = file.is_file() or not file.exists()  # but not /dev/stdout
    if is_replaced and not os.access(folder, os.W_OK):
        where = printable(folder.absolute())
        raise PermissionError(f"--out {shown}: you may not write to {where}; choose another file")


def write_answers(found: Answers, form: str, out: Path | None) -> None:
    """Print answers, or write them to a file.

    Arguments:
        form: ``"table"``, ``"json"``, ``"csv"`` or ``"page"``.
        out: the file; ``None`` prints, but a page goes to ``answers.html``.

    Raises:
        OSError: if the file cannot be written.
    """
    if form == "page":
        out = out or PAGE
    text = {"table": _table, "json": answers_json, "csv": answers_csv, "page": answers_page}[form](
        found
    )
    if out is None:
        sys.stdout.write(text)
        return
    write_whole(linked(out), text)
    if out.is_file():  # and not /dev/stdout
        print_written([out], Console(stderr=True))


def answers_json(found: Answers) -> str:
    """Every query with its answers and, where there is a tree, their groups."""
    queries = []
    for query in found.queries:
        content: dict[str, Any] = {
            "picture": _exact(query.picture),
            "nearest_classes": list(query.classes),
            "answers": [_plain(answer) for answer in query.answers],
        }
        if found.level is not None:
            content["groups"] = [
                {"class": name, "ranks": [answer.rank for answer in answers]}
                for name, answers in query.groups(found.level).items()
            ]
        queries.append(content)
    return json.dumps({"level": found.level, "queries": queries}, indent=1) + "\n"


def answers_csv(found: Answers) -> str:
    """One line per answer, with its class of every level, the finest first."""
    out = io.StringIO()
    levels = max(len(answer.classes) for query in found.queries for answer in query.answers)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"class_level{level}" for level in range(levels))])
    for query in found.queries:
        for answer in query.answers:
            plain = _plain(answer)
            values = [plain[key] for key in COLUMNS[1:]]
            writer.writerow([_exact(query.picture), *values, *answer.classes])
    return out.getvalue()


def _exact(path: Path) -> str:
    """A path for programs: as it is, line ends included; only bytes that are not UTF-8 cannot be
    written, and become escapes."""
    return os.fspath(path).encode(errors="backslashreplace").decode()


def _plain(answer: Answer) -> dict[str, Any]:
    return {
        "rank": answer.rank,
        "similarity": round(answer.similarity, DIGITS),
        "distance": round(answer.distance, DIGITS),
        "picture": _exact(answer.picture),
        "classes": list(answer.classes),
    }


def _table(found: Answers) -> str:
    """A table per query; its groups are divided by lines."""
    is_terminal = sys.stdout.isatty()
    console = Console(
        file=io.StringIO(),
        force_terminal=is_terminal,
        width=_width(),
        markup=False,  # a file may be called IMG[1].jpg
        emoji=False,
    )
    for query in found.queries:
        console.print(_table_of(query, found))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _table_of(query: Query, found: Answers) -> Table:
    level = found.level
    has_column = level != 0 and all(answer.classes for answer in query.answers)
    nearest = f" (nearest class: {query.classes[0]})" if query.classes else ""
    table = Table(title=f"{printable(query.picture)}{nearest}", title_justify="left")
    if level is not None:
        table.add_column(f"class of level {level}" if level != 1 else "superclass")
    table.add_column("rank", justify="right")
    table.add_column("similarity", justify="right")
    table.add_column("distance", justify="right")
    if has_column:
        table.add_column("class")
    table.add_column(f"picture in {printable(found.root)}", overflow="fold")
    for name, answers in query.groups(level).items():
        for number, answer in enumerate(answers):
            title = f"{name} ({len(answers)} of {len(query.answers)})" if number == 0 else ""
            cells = [] if level is None else [title]
            cells += [str(answer.rank), f"{answer.similarity:.3f}", f"{answer.distance:.3f}"]
            cells += [answer.classes[0]] if has_column else []
            table.add_row(*cells, printable(answer.path))
        table.add_section()
    return table


def _width() -> int | None:
    """The width of the terminal; wide if there is none, so that names of files are not broken."""
    return None if sys.stdout.isatty() else 200
