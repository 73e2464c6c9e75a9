"""Datasets: of torch, torchvision, Hugging Face and MAITE, loaders, lists and iterators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch.utils import data

from pytest_iaside.checks import check_choice, check_whole
from pytest_iaside.errors import ReferenceSampleError, one_line, quoted
from pytest_iaside.images.drawing import draw
from pytest_iaside.images.grouping import as_list, group_by
from pytest_iaside.images.loaded import Loaded, OnError, skipped_note
from pytest_iaside.images.pictures import PictureReader, UnreadableImage, mode_of
from pytest_iaside.images.rows import AUTO, Parts, Row, RowReader, rows_of
from pytest_iaside.images.storing import ImageStore, SizedStores, each_of
from pytest_iaside.images.values import check_spread, checked_range, digest_of

# Indices that a sampler is asked for twice.
LOOKED_AT = 1000
SHUFFLES = (data.RandomSampler, data.SubsetRandomSampler, data.WeightedRandomSampler)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Which parts of a dataset's items are read, and how."""

    image: str | int = AUTO
    label: str | int | None = AUTO
    groups: Any = None
    range: tuple[float, float] | None = None
    channels: int | None = None
    channels_last: bool | None = None
    resize: int | None = None
    crop: int | None = None
    limit: int | None = None
    seed: int | None = None
    on_error: OnError = "raise"
    by_size: bool = False

    def __post_init__(self) -> None:
        for name in ("resize", "crop", "limit"):
            check_whole(name, getattr(self, name), 1, or_none=True)
        check_whole("seed", self.seed, 0, or_none=True)
        check_choice("on_error", self.on_error, OnError)
        self.reader()

    def reader(self) -> RowReader:
        """What makes arrays of images; raises SettingsError where a setting is wrong."""
        mode = "RGB" if self.channels is None else mode_of(self.channels)
        pictures = PictureReader(self.resize, self.crop, mode, checked_range(self.range))
        return RowReader(pictures, self.channels, self.channels_last)

    def store(self, count: int | None) -> ImageStore | SizedStores:
        """Where so many images are taken in; None where it is not known how many there are."""
        return SizedStores() if self.by_size else ImageStore(count)

    @property
    def column(self) -> str | int | None:
        """The column that ``groups`` names, if it names one."""
        return self.groups if isinstance(self.groups, (str, int)) else None


def read_dataset(dataset: Any, reading: Reading) -> Loaded:
    """What ``ReferenceSample.from_dataset`` promises, as arrays."""
    _check_kind(dataset)
    if _is_map_style(dataset):
        length = len(dataset)
        if length == 0:
            raise ReferenceSampleError("the dataset is empty; give one with at least one image")
        chosen = draw(length, reading.limit, reading.seed)
        groups = _groups_of(reading, length, chosen)
        rows = _rows_of_map(dataset, chosen, reading)
        with reading.store(len(chosen)) as store:
            found, steady = _Found(reading, store), False
            for place, (row, group) in zip(chosen, zip(rows, groups, strict=True), strict=True):
                found.take(row, f"image {place}", group)
                if found.names and not steady:
                    _check_steady(dataset, place, found)
                    steady = True
            return found.loaded()
    function = reading.groups if callable(reading.groups) else None
    if reading.seed is not None or (reading.groups is not None and not function):
        _check_stream(dataset, reading)
    with reading.store(None) as store:
        found = _Found(reading, store)
        for place, row in enumerate(islice(_rows_of_stream(dataset, reading), reading.limit)):
            group = None if function is None else group_by(function, [place])[0]
            found.take(row, f"image {place}", group)
        return found.loaded()


def _check_steady(dataset: Any, place: int, found: _Found) -> None:
    """Raise ReferenceSampleError where the first image is another one when it is read again."""
    (row,) = _rows_of_map(dataset, [place], found.reading)
    if isinstance(row, Exception):  # It was there before: what is odd about that is not this.
        return
    again = digest_of(found.reader.pixels(row.image, found.names[0]))
    if again != found.store.digests[0]:
        raise ReferenceSampleError(
            f"{found.names[0]} was another image when it was read a second time; expected the same "
            "each time: leave random transforms (crops, flips, noise) out of the dataset, and give "
            "those of evaluation"
        )


@dataclass(eq=False)
class _Found:
    """What was read of a dataset so far."""

    reading: Reading
    store: ImageStore | SizedStores
    labels: list[Any] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    groups: list[Any] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    reader: RowReader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = self.reading.reader()

    def take(self, row: Row | Exception, name: str, group: Any) -> None:
        """Read the image of ``row``, or note why it could not be had."""
        try:
            if isinstance(row, Exception):
                raise UnreadableImage(f"{name} cannot be read ({one_line(row)})") from row
            name = row.name or name
            image = self.reader.pixels(row.image, name)
        except UnreadableImage as error:
            if self.reading.on_error == "raise":
                told = f'{error}; repair it or leave it out, or give on_error="skip"'
                raise ReferenceSampleError(told) from error
            self.skipped.append(str(error))
            return
        if self.labels and (row.label is None) != (self.labels[0] is None):
            raise ReferenceSampleError(
                f"{name} and {self.names[0]} differ: only one of them has a label; give all of "
                "them one, or none"
            )
        _check_label(row.label, name)
        self.store.add(image, name)
        self.labels.append(row.label)
        self.names.append(name)
        self.groups.append(row.group if group is None else group)

    def loaded(self) -> Loaded:
        """All that was read; raises ReferenceSampleError where that is nothing."""
        total = len(self.names) + len(self.skipped)
        if not total:
            raise ReferenceSampleError(
                "the dataset is empty; give one with at least one image (an iterator that was used "
                "before has none left)"
            )
        if not self.names:
            raise ReferenceSampleError(f"none of {total} images can be read: {self.skipped[0]}")
        labels = None if self.labels[0] is None else self.labels
        groups = None if all(group is None for group in self.groups) else self.groups
        note = skipped_note(self.skipped, total)
        images = self.store.images()
        check_spread(each_of(images), checked_range(self.reading.range))
        return Loaded(images, labels, self.names, groups, note, self.store.digests)


def _check_kind(dataset: Any) -> None:
    """Raise ReferenceSampleError for what is no dataset of images in an order of its own."""
    kind = type(dataset).__name__
    if isinstance(dataset, (str, Path)):
        raise ReferenceSampleError(
            f"dataset={quoted(dataset)} is a {kind}; load the dataset first, or read image files "
            "with ReferenceSample.from_folder or .from_csv"
        )
    if isinstance(dataset, Mapping):
        names = ", ".join(map(str, dataset))
        if kind.endswith("DatasetDict"):
            first = next(iter(dataset), "test")
            raise ReferenceSampleError(
                f"a {kind} holds the splits {names}; give one of them: dataset[{first!r}]"
            )
        raise ReferenceSampleError(
            f"a {kind} with the keys {names} is no dataset of images; give ReferenceSample the "
            "arrays of images and labels in it, or from_dataset a list of rows"
        )
    if hasattr(dataset, "iloc"):
        raise ReferenceSampleError(
            f"a {kind} is a table; give its rows (dataset.to_dict('records')), or write it as a "
            "CSV file of paths and read that with ReferenceSample.from_csv"
        )
    if isinstance(dataset, Set):
        raise ReferenceSampleError(f"a {kind} has no order; give a list")
    if isinstance(dataset, data.DataLoader) and _shuffles(dataset):
        raise ReferenceSampleError(
            "the DataLoader shuffles, so that its images would be others each time; give one with "
            "shuffle=False, or its dataset (loader.dataset)"
        )
    if not _is_map_style(dataset) and not isinstance(dataset, Iterable):
        raise ReferenceSampleError(
            f"a {kind} is no dataset: it needs len() and [index], or iteration"
        )


def _shuffles(loader: data.DataLoader[Any]) -> bool:
    """Whether ``loader`` yields images in another order each time, also by a sampler of one's own.

    Only indices are looked at, no images.
    """
    own = [getattr(each, "sampler", None) for each in (loader, loader.batch_sampler)]
    if any(isinstance(each, SHUFFLES) for each in own):
        return True
    for each in (*own, loader.batch_sampler):
        # What is its own iterator is used up by looking at it.
        if each is None or isinstance(each, data.SequentialSampler) or not _begins_anew(each):
            continue
        with torch.random.fork_rng(devices=[]):
            first, second = (list(islice(each, LOOKED_AT)) for _ in range(2))
        if first != second:
            return True
    return False


def _begins_anew(iterable: Any) -> bool:
    return isinstance(iterable, Iterable) and not isinstance(iterable, Iterator)


def _is_map_style(dataset: Any) -> bool:
    if isinstance(dataset, (data.IterableDataset, data.DataLoader)):
        return False
    return hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")


def _check_stream(dataset: Any, reading: Reading) -> None:
    """Raise ReferenceSampleError for settings that need to know how many images there are."""
    kind = type(dataset).__name__
    if reading.seed is not None:
        raise ReferenceSampleError(
            f"a {kind} is read from its beginning, so that nothing can be drawn from it "
            f"(seed={reading.seed}); leave seed out, or give a dataset with len() and [index]"
        )
    if reading.column is None:
        raise ReferenceSampleError(
            f"groups are {quoted(reading.groups)}, but nobody knows how many images a {kind} has; "
            "give the name of a column, or a function of an image's index"
        )


def _rows_of_map(
    dataset: Any, chosen: Sequence[int], reading: Reading
) -> Iterator[Row | Exception]:
    parts: Parts | None = None
    for place in chosen:
        try:
            item = dataset[place]
        except Exception as error:  # Whatever the dataset's code raises.
            yield error
            continue
        if parts is None:
            parts = _parts_of(dataset, item, reading)
        yield parts.row(item, f"image {place}")


def _rows_of_stream(dataset: Any, reading: Reading) -> Iterator[Row]:
    parts: Parts | None = None
    items = iter(dataset)
    for place in count():
        try:
            item = next(items)
        except StopIteration:
            return
        except Exception as error:  # Whatever the dataset's code raises.
            raise ReferenceSampleError(
                f"the {type(dataset).__name__} failed at item {place} ({one_line(error)}), and "
                "cannot go on beyond it; repair that item, or give a dataset with len() and [index]"
            ) from error
        if parts is None:
            parts = _parts_of(dataset, item, reading)
        yield from rows_of(parts.row(item, f"item {place}"))


def _parts_of(dataset: Any, item: Any, reading: Reading) -> Parts:
    features = getattr(dataset, "features", None)
    typed = {}
    if isinstance(features, Mapping):
        typed = {str(name): type(feature).__name__ for name, feature in features.items()}
    return Parts.of(item, reading.image, reading.label, reading.column, typed)


def _check_label(label: Any, name: str) -> None:
    """Raise ReferenceSampleError for a label that is a mapping, a picture or another object."""
    if label is None or isinstance(label, (str, int, float, list, tuple)):
        return
    if not hasattr(label, "__array__"):
        raise ReferenceSampleError(
            f"the label of {name} is a {type(label).__name__}; expected a class index or a "
            "distribution over the classes"
        )


def _groups_of(reading: Reading, length: int, chosen: list[int]) -> list[Any]:
    """The groups of the items ``chosen`` of a dataset of so many; None where rows tell them."""
    groups = reading.groups
    if groups is None or reading.column is not None:
        return [None] * len(chosen)
    if callable(groups):
        return group_by(groups, chosen)
    given = as_list(groups)
    if not isinstance(given, Sequence) or len(given) != length:
        found = f"{len(given)} of them" if isinstance(given, Sequence) else quoted(given)
        raise ReferenceSampleError(
            f"groups are {found}, but the dataset has {length} items; give one string or whole "
            "number for each item of the whole dataset, or a function of an item's index"
        )
    return [given[place] for place in chosen]
