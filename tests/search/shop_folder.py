"""A small catalogue of pictures and a network that a test can train on them in a second."""

import contextlib

import numpy as np
import pytest
from PIL import Image

from benchmarks.backbones import BackboneChoice
from benchmarks.settings import SETTINGS, TrainingSettings

SHOP = {
    "fruit": ("apple", "pear", "plum"),
    "drinks": ("oat milk", "soy milk", "juice"),
    "tools": ("hammer", "saw", "nail"),
    "toys": ("kite", "ball", "doll"),
}
NETWORK = BackboneChoice("efficientnet_lite0", crop=32)
TO_BE_TRAINED = BackboneChoice(
    "torchvision:shufflenet_v2_x0_5", "none", trained=True, batch_norm="trained", crop=32
)
UPPER_BLOCKS = BackboneChoice("efficientnet_lite0", crop=32, cut="14", views=2)
SETTING = TrainingSettings(
    embedding_size=8,
    epochs=2,
    iterations_per_epoch=3,
    batch_size=12,
    samples_per_class=4,
    learning_rate=1e-2,
    weight_decay=0.0,
    losses={"hpl": {"num_superclasses": 2, "recluster_every": 2}},
)


def build_shop(root, shop=None, pictures=4):
    """Noisy pictures of one colour per class, in PNG."""
    for superclass, names in (shop or SHOP).items():
        for name in names:
            random = np.random.default_rng(list(f"{superclass}/{name}".encode()))
            colour = random.integers(40, 216, 3)
            folder = root / superclass / name
            folder.mkdir(parents=True)
            for number in range(pictures):
                noise = random.integers(-40, 40, (40, 48, 3))
                Image.fromarray((colour + noise).astype(np.uint8)).save(folder / f"{number}.png")
    return root


@contextlib.contextmanager
def quick_folder(cache):
    """The data set ``folder`` trains in a second, and features are kept in ``cache``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PML_HIERARCHICAL_CACHE", str(cache))
        patch.setitem(SETTINGS, "folder", SETTING)
        yield
