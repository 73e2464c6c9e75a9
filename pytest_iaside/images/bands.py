"""The partition of the Fourier plane into bands, the players of the game (SPEC.md 1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.checks import check_choice, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.stats.arrays import Floats

Norm = Literal["linf", "l2"]
MAX_BANDS = 32


@dataclass(frozen=True)
class BandPartition:
    """Equispaced bands of spatial frequency for images of ``height`` × ``width`` pixels.

    A frequency (u, v) belongs to band ``min(⌊bands·ρ⌋, bands − 1)`` where ρ is its radius
    as a share of the Nyquist frequency (``linf``) or of the corner (``l2``): SPEC.md 1.1.
    Works for odd and even sides, square or not.

    Raises SettingsError when a band would hold no frequency at all.
    """

    height: int
    width: int
    bands: int
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise SettingsError(
                f"images of {self.height}×{self.width} pixels cannot be split into bands; "
                "height and width must be at least 1"
            )
        check_choice("partition", self.norm, Norm)
        check_whole("bands", self.bands)
        if not 1 <= self.bands <= MAX_BANDS:
            raise SettingsError(f"{self.bands} bands asked for; use 1 to {MAX_BANDS}")
        empty = np.flatnonzero(self.counts == 0)
        if empty.size:
            sides, fewer = (self.height, self.width), range(1, self.bands)
            held = [np.unique(_band_index(*sides, bands, self.norm)).size for bands in fewer]
            most = max(bands for bands, found in zip(fewer, held, strict=True) if found == bands)
            if most < 2:
                raise SettingsError(
                    f"{self.height}×{self.width} images are too small for {self.bands} bands, each "
                    "needs a frequency of its own; give larger images"
                )
            raise SettingsError(
                f"band {empty[0]} of {self.bands} holds no frequency for "
                f"{self.height}×{self.width} images; use at most {most} bands"
            )

    @cached_property
    def index(self) -> NDArray[np.int64]:
        """Band of every frequency, (height, width), in the order of ``numpy.fft.fft2``."""
        return _band_index(self.height, self.width, self.bands, self.norm)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of frequencies in each band, (bands,); they sum to height·width."""
        return np.bincount(self.index.ravel(), minlength=self.bands)

    @cached_property
    def edges(self) -> Floats:
        """Radii that separate the bands, (bands + 1,), in cycles per pixel.

        Along an axis the radius of ``linf`` ends at 0.5, the Nyquist frequency; that of
        ``l2`` ends in the corner, at √½.
        """
        return np.linspace(0.0, 0.5 if self.norm == "linf" else 0.5**0.5, self.bands + 1)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the bands, such as ``0.25–0.31 cycles/px``."""
        digits = 2 if self.bands <= 16 else 3
        return tuple(
            f"{low:.{digits}f}–{high:.{digits}f} cycles/px" for low, high in pairwise(self.edges)
        )


def _band_index(height: int, width: int, bands: int, norm: Norm) -> NDArray[np.int64]:
    # Integer arithmetic throughout: ⌊bands·ρ⌋ in floating point puts frequencies that lie
    # exactly on an edge into one band or the other by rounding error.
    rows, columns = np.arange(height, dtype=np.int64), np.arange(width, dtype=np.int64)
    u, v = np.minimum(rows, height - rows)[:, None], np.minimum(columns, width - columns)
    if norm == "linf":
        index = np.maximum(2 * bands * u // height, 2 * bands * v // width)
    else:
        square = 2 * bands**2 * ((u * width) ** 2 + (v * height) ** 2)
        root = np.sqrt(square.astype(np.float64)).astype(np.int64)
        root -= root * root > square
        root += (root + 1) * (root + 1) <= square
        index = root // (height * width)
    return np.asarray(np.minimum(index, bands - 1))
