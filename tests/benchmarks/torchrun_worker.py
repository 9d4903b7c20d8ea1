"""What every process of the tests with torchrun does: ``together OUT`` or ``killed OUT``."""

import os
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from rich.console import Console

from benchmarks import command_line, suite
from benchmarks.augmentation import RandomAffine
from benchmarks.datasets import DATASETS, DatasetEntry
from benchmarks.distributed import is_helper, process_group, with_whole_batches
from benchmarks.settings import SETTINGS
from benchmarks.training.building import build_trainer

sys.path.insert(0, str(Path(__file__).parent))
from killed_suite import MOMENTS
from small_data import SMALL_SETTINGS, make_small_data, small_request

FEATURE_LOSSES = [
    "contrastive",
    "triplet_margin",
    "proxy_anchor",
    "hpl:proxy_anchor",
    "contrastive_xbm",
]
PICTURE_LOSSES = ["triplet_margin", "proxy_anchor"]
KILLED_LOSSES = ["hpl:proxy_anchor"]
SIZE = 2  # processes


def make_small_pictures():
    """The classes of the small data set, drawn: 1 x 32 x 32, so that a GlyphTrunk sees them."""
    data = make_small_data()
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(32, 1, 32, 32, generator=generator)[torch.as_tensor(data.labels[:, 0])]
    noise = torch.rand(len(data.labels), 1, 32, 32, generator=generator)
    return replace(data, name="small_pictures", inputs=(255 * (drawn + noise) / 2).byte())


def small_datasets():
    """Entries of the data sets and settings of their training, by name."""
    data, pictures = make_small_data(), make_small_pictures()
    return {
        "small": (
            DatasetEntry("small", "vectors", (0,), lambda root: data),
            SMALL_SETTINGS,
        ),
        "small_pictures": (
            DatasetEntry("small_pictures", "pictures", (0,), lambda root: pictures),
            # few steps: where an input of a ReLU is next to 0, rounding decides on its gradient
            replace(
                SMALL_SETTINGS,
                epochs=2,
                iterations_per_epoch=1,
                learning_rate=1e-3,
                augmentation=RandomAffine(10, 0.1, 5, 0.1),
            ),
        ),
    }


def run(dataset, losses, out, device="cpu"):
    planned = suite.plan(small_request(out, losses, dataset, device=device))
    if is_helper():
        suite.help_run(planned)
    else:
        suite.run(planned, Console())


# ---------------------------------------------------------------- batch normalisation
LAYERS = {
    "2-D": lambda: torch.nn.BatchNorm2d(3),
    "all batches count alike": lambda: torch.nn.BatchNorm2d(3, momentum=None),
    "not affine": lambda: torch.nn.BatchNorm2d(3, affine=False),
    "no running statistics": lambda: torch.nn.BatchNorm2d(3, track_running_stats=False),
}


def batch_norm(layer, part):
    """Two training steps and an evaluation on a part of the batch: all that they give."""
    generator = torch.Generator().manual_seed(5)
    found = {}
    for parameter in layer.parameters():
        parameter.data = torch.rand(3, generator=generator) + 0.5
    for step in range(2):
        whole = 50 + 3 * torch.randn(8, 3, 5, 4, generator=generator)
        upstream = torch.randn(8, 3, 5, 4, generator=generator)
        inputs = whole[part].requires_grad_()
        outputs = layer(inputs)
        (outputs * upstream[part]).sum().backward()
        found[f"outputs {step}"], found[f"gradient {step}"] = outputs.detach(), inputs.grad
    layer.eval()
    if layer.track_running_stats:
        found["evaluated"] = layer(whole[part]).detach()
    weights = {name: parameter.grad for name, parameter in layer.named_parameters()}
    return found, weights, dict(layer.named_buffers())


# ---------------------------------------------------------------- what is refused
def refusals():
    """The messages for a batch without equal parts, and for a network with dropout."""
    messages = []
    for batch_size, dropout in ((15, 0.0), (12, 0.5)):
        settings = replace(SMALL_SETTINGS, batch_size=batch_size, samples_per_class=3)
        (config,) = suite.plan(small_request(Path("nowhere"), ["proxy_anchor"])).runs
        try:
            trainer = build_trainer(
                replace(config, settings=settings), make_small_data(), torch.device("cpu")
            )
            trainer._parallel["trunk"] = torch.nn.Dropout(dropout)
            trainer.train(1, 1)
        except ValueError as error:
            messages.append(str(error))
    return messages


def together(out):
    with process_group("cpu") as device:
        rank = dist.get_rank()
        group = weakref.ref(dist.group.WORLD)
        part = slice(rank * 8 // SIZE, (rank + 1) * 8 // SIZE)
        layers = {name: with_whole_batches(make(), on_gpu=False) for name, make in LAYERS.items()}
        found = {
            "layers": {name: batch_norm(layer, part) for name, layer in layers.items()},
            "refused": refusals(),
        }
        torch.save(found, out / f"rank{rank}.pt")
        run("small", FEATURE_LOSSES, out / "runs", device)
        run("small_pictures", PICTURE_LOSSES, out / "runs", device)
        run("small", KILLED_LOSSES, out / "interrupted", device)
    (out / f"group{rank}").write_text("gone" if group() is None else "here")


def killed(out):
    code = command_line.main(["list"])  # is refused
    (out / f"code{os.environ['RANK']}").write_text(str(code))
    MOMENTS["in the second epoch"]()
    with process_group("cpu") as device:
        run("small", KILLED_LOSSES, out, device)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, (entry, settings) in small_datasets().items():
        DATASETS[name], SETTINGS[name] = entry, settings
    {"together": together, "killed": killed}[sys.argv[1]](Path(sys.argv[2]))
