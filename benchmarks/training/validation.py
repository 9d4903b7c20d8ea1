"""A run that is trained like any other and never tested: what ``ablate`` and ``tune`` compare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets.base import RetrievalData
from ..progress import RunProgress
from ..run_config import RunConfig, write_result
from .checkpoints import remove_checkpoints
from .session import Session, Stop
from .testing import common_results


def train_and_validate(
    config: RunConfig,
    data: RetrievalData,
    out: Path,
    device: torch.device,
    progress: RunProgress,
    stop: Stop | None = None,
    start: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train one run in a folder of its own, and write its settings and its result there.

    Arguments:
        stop: ends the training early; the result then has ``stopped_early``, and perhaps no
            ``best_epoch``.
        start: a checkpoint of a flat loss to begin from; see :mod:`.shared_warmup`.

    Returns:
        The result: what :func:`~benchmarks.run_config.read_result` reads from the folder. Its
        ``validation`` has the metrics of every epoch, and nothing in it is from the test classes.
    """
    session = Session(config, data, config.folder(out), device, progress, stop, start)
    session.train()
    session.close()
    result = {
        **common_results(session),
        "update_seconds": float(np.mean(session.update_seconds))
        if session.update_seconds
        else None,
        "sizes": list(getattr(session.loss, "sizes", ())) or None,
        "num_images": {part: len(getattr(session.split, part)) for part in ("train", "val")},
        "best_epoch": session.best_epoch(),
    }
    write_result(session.folder, result)
    remove_checkpoints(session.folder)
    return result
