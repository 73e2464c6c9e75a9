"""Folders of image files, and CSV files that list them.

Everything here chooses first and reads afterwards: an image that a limit leaves out is
never opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pytest_iaside.checks import check_choice, check_whole
from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.images.drawing import draw
from pytest_iaside.images.grouping import group_by
from pytest_iaside.images.label_lists import CALLER, Listed, listed, read_list, warn
from pytest_iaside.images.loaded import Loaded, OnError, skipped_note
from pytest_iaside.images.pictures import PictureReader, UnreadableImage, mode_of
from pytest_iaside.images.storing import ImageStore, SizedStores, each_of
from pytest_iaside.images.values import check_spread, checked_range

# The file types that torchvision's ImageFolder reads.
EXTENSIONS = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}

GroupsOf = str | Callable[[str], Any] | None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How image files are read, and how many of them."""

    resize: int | None
    crop: int | None
    channels: int = 3
    range: tuple[float, float] | None = None
    limit: int | None = None
    seed: int | None = None
    on_error: OnError = "raise"
    by_size: bool = False

    def __post_init__(self) -> None:
        check_whole("resize", self.resize, 1, or_none=True)
        check_whole("crop", self.crop, 1, or_none=True)
        check_whole("limit", self.limit, 1, or_none=True)
        check_whole("seed", self.seed, 0, or_none=True)
        check_choice("on_error", self.on_error, OnError)
        self.reader()

    def reader(self) -> PictureReader:
        """A reader for these settings; raises SettingsError where they are wrong."""
        pair = checked_range(self.range)
        return PictureReader(self.resize, self.crop, mode_of(self.channels), pair)


def read_folder(
    root: Path, reading: Reading, *, labels: str | Path | None, groups: GroupsOf = None
) -> Loaded:
    """What ``ReferenceSample.from_folder`` promises, as arrays."""
    check_folder(root, "the reference images")
    column = _group_column(groups, labels)
    if labels is None:
        entries = [Listed(file) for file in _image_files(root)]
    elif labels == "folder":
        entries = _by_folder(root)
    else:
        # As given, or else beside the images: both are what people write.
        path = Path(labels)
        entries = read_list(path if path.exists() else root / path, path, group=column)
    return _load(root, entries, reading, labels, groups)


def read_csv(
    path: Path, reading: Reading, *, root: Path | None, labels: str | None, groups: GroupsOf
) -> Loaded:
    """What ``ReferenceSample.from_csv`` promises, as arrays."""
    root = path.parent if root is None else root
    if callable(groups) or groups is None:
        entries = read_list(path, path, label=labels)
    else:
        entries = read_list(path, path, label=labels, group=groups)
    check_folder(root, "the images that the CSV file names")
    return _load(root, entries, reading, path, groups)


def _load(
    root: Path, entries: Sequence[Listed], reading: Reading, source: Any, groups: GroupsOf
) -> Loaded:
    chosen = [entries[i] for i in draw(len(entries), reading.limit, reading.seed)]
    # Not Path.is_file: that raises for a name that no file can have.
    if missing := [each.file for each in chosen if not os.path.isfile(root / each.file)]:
        raise ReferenceSampleError(
            f"{source} names {listed(missing)} not found in {root}; correct the file column "
            "(paths relative to that folder) or add the images"
        )
    reader = reading.reader()
    taken: list[Listed] = []
    skipped: list[str] = []
    with SizedStores() if reading.by_size else ImageStore(len(chosen)) as store:
        for each in chosen:
            try:
                image = reader.read(root / each.file, each.file)
            except UnreadableImage as error:
                if reading.on_error == "raise":
                    raise ReferenceSampleError(f'{error}, or give on_error="skip"') from error
                skipped.append(str(error))
                continue
            store.add(image, each.file)
            taken.append(each)
        images = store.images() if taken else None
    if not taken:
        raise ReferenceSampleError(f"none of {len(chosen)} images can be read: {skipped[0]}")
    check_spread(each_of(images), reader.value_range)
    if small := reader.enlarged:
        least = min(small, key=small.__getitem__)
        warn(
            f"{len(small)} of {len(taken)} images in {root} are smaller than resize="
            f"{reading.resize} and were enlarged (the smallest, {least}, has {small[least]} "
            f"pixels): their upper bands hold no detail; give {_sizes(reading, small[least])}, or "
            "larger images",
            CALLER + 1,
        )
    _warn_of_copies(root, store.digests, taken)
    files = [each.file for each in taken]
    found: list[Any] | None = None
    if callable(groups):
        found = group_by(groups, files)
    elif groups == "folder" and taken[0].group is None:
        found = [os.path.dirname(file) or "." for file in files]
    elif taken[0].group is not None:
        found = [each.group for each in taken]
    return Loaded(
        images,
        None if taken[0].label is None else [each.label for each in taken],
        files,
        found,
        skipped_note(skipped, len(chosen)),
        store.digests,
    )


def _sizes(reading: Reading, pixels: int) -> str:
    """What to give so that images of so many ``pixels`` are not enlarged."""
    crops = reading.crop is not None and reading.crop > pixels
    return f"resize={pixels}, crop={pixels} or less" if crops else f"resize={pixels} or less"


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


def check_folder(root: Path, content: str) -> None:
    """Raise ReferenceSampleError unless ``root`` is a folder, which is to hold ``content``."""
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        if not root.is_absolute():
            found += f" in {Path.cwd()}, where this was started"
        near = "" if root.exists() else _near(root)
        raise ReferenceSampleError(f"{root} {found}; give the folder that holds {content}{near}")


def _near(root: Path) -> str:
    """The folder beside ``root`` whose name is the most like it; empty where none is."""
    try:
        there = [each.name for each in root.parent.iterdir() if each.is_dir()]
    except OSError:
        return ""
    close = get_close_matches(root.name, there, 1)
    return f": {root.parent / close[0]}?" if close else ""


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


def _by_folder(root: Path) -> list[Listed]:
    files = _image_files(root)
    folders = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    ranks = {folder: rank for rank, folder in enumerate(folders)}
    if loose := [file for file in files if "/" not in file]:
        raise ReferenceSampleError(
            f"{listed(loose)} lying directly in {root}, but labels='folder' reads the class from "
            "a sub-folder; sort the images into one folder per class, give labels=<a csv file>, "
            "or labels=None to use the model's own predictions"
        )
    return [Listed(file, ranks[file.split("/", 1)[0]]) for file in files]


def _warn_of_copies(root: Path, digests: Sequence[str], entries: Sequence[Listed]) -> None:
    """Warn of images that have the very same pixels as another one.

    They are kept, and count as one wherever means are taken: a data set may hold a picture of two
    things under both of their names.
    """
    first: dict[str, Listed] = {}
    copies, differing = [], 0
    for digest, entry in zip(digests, entries, strict=True):
        other = first.setdefault(digest, entry)
        if other is not entry:
            copies.append(f"{entry.file} of {other.file}")
            differing += entry.label != other.label
    if copies:
        wrong = f"; {differing} of them with another label, one of which is wrong" * bool(differing)
        warn(
            f"in {root}, {listed(copies, 'exact copy', 'exact copies')} count as one image{wrong}"
            "; leave the copies out",
            CALLER + 2,
        )
