"""Options that take several values at once: ``--losses contrastive proxy_anchor``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand

FROM_DATASET = "(of the data set)"  # the value of an option that was given without one
_OPTION = re.compile(r"-[^\d.]|--")  # -1 and -.5 are values


class SeveralValues(TyperCommand):
    """A command whose options of type ``list`` take all values up to the next option.

    ``--seeds 0 1 2`` is the same as ``--seeds 0 --seeds 1 --seeds 2``. An option whose metavar is
    in brackets may come without a value, which is then ``FROM_DATASET``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write every value with its option, as the parser wants them."""
        # ctx is of click, or of the copy of it inside newer versions of typer
        several, optional = set(), set()
        for param in self.params:
            if getattr(param, "multiple", False):
                several.update(param.opts)
            elif str(param.metavar).startswith("["):
                optional.update(param.opts)
        return super().parse_args(ctx, list(_one_by_one(args, several, optional)))


def _one_by_one(args: list[str], several: set[str], optional: set[str]) -> Iterable[str]:
    option, is_first = None, False
    for position, argument in enumerate(args):
        if argument == "--":
            yield from args[position:]
            return
        if _OPTION.match(argument):
            if is_first and option in optional:
                yield FROM_DATASET
            option = argument if argument in several | optional else None
            is_first = option is not None
        elif is_first:
            is_first = False
        elif option in several:
            yield str(option)
        yield argument
    if is_first and option in optional:
        yield FROM_DATASET
