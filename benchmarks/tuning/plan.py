"""What ``pml-hierarchical tune`` was asked for, checked, and done."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ..device import checked_device
from ..jobs import map_jobs
from ..progress import SuiteProgress
from ..request import RunRequest
from ..run_config import RunConfig
from ..suite import Suite, check_losses, plan
from ..wording import already_done
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
        request: what was asked for.
        searches: one per loss, with the same budget for each.
        settings: the YAML file that gets the best settings.
    """

    request: RunRequest
    searches: tuple[Search, ...]
    settings: Path

    @property
    def folder(self) -> Path:
        """Where the searches of the data set are."""
        return self.searches[0].folder.parent


def plan_tuning(request: RunRequest, trials: int, settings: Path | None = None) -> Tuning:
    """Check what was asked for; nothing is read, trained or written yet.

    Arguments:
        request: of the losses without a search, with one seed.
        trials: for each loss.
        settings: the file that gets the best settings; by default that of the data set.

    Raises:
        ValueError: for fewer than one trial, a settings file of another search, and for everything
            that :func:`benchmarks.suite.plan` refuses.
    """
    if trials < 1:
        raise ValueError(f"--trials must be at least 1, got {trials}")
    suite = plan(replace(request, out=request.out / FOLDER))
    request = replace(request, folds=suite.folds)
    searches = tuple(
        Search(request, run.loss, run.settings, trials)
        for run in suite.runs
        if run.fold == suite.folds[0]
    )
    settings = settings or tuned_file(request.source.dataset)
    check_settings_file(settings, searches[0])
    return Tuning(request, searches, settings)


def run_tuning(tuning: Tuning, console: Console) -> None:
    """Do the trials that are missing, and write the settings of each loss when it has them all.

    Raises:
        ValueError: if a folder or the settings file holds another search, or a loss cannot be
            trained on these classes (both before any training), or the first trials of a loss all
            failed.
        OSError: if another process searches for one of the losses, or the disk is full.
    """
    tuning.settings.parent.mkdir(parents=True, exist_ok=True)  # an error now, not after hours
    request = tuning.request
    data = request.source.load(warn=True)
    for fold in request.folds or ():
        data.check_accuracy(fold, ["validation"])
    check_losses(Suite(request, _untuned(tuning)), data)
    images = data.fingerprint()
    check_settings_file(tuning.settings, tuning.searches[0], images)
    searches = [Planned.on(search, data, images) for search in tuning.searches]
    for planned in searches:
        planned.check()
    missing = {
        search.loss.name: max(0, search.trials - finished_trials(search.folder))
        for search in tuning.searches
    }
    _announce(tuning, sum(missing.values()), console)
    iterations = sum(missing[search.loss.name] * search.iterations for search in tuning.searches)
    progress = SuiteProgress(console, sum(missing.values()), iterations)
    search_one = partial(run_search, device=checked_device(request.source.device))
    with progress.shown() if any(missing.values()) else nullcontext():
        done = map_jobs(search_one, searches, request.source, data, progress, request.jobs)
        for planned, _ in done:
            save_settings(tuning.settings, planned.search, images)
    budgets = {name: found.trials for name, found in tuned_settings(tuning.settings).items()}
    if len(set(budgets.values())) > 1:
        listed = ", ".join(f"{name} {trials}" for name, trials in budgets.items())
        console.print(
            f"[bold]the losses in {escape(str(tuning.settings))} had different budgets[/] "
            f"(trials: {listed}); tune all with the same --trials before you compare them",
            highlight=False,
        )


def _untuned(tuning: Tuning) -> tuple[RunConfig, ...]:
    """The runs of the losses as they are without a search."""
    searches = tuning.searches
    return tuple(run for one in searches for run in one.runs(one.loss, one.settings))


def _announce(tuning: Tuning, missing: int, console: Console) -> None:
    trials = sum(search.trials for search in tuning.searches)
    if missing < trials:
        console.print(already_done(trials - missing, trials, "trial"), highlight=False)
    plain = [search.loss.name for search in tuning.searches if not has_own_space(search.loss)]
    if plain:
        console.print(
            f"no search space is defined for {', '.join(plain)}: only learning rates and weight "
            "decay are searched",
            highlight=False,
        )
