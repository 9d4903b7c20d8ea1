"""The command line: ``pml-hierarchical run``, ``tune``, ``report`` and others, as a typer app."""

from __future__ import annotations

import errno
import inspect
import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from pml_hierarchical import __version__

from .commands.ablate import ablate
from .commands.converge import converge
from .commands.describe import describe
from .commands.evaluate import evaluate
from .commands.listing import show_names
from .commands.report import report
from .commands.run import run
from .commands.speed import speed
from .commands.study import study
from .commands.tune import tune
from .names import one_line
from .search.add_classes import add_classes
from .search.embed import embed
from .search.export import export
from .search.index import index
from .search.search import search
from .search.train import train
from .search_page.command import serve
from .several_values import SeveralValues
from .tree_page.command import tree
from .warning_lines import short_warnings

PROGRAM = "pml-hierarchical"
INTERRUPTED = 130  # as a shell reports a command ended by Ctrl-C
ClickException = typer.BadParameter.__mro__[2]  # which typer does not name
_CONTINUED = ("run", "tune", "converge", "ablate", "train", "embed")
_EXTRAS: dict[str, str] = {}  # the extra of the package that each command needs

app = typer.Typer(
    name=PROGRAM,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclass
class _State:
    debug: bool = False
    command: str = ""


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _before_every_command(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Hierarchical proxy losses for pytorch-metric-learning: train, compare, search."""
    state = context.find_object(_State) or _State()
    state.debug, state.command = debug, str(context.invoked_subcommand)
    if _is_torchrun() and state.command != "run":
        raise ValueError(
            "torchrun is for `run`, whose runs several processes train together; start this "
            "command without it"
        )


def _add(panel: str, extra: str, **commands: Callable[..., None]) -> None:
    for name, command in commands.items():
        command_name = name.replace("_", "-")
        paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        app.command(command_name, cls=SeveralValues, rich_help_panel=panel, help=text)(command)
        _EXTRAS[command_name] = extra


_add("Search pictures", "benchmarks", train=train, export=export)
_add("Search pictures", "search", add_classes=add_classes, embed=embed, index=index, search=search)
_add("Search pictures", "serve", serve=serve)
_add("Compare losses", "benchmarks", run=run, tune=tune, converge=converge)
_add("Compare losses", "benchmarks", ablate=ablate, study=study, report=report)
_add("Look inside", "benchmarks", list=show_names, describe=describe)
_add("Look inside", "search", tree=tree)
_add("Measure", "", evaluate=evaluate)
_add("Measure", "benchmarks", speed=speed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for bad input, 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if "--debug" in given:  # wherever it was written
        given = ["--debug", *(one for one in given if one != "--debug")]
    state = _State()
    try:
        with short_warnings():
            code = int(app(given, prog_name=PROGRAM, standalone_mode=False, obj=state) or 0)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as error:
        message = _explained(error, state.command)
        if message is None or state.debug:
            raise
        _say(f"error: {one_line(message)}")
        return 2
    if code == INTERRUPTED:  # also what typer makes of Ctrl-C
        continues = ": what is finished is kept, and the same command continues from there"
        _say(f"\ninterrupted{continues if state.command in _CONTINUED else ''}")
    return code


def _explained(error: Exception, command: str) -> str | None:
    """What a user can do about an error; ``None`` if it is a fault of the program."""
    if isinstance(error, ClickException):
        context: Any = getattr(error, "ctx", None)
        place = context.command_path if context is not None else f"{PROGRAM} {command}".strip()
        text = error.format_message()  # type: ignore[attr-defined]
        return f"{_with_refused_value(text, error)} (see `{place} --help`)"
    if isinstance(error, ModuleNotFoundError):
        ours = (__package__ or "").partition(".")[0], "pml_hierarchical"
        extra = _EXTRAS.get(command)
        if not extra or (error.name or "").partition(".")[0] in ours:
            return None
        return (
            f"`{command}` needs {error.name}, which is not installed: "
            f'pip install "pml-hierarchical[{extra}]"'
        )
    if isinstance(error, (ValueError, OSError, MemoryError, sqlite3.OperationalError)):
        full = getattr(error, "errno", None) == errno.ENOSPC or "disk is full" in str(error)
        # the record keeper's database reports a full disk by its message alone
        kept = "What is finished is kept: free" if command in _CONTINUED else "Free"
        now = f". {kept} some space and start the same command again" if full else ""
        return f"{_in_words(error)}{now}"
    return None


def _in_words(error: Exception) -> str:
    """The text of an error; an operating system error is given without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        files = [error.filename, error.filename2]
        return f"{' -> '.join(str(f) for f in files if f is not None)}: {error.strerror}"
    if isinstance(error, MemoryError) and not str(error):
        return "there is not enough memory: choose smaller pictures, batches or embeddings"
    return str(error) or type(error).__name__


def _with_refused_value(text: str, error: BaseException) -> str:
    """A message of newer versions of typer, which use pydantic, worded as in older versions.

    Some of theirs leave out the value, others begin with the kind of the error.
    """
    of_pydantic = getattr(error.__cause__, "errors", None)
    if of_pydantic is None:
        return text
    value = repr(of_pydantic()[0]["input"])
    text = text.replace("Value error, ", "", 1).removesuffix(".")
    return text if value in text else f"{text}, got {value}"


def _is_torchrun() -> bool:
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return False
    from .distributed import launched_together

    return launched_together()


def _say(message: str) -> None:
    """Print an error; if torchrun started several processes, only one of them does."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        print(message, file=sys.stderr, flush=True)
        return
    from .distributed import say_once

    say_once(message)
