"""Every command that README and docs name exists and takes the options that they give it."""

from __future__ import annotations

import re
import shlex

import pytest
from doc_pages import PAGES, blocks, name_of

command_line = pytest.importorskip("benchmarks.command_line")

INLINE = re.compile(
    r"`((?:pml-hierarchical|python -m benchmarks|torchrun [^`]*-m benchmarks)[^`]*)`"
)
CALL = re.compile(r"(?:^|[\s/])(?:pml-hierarchical|-m benchmarks|-m pml_hierarchical)(?=\s)")
PLACEHOLDERS = ("...", "…")


def commands_of(page):
    """What follows the program's name, for each call in a block or in the text of a page."""
    lines = [
        line
        for language in ("bash", "text", "")
        for code in blocks(page, language)
        for line in code.replace("\\\n", " ").splitlines()
    ]
    lines += [" ".join(found.split()) for found in INLINE.findall(page.read_text(encoding="utf-8"))]
    for line in lines:
        for part in re.split(r"&&|\||;", line):
            call = CALL.search(part)
            if call and not any(sign in part for sign in PLACEHOLDERS):
                yield shlex.split(part[call.end() :], comments=True)


CALLS = [
    pytest.param(words, id=f"{name_of(page)}: {' '.join(words)}")
    for page in PAGES
    for words in commands_of(page)
    if words and not words[0].startswith("-")
]


def parse(words):
    """As the program would, up to where the command's function is called."""
    from typer.main import get_command

    name, *rest = words
    commands = get_command(command_line.app).commands
    assert name in commands, f"there is no command {name}"
    # a sentence that names a command need not give its arguments
    if rest not in ([], ["--help"]):
        return commands[name].make_context(name, rest).params
    return {}


@pytest.mark.parametrize("words", CALLS)
def test_command(words):
    parse(words)


SPEED = [call for call in CALLS if call.values[0][0] == "speed"]


@pytest.mark.parametrize("words", SPEED)
def test_sizes_that_are_measured_go_together(words):
    """Which ``speed`` checks in its function, before it measures."""
    from benchmarks.commands.speed import check
    from benchmarks.speed.options import SpeedOptions

    check(SpeedOptions(**{**parse(words), "device": "cpu", "threads": 1}))


def test_there_are_commands():
    assert len(SPEED) > 4
    assert len(CALLS) > 40
    named = {call.values[0][0] for call in CALLS}
    assert named >= {"run", "tune", "report", "list", "train", "embed", "index", "search", "serve"}


def test_wrong_options_are_found():
    for words in (["run", "--no-such-option"], ["no-such-command"], ["run", "--seeds", "one"]):
        with pytest.raises(Exception, match=r"(?i)no such|no command|valid integer"):
            parse(words)
