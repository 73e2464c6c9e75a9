"""Where reference samples come from: folders, CSV files and datasets.

Everything here chooses first and reads afterwards: an image that a limit leaves out is
never opened.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.checks import check_whole, library
from pytest_iaside.errors import ReferenceSampleError, one_line

IMAGE_TYPES = ("uint8", "float16", "float32", "float64")
# The file types that torchvision's ImageFolder reads.
EXTENSIONS = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
LABEL_COLUMNS = ("label", "class", "imagenet_index")
LISTED = 3

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
    if missing := [file for file in files if not (root / file).is_file()]:
        raise ReferenceSampleError(
            f"{labels} names {_listed(missing)} not found in {root}; correct the file column "
            "(paths relative to that folder) or add the images"
        )
    images = _stack((_read(root / file, file, resize, crop) for file in files), files)
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
    for folder, subfolders, names in os.walk(root, followlinks=True):
        # Hidden ones hold no photographs: .ipynb_checkpoints, macOS's "._photo.jpg".
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        files += [
            Path(folder, name).relative_to(root)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS
        ]
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
    with source.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, skipinitialspace=True)
        column = _label_column(source, list(rows.fieldnames or []))
        entries: list[tuple[str, int | None]] = []
        for row in rows:
            file, label = row["file"], row[column]
            try:
                entries.append((Path(file).as_posix(), int(label)))
            except (TypeError, ValueError):
                raise ReferenceSampleError(
                    f"{source}, line {rows.line_num}: file {file!r} has {column} {label!r}; "
                    "expected a file and a class index (a whole number)"
                ) from None
    if not entries:
        raise ReferenceSampleError(f"{source} names no images; give it one row for each image")
    return entries


def _label_column(source: Path, columns: list[str]) -> str:
    others = [column for column in columns if column != "file"]
    usual = [column for column in LABEL_COLUMNS if column in others]
    if "file" in columns and (usual or len(others) == 1):
        return (usual or others)[0]
    raise ReferenceSampleError(
        f"{source} has the columns {', '.join(columns) or '(none)'}; expected a header row with "
        f"a column file and a column {', '.join(LABEL_COLUMNS[:-1])} or {LABEL_COLUMNS[-1]}"
    )


def read_image(
    path: Path, *, resize: int | None, crop: int | None, grey: bool = False
) -> NDArray[np.uint8]:
    """The picture (C, H, W) in the file ``path``, resized and cropped as ``read_folder`` does.

    In colour, or ``grey`` with one channel. Raises ReferenceSampleError when it is unreadable or
    too small for the crop.
    """
    return _read(path, path.name, resize, crop, "L" if grey else "RGB")


def _read(
    path: Path, name: str, resize: int | None, crop: int | None, mode: str = "RGB"
) -> NDArray[np.uint8]:
    need = partial(library, purpose="to read image files", error=ReferenceSampleError)
    functional = need("torchvision.transforms.v2.functional", package="torchvision")
    pil = need("PIL.Image", package="pillow")
    try:
        with pil.open(path) as picture:
            image: Tensor = functional.pil_to_tensor(picture.convert(mode))
    except Exception as error:  # Decoders raise a dozen kinds on broken files.
        raise ReferenceSampleError(
            f"{name} cannot be read as an image ({one_line(error)}); restore it or leave it out"
        ) from error
    if resize is not None:
        image = functional.resize(image, [resize], antialias=True)
    if crop is not None:
        height, width = image.shape[-2:]
        if min(height, width) < crop:
            # torchvision would pad with black: edges that no photograph has.
            raise ReferenceSampleError(
                f"{name} is {height}×{width} pixels, too small for crop={crop}; "
                f"use a smaller crop, or resize={crop} or more"
            )
        image = functional.center_crop(image, [crop, crop])
    return np.asarray(image)


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


def _listed(files: Sequence[str]) -> str:
    few = ", ".join(files[:LISTED])
    more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
    return f"{len(files)} image{'s' if len(files) != 1 else ''} ({few}{more})"
