"""Which parts of an image are removed first, and what takes their place (SPEC.md 4)."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from pytest_iaside.checks import check_choice, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.stats.arrays import Floats

Kind = Literal["pixels", "cells", "erosion"]
Replacement = Literal["blur", "black"]
# The paper blurs images of 224 pixels by 100; smaller ones are blurred in proportion.
BLUR, BLURRED_SIDE = 100, 224
# A share of n parts that is a whole number but for rounding is that number.
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Removal:
    """How an image is taken apart.

    ``kind="pixels"``: single pixels, by their value in the map. ``"cells"``: the cells of a
    ``grid`` × ``grid`` over the image, by the mean of the map in them. ``"erosion"``: pixels, by
    the largest value within ``window`` pixels around them and then by their own, so that what is
    kept is eroded around the most important pixels, in patches instead of grains.

    What is removed is replaced by the mean over the ``blur`` × ``blur`` pixels around it (of
    them those inside the image), or with ``replacement="black"`` by 0. ``blur=None`` is 100 pixels
    for images of 224 and more along their shorter side, and for smaller ones as large a part.
    ``window=None`` is a 25th of the shorter side, at least 3; it is odd.

    Raises SettingsError for anything else.
    """

    kind: Kind = "pixels"
    replacement: Replacement = "blur"
    blur: int | None = None
    grid: int = 16
    window: int | None = None

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, Kind)
        check_choice("replacement", self.replacement, Replacement)
        for what, size in (("blur", self.blur), ("grid", self.grid), ("window", self.window)):
            if size is not None:
                check_whole(what, size, 1)
        if self.window is not None and self.window % 2 == 0:
            raise SettingsError(
                f"window={self.window} must be odd, so that it has a pixel in its middle; use "
                f"{self.window + 1}"
            )

    def parts(self, height: int, width: int) -> NDArray[np.int64]:
        """The part of each pixel, (H, W), by rows; raises SettingsError for too fine a grid."""
        cells = self.kind == "cells"
        if cells and self.grid > min(height, width):
            raise SettingsError(
                f"grid={self.grid} is too fine for images of {height}×{width} pixels; use at "
                f"most {min(height, width)}, or kind='pixels'"
            )
        rows, columns = (self.grid, self.grid) if cells else (height, width)
        down, right = np.arange(height) * rows // height, np.arange(width) * columns // width
        return np.asarray(down[:, None] * columns + right)

    def ranks(self, importance: Floats) -> NDArray[np.int64]:
        """The rank of each pixel's part for a map (H, W): 0 for the most important, (H, W).

        Of equally important parts the one further up, then further left, comes first.
        """
        parts = self.parts(*importance.shape)
        sums = np.bincount(parts.ravel(), weights=importance.ravel())
        values = sums / np.bincount(parts.ravel())
        keys = [-values]
        if self.kind == "erosion":
            window = self.window or max(3, min(importance.shape) // 25 | 1)
            around = ndimage.maximum_filter(importance, window, mode="constant", cval=-np.inf)
            keys.append(-around.ravel())
        ranks = np.empty(len(values), dtype=np.int64)
        ranks[np.lexsort(keys)] = np.arange(len(values))
        return np.asarray(ranks[parts])

    def replaced(self, image: Tensor) -> Tensor:
        """What stands in place of an image (C, H, W) once all of it is removed."""
        if self.replacement == "black":
            return torch.zeros_like(image)
        return box_blur(image, self.blur or usual_blur(*image.shape[-2:]))


def as_removal(removal: Removal | str) -> Removal:
    """``removal`` itself, or the usual one of that kind; raises SettingsError for others."""
    if isinstance(removal, Removal):
        return removal
    return Removal(kind=removal)  # type: ignore[arg-type]


def usual_blur(height: int, width: int) -> int:
    """How many pixels wide the mean is that replaces pixels, if nothing else is asked for."""
    return min(BLUR, max(1, min(height, width) * BLUR // BLURRED_SIDE))


def box_blur(image: Tensor, width: int) -> Tensor:
    """The mean over the ``width`` × ``width`` pixels around each, of them those in the image.

    ``image`` (C, H, W). An even width reaches one pixel further up and left than down and right.
    """
    means, (height, side) = image.to(torch.float64), image.shape[-2:]
    for rows, columns in ((width, 1), (1, width)):
        means = functional.avg_pool2d(
            means, (rows, columns), 1, (rows // 2, columns // 2), count_include_pad=False
        )
    return means[..., :height, :side].to(image.dtype)


def removed_parts(share: float, parts: int) -> int:
    """⌊share · parts⌋: how many parts a deletion of that share removes."""
    return math.floor(share * parts + ROUNDING * parts)


def checked_maps(maps: Any, sample: ReferenceSample) -> Floats:
    """``maps`` as finite (K, H, W) float64, one an image of ``sample``; raises SettingsError."""
    _, height, width = sample.shape
    wanted = (len(sample), height, width)
    found = np.asarray(maps.detach().cpu() if isinstance(maps, Tensor) else maps)
    if found.dtype.kind not in "iuf":
        raise SettingsError(f"maps are {found.dtype}; expected numbers of shape {wanted}")
    if found.shape == wanted[1:] and len(sample) == 1:
        found = found[None]
    if found.shape != wanted:
        raise SettingsError(
            f"maps have shape {found.shape}, expected {wanted}: one for each image, of its height "
            "and width"
        )
    values = found.astype(np.float64)
    finite = np.isfinite(values).all(axis=(1, 2))
    if not finite.all():
        name = sample.names[int(np.flatnonzero(~finite)[0])]
        raise SettingsError(
            f"the map of {name} holds NaN or infinite values; give finite ones, which can be put "
            "in an order"
        )
    return values
