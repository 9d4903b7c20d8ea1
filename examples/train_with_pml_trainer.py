"""Train with a hierarchical proxy loss on PML's trainer, with its hooks, records and checkpoints.

python examples/train_with_pml_trainer.py FOLDER

The data are those of ``train_distributed.py``. If training was stopped, run the script again with
the same folder: it continues from the last checkpoint. Records are in FOLDER/records (SQLite and
CSV).
"""

from __future__ import annotations

import argparse

import torch
from pytorch_metric_learning import samplers, trainers
from pytorch_metric_learning.utils import logging_presets
from pytorch_metric_learning.utils.common_functions import use_cuda_if_available
from train_distributed import (
    BATCH_SIZE,
    EMBEDDING_SIZE,
    EPOCHS,
    NUM_CLASSES,
    NUM_SUPERCLASSES,
    make_data,
    make_trunk,
)

from pml_hierarchical.accuracy import HierarchicalAccuracyCalculator
from pml_hierarchical.hooks import ReclusterHook
from pml_hierarchical.losses import HierarchicalProxyLoss
from pml_hierarchical.testers import HierarchicalTester

METRIC = "mean_average_precision_at_r"


def main(folder: str) -> None:
    """Train, and print MAP@R of every epoch."""
    torch.manual_seed(0)
    device = use_cuda_if_available()
    train_set, test_set = make_data()
    iterations = len(train_set) // BATCH_SIZE
    trunk = make_trunk().to(device)
    loss_func = HierarchicalProxyLoss(
        NUM_CLASSES, EMBEDDING_SIZE, num_superclasses=NUM_SUPERCLASSES, warmup=iterations,
        recluster_every=None,  # the hook below does it
    ).to(device)  # fmt: skip

    record_keeper, _, _ = logging_presets.get_record_keeper(f"{folder}/records")
    hooks = logging_presets.get_hook_container(record_keeper, primary_metric=METRIC, log_freq=1)
    tester = HierarchicalTester(
        accuracy_calculator=HierarchicalAccuracyCalculator(include=(METRIC,)),
        end_of_testing_hook=hooks.end_of_testing_hook,
        dataloader_num_workers=0,
        primary_level=0,  # the best epoch is the best at the finest level
        progress_bar=False,
    )
    datasets = {"val": test_set}
    trainer = trainers.MetricLossOnly(
        models={"trunk": trunk},
        optimizers={
            "trunk_optimizer": torch.optim.AdamW(trunk.parameters(), lr=5e-3),
            # The proxies are parameters of the loss. HookContainer saves optimizers and loss_funcs,
            # so training resumes with the same hierarchy, step counts and optimizer states.
            "metric_loss_optimizer": torch.optim.AdamW(loss_func.parameters(), lr=1e-1),
        },
        batch_size=BATCH_SIZE,
        loss_funcs={"metric_loss": loss_func},
        dataset=train_set,
        sampler=samplers.MPerClassSampler(
            train_set.labels[:, 0], 4, BATCH_SIZE, iterations * BATCH_SIZE
        ),
        dataloader_num_workers=0,
        iterations_per_epoch=iterations,
        # Updates first, so that what they changed is in the records of the same iteration.
        end_of_iteration_hook=ReclusterHook(iterations, next_hook=hooks.end_of_iteration_hook),
        end_of_epoch_hook=hooks.end_of_epoch_hook(tester, datasets, f"{folder}/models"),
    )

    start_epoch = hooks.load_latest_saved_models(trainer, f"{folder}/models", device)
    if start_epoch == 1:  # how good the trunk is before training, as epoch 0
        tester.test(datasets, 0, trunk)
        record_keeper.save_records()
    trainer.train(start_epoch, EPOCHS)

    names = [f"{METRIC}_level0", f"{METRIC}_level1"]
    history = hooks.get_accuracy_history(tester, "val", return_all_metrics=True)
    for epoch, *values in zip(history["epoch"], *(history[name] for name in names), strict=True):
        print("epoch {}: MAP@R of classes {:.4f}, of superclasses {:.4f}".format(epoch, *values))
    print(f"{loss_func.num_updates} updates; in the last, {loss_func.share_moved:.0%} moved")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="for records and checkpoints")
    main(parser.parse_args().folder)
