"""What the processes other than the first do when several train a run together."""

from __future__ import annotations

import torch

from ..datasets.base import RetrievalData
from ..distributed import from_first
from ..run_config import RunConfig
from .building import build_trainer
from .checkpoints import restore
from .seeding import seed_everything


def help_to_train(config: RunConfig, data: RetrievalData, device: torch.device) -> None:
    """Train a run with the first process, which has a ``Session`` of it; nothing is written."""
    checkpoint = from_first(None)
    seed_everything(config.seed)
    trainer = build_trainer(config, data, device)
    finished_epochs = 0
    if checkpoint is not None:
        restore(trainer, checkpoint, to_go_on=True)
        if checkpoint["stopped_early"]:
            return
        finished_epochs = checkpoint["epoch"]
    trainer.train(finished_epochs + 1, config.settings.epochs)
