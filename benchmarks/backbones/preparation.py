"""What happens to a picture before a network sees it."""

from __future__ import annotations

from dataclasses import dataclass

from torchvision import transforms
from torchvision.transforms import InterpolationMode

from .backbone import Transform

CROP = 227
RESIZE = 256  # of the shorter side, for that crop
SCALES = (0.16, 1.0)  # the part of the picture that a random crop covers
RATIOS = (3 / 4, 4 / 3)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preparation:
    """The protocol of the paper: resize to 256, crop to 227, normalise.

    Attributes:
        crop: height and width of what comes out; the picture is resized in proportion.
        mean: of each channel, subtracted from values in 0..1.
        std: of each channel; the values are divided by it.
        interpolation: the one with which the network's weights were made.
        flip: whether a picture may be mirrored in training: not where it would then show something
            else, as a letter would.
        resize: the shorter side before the centre of it is cut out; in proportion by default.
    """

    crop: int = CROP
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: InterpolationMode = InterpolationMode.BILINEAR
    flip: bool = True
    resize: int | None = None

    @property
    def _resize(self) -> int:
        return self.resize or round(self.crop * RESIZE / CROP)

    def evaluation(self) -> Transform:
        """Resize and cut out the centre: an RGB picture to ``float32`` ``(3, crop, crop)``."""
        return transforms.Compose(
            [
                transforms.Resize(self._resize, self.interpolation),
                transforms.CenterCrop(self.crop),
                *self._to_tensor(),
            ]
        )

    def training(self) -> Transform:
        """Resize, cut out at random and perhaps mirror; draws from torch's global generator."""
        flips = [transforms.RandomHorizontalFlip()] if self.flip else []
        return transforms.Compose(
            [
                transforms.Resize(self._resize, self.interpolation),
                transforms.RandomResizedCrop(self.crop, SCALES, RATIOS, self.interpolation),
                *flips,
                *self._to_tensor(),
            ]
        )

    def _to_tensor(self) -> list[Transform]:
        return [transforms.ToTensor(), transforms.Normalize(list(self.mean), list(self.std))]
