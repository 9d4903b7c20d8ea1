"""Weights from a file, and the error for weights that cannot be downloaded."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from ..tensor_files import read_tensors
from .choice import PRETRAINED, RANDOM


def check_file(path: str) -> Path:
    """The path of a file of weights.

    Raises:
        FileNotFoundError: if there is none.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(
            f"--weights {path}: there is no such file. Expected a file with a state dict, or "
            f"{PRETRAINED!r}, or {RANDOM!r}"
        )
    return file


def weights_name(weights: str, pretrained: str) -> str:
    """A part of a backbone's name that tells weights from others.

    Arguments:
        weights: as in :class:`~benchmarks.backbones.BackboneChoice`.
        pretrained: the name of the default weights of the source.

    Raises:
        FileNotFoundError: if ``weights`` is a file that is not there.
    """
    if weights == PRETRAINED:
        return pretrained
    return "random" if weights == RANDOM else f"file-{_checksum(check_file(weights))}"


def _checksum(file: Path) -> str:
    """A checksum of the content: a file that was replaced under its name gives other features.

    A file that has not changed is read once, since a run asks several times and weights are large.
    """
    state = file.stat()
    return _digest(file, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@functools.lru_cache
def _digest(file: Path, *state: int) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:16]


def load_weights(network: nn.Module, path: str, head: Sequence[str]) -> nn.Module:
    """Fill a network without its head from a file.

    The file holds a state dict, with the head (which is ignored) or without: of the source's
    network, or of a trunk that the benchmark trained.

    Arguments:
        network: changed in place, and returned.
        path: of a file written by ``torch.save``, or in the format ``.safetensors``.
        head: the names of the modules that the network no longer has.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, holds something else, or does not fit the network.
    """
    state = _read(check_file(path))
    consume_prefix_in_state_dict_if_present(state, "network.")  # a benchmarks.backbones.Trunk
    try:
        report = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        shapes = " ".join(str(error).splitlines()[1:2]).strip()
        raise ValueError(f"--weights {path} does not fit the network: {shapes}") from error
    unexpected = [key for key in report.unexpected_keys if not _inside(key, head)]
    if report.missing_keys or unexpected:
        raise ValueError(
            f"--weights {path} does not fit the network. Missing names: "
            f"{_some(report.missing_keys)}; unknown names: {_some(unexpected)}. Is it for another "
            "model?"
        )
    return network


def download_error(name: str, source: str, remedy: str, error: Exception) -> OSError:
    """The error for weights that could not be downloaded.

    Arguments:
        name: of the backbone.
        source: what was tried.
        remedy: where to put the file by hand.
        error: what went wrong.
    """
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return OSError(
        f"the weights of {name} could not be downloaded from {source} ({reason}). Fetch them "
        f"elsewhere and {remedy}, or name a file with --weights FILE, or start at random with "
        f"--weights {RANDOM}"
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        state = read_tensors(file)
    except ValueError as error:
        raise ValueError(
            f"--weights {file} cannot be read ({error}): expected a state dict, tensors and "
            "nothing else, saved by torch.save(network.state_dict(), FILE)"
        ) from error
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        held = f"a dict of {_some(list(state))}" if isinstance(state, dict) else type(state)
        raise ValueError(
            f"--weights {file}: expected a state dict, from names to tensors; got {held}"
        )
    return state


def _inside(key: str, modules: Iterable[str]) -> bool:
    return any(key.startswith(f"{module}.") for module in modules)


def _some(keys: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, keys[:2]))
    return f"{len(keys)} ({shown}{', ...' if len(keys) > 2 else ''})" if keys else "none"
