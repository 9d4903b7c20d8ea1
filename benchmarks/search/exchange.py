"""A model in the formats of other runtimes: ONNX and TorchScript."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pml_hierarchical.search import RetrievalModel

ONNX_FILE, TORCHSCRIPT_FILE = "model.onnx", "model.pt"
TOLERANCE = 1e-5
_OF_ONNX = ("onnxruntime", "onnxscript")  # torch.onnx.export needs the latter


def check_formats(formats: Collection[str]) -> None:
    """Refuse a format whose packages are missing.

    Raises:
        ValueError: with what to install.
    """
    try:
        for package in _OF_ONNX if "onnx" in formats else ():
            importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f'the format onnx needs {error.name}: pip install "pml-hierarchical[export]"'
        ) from error


def write_onnx(model: RetrievalModel, folder: Path) -> Path:
    """Write ``model.onnx``: from ``inputs`` of any number to ``embeddings`` of length 1.

    ``inputs`` are what the model's ``transform`` makes of pictures.

    Raises:
        ValueError: if packages are missing, the network cannot be exported, or its embeddings
            differ by more than 1e-5.
    """
    check_formats(["onnx"])
    onnxruntime = importlib.import_module("onnxruntime")
    path, inputs = folder / ONNX_FILE, example_inputs(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the exporter about itself
        try:
            torch.onnx.export(
                model,
                (inputs,),
                str(path),
                input_names=["inputs"],
                output_names=["embeddings"],
                dynamic_shapes={"inputs": {0: torch.export.Dim("batch")}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # what the exporter raises is not documented
            raise _cannot("onnx", error) from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = [session.run(None, {"inputs": some.numpy()})[0] for some in (inputs, inputs[:1])]
    _check_equal(model, inputs, found, path)
    return path


def write_torchscript(model: RetrievalModel, folder: Path) -> Path:
    """Write ``model.pt`` for ``torch.jit.load``; see :func:`write_onnx`.

    PyTorch has announced the end of TorchScript; it is for runtimes that take nothing else.
    """
    path, inputs = folder / TORCHSCRIPT_FILE, example_inputs(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated
        try:
            with torch.inference_mode():
                torch.jit.trace(model, inputs).save(str(path))
            loaded = torch.jit.load(str(path))
            with torch.inference_mode():
                found = [loaded(some).numpy() for some in (inputs, inputs[:1])]
        except Exception as error:  # what the tracer raises is not documented
            raise _cannot("torchscript", error) from error
    _check_equal(model, inputs, found, path)
    return path


def example_inputs(model: RetrievalModel) -> torch.Tensor:
    """Three noisy pictures as the network takes them."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    return torch.stack([model.transform(Image.fromarray(one)) for one in noise])


def _check_equal(
    model: RetrievalModel, inputs: torch.Tensor, found: list[np.ndarray], path: Path
) -> None:
    with torch.inference_mode():
        wanted = model(inputs).numpy()
    largest = max(np.abs(some - wanted[: len(some)]).max() for some in found)
    if not largest <= TOLERANCE:
        path.unlink()
        raise ValueError(
            f"the embeddings of {path.name} differ by {largest:.1g} from those of the model, more "
            f"than {TOLERANCE:g}: it was not kept"
        )


def _cannot(name: str, error: Exception) -> ValueError:
    reason: Any = (str(error).splitlines() or [type(error).__name__])[0]
    return ValueError(f"this network cannot be written as {name} ({reason})")
