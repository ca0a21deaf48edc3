"""Turning a raw image into the input of a pretrained network; PyTorch is not imported before it is needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from triptych.images.pixels import Pixels, match_channels
from triptych.images.windows import resize_window

if TYPE_CHECKING:
    from torch import Tensor

# 64 MiB: a photo that is not 200 times as long as wide is smaller. Of a larger one only the middle is computed.
MOST_RESIZED_PIXELS = 2**24
# The field that models of earlier versions lack.
SQUASH = "squash"


@dataclass(frozen=True)
class Preprocessing:
    """The steps from a raw image to a network's input, with torchvision's names.

    Attributes:
        resize_size: length of the shorter side after resizing, pixels.
        crop_size: side of the central square that is kept, pixels.
        mean: of each channel, on a scale of 0..1.
        std: of each channel, on a scale of 0..1.
        interpolation: torchvision's name of the interpolation, such as "bilinear".
        squash: resize to a square, whatever the shape of the image, instead of keeping its proportions.
    """

    resize_size: int
    crop_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    squash: bool = False

    @classmethod
    def of(cls, transforms: Any) -> Preprocessing:
        """Return the preprocessing of some torchvision weights, from their `ImageClassification` transforms."""
        return cls(
            resize_size=transforms.resize_size[0],
            crop_size=transforms.crop_size[0],
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
            interpolation=transforms.interpolation.value,
        )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Preprocessing:
        """Return what `as_json` described, which may hold further values."""
        fields = {
            field.name: values[field.name]
            for field in dataclasses.fields(cls)
            if field.name in values or field.name != SQUASH
        }
        return cls(**fields | {"mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def build(self) -> Callable[[Pixels], Tensor]:
        """Return torchvision's own function from a raw image to a (3, crop, crop) float32 tensor."""
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms._presets import ImageClassification

        transforms = ImageClassification(
            crop_size=self.crop_size,
            resize_size=self.resize_size,
            mean=self.mean,
            std=self.std,
            interpolation=InterpolationMode(self.interpolation),
        )
        if self.squash:
            transforms.resize_size = [self.resize_size] * 2
        return lambda image: transforms(Image.fromarray(match_channels(image, 3)))

    def crop(self, image: Pixels) -> Pixels:
        """Return a raw image resized and cropped, (crop, crop, 3) uint8: the first half of what `build` returns.

        The pixels are those of torchvision's `Resize` and `CenterCrop` for a Pillow image, without importing
        torchvision. An image that is smaller than the square is padded with black.

        >>> small = Preprocessing(36, 32, (0.5,) * 3, (0.25,) * 3, "bilinear")
        >>> small.crop(np.zeros((60, 90, 1), dtype=np.uint8)).shape
        (32, 32, 3)
        """
        side = self.resize_size
        size = (side, side) if self.squash else _resized(image.shape[1], image.shape[0], side)
        (left, width), (top, height) = (_crop_side(side, self.crop_size) for side in size)
        box = (left, top, left + width, top + height)
        if size[0] * size[1] > MOST_RESIZED_PIXELS:
            return resize_window(match_channels(image, 3), size, box, self.interpolation)
        opened = Image.fromarray(match_channels(image, 3))
        if opened.size != size:
            opened = opened.resize(size, Image.Resampling[self.interpolation.upper()])
        return np.asarray(opened.crop(box))

    def as_json(self) -> dict[str, Any]:
        """Return the preprocessing as plain JSON values."""
        values = asdict(self)
        # The names of embeddings that are stored already depend on the others.
        return values if self.squash else {key: value for key, value in values.items() if key != SQUASH}


def _resized(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Return the width and height after scaling the shorter side."""
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def _crop_side(side: int, crop: int) -> tuple[int, int]:
    """Return the start and the length of a central crop; the start is negative if the image is smaller."""
    if crop > side:
        return -((crop - side) // 2), crop
    return round((side - crop) / 2.0), crop
