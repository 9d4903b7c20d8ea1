"""One run of an ablation: trained as any run of the benchmark, and never tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pml_hierarchical.losses import HierarchicalProxyLoss

from ..datasets.base import RetrievalData
from ..progress import SuiteProgress
from ..run_config import RunConfig, environment, write_result
from ..training import Session, train_session


class ValidationSession(Session):
    """The session of a run, which keeps no models and notes what every update took."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.hooks.do_save_models = False
        self.loss = self.trainer.loss_funcs["metric_loss"]
        self.update_seconds: list[float] = []

    def _end_of_iteration(self, trainer: Any) -> None:
        super()._end_of_iteration(trainer)
        # an iteration is one training step, in which there is at most one update
        if (
            isinstance(self.loss, HierarchicalProxyLoss)
            and len(self.loss.sizes) > 1
            and self.loss.num_updates > len(self.update_seconds)
        ):
            self.update_seconds.append(self.loss.update_seconds)

    def best_epoch(self) -> int:
        """The epoch with the best validation MAP@R at the finest level."""
        return int(self.hooks.get_best_epoch_and_accuracy(self.tester, "val")[0])

    def history(self) -> dict[str, list[Any]]:
        """The validation metrics of every epoch."""
        history = self.hooks.get_accuracy_history(self.tester, "val", return_all_metrics=True)
        return {key: value for key, value in history.items() if not key.startswith("best")}


def train_and_validate(
    config: RunConfig,
    data: RetrievalData,
    out: Path,
    device: torch.device,
    progress: SuiteProgress,
) -> dict[str, Any]:
    """Train one run in a folder of its own, and write its settings and its result there.

    Returns:
        The result: what :func:`~benchmarks.run_config.read_result` reads from the folder. Its
        ``validation`` has the metrics of every epoch, and nothing in it is of the test classes.
    """
    session, seconds = train_session(ValidationSession, config, data, out, device, progress)
    session.record_keeper.save_records()
    session.tensorboard.close()
    result = {
        "config": config.to_dict(),
        "environment": environment(device),
        "seconds": seconds,
        "update_seconds": float(np.mean(session.update_seconds))
        if session.update_seconds
        else None,
        "sizes": list(getattr(session.loss, "sizes", ())) or None,
        "num_images": {part: len(getattr(session.split, part)) for part in ("train", "val")},
        "best_epoch": session.best_epoch(),
        "validation": session.history(),
    }
    write_result(session.folder, result)
    return result
