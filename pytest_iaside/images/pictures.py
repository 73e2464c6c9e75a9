"""Pictures: what becomes of each kind that Pillow knows; files of them, read within limits."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.checks import library
from pytest_iaside.errors import ReferenceSampleError, SettingsError, one_line
from pytest_iaside.images.values import ValueRange, in_range
from pytest_iaside.store.files import check_file

# Pillow's names. Others are read by programs that it starts, or by code that few have tried.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
LARGEST_FILE = 2**28
# Decoding one takes about 14 bytes a pixel.
MOST_PIXELS = 50_000_000
# What 16 bits have to be divided by to fill 8.
DEEP = 257

Channels = Literal[1, 3, 4]
MODES: dict[Any, str] = {1: "L", 3: "RGB", 4: "RGBA"}


class UnreadableImage(ReferenceSampleError):
    """An image that cannot be decoded; ``on_error="skip"`` leaves it out."""


def mode_of(channels: Any) -> str:
    """Pillow's name of pictures with so many channels; raises SettingsError where it has none."""
    if isinstance(channels, bool) or channels not in MODES:
        raise SettingsError(
            f"channels={channels!r} cannot be made of pictures; use 1 (grey), 3 (RGB) or 4 (RGBA)"
        )
    return MODES[channels]


@dataclass(eq=False)
class PictureReader:
    """Reads pictures as (C, H, W), turned as their cameras were held, resized and cropped.

    They are uint8; with a range, of which 16 or 32 bits a pixel are needed, float32 in [0, 1]. Of
    several frames it takes the first. ``enlarged`` says how many pixels the shorter side of
    pictures had that were smaller than ``resize``.
    """

    resize: int | None
    crop: int | None
    mode: str = "RGB"
    value_range: ValueRange | None = None
    enlarged: dict[str, int] = field(default_factory=dict)

    def read(self, path: Path, name: str) -> NDArray[Any]:
        """The picture in ``path``, which messages call ``name``.

        Raises UnreadableImage where it cannot be decoded, ReferenceSampleError where it is too
        large, too small for the crop, or has another depth.
        """
        return self.fitted(self._decoded(path, name), name)

    def fitted(self, image: Tensor, name: str) -> NDArray[Any]:
        """``image`` (C, H, W), resized and cropped."""
        if self.resize is None and self.crop is None:
            return np.asarray(image)
        functional = _needed("torchvision.transforms.v2.functional", package="torchvision")
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
                    f"use crop={min(height, width)} or less, or resize={self.crop} or more"
                )
            image = functional.center_crop(image, [self.crop, self.crop])
        return np.asarray(image)

    def _decoded(self, path: Path, name: str) -> Tensor:
        pil, ops = (_needed(f"PIL.{each}", package="pillow") for each in ("Image", "ImageOps"))
        try:
            check_file(path, LARGEST_FILE)
            with warnings.catch_warnings():
                # Pillow's own limit; and what is odd in a file that can be read all the same.
                warnings.simplefilter("ignore")
                with pil.open(path, formats=FORMATS) as picture:
                    _check_size(name, *picture.size)
                    with suppress(Exception):  # Where only this note of the camera is damaged.
                        picture = ops.exif_transpose(picture)
                    return pixels_of(picture, name, self.mode, self.value_range)
        except ReferenceSampleError:
            raise
        except Exception as error:  # Decoders raise a dozen kinds on broken files.
            raise UnreadableImage(
                f"{name} cannot be read as an image ({one_line(error)}); restore it or leave it out"
            ) from error


def read_image(
    path: Path, *, resize: int | None, crop: int | None, grey: bool = False
) -> NDArray[np.uint8]:
    """The picture (C, H, W) in the file ``path``, in colour, or ``grey`` with one channel.

    Raises ReferenceSampleError as ``PictureReader``.
    """
    return PictureReader(resize, crop, "L" if grey else "RGB").read(path, path.name)


def pixels_of(picture: Any, name: str, mode: str, value_range: ValueRange | None) -> Tensor:
    """A Pillow ``picture`` as (C, H, W): uint8, or float32 by the range of its values.

    Transparency is dropped: a pixel has the colour that is stored, also where nobody sees it.
    """
    functional = _needed("torchvision.transforms.v2.functional", package="torchvision")
    if value_range is None:
        found: Tensor = functional.pil_to_tensor(_of_eight_bits(picture, name).convert(mode))
        return found
    if not is_deep(picture):
        raise ReferenceSampleError(
            f"{name} is a picture of 8 bits a channel ({picture.mode}), but range= is for pictures "
            "of 16 bits and more; leave range out, or the picture"
        )
    grey = in_range(np.asarray(picture), value_range, name)
    return torch.from_numpy(grey)[None].repeat(len(mode), 1, 1)


def is_deep(picture: Any) -> bool:
    """Whether a Pillow ``picture`` has more than 8 bits a channel."""
    return picture.mode in ("F", "I") or picture.mode.startswith("I;16")


def _needed(name: str, package: str) -> Any:
    need = partial(library, purpose="to read image files", error=ReferenceSampleError)
    return need(name, package=package)


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise ReferenceSampleError(
            f"{name} is {height}×{width} pixels, {width * height / 1e6:.0f} million; expected at "
            f"most {MOST_PIXELS / 1e6:.0f} million: make it smaller or leave it out"
        )


def _of_eight_bits(picture: Any, name: str) -> Any:
    """``picture`` with 8 bits a channel: Pillow would cut 16 bits off, and most becomes white."""
    if not is_deep(picture):
        return picture
    values = np.asarray(picture)
    if picture.mode == "F" or values.min() < 0 or values.max() >= 2**16:
        raise ReferenceSampleError(
            f"{name} holds {'fractions' if picture.mode == 'F' else '32 bits a pixel'}, which may "
            "mean anything; give range=(low, high), the values that become 0 and 1, or save it "
            "with 8 or 16 bits a channel"
        )
    pil = _needed("PIL.Image", package="pillow")
    return pil.fromarray(np.rint(values / DEEP).astype(np.uint8))
