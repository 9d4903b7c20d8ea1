"""The network, the loss, the sampler, the optimizers and the trainer of one run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pytorch_metric_learning.samplers import MPerClassSampler
from pytorch_metric_learning.trainers import MetricLossOnly

from pml_hierarchical.losses.processes import num_processes

from ..augmentation import AugmentedBatches
from ..datasets.base import RetrievalData
from ..models import models_for
from ..run_config import RunConfig
from .together import TogetherTrainer
from .tree import training_tree

PROXY_GRADIENT_LIMIT = 10.0  # as Proxy-Anchor's authors clip; the others never reach it


def build_trainer(
    config: RunConfig,
    data: RetrievalData,
    device: torch.device,
    end_of_iteration: Callable[[Any], None] | None = None,
    end_of_epoch: Callable[[Any], bool] | None = None,
) -> MetricLossOnly:
    """PML's trainer of one run; random numbers are drawn from the global generators.

    Arguments:
        config: what is trained.
        data: the data set.
        device: where the network is trained.
        end_of_iteration, end_of_epoch: called with the trainer; ``False`` ends the training.
    """
    settings = config.settings
    training = data.split(config.fold).train
    labels, tree = training_tree(data.labels[training])
    loss = config.loss.build(tree.num_classes, settings.embedding_size, tree, config.seed)
    models = models_for(data, training, settings.embedding_size)
    optimizers = _optimizers(config, {**models, "metric_loss": loss}, device)
    miner = config.loss.build_miner()
    batch_size = settings.images_per_batch(tree.num_classes)
    trainer_class = TogetherTrainer if num_processes() > 1 else MetricLossOnly
    return trainer_class(
        models=models,
        optimizers=optimizers,
        batch_size=batch_size,
        loss_funcs={"metric_loss": loss},
        dataset=data.images(training, training=True, labels=labels),
        # of whole batches, so that several processes together draw the random numbers of one
        collate_fn=settings.augmentation and AugmentedBatches(settings.augmentation),
        mining_funcs={} if miner is None else {"tuple_miner": miner},
        iterations_per_epoch=settings.iterations_per_epoch,
        data_device=device,
        sampler=MPerClassSampler(
            labels,
            settings.samples_per_class,
            batch_size,
            batch_size * settings.iterations_per_epoch,
        ),
        lr_schedulers={
            name.replace("_optimizer", "_scheduler_by_iteration"): (
                torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.iterations)
            )
            for name, optimizer in optimizers.items()
        },
        gradient_clippers=(
            {"metric_loss_grad_clipper": partial(_clip, loss)}
            if "metric_loss_optimizer" in optimizers
            else {}
        ),
        dataloader_num_workers=config.workers,
        end_of_iteration_hook=end_of_iteration,
        end_of_epoch_hook=end_of_epoch,
    )


def _optimizers(
    config: RunConfig, modules: dict[str, torch.nn.Module], device: torch.device
) -> dict[str, torch.optim.Optimizer]:
    settings = config.settings
    rates = {
        "trunk": settings.trunk_factor * settings.learning_rate,
        "embedder": settings.learning_rate,
    }
    optimizers: dict[str, torch.optim.Optimizer] = {}
    for name, module in modules.items():
        module.to(device)
        if not any(True for _ in module.parameters()):
            continue
        if name == "metric_loss":
            groups, decay = config.loss.parameter_groups(module), 0.0
        else:
            groups = [{"params": list(module.parameters()), "lr": rates[name]}]
            decay = settings.weight_decay
        optimizers[f"{name}_optimizer"] = torch.optim.AdamW(groups, weight_decay=decay)
    return optimizers


def _clip(loss: torch.nn.Module) -> None:
    torch.nn.utils.clip_grad_value_(loss.parameters(), PROXY_GRADIENT_LIMIT)
