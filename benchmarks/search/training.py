"""Training on all classes of a data set, from its pictures to a model folder."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from pml_hierarchical.search import RetrievalModel
from pml_hierarchical.search.model import DESCRIPTION_FILE

from ..datasets import look_at_dataset
from ..datasets.base import RetrievalData
from ..device import checked_device
from ..files import read_json, write_whole
from ..loss_checks import check_loss
from ..progress import SuiteProgress
from ..request import RunRequest
from ..run_config import differences, iterations_of
from ..stored import IMAGES_FILE, same_images
from ..suite import plan
from ..training.tree import named_tree, training_tree
from .all_classes import AllClasses, WholeConfig, WholeSession, class_means
from .embeddings_on_disk import LIST_FILE
from .saving import check_new, save_model
from .trained import trained_model
from .work_folder import WORK_FOLDER, check_work_folder, only_one_training_in, session_folder


def train_models(
    request: RunRequest,
    outs: Mapping[str, Path],
    console: Console,
) -> None:
    """Train losses on all classes of a data set, and write a model folder for each.

    An interrupted training run continues after its last epoch. A model that was made with the same
    settings from the same pictures is not trained again.

    Arguments:
        request: the data set, the losses and how they are trained.
        outs: for each loss the folder of its model.
        console: where the progress is shown.

    Raises:
        FileExistsError: if a folder holds a model, or an unfinished training run, with other
            settings or pictures, or files that no training put there.
        OSError: if another process trains in a folder, or it cannot be written.
        ValueError: see :func:`~benchmarks.suite.plan` and
            :func:`~benchmarks.loss_checks.check_loss`; or if a folder lies among the pictures.
    """
    source = replace(request.source, all_train=True)
    out = next(iter(outs.values())) / WORK_FOLDER
    request = replace(request, source=source, folds=(0,), out=out)
    # what is impossible is refused before the features of the pictures are computed
    configs = [WholeConfig(**vars(run)) for run in plan(request).runs]
    for config in configs:
        out = outs[config.loss.name]
        if (out / DESCRIPTION_FILE).exists():
            _check_done(out, _settings(config))
        else:
            check_new(out)
            check_work_folder(out, config, source.data_root)
    seen = look_at_dataset(source.dataset, source.data_root, source.skip_broken)
    for config in configs:
        check_loss(config, training_tree(seen.labels)[1])
    with ExitStack() as locks:
        lock_of = {
            out: locks.enter_context(ExitStack())
            for out in outs.values()
            if not (out / DESCRIPTION_FILE).exists()
        }
        for out, lock in lock_of.items():
            lock.enter_context(only_one_training_in(out))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="not all of")  # which was said just now
            data = AllClasses.of(source.load(warn=True))
        todo = [one for one in configs if not (outs[one.loss.name] / DESCRIPTION_FILE).exists()]
        for config in configs:
            if config not in todo:
                out = outs[config.loss.name]
                _check_done(out, record(config, data))
                console.print(f"{out} exists already: nothing to do", markup=False)
        progress = SuiteProgress(console, len(todo), iterations_of(todo))
        for config in todo:
            out = outs[config.loss.name]
            with progress.shown():
                model = _train(config, data, out, source.device, progress)
                progress.finish(f"{config.name} is trained")
            lock_of[out].close()
            save_model(model, out)
            shutil.rmtree(out / WORK_FOLDER)


def record(config: WholeConfig, data: RetrievalData) -> dict[str, Any]:
    """What the model says about its training, as plain values."""
    about = {"num_images": len(data.labels), "num_left_out": len(data.left_out)}
    return {**_settings(config), **about, "pictures": data.fingerprint()}


def _settings(config: WholeConfig) -> dict[str, Any]:
    values = {key: value for key, value in config.to_dict().items() if key != "fold"}
    found: dict[str, Any] = json.loads(json.dumps(values))
    return found


def _check_done(out: Path, wanted: Mapping[str, Any]) -> None:
    """Raise ``FileExistsError`` unless a folder holds a model that was trained like this."""
    if (out / LIST_FILE).exists():
        raise FileExistsError(f"{out} holds embeddings: choose another --out for the model")
    there = read_json(out / DESCRIPTION_FILE, {"training": object})["training"]
    there = there if isinstance(there, dict) else {}
    different = differences({key: there[key] for key in wanted if key in there}, wanted)
    if different:
        raise FileExistsError(
            f"{out} holds a model with other settings or pictures ({different}): delete it, or "
            "choose another --out"
        )


def _train(
    config: WholeConfig,
    data: RetrievalData,
    out: Path,
    device: str,
    progress: SuiteProgress,
) -> RetrievalModel:
    images = out / WORK_FOLDER / IMAGES_FILE
    about, _ = same_images(images, data, config.backbone, out)
    write_whole(images, json.dumps(about))
    folder = session_folder(out, config)
    session = WholeSession(config, data, folder, checked_device(device), progress)
    session.train()
    session.close()
    states = {name: model.state_dict() for name, model in session.trainer.models.items()}
    return trained_model(
        config.dataset,
        config.backbone,
        states,
        config.loss,
        session.loss,
        named_tree(data, session.split.train),
        record(config, data),
        class_means(session),
    )
