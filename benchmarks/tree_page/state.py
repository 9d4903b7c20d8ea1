"""The tree in the ``state_dict`` of a hierarchical loss, wherever in a checkpoint that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pml_hierarchical import Hierarchy
from pml_hierarchical.core.superclasses import from_signs

from ..tensor_files import read_tensors
from .found import FoundTree

_TABLE = "superclasses.class_signs"
_PROXIES = {"proxies": 0, "W": 1, "fc": 1, "weight": 1}  # PML's names, and the dimension of classes
MAX_DEPTH = 8  # of dicts in dicts


def read_checkpoint_file(path: Path) -> FoundTree:
    """The tree of the loss in a file that ``torch.save`` or safetensors wrote.

    Only tensors and plain values are read; no code in the file runs. The ``state_dict`` of the loss
    may be the file, a part of it, or have a prefix, like that of a module that contains the loss.
    A file without a hierarchical loss may hold proxies: ``(C, dimension)``.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it holds neither a tree nor proxies, several of them, or a loss whose
            superclasses are not discovered yet.
    """
    try:
        content = read_tensors(path)
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read as a checkpoint of tensors ({error}). Save the loss with "
            "torch.save(loss_func.state_dict(), path)"
        ) from error
    if isinstance(content, torch.Tensor):
        return FoundTree(vectors=checked_proxies(content, path))
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, not tensors by their names")
    states = [state for state in _dicts(content) if any(_ends(key, _TABLE) for key in state)]
    tables = [(state, key) for state in states for key in state if _ends(key, _TABLE)]
    if len(tables) > 1:
        keys = ", ".join(key for _, key in tables)
        raise ValueError(f"{path} holds {len(tables)} hierarchical losses ({keys}): save only one")
    if tables:
        state, key = tables[0]
        tree, vectors = tree_of_state(state, key.removesuffix(_TABLE), path)
        history = content.get("update_superclasses")
        return FoundTree(tree, vectors, history=None if history is None else np.asarray(history))
    found = [
        (key, value)
        for state in _dicts(content)
        for key, value in state.items()
        if isinstance(value, torch.Tensor) and value.ndim == 2 and _is_proxies(key)
    ]
    if len(found) != 1:
        what = f"{len(found)} tensors that may be proxies" if found else "no tree and no proxies"
        raise ValueError(
            f"{path} holds {what}: expected the state_dict of a HierarchicalProxyLoss (with "
            f"...{_TABLE}), or of one proxy loss (with proxies or W)"
        )
    key, value = found[0]
    proxies = value if _PROXIES[key.rpartition(".")[2]] == 0 else value.t()
    return FoundTree(vectors=checked_proxies(proxies, path))


def tree_of_state(
    state: Mapping[str, torch.Tensor], prefix: str, path: Path
) -> tuple[Hierarchy, torch.Tensor]:
    """The tree of a hierarchical loss, without names, and a vector for each class.

    Arguments:
        state: with the ``state_dict`` of the loss.
        prefix: of the loss's keys in it.
        path: of the file, for messages.
    """
    stored = []
    for level in range(64):
        start = f"{prefix}level_losses.level{level}."
        keys = [key for key in state if key.startswith(start)]
        own = [state[key] for key in keys if key.removeprefix(start) in _PROXIES]
        if not keys:
            break
        stored += own[:1] or [value for key in keys if (value := state[key]).ndim == 2][:1]
    signs = state[f"{prefix}{_TABLE}"]
    if len(stored) < 2:
        raise ValueError(
            f"{path} holds a loss with one level, which has no superclasses: give its proxies and "
            "--num-superclasses to cluster them"
        )
    fine, coarse = stored[:2]
    dim = 0 if fine.shape[0] != coarse.shape[0] else 1
    centers = fine.shape[dim] // len(signs)
    sizes = tuple(one.shape[dim] // max(centers, 1) for one in stored)
    if sizes[0] != len(signs):
        raise ValueError(f"{path} is damaged: {sizes[0]} proxies for {len(signs)} classes")
    table = from_signs(signs.float(), sizes)
    if (table < 0).any() or not float(state[f"{prefix}superclasses.active"]) > 0:
        raise ValueError(
            f"the loss in {path} has not discovered its superclasses yet: it is in its warm-up, "
            f"after {int(state[f'{prefix}superclasses.steps'])} training steps"
        )
    rows = (fine if dim == 0 else fine.t()).float()
    vectors = torch.nn.functional.normalize(rows).unflatten(0, (-1, centers)).mean(dim=1)
    return Hierarchy(table), vectors


def checked_proxies(proxies: Any, path: Path) -> torch.Tensor:
    """Proxies as ``float32`` of shape ``(C, dimension)``.

    Raises:
        ValueError: if they are not finite floats of two dimensions.
    """
    vectors = torch.as_tensor(proxies)
    if vectors.ndim != 2 or not vectors.is_floating_point() or not vectors.numel():
        got = f"{str(vectors.dtype).removeprefix('torch.')} of shape {tuple(vectors.shape)}"
        raise ValueError(f"proxies must be floats of shape (classes, dimension); {path} has {got}")
    if not vectors.isfinite().all():
        raise ValueError(f"the proxies in {path} hold NaN or infinite values")
    return vectors.detach().float()


def _dicts(content: Mapping[Any, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """A dict and the dicts in it, only those whose keys are names."""
    if not all(isinstance(key, str) for key in content):
        return
    yield content
    for value in content.values():
        if isinstance(value, Mapping) and depth < MAX_DEPTH:
            yield from _dicts(value, depth + 1)


def _ends(key: str, name: str) -> bool:
    return key == name or key.endswith(f".{name}")


def _is_proxies(key: str) -> bool:
    # "weight" alone: layers of networks have one too
    return key.rpartition(".")[2] in ("proxies", "W", "fc") or key == "weight"
