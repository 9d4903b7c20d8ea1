"""A trained network in a folder: weights, architecture, transform, class names and their tree."""

from __future__ import annotations

import hashlib
import importlib
import json
import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torchvision import models, transforms

from ..hierarchy import Hierarchy
from ..trees import name_superclasses
from .pictures import open_picture

FORMAT, VERSION = "pml-hierarchical model", 1
WEIGHTS_FILE, DESCRIPTION_FILE = "model.safetensors", "model.json"
TEMPORARY = ".pmlh-tmp"  # suffix of files that are not complete yet
_NO_JSON = (UnicodeDecodeError, json.JSONDecodeError)

# What a model folder may ask for: nothing in it downloads, reads other files or runs code.
_NETWORKS: dict[str, dict[str, Any]] = {  # with the arguments that are always set like this
    "timm.create_model": {"pretrained": False},
    "torchvision.models.get_model": {"weights": None},
    "efficientnet_lite_pytorch.EfficientNet.from_name": {},
}
_ARGUMENTS = {"model_name", "name", "num_classes", "in_chans", "in_channels", "global_pool"}
_ARGUMENTS |= {"img_size", "image_size", "aux_logits", "transform_input", "init_weights"}
_TRANSFORMS = ("CenterCrop", "Grayscale", "Normalize", "Pad", "Resize", "ToTensor")


def build(stage: Any) -> Any:
    """A layer, network or transform from plain values; a list of them makes a ``Sequential``.

    Arguments:
        stage: ``{"builder": "torch.nn.Linear", "arguments": {"in_features": 8, ...}}``: a module of
            ``torch.nn``, a network of timm, torchvision or efficientnet_lite_pytorch, or a
            transform of torchvision; ``"replace": {"fc": stage}`` replaces a part of a network.
            A ``ValueError`` for anything else, or if its package is not installed.
    """
    if isinstance(stage, (list, tuple)):
        return torch.nn.Sequential(*map(build, stage))
    if not isinstance(stage, Mapping) or "builder" not in stage:
        raise ValueError(f"a model has no part {stage!r}: expected a dict with a builder")
    builder, arguments = str(stage["builder"]), dict(stage.get("arguments", {}))
    (package, _, path), (place, _, name) = builder.partition("."), builder.rpartition(".")
    is_layer = place == "torch.nn" and isinstance(getattr(torch.nn, name, None), type)
    is_step = place == "torchvision.transforms" and name in _TRANSFORMS
    is_network = builder in _NETWORKS and arguments.keys() <= _ARGUMENTS
    is_network &= ":" not in str([*arguments.values()])  # as in names that say where to fetch from
    if place == "torchvision.models":  # the others fetch weights for their parts
        is_network &= arguments.get("name") in models.list_models(module=models)
    if not (is_layer or is_step or is_network):
        known = f"torch.nn.*, torchvision.transforms.{{{','.join(_TRANSFORMS)}}}, {[*_NETWORKS]}"
        raise ValueError(f"{stage} is not allowed: use {known}, arguments {sorted(_ARGUMENTS)}")
    if "interpolation" in arguments:
        arguments["interpolation"] = transforms.InterpolationMode(arguments["interpolation"])
    try:
        target = operator.attrgetter(path)(importlib.import_module(package))
        made = target(**arguments, **_NETWORKS.get(builder, {}))
        for module, other in stage.get("replace", {}).items():
            made.set_submodule(module, build(other), strict=True)
    except ImportError as error:
        install = f"pip install {package.replace('_', '-')}"
        raise ValueError(f"the model needs the package {package} ({error}): {install}") from error
    except (AttributeError, RuntimeError, TypeError) as error:
        raise ValueError(f"{stage} cannot be built: {error}") from error
    return made


class RetrievalModel(torch.nn.Module):
    """A network with what a search needs; called with a batch, it returns embeddings of length 1.

    Arguments:
        architecture: of the network; what :func:`build` takes.
        transform: from a picture to the input of the network; a list of what :func:`build` takes.
        class_names: of the classes that have proxies.
        proxies: floats ``(num_classes, embedding_size)``, ``loss_func.class_vectors()``.
        hierarchy: their tree, as ``Hierarchy.of`` takes it. Superclasses without names get names.
        weights: ``network.state_dict()`` of the trained network; random by default.
        training: plain values for people to read, such as the data set and the settings.

    A ``ValueError`` says what does not fit.

    Example:
        >>> layers = [{"builder": "torch.nn.Flatten"}]
        >>> transform = [{"builder": "torchvision.transforms.ToTensor"}]
        >>> RetrievalModel(layers, transform).embed([Image.new("RGB", (64, 64), "red")]).shape
        (1, 12288)
    """

    proxies: torch.Tensor

    def __init__(
        self,
        architecture: Sequence[Any],
        transform: Sequence[Any],
        class_names: Sequence[str] = (),
        proxies: Any = (),
        hierarchy: Any = None,
        weights: Mapping[str, Any] | None = None,
        training: Any = None,
    ) -> None:
        super().__init__()
        self.description = {"architecture": architecture, "transform": transform}
        self.training_record = training
        self.transform = transforms.Compose([build(step) for step in transform])
        self.network, self.class_names = build(architecture), tuple(class_names)
        try:
            if weights is not None:
                self.network.load_state_dict(weights)
            blank = self.transform(Image.new("RGB", (64, 64)))[None]
            with torch.inference_mode():
                (self.embedding_size,) = self.eval().network(blank).shape[1:]
            vectors = torch.as_tensor(proxies).detach().float().reshape(-1, self.embedding_size)
        except (RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split()[:50])
            raise ValueError(f"weights, layers, transform, proxies do not fit: {reason}") from error
        self.register_buffer("proxies", vectors.cpu().clone())
        self.hierarchy, num_classes = None, len(self.class_names)
        if num_classes or hierarchy is not None:
            tree = Hierarchy.flat(num_classes) if hierarchy is None else Hierarchy.of(hierarchy)
            names = (tree.names or (None,) * tree.num_levels)[1:]
            named = Hierarchy(tree.class_labels, [self.class_names, *names])  # they must differ
            self.hierarchy = None if hierarchy is None else name_superclasses(named)
        if len(self.proxies) != num_classes:
            raise ValueError(f"{num_classes} classes need proxies, got {tuple(np.shape(proxies))}")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The embeddings of what ``transform`` makes of pictures, ``(n, embedding_size)``."""
        return torch.nn.functional.normalize(self.network(inputs))

    @torch.inference_mode()
    def embed(self, pictures: Sequence[Any], batch_size: int = 32) -> np.ndarray:
        """Embeddings of length 1 of files or PIL images, ``float32`` ``(n, embedding_size)``.

        An ``OSError`` names a file that is not a picture.
        """
        if batch_size < 1:  # a negative one would embed nothing
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.eval()
        pictures = [pictures] if isinstance(pictures, (str, Path, Image.Image)) else pictures
        found = [np.empty((0, self.embedding_size), np.float32)]
        for start in range(0, len(pictures), batch_size):
            some = [open_picture(one) for one in pictures[start : start + batch_size]]
            inputs = torch.stack([self.transform(one) for one in some])
            found.append(self(inputs.to(self.proxies.device)).cpu().numpy())
        return np.concatenate(found)

    def nearest_classes(self, embeddings: Any) -> np.ndarray:
        """The class whose proxy has the largest cosine similarity, ``int64`` ``(n,)``."""
        if not len(self.proxies):
            raise ValueError("this model has no classes; the command add-classes adds some")
        directions = torch.nn.functional.normalize(self.proxies).T
        found = [torch.empty(0, dtype=torch.int64)]
        for start in range(0, len(embeddings), 4096):
            some = embeddings[start : start + 4096]
            some = some if torch.is_tensor(some) else torch.tensor(np.asarray(some))
            found.append((some.to(directions) @ directions).argmax(dim=1).cpu())
        return torch.cat(found).numpy()

    @property
    def fingerprint(self) -> str:
        """A digest of weights, architecture and transform: if it is equal, so are embeddings."""
        digest = hashlib.sha256(json.dumps([*self.description.values()]).encode())
        for name, tensor in self.network.state_dict().items():
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``model.json``, which :meth:`load` reads."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        state = {n: x.detach().cpu().contiguous().clone() for n, x in self.state_dict().items()}
        tree = self.hierarchy and self.hierarchy.to_dict()
        content = {"format": FORMAT, "version": VERSION, **self.description, "hierarchy": tree}
        content |= {"class_names": self.class_names, "embedding_size": self.embedding_size}
        content |= {"fingerprint": self.fingerprint, "training": self.training_record}
        described = json.dumps(content, indent=1).encode()
        files = {Path(folder, WEIGHTS_FILE): save(state), Path(folder, DESCRIPTION_FILE): described}
        for path, written in files.items():  # the old files stay until both new ones are on disk
            path.with_name(path.name + TEMPORARY).write_bytes(written)
        for path in files:
            os.replace(path.with_name(path.name + TEMPORARY), path)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> RetrievalModel:
        """Read a folder that :meth:`save` wrote.

        Raises ``FileNotFoundError`` if it is not such a folder, ``ValueError`` if it is damaged,
        of a newer version, or needs a package that is missing.
        """
        path = Path(folder, DESCRIPTION_FILE)
        if not path.is_file():
            wrong = f"{str(folder)!r} is not a model folder: it has no {DESCRIPTION_FILE}"
            raise FileNotFoundError(f"{wrong}. The commands train and export write such folders")
        try:
            content = json.loads(path.read_bytes())
            kind, version = content["format"], content["version"]
            if kind != FORMAT or version > VERSION:
                wrong = f"{path} has format {kind!r}, version {version}; expected up to {VERSION}"
                raise ValueError(f"{wrong}: pip install --upgrade pml-hierarchical")
            tensors = load_file(path.with_name(WEIGHTS_FILE))
            proxies, tree = tensors.pop("proxies"), content["hierarchy"]
            parts = content["architecture"], content["transform"], content["class_names"]
            weights = {name.removeprefix("network."): one for name, one in tensors.items()}
            with torch.random.fork_rng(devices=[]):  # the weights that will be replaced are random
                model = cls(*parts, proxies, tree, weights, content["training"])
            if model.fingerprint != content["fingerprint"]:
                raise ValueError(f"{folder} has the files of two models: export or copy it again")
        except (KeyError, OSError, SafetensorError, TypeError, *_NO_JSON) as error:
            raise ValueError(f"{folder} is damaged ({error!r}): export or copy it again") from error
        return model.to(device)
