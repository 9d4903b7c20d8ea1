"""The model that made a gallery."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from pml_hierarchical.search import RetrievalModel

from ..names import printable
from .embed_folder import tree_of
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
        ValueError: if it is another model.
    """
    place = Path(index.about["model"]) if folder is None else folder
    if folder is None and not place.is_dir():
        raise FileNotFoundError(
            f"the model that made {printable(gallery)} is no longer in "
            f"{printable(place)}: give its folder with --model"
        )
    model = RetrievalModel.load(place, device)
    made_by = index.about["fingerprint"]
    if model.fingerprint != made_by:
        raise ValueError(
            f"{printable(gallery)} was made by another model than {printable(place)}: "
            f"{index.engine.d} dimensions and fingerprint {made_by[:12]}, but this model has "
            f"{model.embedding_size} and {model.fingerprint[:12]}. Give the gallery's model with "
            "--model, or embed and index its pictures with this one"
        )
    if index.hierarchy != tree_of(model.class_names, model.hierarchy):
        warnings.warn(
            f"the model has other classes than {printable(gallery)}, whose names are "
            f"shown. Update it: {update_command(index, gallery)}",
            stacklevel=2,
        )
    return model
