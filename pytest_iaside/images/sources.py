"""Where reference samples come from: folders, CSV files and datasets.

Everything here chooses first and reads afterwards: an image that a limit leaves out is
never opened.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.checks import check_whole
from pytest_iaside.errors import ReferenceSampleError, quoted
from pytest_iaside.images.grouping import as_list, group_by
from pytest_iaside.images.label_lists import CALLER, listed, read_labels, warn
from pytest_iaside.images.pictures import PictureReader

IMAGE_TYPES = ("uint8", "float16", "float32", "float64")
# The file types that torchvision's ImageFolder reads.
EXTENSIONS = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}

Loaded = tuple[NDArray[Any], Any, list[str], list[Any] | None]
"""Images (K, C, H, W), their labels if they have any, their names, and their groups if given."""


def read_folder(
    root: Path,
    *,
    labels: str | Path | None,
    groups: str | Callable[[str], Any] | None = None,
    resize: int | None,
    crop: int | None,
    limit: int | None,
    seed: int | None,
) -> Loaded:
    """What ``ReferenceSample.from_folder`` promises, as arrays."""
    check_whole("resize", resize, 1, or_none=True)
    check_whole("crop", crop, 1, or_none=True)
    check_whole("limit", limit, 1, or_none=True)
    check_whole("seed", seed, 0, or_none=True)
    check_folder(root, "the reference images")
    column = _group_column(groups, labels)
    in_column: dict[str, str] = {}
    if labels is None:
        entries: list[tuple[str, int | None]] = [(file, None) for file in _image_files(root)]
    elif labels == "folder":
        entries = _by_folder(root)
    else:
        entries = read_labels(root, Path(labels), column, in_column)
    chosen = [entries[i] for i in _draw(len(entries), limit, seed)]
    files = [file for file, _ in chosen]
    # Not Path.is_file: that raises for a name that no file can have.
    if missing := [file for file in files if not os.path.isfile(root / file)]:
        raise ReferenceSampleError(
            f"{labels} names {listed(missing)} not found in {root}; correct the file column "
            "(paths relative to that folder) or add the images"
        )
    reader = PictureReader(resize, crop)
    images = _stack((reader.read(root / file, file) for file in files), files)
    if small := reader.enlarged:
        least = min(small, key=small.__getitem__)
        warn(
            f"{len(small)} of {len(files)} images in {root} are smaller than resize={resize} and "
            f"were enlarged (the smallest, {least}, has {small[least]} pixels): their upper bands "
            f"hold no detail; give resize={small[least]} or less, or larger images",
            CALLER,
        )
    _warn_of_copies(root, images, chosen)
    found: list[Any] | None = None
    if groups == "folder":
        found = [os.path.dirname(file) or "." for file in files]
    elif column:
        found = [in_column[file] for file in files]
    elif groups is not None:
        found = group_by(groups, files)  # type: ignore[arg-type]  # No text: see _group_column.
    return images, None if labels is None else [label for _, label in chosen], files, found


def _group_column(groups: Any, labels: Any) -> str | None:
    """The column of the CSV file that ``groups`` names, if it names one."""
    if groups is None or groups == "folder" or (callable(groups) and not isinstance(groups, str)):
        return None
    if not isinstance(groups, str) or not groups:
        raise ReferenceSampleError(
            f"groups={groups!r} cannot be used; expected 'folder', the name of a column of the "
            "labels' CSV file, or a function of an image's path relative to the folder"
        )
    if labels is None or labels == "folder":
        raise ReferenceSampleError(
            f"groups={groups!r} names a column, but labels={labels!r} names no CSV file; use "
            "groups='folder', a function of an image's path, or labels=<a csv file>"
        )
    return groups


def read_dataset(
    dataset: Any,
    *,
    groups: Sequence[Any] | Callable[[int], Any] | None = None,
    limit: int | None,
    seed: int | None,
) -> Loaded:
    """What ``ReferenceSample.from_dataset`` promises, as arrays."""
    check_whole("limit", limit, 1, or_none=True)
    check_whole("seed", seed, 0, or_none=True)
    try:
        length = len(dataset)
        getter = dataset.__getitem__
    except (TypeError, AttributeError, NotImplementedError) as error:
        raise ReferenceSampleError(
            f"a {type(dataset).__name__} is not a map-style dataset (it needs len() and [index]); "
            "give a torch Dataset, not a DataLoader or an iterable dataset"
        ) from error
    if length == 0:
        raise ReferenceSampleError("the dataset is empty; give one with at least one image")
    chosen = _draw(length, limit, seed)
    found = _groups_of(groups, length, chosen)
    names = [f"image {i}" for i in chosen]
    labels: list[Any] = []

    def read() -> Iterator[NDArray[Any]]:
        for place, name in zip(chosen, names, strict=True):
            image, label = _pair(getter(place), name)
            if labels and (label is None) != (labels[0] is None):
                raise ReferenceSampleError(
                    f"{name} and {names[0]} differ: only one of them has a label; give all of "
                    "them one, or none"
                )
            labels.append(label)
            yield _pixels(image, name)

    images = _stack(read(), names)
    return images, None if labels[0] is None else labels, names, found


def _groups_of(groups: Any, length: int, chosen: list[int]) -> list[Any] | None:
    """The groups of the items ``chosen`` of a dataset of so many."""
    if groups is None:
        return None
    if callable(groups):
        return group_by(groups, chosen)
    given = as_list(groups)
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != length:
        counted = isinstance(given, Sequence) and not isinstance(given, str)
        found = f"{len(given)} of them" if counted else quoted(given)
        raise ReferenceSampleError(
            f"groups are {found}, but the dataset has {length} items; give one string or whole "
            "number for each item of the whole dataset, or a function of an item's index"
        )
    return [given[place] for place in chosen]


def check_folder(root: Path, content: str) -> None:
    """Raise ReferenceSampleError unless ``root`` is a folder, which is to hold ``content``."""
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise ReferenceSampleError(f"{root} {found}; give the folder that holds {content}")


def _draw(count: int, limit: int | None, seed: int | None) -> list[int]:
    if limit is None or limit >= count:
        return list(range(count))
    if seed is None:
        return list(range(limit))
    # A permutation rather than a choice: with the same seed, a smaller limit draws a part of
    # what a larger one draws.
    return sorted(np.random.default_rng(seed).permutation(count)[:limit].tolist())


def _image_files(root: Path) -> list[str]:
    files = []
    # Links are followed, as DVC, git-annex and Hugging Face lay data sets; but none into a folder
    # around it, where it would never end. Of each folder the real ones around it, itself the last.
    around: dict[str, tuple[str, ...]] = {str(root): (os.path.realpath(root),)}
    circles: list[str] = []
    outside: list[str] = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        # Hidden ones hold no photographs: .ipynb_checkpoints, macOS's "._photo.jpg".
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in list(subfolders):
            path = os.path.join(folder, name)
            real = os.path.realpath(path)
            if any(Path(each).is_relative_to(real) for each in around[folder]):
                subfolders.remove(name)
                circles.append(path)
            elif _leaves(root, path):
                outside.append(path)
            around[path] = (*around[folder], real)
        chosen = [
            Path(folder, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS
        ]
        outside += [str(path) for path in chosen if _leaves(root, str(path))]
        files += [path.relative_to(root) for path in chosen]
    if outside:
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        warn(
            f"{outside[0]}{more} in {root} {'are links' if more else 'is a link'} to somewhere "
            "else, which is followed: make sure that what lies there is meant",
            CALLER + 2,
        )
    if circles:
        warn(
            f"{circles[0]} is a link to a folder that it lies in and was left out; remove it",
            CALLER + 2,
        )
    if not files:
        raise ReferenceSampleError(
            f"{root} holds no images; expected files ending in {', '.join(sorted(EXTENSIONS))}"
        )
    return [file.as_posix() for file in sorted(files)]


def _leaves(root: Path, path: str) -> bool:
    """Whether ``path`` is a link out of the folder ``root``."""
    return os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(
        os.path.realpath(root)
    )


def _by_folder(root: Path) -> list[tuple[str, int | None]]:
    files = _image_files(root)
    folders = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    ranks = {folder: rank for rank, folder in enumerate(folders)}
    if loose := [file for file in files if "/" not in file]:
        raise ReferenceSampleError(
            f"{listed(loose)} lying directly in {root}, but labels='folder' reads the class from "
            "a sub-folder; sort the images into one folder per class, give labels=<a csv file>, "
            "or labels=None to use the model's own predictions"
        )
    return [(file, ranks[file.split("/", 1)[0]]) for file in files]


def _warn_of_copies(
    root: Path, images: NDArray[Any], entries: Sequence[tuple[str, int | None]]
) -> None:
    """Warn of images that have the very same pixels as another one.

    They are kept, and count as one wherever means are taken: a data set may hold a picture of two
    things under both of their names.
    """
    first: dict[str, tuple[str, int | None]] = {}
    copies, differing = [], 0
    for image, (file, label) in zip(images, entries, strict=True):
        digest = hashlib.sha256(image.tobytes()).hexdigest()
        other, other_label = first.setdefault(digest, (file, label))
        if other != file:
            copies.append(f"{file} of {other}")
            differing += label != other_label
    if copies:
        wrong = f"; {differing} of them with another label, one of which is wrong" * bool(differing)
        warn(
            f"in {root}, {listed(copies, 'exact copy', 'exact copies')} count as one image{wrong}"
            "; leave the copies out",
            CALLER + 1,
        )


def _pair(item: Any, name: str) -> tuple[Any, Any]:
    parts = item if isinstance(item, (tuple, list)) else (item,)
    if len(parts) not in (1, 2):
        raise ReferenceSampleError(
            f"{name} is a {type(item).__name__} of {len(item)} parts; expected an image or a pair "
            "(image, label): wrap the dataset so that it yields one"
        )
    return parts[0], parts[1] if len(parts) == 2 else None


def _pixels(image: Any, name: str) -> NDArray[Any]:
    """One image of a dataset as an array (C, H, W); its range is not looked at."""
    expected = (
        "expected a PIL image, or a (channels, height, width) tensor or array of uint8 or of "
        "float in [0, 1]"
    )
    if isinstance(image, Tensor):
        if str(image.dtype).removeprefix("torch.") not in IMAGE_TYPES:
            raise ReferenceSampleError(f"{name} is {image.dtype}; {expected}")
        array = image.detach().cpu().numpy()
    elif isinstance(image, np.ndarray):
        array = image
    elif hasattr(image, "convert") and hasattr(image, "mode"):
        # Grey stays one channel, as the model of such a dataset expects; palettes, alpha
        # channels and the like become RGB.
        picture = image if image.mode in ("L", "RGB") else image.convert("RGB")
        array = np.asarray(picture)
        array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    else:
        raise ReferenceSampleError(f"{name} is a {type(image).__name__}; {expected}")
    if array.dtype.name not in IMAGE_TYPES or array.ndim != 3 or 0 in array.shape:
        raise ReferenceSampleError(
            f"{name} has type {array.dtype} and shape {array.shape}; {expected}"
        )
    channels, height, width = array.shape
    if channels > 4 and height > 4 and width in (1, 3, 4):
        raise ReferenceSampleError(
            f"{name} has shape {array.shape}, which looks like (height, width, channels); "
            f"{expected}"
        )
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _stack(found: Iterator[NDArray[Any]], names: Sequence[str]) -> NDArray[Any]:
    # Filled in place: a list of images and a stack of them would need twice the memory.
    first = next(found)
    images = np.empty((len(names), *first.shape), dtype=first.dtype)
    for position, image in enumerate(chain([first], found)):
        if image.shape != first.shape or image.dtype != first.dtype:
            given, wanted = (f"{'×'.join(map(str, x.shape))} {x.dtype}" for x in (image, first))
            raise ReferenceSampleError(
                f"{names[position]} is {given} but {names[0]} is {wanted}; a reference sample has "
                "images of one size and type: resize and crop them alike"
            )
        images[position] = image
    return images
