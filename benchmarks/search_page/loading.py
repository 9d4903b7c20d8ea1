"""From folders to galleries that can be searched, or an error that says what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..names import printable
from ..search.index_age import age_warning, is_noted
from ..search.training_records import of_training
from .files import PictureFiles
from .gallery import Gallery, SearchedPictures, classes_of, same_pictures

if TYPE_CHECKING:
    from pml_hierarchical.search import RetrievalModel

    from ..search.gallery_index import Index


def load(
    gallery: Path,
    compare: Path | None = None,
    model: Path | None = None,
    compare_model: Path | None = None,
    pictures: Path | None = None,
    follow_links: bool = False,
) -> SearchedPictures:
    """Load galleries and models.

    Arguments:
        gallery: the folder of the gallery that is shown.
        compare: of another gallery over the same pictures.
        model: of the model that made ``gallery``; by default the folder that it was embedded
            from, if that still exists. Without a model nothing can be uploaded.
        compare_model: the same for ``compare``.
        pictures: the folder of the pictures, if it is not where they were embedded.
        follow_links: whether links may lead out of it.

    Raises:
        OSError: if a folder does not exist, or none of the pictures does.
        ValueError: if galleries and models do not fit each other.
    """
    from ..search.gallery_index import Index

    if compare_model is not None and compare is None:
        raise ValueError("--compare-model is for a second gallery: give that with --compare")
    index = Index.load(gallery)
    loaded = _model(model, index, gallery, "--model")
    searched = [Gallery(index, loaded, _title(gallery, loaded), np.arange(len(index)), model)]
    if compare is not None:
        other = Index.load(compare)
        _check_order(index, other)
        rows = same_pictures(index, other, compare)
        loaded = _model(compare_model, other, compare, "--compare-model")
        searched.append(Gallery(other, loaded, _title(compare, loaded), rows))
        if searched[0].title == searched[1].title:
            searched[0].title, searched[1].title = printable(gallery), printable(compare)
    root = Path(index.about.get("root", ".")) if pictures is None else pictures
    return SearchedPictures(
        searched,
        PictureFiles(root, index.paths, follow_links),
        classes_of(index, searched[0].model),
    )


def check_files(found: SearchedPictures, gallery: Path) -> str | None:
    """A warning if pictures are not as they were when they were embedded, or cannot be shown.

    Raises:
        FileNotFoundError: if none is there.
    """
    index, files = found.galleries[0].index, found.files
    missing = files.missing()
    if missing == len(index):
        raise FileNotFoundError(
            f"none of the {missing:,} pictures of the gallery is in {printable(files.root)}: if "
            "their folder was moved, give it with --pictures"
        )
    told = []
    if is_noted(index) and files.root == Path(index.about["root"]):
        told.append(age_warning(index, gallery, found.galleries[0].model_folder))
    elif missing:  # in a folder that was moved, or an index that was built in Python
        told.append(
            f"{missing:,} of {len(index):,} pictures of the gallery are not in "
            f"{printable(files.root)}: they are found, but cannot be shown"
        )
    if not_shown := files.not_shown():
        reasons = ", ".join(f"{number:,} {what}" for what, number in not_shown.items())
        told.append(
            f"{sum(not_shown.values()):,} of {len(index):,} pictures of the gallery are found, but "
            f"cannot be shown: {reasons}"
        )
    return ". ".join(filter(None, told)) or None


def _title(folder: Path, model: RetrievalModel | None) -> str:
    """The loss that the model was trained with, or the folder's name if that is not known."""
    settings = None if model is None else of_training(model.training_record)
    loss = settings.get("loss") if isinstance(settings, dict) else None
    return printable(loss if isinstance(loss, str) else folder.name)


def _model(given: Path | None, index: Index, gallery: Path, option: str) -> RetrievalModel | None:
    from ..search.search_model import checked_model

    recorded = index.about.get("model")  # an index built in Python may have none
    folder = Path(recorded) if given is None and recorded else given
    if folder is None or (given is None and not folder.is_dir()):
        return None
    return checked_model(index, gallery, folder, option)


def _check_order(index: Index, other: Index) -> None:
    def levels(one: Index) -> int:
        return 0 if one.hierarchy is None else one.hierarchy.num_levels

    if levels(index) < 2 <= levels(other):
        raise ValueError(
            "the first gallery has no superclasses but the one to compare with does: give them in "
            "the other order, since the classes of the first are shown"
        )
