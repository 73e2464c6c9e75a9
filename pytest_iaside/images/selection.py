"""Which images are measured or explained, and for which labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.checks import check_whole
from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.similar import similar_note


class Labelled(Protocol):
    """What was measured before: images by their digests, and their labels."""

    @property
    def digests(self) -> tuple[str, ...]: ...

    @property
    def labels(self) -> NDArray[Any]: ...


def check_reference(reference: Any) -> None:
    """Raise ReferenceSampleError unless ``reference`` is a ReferenceSample."""
    if not isinstance(reference, ReferenceSample):
        raise ReferenceSampleError(
            f"the reference is a {type(reference).__name__}; expected a ReferenceSample: wrap "
            "images with ReferenceSample(images), or read them with .from_folder"
        )


def first_images(
    reference: ReferenceSample, samples: int | Literal["auto"] | None
) -> ReferenceSample:
    """The first ``samples`` images; all for None and for ``"auto"``, which a gate decides.

    Raises SettingsError when there are not so many.
    """
    if samples is None or samples == "auto":
        return reference
    check_whole("samples", samples, 1, ", 'auto', or None")
    if samples == len(reference):
        return reference  # What was found of its images is known.
    if samples > len(reference):
        raise SettingsError(
            f"samples={samples} images asked for, but the reference sample holds "
            f"{len(reference)}; ask for fewer, or None for all of them"
        )
    return reference.take(range(samples))


def notes_on(sample: ReferenceSample) -> tuple[str, ...]:
    """What a reader should know of the images of ``sample``, in words."""
    note = similar_note(sample.similar_images, sample.names, sample.groups is not None)
    return (*sample.notes, *((note,) if note else ()))


def on_labels_of(sample: ReferenceSample, source: Labelled | None) -> ReferenceSample:
    """``sample`` with the labels that ``source`` predicted, if it has none of its own.

    So two models are scored on the same labels. Raises ReferenceSampleError where ``source``
    lacks some of the images.
    """
    if source is None or sample.right is not None:
        return sample
    found = classes_in(source, sample)
    if source.labels.ndim == 1:
        return sample.with_labels(found)
    # Of several labels at once; distributions are never predicted.
    return sample.with_targets(torch.tensor(found, dtype=torch.float64))


def classes_in(source: Labelled, sample: ReferenceSample) -> list[Any]:
    """The class of each image of ``sample`` in ``source``, whose labels (K,) are classes.

    The first copy of an image has the class of the first copy there, and so on; where there are
    fewer copies, that of the last.

    Raises ReferenceSampleError where ``source`` lacks some of the images.
    """
    known = defaultdict(list)
    for digest, label in zip(source.digests, source.labels.tolist(), strict=True):
        known[digest].append(label)
    images = zip(sample.names, sample.digests, strict=True)
    if missing := [name for name, digest in images if digest not in known]:
        raise ReferenceSampleError(
            f"{missing[0]} and {len(missing) - 1} more images have no label in the measurement "
            "whose predictions were to be used; measure that on the same reference sample"
        )
    found, seen = [], Counter[str]()
    for digest in sample.digests:
        found.append(known[digest][min(seen[digest], len(known[digest]) - 1)])
        seen[digest] += 1
    return found


def sample_of(images: Any) -> ReferenceSample:
    """``images`` as a sample: one already, or (images, channels, height, width), or one image.

    Raises ReferenceSampleError where they are no images in uint8 or [0, 1].
    """
    if isinstance(images, ReferenceSample):
        return images
    return ReferenceSample(images[None] if getattr(images, "ndim", None) == 3 else images)


def classes_of(labels: Any, logits: Tensor) -> Tensor:
    """The classes (K,) int64 to explain: ``labels``, or the predictions of ``logits`` (K, C).

    ``labels`` are class indices (K,), one for all, or distributions (K, C), of which the most
    likely class is taken. Raises SettingsError for anything else, or classes out of range.
    """
    count, classes = logits.shape
    if labels is None:
        return logits.argmax(dim=1).cpu()
    found = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if found.shape == (count, classes):
        found = found.argmax(axis=1)
    if found.ndim == 0:
        found = np.full(count, found)
    if found.shape != (count,) or found.dtype.kind not in "iu":
        raise SettingsError(
            f"labels are {found.dtype} of shape {found.shape}; expected whole numbers, one for "
            f"each of the {count} images, or None for the model's own predictions"
        )
    outside = np.flatnonzero((found < 0) | (found >= classes))
    if len(outside):
        raise SettingsError(
            f"labels[{outside[0]}] is {found[outside[0]]}, but the model has {classes} classes "
            f"(0 to {classes - 1}); give the index of a class to explain"
        )
    return torch.from_numpy(found.astype(np.int64))
