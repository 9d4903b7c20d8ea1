"""The table of answers shows names as they are, whatever is in them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.search.answers import Answer, Answers, Query
from benchmarks.search.answers_output import write_answers


def test_names_are_no_markup(capsys):
    names = ["beach [bold].jpg", ":apple:.jpg", "c[/y].jpg"]
    root = Path("photos")
    answers = [
        Answer(number, 0.5, root / name, name, ("[red]", "fruit:pear:"))
        for number, name in enumerate(names, start=1)
    ]
    query = Query(Path("IMG[copy].jpg"), ("[red]", "fruit:pear:"), tuple(answers))
    write_answers(Answers((query,), 1, root), "table", None)
    shown = capsys.readouterr().out
    for text in ("IMG[copy].jpg", "[red]", "fruit:pear:", *names):
        assert text in shown


def test_classes_without_superclasses_are_shown(capsys):
    answers = (Answer(1, 0.5, Path("photos/a.jpg"), "a.jpg", ("pear",)),)
    query = Query(Path("query.jpg"), ("apple",), answers)
    write_answers(Answers((query,), None, Path("photos")), "table", None)
    *_, head, _, row, _ = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in head.split("┃")][-3:-1] == ["class", "picture in photos"]
    assert [cell.strip() for cell in row.split("│")][-3:-1] == ["pear", "a.jpg"]
