"""Values of pixels: their types, the range that becomes [0, 1], and what identifies an image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.checks import is_number
from pytest_iaside.errors import ReferenceSampleError, SettingsError

# What needs no range, and what has none of its own.
IMAGE_TYPES = ("uint8", "float16", "float32", "float64")
RANGED_TYPES = (*IMAGE_TYPES, "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
DIGEST_LENGTH = 32

# Of a range: images that all lie within so little of it were not in it. 8 bits fill 1/257 of 16.
LEAST_SPREAD = 1 / 200

ValueRange = tuple[float, float]
"""The values that become 0 and 1."""


def checked_range(given: Any) -> ValueRange | None:
    """``given`` as two numbers; raises SettingsError unless it is a pair (low, high), or None."""
    if given is None:
        return None
    pair = tuple(given) if isinstance(given, (tuple, list)) else ()
    if len(pair) != 2 or not all(is_number(each) and np.isfinite(each) for each in pair):
        raise SettingsError(
            f"range={given!r} must be a pair (low, high) of numbers, the values that become 0 and "
            "1, such as (0, 65535)"
        )
    if not pair[0] < pair[1]:
        raise SettingsError(f"range={given!r}: the first number must be below the second")
    return float(pair[0]), float(pair[1])


def in_range(values: NDArray[Any], pair: ValueRange, name: str) -> NDArray[np.float32]:
    """``values`` of the image ``name`` as float32: 0 at the low end of ``pair``, 1 at the high one.

    Raises ReferenceSampleError where a value lies outside, or is NaN: clipping would change the
    image without a word.
    """
    low, high = pair
    least, most = values.min(), values.max()
    # Written so that NaN, which fails every comparison, counts as outside.
    if not (least >= low and most <= high):
        raise ReferenceSampleError(
            f"{name} has values from {least:g} to {most:g}, outside range=({low:g}, {high:g}); "
            "give the range of the data, or clip the values yourself (numpy.clip)"
        )
    scaled = (values.astype(np.float64) - low) / (high - low)
    return scaled.astype(np.float32)


def check_spread(images: Iterable[NDArray[Any]], pair: ValueRange | None) -> None:
    """Raise ReferenceSampleError where all ``images``, scaled by the range ``pair``, are one grey.

    So are images in [0, 1] that are told to go to 255: nothing is outside, and nothing is left.
    """
    if pair is None:
        return
    least, most = np.inf, -np.inf
    for image in images:
        least, most = min(least, float(image.min())), max(most, float(image.max()))
        if most - least > LEAST_SPREAD:
            return
    low, high = pair
    digits = 5 - int(np.ceil(np.log10(high - low)))  # What float32 has rounded is not shown.
    found = [round(low + end * (high - low), digits) + 0.0 for end in (least, most)]
    raise ReferenceSampleError(
        f"with range=({low:g}, {high:g}) all images are one grey: their values go from "
        f"{found[0]:.4g} to {found[1]:.4g}, {most - least:.2%} of it; give the range of the data, "
        "such as range=(0, 255) of 8 bits, or leave range out where they are in [0, 1] already"
    )


def range_advice(kind: str) -> str:
    """What to do about images of the type ``kind``, which has no usual range."""
    if kind in RANGED_TYPES and kind not in IMAGE_TYPES:
        example = "(0, 65535), or (0, 4095) where 12 bits are used" if kind == "uint16" else ""
        return (
            "give range=(low, high), the values that become 0 and 1: range="
            f"{example or '(-1024, 3071), as CT scans have it'}"
        )
    return "convert them to uint8 if they hold 0 to 255, else to float32"


def digest_of(image: NDArray[Any]) -> str:
    """SHA-256 of an image's type, shape (C, H, W) and values, 32 hexadecimal digits."""
    header = f"{image.dtype.name} {'x'.join(map(str, image.shape))} ".encode()
    return sha256(header + little_endian(image))


def little_endian(array: NDArray[Any]) -> bytes:
    """The bytes of ``array``, so that a digest is the same on every machine."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def sha256(content: bytes) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of ``content``."""
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]
