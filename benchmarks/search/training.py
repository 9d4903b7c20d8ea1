"""Training on all classes of a data set, from its pictures to a model folder."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
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
from ..locking import only_one_in
from ..loss_checks import check_loss
from ..progress import SuiteProgress
from ..request import RunRequest
from ..run_config import iterations_of
from ..stored import IMAGES_FILE, same_images
from ..suite import plan
from ..training.tree import named_tree, training_tree
from .all_classes import AllClasses, WholeConfig, WholeSession, class_means
from .saving import check_new, save_model
from .trained import trained_model
from .work_folder import WORK_FOLDER, check_work_folder, session_folder


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
        if not (out / DESCRIPTION_FILE).exists():
            check_new(out)
            check_work_folder(out, config, source.data_root)
    seen = look_at_dataset(source.dataset, source.data_root, source.skip_broken)
    for config in configs:
        check_loss(config, training_tree(seen.labels)[1])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="not all of")  # which the first look has said
        data = AllClasses.of(source.load(warn=True))

    todo = [one for one in configs if not _is_done(outs[one.loss.name], record(one, data))]
    for config in configs:
        if config not in todo:
            console.print(f"{outs[config.loss.name]} exists already: nothing to do", markup=False)
    progress = SuiteProgress(console, len(todo), iterations_of(todo))
    for config in todo:
        out = outs[config.loss.name]
        with only_one_in(out / WORK_FOLDER), progress.shown():
            model = _train(config, data, out, source.device, progress)
            progress.finish(f"{config.name} is trained")
        save_model(model, out)
        shutil.rmtree(out / WORK_FOLDER)


def record(config: WholeConfig, data: RetrievalData) -> dict[str, Any]:
    """What the model says about its training, as plain values."""
    about = {key: value for key, value in config.to_dict().items() if key != "fold"}
    about |= {"num_images": len(data.labels), "num_left_out": len(data.left_out)}
    found: dict[str, Any] = json.loads(json.dumps({**about, "pictures": data.fingerprint()}))
    return found


def _is_done(out: Path, wanted: dict[str, Any]) -> bool:
    path = out / DESCRIPTION_FILE
    if not path.exists():
        return False
    if read_json(path, {"training": object})["training"] != wanted:
        raise FileExistsError(
            f"{out} holds a model with other settings or pictures: delete it, or choose another "
            "--out"
        )
    return True


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
