"""ReferenceSample: the images, with or without labels, that classifiers are measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.images import datasets, sizes, sources, storing
from pytest_iaside.images.arrays import dtype_name, images_of, in_unit_range
from pytest_iaside.images.class_labels import check_number, checked_labels, counted
from pytest_iaside.images.grouping import checked_groups
from pytest_iaside.images.loaded import Loaded, OnError, numbered
from pytest_iaside.images.pictures import Channels
from pytest_iaside.images.similar import similar_pairs
from pytest_iaside.images.targets import Targets, checked_targets, digests_of, taken
from pytest_iaside.images.values import digest_of, little_endian, sha256
from pytest_iaside.stats.groups import Groups, of_rows

T = TypeVar("T")

Pictures = Tensor | NDArray[Any]
Labels = Tensor | ArrayLike | None
LabelKind = Literal["dataset", "soft", "predicted", "targets"]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ReferenceSample:
    """K images of one size and, where there are any, their labels; immutable.

    ``images`` is (K, C, H, W), uint8 or float in [0, 1] (kept as float32; half and double
    are converted), and copied. Of any other numbers ``range=(low, high)`` says which values become
    0 and 1. ``channels_last=True``: they are (K, H, W, C). ``labels`` holds class indices (K,),
    distributions P(y|x) (K, classes), or is None: then the classifier's own prediction on the clean
    image counts. ``targets`` are what is right where that is no class: (K, C) in [0, 1] of C
    labels, or whatever the score of a Classifier takes, as a tensor (K, …) or a list of K things.
    ``groups`` says which images are not independent, as crops of a photograph, frames of a video
    or digits of a writer are: one string or whole number for each image, the same for those that
    belong together. None: every image is its own. Exact copies of an image are one group whatever
    is said. Every interval is then over groups (SPEC.md 10).

    Raises ReferenceSampleError when there is no image, when images or labels have another
    shape, type or range, or when their numbers differ.
    """

    images: Tensor
    """(K, C, H, W) uint8, or float32 in [0, 1]."""
    labels: Tensor | None
    """(K,) int64, (K, classes) float64, or None."""
    targets: Targets | None
    """(K, …), or K things; None where labels are what is right."""
    names: tuple[str, ...]
    groups: tuple[str, ...] | None
    """What each image is one of, as text; None where every image is its own."""
    notes: tuple[str, ...]
    """What measurements of these images have to say of them, such as files that were skipped."""

    def __init__(
        self,
        images: Pictures,
        labels: Labels = None,
        *,
        targets: Any = None,
        names: Sequence[str] | None = None,
        groups: Any = None,
        range: tuple[float, float] | None = None,
        channels_last: bool | None = None,
    ) -> None:
        pictures = images_of(images, range, channels_last)
        if names is None:
            names = numbered(len(pictures))
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise ReferenceSampleError(
                f"names={names!r} must be a sequence of strings, one for each image"
            )
        check_number(len(names), "name", len(pictures))
        self._fill(Loaded(pictures, labels, tuple(names), groups, targets=targets))

    def _fill(self, loaded: Loaded) -> None:
        images, names = torch.as_tensor(loaded.images), tuple(loaded.names)
        if loaded.labels is not None and loaded.targets is not None:
            raise ReferenceSampleError(
                "labels and targets were given; give labels where a class is right, else targets"
            )
        object.__setattr__(self, "images", in_unit_range(images, names))
        object.__setattr__(self, "labels", checked_labels(loaded.labels, names))
        object.__setattr__(self, "targets", checked_targets(loaded.targets, names))
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "groups", checked_groups(loaded.groups, names))
        object.__setattr__(self, "notes", tuple(loaded.notes))
        if loaded.digests is not None and self.images is images:
            self._unchanged("digests", lambda: tuple(loaded.digests or ()))

    @classmethod
    def _of(cls, loaded: Loaded) -> ReferenceSample:
        # For images that nobody else holds, or that were checked before: without a copy.
        sample = object.__new__(cls)
        sample._fill(loaded)
        return sample

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        *,
        labels: str | Path | None = "folder",
        groups: str | Callable[[str], Any] | None = None,
        resize: int | None = 256,
        crop: int | None = 224,
        channels: Channels = 3,
        range: tuple[float, float] | None = None,
        limit: int | None = None,
        seed: int | None = None,
        on_error: OnError = "raise",
    ) -> ReferenceSample:
        """Read image files, resize the shorter side to ``resize`` and cut the centre out.

        ``labels="folder"``: the class is the rank of the image's top folder among the sorted
        ones below ``path``. The path of a CSV file: it has a header, a column ``file``
        (relative to ``path``) and a column of class indices, and decides which images there
        are. None: no labels. ``limit`` takes the first images in the order of their paths or
        of the CSV's rows; with ``seed`` it draws them without replacement and keeps that
        order. Only the images taken are read. None for ``resize`` or ``crop`` skips it.

        Pictures become uint8 with so many ``channels`` (1 grey, 3, or 4 with transparency),
        turned as their EXIF notes say; 16 bits are divided by 257. With ``range=(low, high)``,
        the values that become 0 and 1, those of 16 or 32 bits become float32.
        ``on_error="skip"`` leaves files out that cannot be decoded, and ``notes`` names them.

        ``groups`` says which images are not independent (SPEC.md 10): ``"folder"`` those that lie
        in the same folder; else the name of a column of the CSV file; or a function of the path,
        relative to ``path`` and with slashes, that returns a string or a whole number.

        Raises ReferenceSampleError when a folder, file or column is missing, when a file is
        no image, or when the pictures differ in size; SettingsError for the numbers.
        """
        reading = sources.Reading(
            resize=resize,
            crop=crop,
            channels=channels,
            range=range,
            limit=limit,
            seed=seed,
            on_error=on_error,
        )
        return cls._of(sources.read_folder(Path(path), reading, labels=labels, groups=groups))

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        *,
        root: str | Path | None = None,
        labels: str | None = "auto",
        groups: str | Callable[[str], Any] | None = "auto",
        resize: int | None = 256,
        crop: int | None = 224,
        channels: Channels = 3,
        range: tuple[float, float] | None = None,
        limit: int | None = None,
        seed: int | None = None,
        on_error: OnError = "raise",
    ) -> ReferenceSample:
        """Read the image files that the CSV file ``path`` names; the rest as ``from_folder``.

        It is in UTF-8 and has a header; a column ``file``, ``path``, ``filename`` or ``image``
        holds paths relative to ``root``, by default the CSV file's folder. ``labels`` is the name
        of the column of class indices, ``groups`` that of what images belong to; "auto" takes the
        columns ``label`` or ``class``, and ``group``, where there are such; None takes none.
        """
        reading = sources.Reading(
            resize=resize,
            crop=crop,
            channels=channels,
            range=range,
            limit=limit,
            seed=seed,
            on_error=on_error,
        )
        beside = None if root is None else Path(root)
        found = sources.read_csv(Path(path), reading, root=beside, labels=labels, groups=groups)
        return cls._of(found)

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        *,
        image: str | int = "auto",
        label: str | int | None = "auto",
        groups: str | Sequence[Any] | Callable[[int], Any] | None = None,
        range: tuple[float, float] | None = None,
        channels: Channels | None = None,
        channels_last: bool | None = None,
        resize: int | None = None,
        crop: int | None = None,
        limit: int | None = None,
        seed: int | None = None,
        on_error: OnError = "raise",
    ) -> ReferenceSample:
        """Read a dataset: torch's, torchvision's, Hugging Face's, MAITE's, a loader or a list.

        Its items are images, pairs (image, label), triples (image, target, metadata) or dicts.
        ``image`` and ``label`` name the columns of a dict, or places in a tuple; "auto" finds
        them where only one column can be meant; ``label=None``: no labels.
        An image is a PIL image, or a (C, H, W) tensor or array of uint8 or of float in [0, 1];
        with ``range=(low, high)``, the values that become 0 and 1, of any numbers; with
        ``channels_last=True`` (H, W, C). A label is a class index or a distribution. Grey pictures
        keep their one channel and others become RGB, unless ``channels`` says otherwise.
        ``resize`` and ``crop``, ``limit``, ``seed`` and ``on_error`` as in ``from_folder``; of an
        iterator or loader, whose batches are taken apart, the first images are taken.
        ``groups`` has one string or whole number for each item of the whole dataset, or is a
        function of an item's index that returns it, or names a column of dicts; those of the
        images taken are kept.

        Raises ReferenceSampleError when it is not such a dataset; SettingsError for the numbers.
        """
        reading = datasets.Reading(
            image=image,
            label=label,
            groups=groups,
            range=range,
            channels=channels,
            channels_last=channels_last,
            resize=resize,
            crop=crop,
            limit=limit,
            seed=seed,
            on_error=on_error,
        )
        return cls._of(datasets.read_dataset(dataset, reading))

    @classmethod
    def by_size(cls, source: Any, **settings: Any) -> dict[tuple[int, int], ReferenceSample]:
        """Images of different sizes as a sample for each (height, width), the smallest first.

        ``source`` is a folder, a CSV file or a dataset, and ``settings`` are those of
        ``from_folder``, ``from_csv`` or ``from_dataset``; nothing is resized or cropped unless they
        say so. Each sample is measured, gated and compared on its own, with a baseline of its
        own: images of a size with images of that size. A band holds the same cycles per pixel in
        all of them (``BandPartition.edges``), though not the same cycles per image.

        Raises what these do, and ReferenceSampleError where more than the size differs.
        """
        found = sizes.read_by_size(source, settings)
        return {size: cls._of(loaded) for size, loaded in found.items()}

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        channels, height, width = self.shape
        labels = {
            "dataset": "labels of the dataset",
            "soft": "soft labels",
            "predicted": "labels predicted by the classifier",
            "targets": "targets",
        }[self.label_kind]
        count = counted(len(self), "image")
        if self.groups is not None:
            count += f" in {counted(self.group_count, 'group')}"
        return (
            f"ReferenceSample({count} of {channels}×{height}×{width}, "
            f"{dtype_name(self.images)}, {labels})"
        )

    @property
    def group_count(self) -> int:
        """How many groups the images are in; without ``groups`` how many images there are."""
        found = self.group_numbers
        return len(self) if found is None else int(found.max()) + 1

    @property
    def group_numbers(self) -> Groups:
        """The group of each image (K,), 0 to G−1 by first appearance.

        Exact copies are in one. None where none were given, or every image is its own.
        """
        return self._unchanged("group_numbers", self._group_numbers)

    def _group_numbers(self) -> Groups:
        return None if self.groups is None else of_rows(self.digests, self.groups)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def label_kind(self) -> LabelKind:
        """Where P(y|x) comes from (SPEC.md 1.3)."""
        if self.labels is None:
            return "predicted" if self.targets is None else "targets"
        return "dataset" if self.labels.ndim == 1 else "soft"

    @property
    def right(self) -> Targets | None:
        """What is right of each image: labels, or targets; None where nobody says."""
        return self.targets if self.labels is None else self.labels

    @property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each image's type, shape and values, 32 hexadecimal digits each."""
        return self._unchanged("digests", self._digests)

    @property
    def digest(self) -> str:
        """SHA-256 of all images and labels, whatever their order, 32 hexadecimal digits."""
        return self._unchanged("digest", self._digest)

    @property
    def similar_images(self) -> tuple[tuple[int, int], ...]:
        """Pairs of images that look alike and are not said to belong together (similar.py)."""
        return self._unchanged("similar_images", lambda: tuple(similar_pairs(self)))

    def _unchanged(self, name: str, find: Callable[[], T]) -> T:
        """What ``find`` finds, once for as long as images and labels are not changed in place."""
        targets = self.targets if isinstance(self.targets, Tensor) else None
        tensors = (self.images, self.labels, targets)
        versions = [0 if each is None or each.is_inference() else each._version for each in tensors]
        known = vars(self).get(f"_{name}_of")
        if known is None or known[0] != versions:
            known = (versions, find())
            object.__setattr__(self, f"_{name}_of", known)
        found: T = known[1]
        return found

    def _digests(self) -> tuple[str, ...]:
        return tuple(digest_of(image.numpy()) for image in self.images)

    def _digest(self) -> str:
        labels = [] if self.labels is None else [_bytes(each).hex() for each in self.labels]
        if self.targets is not None:
            labels = digests_of(self.targets)
        pairs = zip_longest(self.digests, labels, fillvalue="")
        lines = sorted(f"{digest} {label}\n" for digest, label in pairs)
        return sha256("".join(lines).encode())

    def pixels(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Images ``start`` to ``stop`` (exclusive) as new float32 in [0, 1], (…, C, H, W)."""
        pixels = self.images[start:stop].to(torch.float32, copy=True)
        return pixels.div_(255) if self.images.dtype == torch.uint8 else pixels

    def take(self, indices: Sequence[int] | Tensor | NDArray[Any]) -> ReferenceSample:
        """The sample of the images at ``indices``, in that order, with labels, names and groups."""
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind not in "iu":
            raise ReferenceSampleError(
                f"indices of shape {chosen.shape} and type {chosen.dtype} given; "
                "give at least one whole number, in one dimension"
            )
        outside = chosen[(chosen < 0) | (chosen >= len(self))]
        if outside.size:
            raise ReferenceSampleError(
                f"image {outside[0]} asked for, but the sample has {counted(len(self), 'image')}; "
                f"use 0 to {len(self) - 1}"
            )
        labels = None if self.labels is None else self.labels[torch.from_numpy(chosen.astype(int))]
        names = [self.names[i] for i in chosen]
        groups = None if self.groups is None else [self.groups[i] for i in chosen]
        targets = taken(self.targets, chosen.tolist())
        images = self._taken(chosen, names)
        return self._of(Loaded(images, labels, names, groups, self.notes, targets=targets))

    def _taken(self, chosen: NDArray[Any], names: Sequence[str]) -> Tensor:
        """A copy of the images ``chosen``; the images themselves where a copy fills the memory."""
        if self.images[0].nbytes * len(chosen) <= storing.MOST_IN_MEMORY:
            return self.images[torch.from_numpy(chosen.astype(np.int64))]
        if (np.diff(chosen) == 1).all():
            return self.images[int(chosen[0]) : int(chosen[-1]) + 1]
        return torch.from_numpy(storing.stored([self.images[int(i)] for i in chosen], names))

    def with_labels(self, labels: Labels) -> ReferenceSample:
        """The same images with other labels, or with none."""
        return self._of(Loaded(self.images, labels, self.names, self.groups, self.notes))

    def with_targets(self, targets: Any) -> ReferenceSample:
        """The same images with ``targets`` instead of labels, or with none."""
        return self._of(
            Loaded(self.images, None, self.names, self.groups, self.notes, targets=targets)
        )

    def check_classes(self, classes: int) -> None:
        """Raise ReferenceSampleError unless the labels fit a classifier of ``classes`` classes."""
        if self.labels is None:
            return
        advice = "check that labels and model belong to the same data set"
        if self.labels.ndim == 2:
            if self.labels.shape[1] != classes:
                raise ReferenceSampleError(
                    f"the soft labels have {self.labels.shape[1]} columns, but the model has "
                    f"{classes} classes; {advice}"
                )
        elif (unknown := self.labels >= classes).any():
            first = int(unknown.nonzero()[0])
            raise ReferenceSampleError(
                f"{self.names[first]} has label {int(self.labels[first])}, but the model has "
                f"{classes} classes (0 to {classes - 1}); {advice}"
            )


def _bytes(values: Tensor) -> bytes:
    return little_endian(values.numpy())
