"""What a wavelet attribution has of every image, however it was found."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.explain import wavelets
from pytest_iaside.explain.sobol import shares
from pytest_iaside.stats.arrays import Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class WaveletMap:
    """Importance of cells of wavelet coefficients, image by image; none is negative.

    ``map`` (K, g, g) float64 lies as the packed coefficients do, the approximation top left.
    """

    map: Floats = field(repr=False)
    classes: NDArray[np.int64]  # The class of each image whose output is explained, (K,).
    names: tuple[str, ...]
    shape: tuple[int, int]  # Height and width of the images.
    depth: int  # How often the images were halved: ``levels`` has one entry more.
    wavelet: str

    @property
    def grid(self) -> int:
        return int(self.map.shape[-1])

    @cached_property
    def levels(self) -> Floats:
        """Share of each level in the sum of the map, (K, depth + 1), coarsest first (SPEC 3.2)."""
        return shares(wavelets.level_sums(self.map, self.depth))

    @cached_property
    def level_means(self) -> Floats:
        """The same of the mean over a level's cells, (K, depth + 1), as the authors' code."""
        sizes = np.bincount(wavelets.cell_levels(self.grid, self.depth).ravel())
        return shares(wavelets.level_sums(self.map, self.depth) / sizes)

    @cached_property
    def spatial(self) -> Floats:
        """Where in the image, (K, H, W): the sub-bands of ``map`` resized to it and added."""
        return wavelets.spatial_map(self.map, self.depth, *self.shape)
