"""Cars196 (Krause et al., 2013): cars of 196 models, grouped by make and body type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pytorch_metric_learning.datasets import Cars196
from scipy.io import loadmat

from .download import Archive
from .layout import Layout
from .photographs import Photographs, list_photographs
from .pml import read_halves

LEVEL_NAMES = ("model", "make and body type", "body type")
TRAINING_CLASSES = 98

ARCHIVES = (
    Archive(url=Cars196.DOWNLOAD_URL, filename="cars196.zip", provides="car_data"),  # no checksum
)

LAYOUT = Layout(
    name="cars196",
    required=("names.csv", "anno_train.csv", "anno_test.csv", "car_data/car_data"),
    tree="""
    names.csv                               one name per line: AM General Hummer SUV 2000
    anno_train.csv, anno_test.csv           00001.jpg,39,116,569,375,14
    car_data/car_data/train/AM General Hummer SUV 2000/00001.jpg
    car_data/car_data/test/...
  or, as it was first published,
    cars_annos.mat
    car_ims/000001.jpg
""",
    source="`describe cars196 --download` fetches the former (from the address that PML uses)",
)

BODY_TYPES = ("Convertible", "Coupe", "Hatchback", "Minivan", "SUV", "Sedan", "Van", "Wagon")
PICKUPS = ("Cab", "SuperCab")
# models without a word for the body type in their names
BODY_TYPE_OF = {
    "Acura Integra Type R": "Coupe",
    "Acura TL Type-S": "Sedan",
    "Buick Regal GS": "Sedan",
    "Chevrolet Cobalt SS": "Coupe",
    "Chevrolet Corvette Ron Fellows Edition Z06": "Coupe",
    "Chevrolet Corvette ZR1": "Coupe",
    "Chevrolet HHR SS": "Wagon",
    "Chevrolet TrailBlazer SS": "SUV",
    "Chrysler 300 SRT-8": "Sedan",
    "Dodge Challenger SRT8": "Coupe",
    "Dodge Charger SRT-8": "Sedan",
    "FIAT 500 Abarth": "Hatchback",
    "Jaguar XK XKR": "Coupe",
    "Lamborghini Gallardo LP 570-4 Superleggera": "Coupe",
}
MAKES_OF_TWO_WORDS = ("AM General", "Aston Martin", "Land Rover")


def make_of(model: str) -> str:
    """The make of a model: its first word, or the first two.

    Example:
        >>> make_of("Aston Martin Virage Coupe 2012")
        'Aston Martin'
    """
    two = " ".join(model.split()[:2])
    return two if two in MAKES_OF_TWO_WORDS else model.split()[0]


def body_type_of(model: str) -> str:
    """The body type of a model: the last word that is one ("Ford E-Series Wagon Van 2012": Van).

    Raises:
        ValueError: for a name that holds none and is not one of the 196.

    Example:
        >>> body_type_of("Ford F-150 Regular Cab 2012")
        'Pickup'
    """
    words = model.split()
    for word in reversed(words):
        if word in PICKUPS:
            return "Pickup"
        if word in BODY_TYPES:
            return word
    name = " ".join(words[:-1])
    if name not in BODY_TYPE_OF:
        raise ValueError(
            f"the model {model!r} of Cars196 has no body type: expected one of "
            f"{', '.join((*BODY_TYPES, *PICKUPS))} in its name, or one of the 196 names"
        )
    return BODY_TYPE_OF[name]


def tree_of(model: str) -> tuple[str, str, str]:
    """The classes of a model, the coarsest first.

    Make and body type do not nest in one another. Body type is the coarse one: it shows in the
    photograph, and eight of the nine occur in both halves, whereas the halves, which are cut in
    alphabetical order, share no make.

    Example:
        >>> tree_of("Audi S4 Sedan 2012")
        ('Sedan', 'Audi Sedan', 'Audi S4 Sedan 2012')
    """
    body_type = body_type_of(model)
    return body_type, f"{make_of(model)} {body_type}", model


def read_annotations(root: Path) -> tuple[list[Path], list[str], np.ndarray]:
    """Files, models and test half from ``cars_annos.mat``.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        table = loadmat(root / "cars_annos.mat", squeeze_me=True)
        names, images = table["class_names"], np.atleast_1d(table["annotations"])
        classes = images["class"].astype(int)
        models = [str(names[i - 1]) for i in classes]
        files = [root / str(path) for path in images["relative_im_path"]]
    except Exception as error:  # scipy raises many kinds for files that it cannot read
        raise LAYOUT.unreadable(root, error) from error
    return files, models, classes > TRAINING_CLASSES


def list_cars196(data_root: Path | None) -> Photographs:
    """Model, make and body type; the first 98 models train and the last 98 test, as in PML.

    Raises:
        FileNotFoundError: if the data set is not there.
        ValueError: if its lists cannot be read.
    """
    given = LAYOUT.given(data_root)
    if (given / "cars_annos.mat").exists():
        root = given
        files, models, is_test = read_annotations(root)
    else:
        root = LAYOUT.find(data_root)
        files, _, is_test = read_halves(Cars196, root, LAYOUT)
        models = [file.parent.name for file in files]
    paths = [tree_of(model) for model in models]
    return list_photographs("cars196", root, files, paths, LEVEL_NAMES, test_half=is_test)
