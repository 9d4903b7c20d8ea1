"""The networks that photographs go through: which ones there are, their weights and pictures."""

from .backbone import Backbone
from .choice import DEFAULT, DEFAULT_BACKBONE, GLYPH, BackboneChoice
from .extraction import extract_features
from .finding import find_backbone
from .lite0 import EFFICIENTNET_LITE0, EFFICIENTNET_LITE0_SIZE, build_efficientnet_lite0
from .pictures import LabelledPictures, Pictures
from .trunk import Trunk, build_trunk

__all__ = [
    "DEFAULT",
    "DEFAULT_BACKBONE",
    "EFFICIENTNET_LITE0",
    "EFFICIENTNET_LITE0_SIZE",
    "GLYPH",
    "Backbone",
    "BackboneChoice",
    "LabelledPictures",
    "Pictures",
    "Trunk",
    "build_efficientnet_lite0",
    "build_trunk",
    "extract_features",
    "find_backbone",
]
