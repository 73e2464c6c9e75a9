"""NPZ: arrays by name in one file, unpacked only where their headers say that they are small."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.errors import one_line, quoted

Arrays = Mapping[str, NDArray[Any]]
# Bytes of all arrays together, and of the file.
LARGEST = 2**28
MOST_ARRAYS = 64
# What numpy writes.
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
NUMBERS_AND_TEXT = "biufU"
DIRECTORY_ENTRY = b"PK\x01\x02"


def pack(arrays: Arrays) -> bytes:
    """``arrays`` as an NPZ; the same arrays are the same bytes. Raises ValueError for too many."""
    total = sum(array.nbytes for array in arrays.values())
    if total > LARGEST or len(arrays) > MOST_ARRAYS:
        raise ValueError(f"its arrays have {total / 1e6:,.0f} MB, at most {LARGEST / 1e6:,.0f} fit")
    packed = io.BytesIO()
    # Plainly typed: numpy's own signature takes a name `allow_pickle` for an option.
    named: dict[str, Any] = dict(arrays)
    np.savez_compressed(packed, **named)
    return packed.getvalue()


def unpack(content: bytes, known: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """What ``pack`` packed: numbers and text, under names that are ``known``.

    Raises ValueError, which says why, where ``content`` is anything else.
    """
    try:
        # Before zipfile makes an object of each of a million entries.
        if content.count(DIRECTORY_ENTRY) > MOST_ARRAYS:
            raise ValueError(f"it holds more than {MOST_ARRAYS} arrays")
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            return _arrays(packed, known)
    except Exception as error:  # zipfile, zlib and numpy fail in a dozen ways on damaged files.
        raise ValueError(f"cannot be unpacked ({one_line(error)})") from error


def _arrays(packed: zipfile.ZipFile, known: Collection[str] | None) -> dict[str, NDArray[Any]]:
    members = {info.filename.removesuffix(".npy"): info for info in packed.infolist()}
    if len(members) < len(packed.infolist()):
        raise ValueError("it holds an array twice")
    if known is not None and (others := sorted(set(members) - set(known))):
        raise ValueError(f"it holds {quoted(others[0])}, which no measurement has")
    if sum(info.file_size for info in members.values()) > LARGEST + MOST_ARRAYS * 4096:
        raise ValueError(f"its arrays have more than {LARGEST / 1e6:,.0f} MB")
    for name, info in members.items():
        if info.compress_type not in COMPRESSIONS or info.flag_bits & 1:
            raise ValueError(f"{quoted(name)} is packed as numpy never does")
        with packed.open(info) as member:
            _check_header(name, member, info.file_size)
    found = {}
    for name, info in members.items():
        with packed.open(info) as member:
            found[name] = np.lib.format.read_array(member, allow_pickle=False)
    return found


def _check_header(name: str, member: Any, size: int) -> None:
    """Raise ValueError unless ``member`` is an array of numbers or text that fills its file."""
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{quoted(name)} has a header of version {version}")
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    if dtype.hasobject:
        raise ValueError(
            f"Object arrays cannot be loaded with allow_pickle=False: {quoted(name)} is one"
        )
    if dtype.kind not in NUMBERS_AND_TEXT or dtype.itemsize == 0 or dtype.shape:
        raise ValueError(f"{quoted(name)} is of type {dtype}, expected numbers or text")
    if len(shape) > 4 or any(not isinstance(side, int) or side < 1 for side in shape):
        raise ValueError(f"{quoted(name)} has shape {quoted(shape)}")
    if math.prod(shape) * dtype.itemsize != size - member.tell():
        raise ValueError(f"{quoted(name)} is not as long as its header says")
