"""ReferenceSample: the images, with or without labels, that classifiers are measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.images import sources
from pytest_iaside.images.grouping import checked_groups
from pytest_iaside.images.similar import similar_pairs
from pytest_iaside.images.targets import Targets, checked_targets, digests_of, taken
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import Groups, of_rows

T = TypeVar("T")

Pictures = Tensor | NDArray[Any]
Labels = Tensor | ArrayLike | None
LabelKind = Literal["dataset", "soft", "predicted", "targets"]

# Resizing or blending in float32 oversteps [0, 1] by rounding; that much is clamped.
ROUNDING = 1e-5
# Distributions written with three decimals, or computed in float16, sum to 1 this closely.
SUM_TOLERANCE = 1e-3
EXPECTED_LABELS = "expected class indices (images,) or distributions (images, classes)"
DIGEST_LENGTH = 32


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ReferenceSample:
    """K images of one size and, where there are any, their labels; immutable.

    ``images`` is (K, C, H, W), uint8 or float in [0, 1] (kept as float32; half and double
    are converted), and copied. ``labels`` holds class indices (K,), distributions P(y|x)
    (K, classes), or is None: then the classifier's own prediction on the clean image counts.
    ``targets`` are what is right where that is no class: (K, C) in [0, 1] of C labels, or whatever
    the score of a Classifier takes, as a tensor (K, …) or a list of K things. ``groups`` says which
    images are not independent, as crops of a photograph, frames of a video
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

    def __init__(
        self,
        images: Pictures,
        labels: Labels = None,
        *,
        targets: Any = None,
        names: Sequence[str] | None = None,
        groups: Any = None,
    ) -> None:
        pictures = _tensor(images)
        if names is None:
            names = [f"image {i}" for i in range(len(pictures))]
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise ReferenceSampleError(
                f"names={names!r} must be a sequence of strings, one for each image"
            )
        _check_number(len(names), "name", len(pictures))
        self._fill(pictures, labels, tuple(names), groups, targets)

    def _fill(
        self, images: Tensor, labels: Any, names: tuple[str, ...], groups: Any, targets: Any = None
    ) -> None:
        if labels is not None and targets is not None:
            raise ReferenceSampleError(
                "labels and targets were given; give labels where a class is right, else targets"
            )
        object.__setattr__(self, "images", _in_unit_range(images, names))
        object.__setattr__(self, "labels", _checked_labels(labels, names))
        object.__setattr__(self, "targets", checked_targets(targets, names))
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "groups", checked_groups(groups, names))

    @classmethod
    def _of(
        cls,
        images: Pictures,
        labels: Any,
        names: Iterable[str],
        groups: Any = None,
        targets: Any = None,
    ) -> ReferenceSample:
        # For images that nobody else holds, or that were checked before: without a copy.
        sample = object.__new__(cls)
        sample._fill(torch.as_tensor(images), labels, tuple(names), groups, targets)
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
        limit: int | None = None,
        seed: int | None = None,
    ) -> ReferenceSample:
        """Read image files, resize the shorter side to ``resize`` and cut the centre out.

        ``labels="folder"``: the class is the rank of the image's top folder among the sorted
        ones below ``path``. The path of a CSV file: it has a header, a column ``file``
        (relative to ``path``) and a column of class indices, and decides which images there
        are. None: no labels. ``limit`` takes the first images in the order of their paths or
        of the CSV's rows; with ``seed`` it draws them without replacement and keeps that
        order. Only the images taken are read. None for ``resize`` or ``crop`` skips it.

        ``groups`` says which images are not independent (SPEC.md 10): ``"folder"`` those that lie
        in the same folder; else the name of a column of the CSV file; or a function of the path,
        relative to ``path`` and with slashes, that returns a string or a whole number.

        Raises ReferenceSampleError when a folder, file or column is missing, when a file is
        no image, or when the pictures differ in size; SettingsError for the numbers.
        """
        return cls._of(
            *sources.read_folder(
                Path(path),
                labels=labels,
                groups=groups,
                resize=resize,
                crop=crop,
                limit=limit,
                seed=seed,
            )
        )

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        *,
        groups: Sequence[Any] | Callable[[int], Any] | None = None,
        limit: int | None = None,
        seed: int | None = None,
    ) -> ReferenceSample:
        """Read a map-style dataset of images or of (image, label) pairs.

        An image is a PIL image, or a (C, H, W) tensor or array of uint8 or of float in [0, 1];
        a label a class index or a distribution. ``limit`` and ``seed`` as in ``from_folder``.
        ``groups`` has one string or whole number for each item of the whole dataset, or is a
        function of an item's index that returns it; those of the images taken are kept.

        Raises ReferenceSampleError when it is not such a dataset; SettingsError for the numbers.
        """
        return cls._of(*sources.read_dataset(dataset, groups=groups, limit=limit, seed=seed))

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
        count = _count(len(self), "image")
        if self.groups is not None:
            count += f" in {_count(self.group_count, 'group')}"
        return (
            f"ReferenceSample({count} of {channels}×{height}×{width}, "
            f"{_dtype_name(self.images)}, {labels})"
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
        header = f"{_dtype_name(self.images)} {'x'.join(map(str, self.shape))} ".encode()
        return tuple(_sha256(header + _little_endian(image)) for image in self.images)

    def _digest(self) -> str:
        labels = [] if self.labels is None else [_little_endian(each).hex() for each in self.labels]
        if self.targets is not None:
            labels = digests_of(self.targets)
        pairs = zip_longest(self.digests, labels, fillvalue="")
        lines = sorted(f"{digest} {label}\n" for digest, label in pairs)
        return _sha256("".join(lines).encode())

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
                f"image {outside[0]} asked for, but the sample has {_count(len(self), 'image')}; "
                f"use 0 to {len(self) - 1}"
            )
        index = torch.from_numpy(chosen.astype(np.int64))
        labels = None if self.labels is None else self.labels[index]
        groups = None if self.groups is None else [self.groups[i] for i in chosen]
        names = [self.names[i] for i in chosen]
        return self._of(
            self.images[index], labels, names, groups, taken(self.targets, chosen.tolist())
        )

    def with_labels(self, labels: Labels) -> ReferenceSample:
        """The same images with other labels, or with none."""
        return self._of(self.images, labels, self.names, self.groups)

    def with_targets(self, targets: Any) -> ReferenceSample:
        """The same images with ``targets`` instead of labels, or with none."""
        return self._of(self.images, None, self.names, self.groups, targets)

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


def _tensor(images: Any) -> Tensor:
    """A copy of ``images`` in main memory; its shape and type are right, its range unknown."""
    expected = "expected a tensor or array (images, channels, height, width)"
    if not isinstance(images, (np.ndarray, Tensor)):
        raise ReferenceSampleError(
            f"images are a {type(images).__name__}, {expected}; stack them, or use "
            "ReferenceSample.from_folder or .from_dataset"
        )
    if images.ndim != 4:
        hint = "add the first dimension with images[None]" if images.ndim == 3 else "reshape them"
        raise ReferenceSampleError(f"images have shape {tuple(images.shape)}, {expected}; {hint}")
    count, channels, height, width = images.shape
    if count == 0:
        raise ReferenceSampleError("the reference sample holds no images; give at least one")
    if min(channels, height, width) == 0:
        raise ReferenceSampleError(
            f"images have shape {tuple(images.shape)}: there are no pixels in them; {expected}"
        )
    if channels > 4 and height > 4 and width in (1, 3, 4):
        raise ReferenceSampleError(
            f"images have shape {tuple(images.shape)}, which looks like (images, height, width, "
            "channels); move the channels to the front: torch's permute(0, 3, 1, 2), numpy's "
            "transpose(0, 3, 1, 2)"
        )
    kind = images.dtype.name if isinstance(images, np.ndarray) else _dtype_name(images)
    if kind not in sources.IMAGE_TYPES:
        raise ReferenceSampleError(
            f"images are {kind}; expected uint8 (0 to 255) or float in [0, 1]; convert them to "
            "uint8 if they hold 0 to 255, else to float32"
        )
    if isinstance(images, Tensor):
        return images.detach().cpu().clone(memory_format=torch.contiguous_format)
    return torch.from_numpy(np.array(images, dtype=images.dtype.newbyteorder("="), order="C"))


def _in_unit_range(images: Tensor, names: Sequence[str]) -> Tensor:
    if images.dtype == torch.uint8:
        return images
    lows, highs = torch.aminmax(images.flatten(1), dim=1)
    # Written so that NaN, which fails every comparison, counts as outside.
    inside = (lows >= -ROUNDING) & (highs <= 1 + ROUNDING)
    if not inside.all():
        first = int((~inside).nonzero()[0])
        low, high = float(lows[first]), float(highs[first])
        if np.isnan(low):
            raise ReferenceSampleError(
                f"{names[first]} holds NaN; expected values in [0, 1]: remove or repair the image"
            )
        hint = "if it holds 0 to 255, divide by 255 or convert to uint8"
        if low < 0:
            hint = (
                "it looks normalised: undo that (x * std + mean) and give mean and std to "
                "Classifier(model, mean=…, std=…) instead"
            )
        raise ReferenceSampleError(
            f"{names[first]} has values from {low:.4g} to {high:.4g}, expected [0, 1]; {hint}"
        )
    images = images.to(torch.float32)
    return images.clamp(0, 1) if lows.min() < 0 or highs.max() > 1 else images


def _check_number(given: int, noun: str, images: int) -> None:
    if given != images:
        raise ReferenceSampleError(
            f"{_count(given, noun)} for {_count(images, 'image')}; give one for each image"
        )


def _checked_labels(labels: Any, names: Sequence[str]) -> Tensor | None:
    if labels is None:
        return None
    try:
        array = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    except (TypeError, ValueError) as error:
        raise ReferenceSampleError(f"labels make no array ({error}); {EXPECTED_LABELS}") from error
    if array.ndim not in (1, 2):
        raise ReferenceSampleError(f"labels have shape {array.shape}; {EXPECTED_LABELS}")
    _check_number(len(array), "label", len(names))
    checked = _class_indices if array.ndim == 1 else _distributions
    return torch.from_numpy(checked(array, names))


def _class_indices(array: NDArray[Any], names: Sequence[str]) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        hint = "; convert them with .astype('int64')" if array.dtype.kind == "f" else ""
        raise ReferenceSampleError(
            f"labels are {array.dtype} (the first is {array[0]!r}); {EXPECTED_LABELS} as whole "
            f"numbers{hint}"
        )
    indices = array.astype(np.int64)
    if (indices < 0).any():
        first = int((indices < 0).argmax())
        raise ReferenceSampleError(
            f"{names[first]} has label {array[first]}; class indices start at 0: leave out images "
            "that have no label, or pass labels=None"
        )
    return indices


def _distributions(array: NDArray[Any], names: Sequence[str]) -> Floats:
    if array.dtype.kind not in "iuf":
        raise ReferenceSampleError(f"labels are {array.dtype}; {EXPECTED_LABELS}")
    if array.shape[1] < 2:
        raise ReferenceSampleError(
            f"labels have shape {array.shape}, but a distribution needs at least 2 classes; "
            f"{EXPECTED_LABELS}: for class indices pass labels[:, 0]"
        )
    rows = array.astype(np.float64)
    sums = rows.sum(axis=1)
    # Written so that NaN, which fails every comparison, counts as wrong.
    right = (rows >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE)
    if not right.all():
        first = int(right.argmin())
        raise ReferenceSampleError(
            f"the soft label of {names[first]} sums to {sums[first]:.4g} with a least entry of "
            f"{rows[first].min():.4g}; expected nonnegative entries that sum to 1: pass "
            "probabilities (a softmax), not scores"
        )
    return rows


def _little_endian(values: Tensor) -> bytes:
    # So that a digest is the same on every machine.
    array = values.numpy()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


def _dtype_name(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
