"""Images given as one array or tensor, checked: shape, type, range, and where the channels are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.images import storing
from pytest_iaside.images.storing import ImageStore
from pytest_iaside.images.values import (
    IMAGE_TYPES,
    RANGED_TYPES,
    ValueRange,
    check_spread,
    checked_range,
    in_range,
    range_advice,
)

# Resizing or blending in float32 oversteps [0, 1] by rounding; that much is clamped.
ROUNDING = 1e-5
USUAL_CHANNELS = (1, 3, 4)
EXPECTED_SHAPE = "expected a tensor or array (images, channels, height, width)"


def images_of(images: Any, value_range: Any = None, channels_last: bool | None = None) -> Tensor:
    """A copy of ``images`` (K, C, H, W) in main memory; without a range, theirs is not looked at.

    Raises ReferenceSampleError where their shape or type is another.
    """
    pair = checked_range(value_range)
    _check_shape(images)
    if channels_last:
        images = images.permute(0, 3, 1, 2) if _is_tensor(images) else images.transpose(0, 3, 1, 2)
    check_channels(tuple(images.shape[1:]), channels_last, "images have", tuple(images.shape))
    kind = dtype_name(images) if _is_tensor(images) else images.dtype.name
    if kind not in (RANGED_TYPES if pair else IMAGE_TYPES):
        raise ReferenceSampleError(
            f"images are {kind}; expected uint8 (0 to 255) or float in [0, 1]; {range_advice(kind)}"
        )
    if pair is not None or images.nbytes > storing.MOST_IN_MEMORY:
        taken = _one_by_one(images, pair)
        check_spread(taken, pair)
        return torch.from_numpy(taken)
    if isinstance(images, Tensor):
        return images.detach().cpu().clone(memory_format=torch.contiguous_format)
    return torch.from_numpy(np.array(images, dtype=images.dtype.newbyteorder("="), order="C"))


def check_channels(
    shape: Sequence[int], channels_last: bool | None, subject: str, whole: tuple[int, ...]
) -> None:
    """Raise ReferenceSampleError where nobody said where the channels are, and they seem last.

    ``shape`` is (C, H, W), ``whole`` what is shown after ``subject``.
    """
    channels, height, width = shape
    if channels_last is None and channels > 4 and height > 4 and width <= 4:
        dimensions = "images, height, width" if len(whole) == 4 else "height, width"
        raise ReferenceSampleError(
            f"{subject} shape {whole}, which looks like ({dimensions}, channels); if it is, give "
            f"channels_last=True, and channels_last=False if there are {channels} channels"
        )


def in_unit_range(images: Tensor, names: Sequence[str]) -> Tensor:
    """``images`` as uint8, or as float32 in [0, 1]; raises ReferenceSampleError for others."""
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
        hint = (
            "if it holds 0 to 255, divide by 255 or convert to uint8; of other data give "
            "range=(low, high), the values that become 0 and 1"
        )
        if low < 0:
            hint = (
                "it looks normalised: undo that (x * std + mean) and give mean and std to "
                "Classifier(model, mean=…, std=…) instead; of other data give range=(low, high), "
                "the values that become 0 and 1"
            )
        raise ReferenceSampleError(
            f"{names[first]} has values from {low:.4g} to {high:.4g}, expected [0, 1]; {hint}"
        )
    images = images.to(torch.float32)
    return images.clamp(0, 1) if lows.min() < 0 or highs.max() > 1 else images


def dtype_name(values: Tensor) -> str:
    """The type of a tensor without the word torch."""
    return str(values.dtype).removeprefix("torch.")


def _check_shape(images: Any) -> None:
    if not isinstance(images, (np.ndarray, Tensor)):
        raise ReferenceSampleError(
            f"images are a {type(images).__name__}, {EXPECTED_SHAPE}; stack them, or use "
            "ReferenceSample.from_folder or .from_dataset"
        )
    if images.ndim != 4:
        hint = "reshape them"
        if images.ndim == 3:
            hint = "add the channels of grey images with images[:, None]"
            if images.shape[0] in USUAL_CHANNELS:
                hint += ", or the first dimension of a single image with images[None]"
        raise ReferenceSampleError(
            f"images have shape {tuple(images.shape)}, {EXPECTED_SHAPE}; {hint}"
        )
    if len(images) == 0:
        raise ReferenceSampleError("the reference sample holds no images; give at least one")
    if min(images.shape) == 0:
        raise ReferenceSampleError(
            f"images have shape {tuple(images.shape)}: there are no pixels in them; "
            f"{EXPECTED_SHAPE}"
        )


def _one_by_one(images: Any, pair: ValueRange | None) -> Any:
    with ImageStore(len(images)) as store:
        for at in range(len(images)):
            image = images[at].detach().cpu().numpy() if _is_tensor(images) else images[at]
            image = image.astype(image.dtype.newbyteorder("="), copy=False)
            if pair is not None:
                image = in_range(image, pair, f"image {at}")
            elif image.dtype.kind == "f":
                image = image.astype(np.float32)
            store.add(image, f"image {at}")
        return store.images()


def _is_tensor(images: Any) -> bool:
    return isinstance(images, Tensor)
