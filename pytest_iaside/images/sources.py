"""Where reference samples come from: folders, CSV files and datasets.

Everything here chooses first and reads afterwards: an image that a limit leaves out is
never opened.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.checks import check_whole
from pytest_iaside.errors import ReferenceSampleError, one_line, quoted, shortened, visible
from pytest_iaside.images.pictures import PictureReader
from pytest_iaside.store.files import read_bytes

IMAGE_TYPES = ("uint8", "float16", "float32", "float64")
# The file types that torchvision's ImageFolder reads.
EXTENSIONS = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
LABEL_COLUMNS = ("label", "class", "imagenet_index")
LISTED = 3
LARGEST_CSV = 2**26
# From a warning to who called ReferenceSample.from_folder.
CALLER = 4

Loaded = tuple[NDArray[Any], Any, list[str]]
"""Images (K, C, H, W), their labels if they have any, and their names."""


def read_folder(
    root: Path,
    *,
    labels: str | Path | None,
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
    if labels is None:
        entries: list[tuple[str, int | None]] = [(file, None) for file in _image_files(root)]
    elif labels == "folder":
        entries = _by_folder(root)
    else:
        entries = _by_csv(root, Path(labels))
    chosen = [entries[i] for i in _draw(len(entries), limit, seed)]
    files = [file for file, _ in chosen]
    # Not Path.is_file: that raises for a name that no file can have.
    if missing := [file for file in files if not os.path.isfile(root / file)]:
        raise ReferenceSampleError(
            f"{labels} names {_listed(missing)} not found in {root}; correct the file column "
            "(paths relative to that folder) or add the images"
        )
    reader = PictureReader(resize, crop)
    images = _stack((reader.read(root / file, file) for file in files), files)
    if small := reader.enlarged:
        least = min(small, key=small.__getitem__)
        _warn(
            f"{len(small)} of {len(files)} images in {root} are smaller than resize={resize} and "
            f"were enlarged (the smallest, {least}, has {small[least]} pixels): their upper bands "
            f"hold no detail; give resize={small[least]} or less, or larger images",
            CALLER,
        )
    _warn_of_copies(root, images, chosen)
    return images, None if labels is None else [label for _, label in chosen], files


def read_dataset(dataset: Any, *, limit: int | None, seed: int | None) -> Loaded:
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
    return images, None if labels[0] is None else labels, names


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
    circles = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        # Hidden ones hold no photographs: .ipynb_checkpoints, macOS's "._photo.jpg".
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in list(subfolders):
            path = os.path.join(folder, name)
            real = os.path.realpath(path)
            if any(Path(each).is_relative_to(real) for each in around[folder]):
                subfolders.remove(name)
                circles.append(path)
            around[path] = (*around[folder], real)
        files += [
            Path(folder, name).relative_to(root)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS
        ]
    if circles:
        _warn(
            f"{circles[0]} is a link to a folder that it lies in and was left out; remove it",
            CALLER + 2,
        )
    if not files:
        raise ReferenceSampleError(
            f"{root} holds no images; expected files ending in {', '.join(sorted(EXTENSIONS))}"
        )
    return [file.as_posix() for file in sorted(files)]


def _by_folder(root: Path) -> list[tuple[str, int | None]]:
    files = _image_files(root)
    folders = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    ranks = {folder: rank for rank, folder in enumerate(folders)}
    if loose := [file for file in files if "/" not in file]:
        raise ReferenceSampleError(
            f"{_listed(loose)} lying directly in {root}, but labels='folder' reads the class from "
            "a sub-folder; sort the images into one folder per class, give labels=<a csv file>, "
            "or labels=None to use the model's own predictions"
        )
    return [(file, ranks[file.split("/", 1)[0]]) for file in files]


def _by_csv(root: Path, path: Path) -> list[tuple[str, int | None]]:
    # As given, or else beside the images: both are what people write.
    source = path if path.exists() else root / path
    if not source.is_file():
        raise ReferenceSampleError(
            f"there is no file {path}; give labels='folder', None, or the path of a CSV file with "
            "the columns file and label"
        )
    try:
        text = read_bytes(source, LARGEST_CSV).decode("utf-8-sig")
        entries = _entries(source, csv.DictReader(io.StringIO(text, ""), skipinitialspace=True))
    except UnicodeDecodeError as error:
        raise ReferenceSampleError(
            f"{source} is not UTF-8 (byte {error.start}); save it as CSV in UTF-8"
        ) from error
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise ReferenceSampleError(
            f"{source} cannot be read: {reason}; give a CSV file with the columns file and label"
        ) from error
    if not entries:
        raise ReferenceSampleError(f"{source} names no images; give it one row for each image")
    return entries


def _entries(source: Path, rows: csv.DictReader[str]) -> list[tuple[str, int | None]]:
    """The files and labels of ``rows``, each file once; ReferenceSampleError for two labels."""
    column = _label_column(source, list(rows.fieldnames or []))
    found: dict[str, int] = {}
    again: list[str] = []
    for row in rows:
        given, label = row["file"], row[column]
        try:
            path, index = Path(given), int(label)
        except (TypeError, ValueError):
            raise ReferenceSampleError(
                f"{source}, line {rows.line_num}: file {quoted(given)} has {column} "
                f"{quoted(label)}; expected a file and a class index (a whole number)"
            ) from None
        if path.is_absolute() or ".." in path.parts:
            raise ReferenceSampleError(
                f"{source}, line {rows.line_num}: {quoted(given)} leaves the folder; expected a "
                "path relative to it, without .."
            )
        file = path.as_posix()
        again += [file] * (file in found)
        if found.setdefault(file, index) != index:
            # One of the two is wrong, and nobody here can tell which.
            raise ReferenceSampleError(
                f"{source}, line {rows.line_num}: {quoted(file)} has {column} {quoted(index)}, and "
                f"{quoted(found[file])} above; leave one of the two lines out"
            )
    if again:
        _warn(f"{source} names {_listed(again)} more than once; each was taken once", CALLER + 2)
    return list(found.items())


def _label_column(source: Path, columns: list[str]) -> str:
    others = [column for column in columns if column != "file"]
    usual = [column for column in LABEL_COLUMNS if column in others]
    if "file" in columns and (usual or len(others) == 1):
        return (usual or others)[0]
    raise ReferenceSampleError(
        f"{source} has the columns {', '.join(columns) or '(none)'}; expected a header row with "
        f"a column file and a column {', '.join(LABEL_COLUMNS[:-1])} or {LABEL_COLUMNS[-1]}"
    )


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
        _warn(
            f"in {root}, {_listed(copies, 'exact copy', 'exact copies')} count as one image{wrong}"
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


def _warn(text: str, level: int) -> None:
    warnings.warn(visible(text), stacklevel=level)


def _listed(files: Sequence[str], one: str = "image", several: str = "images") -> str:
    few = ", ".join(map(shortened, files[:LISTED]))
    more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
    return f"{len(files)} {several if len(files) != 1 else one} ({few}{more})"
