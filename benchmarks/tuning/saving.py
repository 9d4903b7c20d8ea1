"""From the trials of a loss to its entry in the YAML file of a data set."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from ..files import write_whole
from .search import Search
from .trials import quiet_optuna, read_study
from .tuned import read_yaml, tuned_file

_HEADER = """\
# The best settings of each loss, found on validation classes alone by
#   pml-hierarchical tune {dataset}{file} --folds {folds} --seed {seed} --epochs {epochs}{options}
# and read by `pml-hierarchical run {dataset} --tuned{tuned}{network}`. Rewritten by every search.
"""


def check_settings_file(path: Path, search: Search, images: str | None = None) -> None:
    """Refuse a file that has, or would get, the results of searches that differ.

    Arguments:
        path: of the file; there may be none yet.
        search: of any loss.
        images: the fingerprint of the data set, if it is known already.

    Raises:
        ValueError: if the file is for other folds, seed, epochs, network or pictures, or is not
            what ``tune`` writes.
        OSError: if it cannot be read.
    """
    if not path.exists():
        return
    content = read_yaml(path)
    if images is not None and content.get("images", images) != images:  # earlier ones have none
        raise ValueError(
            f"{path} has the results of searches on other pictures; losses are only compared after "
            "the same search. Choose another --settings"
        )
    for key, value in _common(search).items():
        if (found := content.get(key, {})) != value:
            raise ValueError(
                f"{path} has the results of searches with {key} {found!r}, not {value!r}; "
                "losses are only compared after the same search. Choose another --settings"
            )


def save_settings(path: Path, search: Search, images: str) -> dict[str, Any]:
    """Write the best settings of a finished search into the file; other losses stay in it.

    Arguments:
        path: of the file.
        search: with all its trials.
        images: the fingerprint of the data set.

    Returns:
        The entry of the loss.
    """
    entry = best_settings(search)
    # beside the file, as searches with other --out may write it too
    with FileLock(path.with_name(f".{path.name}.lock")):
        check_settings_file(path, search, images)
        losses = read_yaml(path)["losses"] if path.exists() else {}
        common = _common(search)
        losses = dict(sorted({**losses, search.loss.name: entry}.items()))
        kept = {key: value for key, value in common.items() if value != {}}
        content = {**kept, "images": images, "losses": losses}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        write_whole(path, _header(path, common) + text)
    return entry


def _header(path: Path, common: dict[str, Any]) -> str:
    """The commands that write the file and read it."""
    network = common["network"] and f" {common['network']}"
    chosen = common["training"].items()
    options = "".join(f" --{name.replace('_', '-')} {value}" for name, value in chosen)
    # the commands find the data set's own file by themselves
    file = "" if path.resolve() == tuned_file(common["dataset"]).resolve() else f" {path}"
    shown = {
        **common,
        "folds": " ".join(map(str, common["folds"])),
        "network": network,
        "options": network + options,
        "file": file and f" --settings{file}",
        "tuned": file,
    }
    return _HEADER.format(**shown)


def best_settings(search: Search) -> dict[str, Any]:
    """What the file says about a loss."""
    with quiet_optuna():
        # the first trials of a longer search are the shorter search
        trials = read_study(search.folder).trials[: search.trials]
    whole = [trial for trial in trials if not trial.user_attrs["pruned"]]
    best = max(whole, key=lambda trial: (trial.value, -trial.number))
    facts = best.user_attrs
    return {
        "validation": {
            "best": round(100 * (best.value or 0), 2),
            "default": round(100 * (trials[0].value or 0), 2),
        },
        "best_trial": best.number,
        "trials": len(trials),
        "failed": sum(trial.user_attrs["error"] is not None for trial in trials),
        "ended_early": len(trials) - len(whole),
        "commit": facts.get("commit"),
        "versions": {**facts.get("versions", {}), "optuna": version("optuna")},
        "training": facts["training"],
        "loss": facts["loss"],
    }


def _common(search: Search) -> dict[str, Any]:
    """What the searches for all losses of a file have in common.

    ``training`` has what was chosen instead of the data set's own, such as the size of the batches.
    """
    chosen = search.request.given.training
    return {
        "dataset": search.dataset,
        "folds": list(search.folds),
        "seed": search.seed,
        "epochs": search.settings.epochs,
        "network": search.request.source.backbone.options(),
        "training": {name: value for name, value in chosen.items() if name != "epochs"},
    }
