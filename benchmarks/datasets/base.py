"""What every data set gives to the benchmark, and how its classes are split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from ..backbones import LabelledPictures, Trunk
from ..wording import counted

NUM_FOLDS = 4


def left_out_files(count: int) -> str:
    """What a report says about the files that are not used.

    Example:
        >>> left_out_files(2)
        '2 files left out: missing, broken or not pictures'
    """
    return f"{counted(count, 'file')} left out: missing, broken or not pictures"


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """The images of a data set and their classes, without what a network sees of them.

    Attributes:
        name: as in ``--dataset``.
        labels: ``int64`` of shape ``(N, levels)``, column 0 the finest, every level numbered
            without gaps.
        level_names: what a class of each level is, e.g. ``("character", "letter", "script")``.
        class_names: for each level the names of its classes.
        picture: the picture of image ``i``, for a person to look at.
        test_half: ``bool`` of shape ``(N,)``, the images to test on, if the data set itself says
            which; ``None`` if its classes are to be shuffled and halved.
        gallery: ``bool`` of shape ``(N,)``, the test images in which the other test images are
            searched; ``None`` if each test image is searched among all others.
        left_out: the files that are not used: what ``--skip-broken`` left out, and what a folder
            holds besides pictures.
        content: a digest of the pictures, if they are files, and of a file of weights.
    """

    name: str
    labels: np.ndarray
    level_names: tuple[str, ...]
    class_names: tuple[tuple[str, ...], ...]
    picture: Callable[[int], Image.Image] = field(repr=False)
    test_half: np.ndarray | None = None
    gallery: np.ndarray | None = None
    left_out: tuple[str, ...] = ()
    content: str = ""

    def split(self, fold: int) -> Split:
        """The images that train, validate and test in a fold, by the data set's own halves if any.

        Raises:
            ValueError: see :func:`split_by_class`.
        """
        split = split_by_class(self.labels, fold, test_half=self.test_half)
        if self.gallery is None:
            return split
        queries = split.test[~self.gallery[split.test]]
        return Split(split.train, split.val, queries, split.test[self.gallery[split.test]])

    def check_accuracy(self, fold: int, parts: Iterable[str] = ("validation", "test")) -> None:
        """Check, before anything is trained, that accuracy on a fold would mean something.

        Arguments:
            fold: of the training classes.
            parts: what is looked at.

        Raises:
            ValueError: if no image of a part has another one of its class to be found, or all
                are of one class, so that whatever is found is right; see also :meth:`split`.
        """
        split = self.split(fold)
        for part in parts:
            queries = references = split.val if part == "validation" else split.test
            if part == "test" and split.gallery is not None:
                references = split.gallery
            classes = self.labels[references, 0]
            found, counts = np.unique(classes, return_counts=True)
            enough = found[counts > 1] if queries is references else found
            if len(found) < 2 or not np.isin(self.labels[queries, 0], enough).any():
                raise ValueError(
                    f"the {part} of fold {fold} of {self.name} has "
                    f"{counted(len(queries), 'image')} to be searched for among "
                    f"{counted(len(references), 'image')} of "
                    f"{counted(len(found), 'class', 'classes')}: expected at least 2 classes, and "
                    "one with another image of it to be found. Add images or classes, or choose "
                    "other --folds"
                )


@dataclass(frozen=True, kw_only=True)
class RetrievalData(LabelledImages):
    """A data set as the benchmark trains on it.

    Attributes:
        inputs: what the network sees, one row per image: ``uint8`` pictures of shape
            ``(N, channels, height, width)``, or ``float32`` features of shape ``(N, features)``,
            in memory; or, with ``build_trunk``, pictures that are opened when asked for.
        untrained: ``float32`` of shape ``(N, features)``, the embedding that needs no training.
        untrained_name: what the row of ``untrained`` is called in the tables, e.g. "raw pixels".
        training_inputs: as ``inputs``, with the random crops of training; ``None`` if training
            sees what testing sees.
        build_trunk: the network to train on ``inputs``, built for every run; by default it follows
            from them, see :func:`benchmarks.models.models_for`.
    """

    inputs: torch.Tensor | Dataset[torch.Tensor]
    untrained: np.ndarray
    untrained_name: str
    training_inputs: Dataset[torch.Tensor] | None = field(default=None, repr=False)
    build_trunk: Callable[[], Trunk] | None = field(default=None, repr=False)

    def fingerprint(self) -> str:
        """A digest of pictures, labels and halves, by which results on other images are noticed."""
        digest = hashlib.sha256(self.content.encode() or self.untrained.tobytes())
        for part in (self.labels, self.test_half, self.gallery):
            digest.update(b"" if part is None else part.tobytes())
        return digest.hexdigest()

    def images(
        self, indices: np.ndarray, training: bool = False, labels: np.ndarray | None = None
    ) -> LabelledPictures:
        """Some images with their labels, as PML's trainers and testers take them.

        Arguments:
            indices: which, integers of shape ``(n,)``.
            training: whether to take them as in training: with random crops, if there are any,
                which draw from torch's global generator.
            labels: of shape ``(n,)`` or ``(n, levels)``; by default all levels of the data set.

        Returns:
            Items are pairs of a row of ``inputs`` and a row of ``labels``.

        Raises:
            ValueError: if there are not as many labels as indices.
        """
        inputs = self.inputs
        if training and self.training_inputs is not None:
            inputs = self.training_inputs
        return LabelledPictures(inputs, indices, self.labels[indices] if labels is None else labels)


class TooFewClassesError(ValueError):
    """There are not enough classes for folds and a test; they can still be looked at."""


@dataclass(frozen=True)
class Split:
    """Indices of the images that train, validate and test. No two parts share a fine class.

    Attributes:
        train: trained on.
        val: validated on, every image being searched among the others.
        test: the queries of the test.
        gallery: what the queries are searched in; ``None`` if that is ``test`` itself.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    gallery: np.ndarray | None = None


def split_by_class(
    labels: np.ndarray, fold: int, order_seed: int = 0, test_half: np.ndarray | None = None
) -> Split:
    """Cut the fine classes into a training half and a test half, and the former into 4 folds.

    This is the protocol of "A Metric Learning Reality Check" (Musgrave et al., ECCV 2020):
    fold ``fold`` validates and the other three train, while the test half is the same for all
    folds. The classes are shuffled once (by ``order_seed``, never by the training seed), because
    the numbering of the data sets here follows their trees: halves in order would test on other
    superclasses than those trained on. Halves that a data set brings along are kept, and its
    training classes are shuffled into folds for the same reason.

    Arguments:
        labels: integers of shape ``(N, levels)``; column 0 decides.
        fold: which of the 4 folds of the training half validates.
        test_half: ``bool`` of shape ``(N,)``, the images of the test half; by default it is drawn.

    Raises:
        ValueError: for a fold that does not exist, or a class with images in both given halves; a
            :class:`TooFewClassesError` for a training half with fewer classes than folds.
    """
    if not 0 <= fold < NUM_FOLDS:
        raise ValueError(f"fold must be in 0..{NUM_FOLDS - 1}, got {fold}")
    classes = np.random.default_rng(order_seed).permutation(np.unique(labels[:, 0]))
    if test_half is None:
        half = (len(classes) + 1) // 2
        training_half, testing = classes[:half], classes[half:]
    else:
        testing = np.unique(labels[test_half, 0])
        training_half = classes[~np.isin(classes, testing)]
        _check_halves(labels, test_half)
    if len(training_half) < NUM_FOLDS or len(testing) == 0:
        given = "1 class gives" if len(classes) == 1 else f"the {len(classes)} classes give"
        raise TooFewClassesError(
            f"{given} {len(training_half)} for training and {len(testing)} for testing: expected "
            f"at least {NUM_FOLDS} (one per fold) and 1. Add classes"
        )
    folds = np.array_split(training_half, NUM_FOLDS)
    training = np.concatenate([f for i, f in enumerate(folds) if i != fold])

    def images_of(part: np.ndarray) -> np.ndarray:
        return np.flatnonzero(np.isin(labels[:, 0], part))

    return Split(images_of(training), images_of(folds[fold]), images_of(testing))


def _check_halves(labels: np.ndarray, test_half: np.ndarray) -> None:
    shared = np.intersect1d(labels[test_half, 0], labels[~test_half, 0])
    if len(shared):
        raise ValueError(
            f"{counted(len(shared), 'class has', 'classes have')} images in the training half and "
            f"in the test half, first class {shared[0]}: expected halves without a common class"
        )
