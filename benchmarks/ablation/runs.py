"""All runs of an ablation; those that are finished are not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from pml_hierarchical import Hierarchy

from ..datasets.base import RetrievalData
from ..loss_checks import check_tree
from ..losses import ALL_LOSSES, LossSpec, find_loss, hierarchical_bases
from ..request import RunRequest
from ..run_config import RunConfig
from ..suite import Adapt, Suite, plan
from ..training.shared_warmup import train_after_warmup
from ..training.tree import training_tree
from ..validation_runs import Outcome, do_validated, load_for_validation
from ..wording import did_you_mean
from .factors import DISCOVERED, Training
from .variants import CHANGES, Variant, chosen_variants

FOLDER = "ablation"  # apart from the runs of `run`, which are tested


@dataclass(frozen=True)
class Ablation:
    """What ``pml-hierarchical ablate`` was asked for, checked.

    Attributes:
        flat: the runs of the flat losses, which everything is compared with.
        variants: the variants of HPL on each base.
        report_folder: where the table is written.
    """

    flat: Suite
    variants: tuple[Variant, ...]
    report_folder: Path

    @property
    def bases(self) -> tuple[str, ...]:
        """The names of the flat losses."""
        return self.flat.request.losses


AblationOutcome = Outcome[Ablation]


def plan_ablation(request: RunRequest, what: Sequence[str], adapt: Adapt | None = None) -> Ablation:
    """Check what was asked for; nothing is read, trained or written yet.

    Arguments:
        request: of the runs of the flat losses.
        what: see :func:`~benchmarks.ablation.variants.chosen_variants`.
        adapt: changes the flat losses and their training, as for :func:`benchmarks.suite.plan`.
            The variants have the same settings.

    Raises:
        ValueError: for a base without proxies, something that is not ablated, and for all that
            :func:`benchmarks.suite.plan` refuses.
    """
    for option, values in (("bases", request.losses), ("what", what)):
        repeated = [value for value in dict.fromkeys(values) if list(values).count(value) > 1]
        if repeated:
            raise ValueError(f"--{option} has {repeated[0]} more than once")
    for base in request.losses:
        _check_base(base)
    variants = chosen_variants(what)
    _check_what(what, request.losses)
    flat = plan(replace(request, out=request.out / FOLDER), adapt)
    return Ablation(flat, variants, request.folder)


def _check_what(what: Sequence[str], bases: Sequence[str]) -> None:
    """Refuse factors that none of the bases has: there would be no rows but the references."""
    named = [v for v in chosen_variants(what) if {v.name, v.change.split("=")[0]} & {*what}]
    known = [base for base in hierarchical_bases() if any(v.is_for(base) for v in named)]
    if not set(known).intersection(bases):
        raise ValueError(
            f"--what {' '.join(what)}: not varied on {', '.join(bases)}; choose --bases from "
            f"{', '.join(known)}"
        )


def _check_base(base: str) -> None:
    known = hierarchical_bases()
    if base in ALL_LOSSES and base not in known:
        find_loss(f"hpl:{base}")  # raises the error that it has no proxies
    if base not in known:
        raise ValueError(
            f"--bases: unknown {base!r}{did_you_mean(base, known)} HPL can be built on "
            f"{', '.join(known)}"
        )


def lay_out(ablation: Ablation, data: RetrievalData) -> list[RunConfig]:
    """Each flat run and, right after it, the runs of its variants on the same fold and seed.

    With several jobs, that many flat runs come first and then all their variants: these wait for
    the warm-up of their flat run, and no two jobs should wait for the same one. A variant with the
    settings of an earlier one, such as one whose value the reference has, is left out.

    Raises:
        ValueError: for a variant on a given tree if the classes have no superclasses.
    """
    groups: list[list[RunConfig]] = []
    for flat in ablation.flat.runs:
        _, tree = training_tree(data.labels[data.split(flat.fold).train])
        training = Training(
            tree.num_classes,
            len(tree.sizes) - 1,
            flat.settings.iterations,
            flat.settings.learning_rate,
        )
        runs = [flat]
        groups.append(runs)
        known: list[dict[str, Any]] = []
        for variant in ablation.variants:
            spec = variant.spec(flat.loss, flat.settings.loss_overrides, training)
            if variant.is_for(flat.loss.name) and spec.settings() not in known:
                _check_tree(spec, tree)
                known.append(spec.settings())
                runs.append(replace(flat, loss=spec))
                runs[-1].check()
    return list(_flat_first(groups, ablation.flat.request.jobs))


def _check_tree(spec: LossSpec, tree: Hierarchy) -> None:
    try:
        check_tree(spec, tree)
    except ValueError as error:
        example = next(variant.name for variant in CHANGES if variant.prefix == DISCOVERED)
        raise ValueError(
            f"{error}. For `ablate` that is --what {DISCOVERED}, or single variants of it such as "
            f"{example}"
        ) from error


def _flat_first(groups: Sequence[Sequence[RunConfig]], jobs: int) -> Iterator[RunConfig]:
    for start in range(0, len(groups), jobs):
        together = groups[start : start + jobs]
        yield from (flat for flat, *_ in together)
        for _, *variants in together:
            yield from variants


def run_ablation(
    ablation: Ablation,
    console: Console,
    report: Callable[[AblationOutcome], None] | None = None,
) -> AblationOutcome:
    """Do the runs that are not finished yet and collect the results of all.

    Arguments:
        ablation: what :func:`plan_ablation` returned.
        console: for progress.
        report: is called with the outcome while no other command can write into the folder.

    Raises:
        OSError: if another ablation is running in the folder, or the disk is full.
        ValueError: if a folder holds runs on other images or with other settings (before any
            training), or the classes are too few for what was asked for.
    """
    request = ablation.flat.request
    data = load_for_validation(request, ablation.flat.folds)
    runs = lay_out(ablation, data)
    return do_validated(ablation, request, runs, data, console, train_after_warmup, report)
