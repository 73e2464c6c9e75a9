"""Where the images of a sample lie: in memory, or in a file where they are too many for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.images.values import digest_of

# Bytes. Beyond these images lie in a file that is mapped: the system reads what is looked at, and
# forgets it where memory runs short.
MOST_IN_MEMORY = 2**30
FIRST_ROOM = 16

Size = tuple[int, int]
"""Height and width."""


class ImageStore:
    """Images of one size and type, taken in one by one: each is decoded once and hashed once.

    ``count`` is how many there will be at most, None where that is not known.
    """

    def __init__(self, count: int | None = None) -> None:
        self.digests: list[str] = []
        self._count = count
        self._first = ""
        self._array: NDArray[Any] | None = None
        self._file: IO[bytes] | None = None
        self._shape: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] = np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.digests)

    def __enter__(self) -> ImageStore:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()  # What is mapped stays mapped.

    def add(self, image: NDArray[Any], name: str) -> None:
        """Take in ``image`` (C, H, W), which messages call ``name``.

        Raises ReferenceSampleError where it has another size or type than the first, or where
        there is no room for it.
        """
        if not len(self):
            self._first, self._shape, self._dtype = name, image.shape, image.dtype
            self._make_room(FIRST_ROOM if self._count is None else self._count)
        elif image.shape != self._shape or image.dtype != self._dtype:
            first = f"{_size(self._shape)} {self._dtype}"
            raise ReferenceSampleError(
                f"{name} is {_size(image.shape)} {image.dtype} but {self._first} is {first}; a "
                "reference sample has images of one size and type: resize and crop them alike "
                "(resize= and crop= of files)"
                f"{_advice(image.shape, self._shape)}"
            )
        elif self._array is not None and len(self) == len(self._array):
            self._make_room(2 * len(self))
        if self._array is not None:
            self._array[len(self)] = image
        else:
            self._write(image)
        self.digests.append(digest_of(image))

    def images(self) -> NDArray[Any]:
        """All that were taken in, (K, C, H, W)."""
        shape = (len(self), *self._shape)
        if self._file is not None:
            self._file.flush()
            # Shared and not private: the system would have to keep memory ready for a private one.
            return np.memmap(self._file, dtype=self._dtype, mode="r+", shape=shape)
        assert self._array is not None
        self._array.resize(shape, refcheck=False)
        return self._array

    def _make_room(self, count: int) -> None:
        size = count * int(np.prod(self._shape)) * self._dtype.itemsize
        if size <= MOST_IN_MEMORY:
            if self._array is None:
                self._array = np.empty((count, *self._shape), dtype=self._dtype)
            else:
                self._array.resize((count, *self._shape), refcheck=False)
            return
        self._file = tempfile.TemporaryFile(prefix="iaside-")  # noqa: SIM115 (lives as the images)
        if self._array is not None:
            for image in self._array[: len(self)]:
                self._write(image)
        self._array = None

    def _write(self, image: NDArray[Any]) -> None:
        assert self._file is not None
        try:
            self._file.write(np.ascontiguousarray(image).data)
        except OSError as error:
            raise ReferenceSampleError(
                f"the images take more than {MOST_IN_MEMORY / 1e9:.1f} GB and there is no room for "
                f"them in {tempfile.gettempdir()} ({error.strerror}); set TMPDIR to a folder with "
                "more room, or take fewer images (limit=)"
            ) from error


class SizedStores:
    """Images of one type and number of channels, by their size, taken in one by one."""

    def __init__(self) -> None:
        self.digests: list[str] = []
        self._stores: dict[Size, ImageStore] = {}
        self._places: dict[Size, list[int]] = {}
        self._first: tuple[str, int, Any] | None = None

    def __enter__(self) -> SizedStores:
        return self

    def __exit__(self, *_: object) -> None:
        for store in self._stores.values():
            store.__exit__()

    def add(self, image: NDArray[Any], name: str) -> None:
        """Take in ``image`` (C, H, W), which messages call ``name``.

        Raises ReferenceSampleError where it has another type or other channels than the first.
        """
        channels, height, width = image.shape
        first, expected, dtype = self._first = self._first or (name, channels, image.dtype)
        if (channels, image.dtype) != (expected, dtype):
            raise ReferenceSampleError(
                f"{name} has {channels} channels of {image.dtype} but {first} has {expected} of "
                f"{dtype}; only the size may differ: give channels=1 or 3 where they are pictures"
            )
        store = self._stores.setdefault((height, width), ImageStore())
        store.add(image, name)
        self._places.setdefault((height, width), []).append(len(self.digests))
        self.digests.append(store.digests[-1])

    def images(self) -> dict[Size, tuple[NDArray[Any], list[int]]]:
        """The images (k, C, H, W) of each size, the smallest first, and which of all they are."""
        return {
            size: (self._stores[size].images(), self._places[size]) for size in sorted(self._stores)
        }


def each_of(images: Any) -> Iterator[NDArray[Any]]:
    """The images (C, H, W) of what a store's ``images`` gave, of one size or of several."""
    sizes = [some for some, _ in images.values()] if isinstance(images, dict) else [images]
    return chain.from_iterable(sizes)


def stored(images: Sequence[Any], names: Sequence[str]) -> NDArray[Any]:
    """A copy of ``images`` (K, C, H, W), in memory or in a file."""
    with ImageStore(len(names)) as store:
        for image, name in zip(images, names, strict=True):
            store.add(np.asarray(image), name)
        return store.images()


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _advice(one: Sequence[int], other: Sequence[int]) -> str:
    """What else can be done about two shapes that differ."""
    if one[0] != other[0]:
        return ", or give channels=1 or 3 where they are pictures"
    return ", or measure each size on its own (ReferenceSample.by_size)"
