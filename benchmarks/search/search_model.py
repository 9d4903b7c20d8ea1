"""The model that made a gallery."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from pml_hierarchical.search import RetrievalModel

from ..names import printable
from .embed_folder import has_classes_of
from .gallery_index import Index
from .index_age import update_command


def load_model(
    index: Index, gallery: Path, folder: Path | None, device: torch.device
) -> RetrievalModel:
    """Load the model of a gallery.

    A warning says if the classes of the model are not those of the gallery any more.

    Arguments:
        folder: of the model; by default where it was when the pictures were embedded.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is another model, or the gallery does not say which.
    """
    noted: Any = index.about.get("model")  # an index built in Python may have none
    if folder is None and not noted:
        raise ValueError(
            f"{printable(gallery)} does not say which model made it, like any gallery built in "
            "Python: give the folder of the model with --model"
        )
    place = Path(noted) if folder is None else folder
    if folder is None and not place.is_dir():
        raise FileNotFoundError(
            f"the model that made {printable(gallery)} is no longer in "
            f"{printable(place)}: give its folder with --model"
        )
    model = checked_model(index, gallery, place, "--model", device)
    if not has_classes_of(index.hierarchy, model):
        differs = f"the model has other classes than {printable(gallery)}; the gallery's are shown"
        if index.hierarchy is None:
            differs = f"the model has classes, and {printable(gallery)} has none"
        update = update_command(index, gallery, place)
        warnings.warn(f"{differs}. Update it: {update}", stacklevel=2)
    return model


def checked_model(
    index: Index, gallery: Path, folder: Path, option: str, device: torch.device | str = "cpu"
) -> RetrievalModel:
    """Load a model and check that it made a gallery, as far as that says.

    Arguments:
        option: that gives another folder, for the message.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is another model.
    """
    model = RetrievalModel.load(folder, device)
    made_by, dimension = index.about.get("fingerprint"), index.engine.d
    if made_by not in (None, model.fingerprint) or model.embedding_size != dimension:
        raise ValueError(
            f"{printable(gallery)} was made by another model than {printable(folder)}: "
            f"{dimension} dimensions and fingerprint {str(made_by)[:12]}, but this model has "
            f"{model.embedding_size} and {model.fingerprint[:12]}. Give the gallery's model with "
            f"{option}, or embed and index its pictures with this one"
        )
    return model
