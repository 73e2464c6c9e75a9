"""Pictures in files: formats that hold nothing but pixels, read within limits."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.checks import library
from pytest_iaside.errors import ReferenceSampleError, one_line
from pytest_iaside.store.files import check_file

# Pillow's names. Others are read by programs that it starts, or by code that few have tried.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
LARGEST_FILE = 2**28
# Decoding one takes about 14 bytes a pixel.
MOST_PIXELS = 50_000_000
# What 16 bits have to be divided by to fill 8.
DEEP = 257


@dataclass(eq=False)
class PictureReader:
    """Reads pictures as uint8 (C, H, W), turned as their cameras were held, resized and cropped.

    Of several frames it takes the first. ``enlarged`` says how many pixels the shorter side of
    pictures had that were smaller than ``resize``.
    """

    resize: int | None
    crop: int | None
    mode: str = "RGB"
    enlarged: dict[str, int] = field(default_factory=dict)

    def read(self, path: Path, name: str) -> NDArray[np.uint8]:
        """The picture in ``path``, which messages call ``name``.

        Raises ReferenceSampleError where it is unreadable, too large, or too small for the crop.
        """
        need = partial(library, purpose="to read image files", error=ReferenceSampleError)
        functional = need("torchvision.transforms.v2.functional", package="torchvision")
        image: Tensor = functional.pil_to_tensor(self._decoded(path, name))
        shorter = min(image.shape[-2:])
        if self.resize is not None:
            if shorter < self.resize:
                self.enlarged[name] = shorter
            image = functional.resize(image, [self.resize], antialias=True)
        if self.crop is not None:
            height, width = image.shape[-2:]
            if min(height, width) < self.crop:
                # torchvision would pad with black: edges that no photograph has.
                raise ReferenceSampleError(
                    f"{name} is {height}×{width} pixels, too small for crop={self.crop}; "
                    f"use a smaller crop, or resize={self.crop} or more"
                )
            image = functional.center_crop(image, [self.crop, self.crop])
        return np.asarray(image)

    def _decoded(self, path: Path, name: str) -> Any:
        need = partial(library, purpose="to read image files", error=ReferenceSampleError)
        pil, ops = (need(f"PIL.{each}", package="pillow") for each in ("Image", "ImageOps"))
        try:
            check_file(path, LARGEST_FILE)
            with warnings.catch_warnings():
                # Pillow's own limit; and what is odd in a file that can be read all the same.
                warnings.simplefilter("ignore")
                with pil.open(path, formats=FORMATS) as picture:
                    _check_size(name, *picture.size)
                    with suppress(Exception):  # Where only this note of the camera is damaged.
                        picture = ops.exif_transpose(picture)
                    return _of_eight_bits(picture, pil, name).convert(self.mode)
        except ReferenceSampleError:
            raise
        except Exception as error:  # Decoders raise a dozen kinds on broken files.
            raise ReferenceSampleError(
                f"{name} cannot be read as an image ({one_line(error)}); restore it or leave it out"
            ) from error


def read_image(
    path: Path, *, resize: int | None, crop: int | None, grey: bool = False
) -> NDArray[np.uint8]:
    """The picture (C, H, W) in the file ``path``, in colour, or ``grey`` with one channel.

    Raises ReferenceSampleError as ``PictureReader``.
    """
    return PictureReader(resize, crop, "L" if grey else "RGB").read(path, path.name)


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise ReferenceSampleError(
            f"{name} is {height}×{width} pixels, {width * height / 1e6:.0f} million; expected at "
            f"most {MOST_PIXELS / 1e6:.0f} million: make it smaller or leave it out"
        )


def _of_eight_bits(picture: Any, pil: Any, name: str) -> Any:
    """``picture`` with 8 bits a channel: Pillow would cut 16 bits off, and most becomes white."""
    if picture.mode not in ("F", "I") and not picture.mode.startswith("I;16"):
        return picture
    values = np.asarray(picture)
    if picture.mode == "F" or values.min() < 0 or values.max() >= 2**16:
        raise ReferenceSampleError(
            f"{name} holds {'fractions' if picture.mode == 'F' else '32 bits a pixel'}, which may "
            "mean anything; save it with 8 or 16 bits a channel"
        )
    return pil.fromarray(np.rint(values / DEEP).astype(np.uint8))
