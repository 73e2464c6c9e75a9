"""The cells of a grid over packed wavelet coefficients: what a WCAM has a number for (SPEC.md 3.1).

A cell is the same part of the packed array for every channel. The grid is as fine as its sub-bands
demand: each cell lies in one of them. Levels are counted from the coarsest: 0 is the approximation,
``depth`` the finest details.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.sobol import most_inputs
from pytest_iaside.explain.wavelets import Packing, check_levels
from pytest_iaside.stats.arrays import Floats


class Cells:
    """The cells of a grid over the coefficients of images of one size."""

    def __init__(self, height: int, width: int, grid: int, levels: int, wavelet: str) -> None:
        self._arguments = height, width, levels, wavelet
        self._packings: dict[torch.device, Packing] = {}
        self.grid = grid
        self.size = height // grid, width // grid
        self.levels = cell_levels(grid, levels)
        # As Packing counts them, the finest first; the approximation is of the last.
        self.packing_levels = torch.from_numpy(np.minimum(levels + 1 - self.levels, levels))
        self.packing(torch.device("cpu"))

    def packing(self, device: torch.device) -> Packing:
        if device not in self._packings:
            self._packings[device] = Packing(*self._arguments, device=device)
        return self._packings[device]

    def of(self, image: Tensor) -> CellPictures:
        """An image (C, H, W) in its cells."""
        return CellPictures(self, image)


class CellPictures:
    """An image in its cells; ``masked`` and ``alone`` are those of ``ImageParts``."""

    def __init__(self, cells: Cells, image: Tensor) -> None:
        self._cells = cells
        self._packing = cells.packing(image.device)
        self._coefficients = self._packing.forward(image)
        height, width = cells.size
        blocks = self._coefficients.view(-1, cells.grid, height, cells.grid, width)
        self._blocks = blocks.permute(1, 3, 0, 2, 4)

    def masked(self, masks: Tensor) -> Tensor:
        grid, (height, width) = self._cells.grid, self._cells.size
        weights = masks.view(-1, grid, grid).repeat_interleave(height, 1)
        weights = weights.repeat_interleave(width, 2)
        return self._packing.inverse(self._coefficients * weights[:, None])

    def alone(self, parts: Tensor) -> Tensor:
        top, left = parts // self._cells.grid, parts % self._cells.grid
        levels = self._cells.packing_levels[top, left]
        pictures = self._coefficients.new_empty((len(parts), *self._coefficients.shape))
        for level in set(levels.tolist()):
            some = levels == level
            row, column = top[some], left[some]
            pictures[some] = self._packing.patch(self._blocks[row, column], row, column, level)
        return pictures


def check_grid(height: int, width: int, grid: int, levels: int) -> None:
    """Raise SettingsError unless ``grid``² equal cells fit the sub-bands of such images."""
    check_levels(height, width, levels)
    unit, most = 1 << levels, int(most_inputs() ** 0.5)
    sizes = [g for g in range(unit, most + 1, unit) if height % g == 0 and width % g == 0]
    if grid in sizes and not isinstance(grid, bool):
        return
    if not sizes:
        raise SettingsError(
            f"wavelet_levels={levels} needs a grid of at least {unit}, but the Sobol sequence has "
            f"dimensions for {most} at most; use fewer levels"
        )
    near = sizes
    if isinstance(grid, int):
        below, above = [g for g in sizes if g < grid], [g for g in sizes if g > grid]
        near = below[-1:] + above[:1]
    raise SettingsError(
        f"grid={grid!r} does not fit images of {height}×{width} pixels and {levels} levels; it "
        f"must be a multiple of {unit}, so that cells lie within sub-bands, divide both sides, and "
        f"be {most} at most: use {' or '.join(map(str, near))}"
    )


def cell_levels(grid: int, depth: int) -> NDArray[np.int64]:
    """The level of each cell, (grid, grid): 0 the approximation, then details, coarsest first."""
    along = np.arange(grid)
    edges = [grid >> level for level in range(depth, 0, -1)]
    level = np.searchsorted(edges, along, side="right")
    return np.asarray(np.maximum(level[:, None], level), dtype=np.int64)


def level_sums(maps: Floats, depth: int) -> Floats:
    """The sum of maps (K, g, g) over the cells of each level, (K, depth + 1), coarsest first."""
    levels = cell_levels(maps.shape[-1], depth)
    return np.stack([maps[:, levels == level].sum(axis=1) for level in range(depth + 1)], axis=1)


def level_means(maps: Floats, depth: int) -> Floats:
    """The mean in place of the sum: what the authors' code reads off, (K, depth + 1)."""
    counts = np.bincount(cell_levels(maps.shape[-1], depth).ravel())
    return np.asarray(level_sums(maps, depth) / counts)


def spatial_map(maps: Floats, depth: int, height: int, width: int) -> Floats:
    """Where in the image: maps (K, g, g) cut into their 1 + 3·depth sub-bands, each resized to the
    image bilinearly, and added; (K, height, width). SPEC.md 3.2.
    """
    grid, total = maps.shape[-1], np.zeros((len(maps), height, width))
    sub_bands = [(slice(grid >> depth), slice(grid >> depth))]
    for level in range(depth, 0, -1):
        low, high = slice(grid >> level), slice(grid >> level, grid >> (level - 1))
        sub_bands += [(low, high), (high, low), (high, high)]
    for rows, columns in sub_bands:
        band = torch.from_numpy(np.ascontiguousarray(maps[:, None, rows, columns]))
        resized: Tensor = functional.interpolate(band, size=(height, width), mode="bilinear")
        total += resized[:, 0].numpy()
    return total
