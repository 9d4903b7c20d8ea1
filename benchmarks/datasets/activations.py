"""Pictures as the upper blocks of a network see them: activations of the frozen blocks below."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from ..backbones import Backbone, Pictures
from ..backbones.upper import build_parts
from ..backbones.views import VIEW_SEED, View
from .activation_files import DTYPE, ActivationFile, Activations
from .base import LabelledImages

BLOCK = 256  # pictures: what an interruption costs at most


@dataclass(frozen=True)
class _Part:
    """One view of some pictures: where its activations are, and which are asked for."""

    file: ActivationFile
    pictures: Dataset[torch.Tensor]
    rows: np.ndarray

    def missing(self) -> np.ndarray:
        return self.file.missing(self.rows)


def load_activations(
    images: LabelledImages,
    backbone: Backbone,
    pictures: partial[Pictures],
    shown_in: Mapping[str, Any],
    all_train: bool,
    batch_size: int,
    device: torch.device | str,
    workers: int,
) -> tuple[Activations, Activations]:
    """The activations in front of the cut of a network, for testing and for training.

    Testing sees one view of each picture, made by the network's own transform; training sees one of
    several random views of the pictures that may be trained on. Missing views are computed, after
    a line that says how much disk space they take.

    Arguments:
        images: their classes.
        backbone: with a ``cut``.
        pictures: from a transform to the pictures.
        shown_in: tells these pictures from others, as values that JSON can hold.
        all_train: whether the pictures of the test classes are trained on, too.
        batch_size: pictures that go through the network at a time.
        device: where the network runs.
        workers: processes that load the pictures; 0 for none but this one.

    Raises:
        OSError: if the disk has too little space, before anything is computed, or cannot be
            written to; if weights cannot be downloaded.
        ValueError: if the network cannot be cut there, or weights or pictures do not fit it.
    """
    key = {"backbone": backbone.name, "cut": backbone.cut, "dtype": str(DTYPE), **shown_in}
    name = f"{images.name}-before-{backbone.cut}"
    random = backbone.training_transform or backbone.transform

    def part(what: str, shown: Dataset[torch.Tensor], rows: np.ndarray, **more: Any) -> _Part:
        file = ActivationFile(f"{name}-{what}", {**key, **more}, len(images.labels))
        return _Part(file, shown, rows)

    everything = np.arange(len(images.labels))
    trained = everything if all_train else _training_half(images)
    tested = part("tested", pictures(backbone.transform), everything, of=repr(backbone.transform))
    views = [
        part(
            f"view{view}",
            View(pictures(random), view),
            trained,
            of=repr(random),
            view=view,
            seed=VIEW_SEED,
        )
        for view in range(backbone.views)
    ]
    _compute_missing([tested, *views], backbone, batch_size, device, workers)
    return Activations([tested.file]), Activations([view.file for view in views])


def _training_half(images: LabelledImages) -> np.ndarray:
    """The images that train in any fold: those that train or validate in one."""
    split = images.split(0)
    return np.sort(np.concatenate([split.train, split.val]))


def _compute_missing(
    parts: Sequence[_Part],
    backbone: Backbone,
    batch_size: int,
    device: torch.device | str,
    workers: int,
) -> None:
    """Fill the files; if another process is doing the same, wait for it."""
    if not any(len(part.missing()) for part in parts):
        return
    lock = FileLock(parts[0].file.path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _say("another process computes these activations; waiting for it")
        lock.acquire()
    try:
        lower, _, _ = build_parts(backbone)
        with torch.no_grad():
            one = lower(backbone.transform(Image.new("RGB", (64, 64)))[None])[0]
        _check_disk(parts, backbone, tuple(one.shape))
        lower = lower.to(device)
        total = sum(len(part.missing()) for part in parts)
        with tqdm(desc="activations", unit="image", total=total, disable=not total) as bar:
            for part in parts:
                _fill(part, lower, batch_size, device, workers, bar)
    finally:
        lock.release()


def _fill(
    part: _Part,
    lower: nn.Module,
    batch_size: int,
    device: torch.device | str,
    workers: int,
    bar: Any,
) -> None:
    missing = part.missing()
    if not len(missing):
        return
    pictures = Subset(part.pictures, missing.tolist())
    # one loader for all blocks: starting its processes takes about as long as loading a block
    batch_size = min(batch_size, BLOCK)
    batches = iter(DataLoader(pictures, batch_size=batch_size, num_workers=workers))
    per_block = BLOCK // batch_size
    for start in range(0, len(missing), per_block * batch_size):
        found = []
        with torch.no_grad():
            for batch in islice(batches, per_block):
                found.append(lower(batch.to(device)).float().cpu().numpy())
                bar.update(len(batch))
        part.file.write(missing[start : start + per_block * batch_size], np.concatenate(found))


def _check_disk(parts: Sequence[_Part], backbone: Backbone, shape: tuple[int, ...]) -> None:
    """Say how much of the disk the activations take, and refuse what does not fit.

    Raises:
        OSError: if they do not fit.
    """
    each = int(np.prod(shape)) * DTYPE.itemsize
    tested, *views = parts
    count = len(tested.rows) + sum(len(view.rows) for view in views)
    needed = each * sum(len(part.missing()) for part in parts)
    directory = tested.file.directory
    free = shutil.disk_usage(directory).free
    size = (
        f"{_size(each * count)} in {directory}, {_size(needed)} of it still to be computed; "
        f"{_size(free)} is free"
    )
    if needed > free:
        raise OSError(
            f"the activations take more space than there is: {size}. Choose fewer --views, a "
            "smaller --crop or a higher block for --train-from"
        )
    number = "1 view" if len(views) == 1 else f"{len(views)} views"
    _say(
        f"activations in front of {backbone.cut}: {len(tested.rows)} pictures to test on and "
        f"{number} of {len(views[0].rows)} to train on, {_size(each)} each: {size}"
    )


def _size(num_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} GB"


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
