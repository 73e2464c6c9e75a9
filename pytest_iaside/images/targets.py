"""What is explained: images, and for each the class whose answer is taken apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_iaside.errors import SettingsError
from pytest_iaside.images.reference import ReferenceSample


def sample_of(images: Any) -> ReferenceSample:
    """``images`` as a sample: one already, or (images, channels, height, width), or one image.

    Raises ReferenceSampleError where they are no images in uint8 or [0, 1].
    """
    if isinstance(images, ReferenceSample):
        return images
    if getattr(images, "ndim", None) == 3:
        images = images[None]
    return ReferenceSample(images)


def classes_of(labels: Any, logits: Tensor) -> Tensor:
    """The classes (K,) int64 to explain: ``labels``, or the predictions of ``logits`` (K, C).

    ``labels`` are class indices (K,), one for all, or distributions (K, C), of which the most
    likely class is taken. Raises SettingsError for anything else, or classes out of range.
    """
    count, classes = logits.shape
    if labels is None:
        return logits.argmax(dim=1).cpu()
    found = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if found.ndim == 2 and found.shape == (count, classes):
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
