"""What ``python -m benchmarks tune`` was asked for, checked, and done."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from ..jobs import DataSource, check_jobs, map_jobs
from ..progress import SuiteProgress
from ..suite import plan
from .running import run_search
from .saving import check_settings_file, save_settings
from .search import FOLDER, Planned, Search
from .space import has_own_space
from .trials import finished_trials
from .tuned import tuned_file, tuned_settings


@dataclass(frozen=True)
class Tuning:
    """The searches for all losses on a data set.

    Attributes:
        source: where the data set is.
        searches: one per loss, with the same budget for each.
        settings: the YAML file that gets the best settings.
        device: where the networks are trained.
        jobs: how many searches take place at a time.
    """

    source: DataSource
    searches: tuple[Search, ...]
    settings: Path
    device: torch.device
    jobs: int

    @property
    def folder(self) -> Path:
        """Where the searches of the data set are."""
        return self.searches[0].folder.parent


def plan_tuning(
    dataset: str,
    data_root: Path | None,
    losses: Sequence[str],
    trials: int,
    folds: Sequence[int],
    seed: int,
    epochs: int | None,
    out: Path,
    device: str,
    settings: Path | None = None,
    skip_broken: bool = False,
    jobs: int = 1,
) -> Tuning:
    """Check what was asked for; nothing is read, trained or written yet.

    Raises:
        ValueError: for fewer than one trial, a settings file of another search, and for all that
            :func:`benchmarks.suite.plan` refuses.
    """
    if trials < 1:
        raise ValueError(f"--trials must be at least 1, got {trials}")
    folder = out / FOLDER
    suite = plan(
        dataset,
        data_root,
        losses,
        [seed],
        folds,
        epochs,
        folder,
        device,
        skip_broken=skip_broken,
        jobs=jobs,
    )
    searches = tuple(
        Search(dataset, run.loss, run.settings, tuple(folds), seed, trials, out, skip_broken)
        for run in suite.runs
        if run.fold == folds[0]
    )
    settings = settings or tuned_file(dataset)
    check_settings_file(settings, searches)
    source = DataSource(dataset, data_root, skip_broken)
    return Tuning(source, searches, settings, suite.device, check_jobs(jobs))


def run_tuning(tuning: Tuning, console: Console) -> None:
    """Do the trials that are missing, and write the settings of each loss when it has them all.

    Raises:
        ValueError: if a folder holds another search (before any training), or the first trials of
            a loss all failed.
        OSError: if another process searches for one of the losses, or the disk is full.
    """
    tuning.settings.parent.mkdir(parents=True, exist_ok=True)  # an error now, not after hours
    data = tuning.source.load()
    searches = [Planned.on(search, data) for search in tuning.searches]
    for planned in searches:
        planned.check()
    missing = {
        search.loss.name: max(0, search.trials - finished_trials(search.folder))
        for search in tuning.searches
    }
    _announce(tuning, sum(missing.values()), console)
    iterations = sum(missing[search.loss.name] * search.iterations for search in tuning.searches)
    progress = SuiteProgress(console, sum(missing.values()), iterations)
    search_one = partial(run_search, device=tuning.device)
    with progress.shown() if any(missing.values()) else nullcontext():
        done = map_jobs(search_one, searches, tuning.source, data, progress, tuning.jobs)
        for planned, _ in done:
            save_settings(tuning.settings, planned.search)
    budgets = {name: found.trials for name, found in tuned_settings(tuning.settings).items()}
    if len(set(budgets.values())) > 1:
        listed = ", ".join(f"{name} {trials}" for name, trials in budgets.items())
        console.print(
            f"[bold]the losses of {tuning.settings} had budgets that differ[/] (trials: {listed}); "
            "tune all with the same --trials before you compare them",
            highlight=False,
        )


def _announce(tuning: Tuning, missing: int, console: Console) -> None:
    trials = sum(search.trials for search in tuning.searches)
    if missing < trials:
        console.print(f"{trials - missing} of {trials} trials are already done", highlight=False)
    plain = [search.loss.name for search in tuning.searches if not has_own_space(search.loss)]
    if plain:
        console.print(
            f"no space is written down for {', '.join(plain)}: only learning rates and weight "
            "decay are searched",
            highlight=False,
        )
