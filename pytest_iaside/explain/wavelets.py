"""The orthonormal wavelet transform of images, and the cells of its coefficients (SPEC.md 3.1).

Coefficients are packed into arrays of the images' own size. A level halves the rows and the
columns: the approximation goes to the top left, where the next level takes it apart, details to
the other three quarters. Borders are periodic, so that sizes are kept for every filter. Each level
is a pair of matrix products, which serve any filter, batch and device; a matrix also holds the
picture of any one coefficient.

A cell is what a WCAM has a number for: the same part of the packed array for every channel. Each
cell lies in one sub-band. Levels of cells are counted from the coarsest: 0 is the approximation,
``depth`` the finest details.
"""

from functools import cached_property, lru_cache
from math import gcd, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pytest_iaside.checks import check_whole, library
from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.sobol import MOST_INPUTS
from pytest_iaside.stats.arrays import Floats

Filters = tuple[Floats, Floats]

# How far the products of published taps are from orthonormal at most, but for dmey's: 2e-11.
ROUNDING = 1e-9


class Packing:
    """The transform over ``levels`` levels for images of ``height`` × ``width`` pixels.

    Raises SettingsError where sides cannot be halved that often, or ``wavelet`` is not orthonormal.
    """

    def __init__(
        self,
        height: int,
        width: int,
        levels: int,
        wavelet: str = "haar",
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        check_levels(height, width, levels)
        self.height, self.width, self.levels = height, width, levels
        filters = analysis_filters(wavelet)
        self._rows = [_Step(height >> n, filters, dtype, device) for n in range(levels)]
        self._columns = [_Step(width >> n, filters, dtype, device) for n in range(levels)]

    def forward(self, images: Tensor) -> Tensor:
        """Coefficients (…, height, width) of images of that shape."""
        packed = images.clone()
        for rows, columns in zip(self._rows, self._columns, strict=True):
            block = packed[..., : rows.side, : columns.side]
            block.copy_(rows.analysis @ block @ columns.analysis.T)
        return packed

    def inverse(self, packed: Tensor) -> Tensor:
        """Images (…, height, width) of coefficients of that shape."""
        images = packed.clone()
        for rows, columns in zip(self._rows[::-1], self._columns[::-1], strict=True):
            block = images[..., : rows.side, : columns.side]
            block.copy_(rows.synthesis @ block @ columns.synthesis.T)
        return images

    def patch(self, block: Tensor, top: Tensor, left: Tensor, level: int) -> Tensor:
        """Images (m, C, height, width) of single blocks, as if all other coefficients were 0.

        ``block`` (m, C, h, w) holds coefficients of details of ``level`` (1 is the finest), or of
        the last approximation; ``top`` and ``left`` (m,) say where, counted in blocks.
        """
        height, width = block.shape[-2:]
        rows, columns = (each[level - 1] for each in self._pictures)
        rows = rows.reshape(self.height, -1, height)[:, top].movedim(0, 1)
        columns = columns.reshape(self.width, -1, width)[:, left].movedim(0, 1)
        pictures: Tensor = rows[:, None] @ block @ columns[:, None].mT
        return pictures

    @cached_property
    def _pictures(self) -> tuple[list[Tensor], list[Tensor]]:
        """For each level the pictures (side, n) of its n coefficients along rows and columns."""
        found: tuple[list[Tensor], list[Tensor]] = ([], [])
        for pictures, steps in zip(found, (self._rows, self._columns), strict=True):
            pictures.append(steps[0].synthesis)
            for step in steps[1:]:
                pictures.append(pictures[-1][:, : step.side] @ step.synthesis)
        return found


class _Step:
    """One level along one axis of ``side`` samples."""

    def __init__(
        self, side: int, filters: Filters, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        # Low-pass rows above high-pass rows, with PyWavelets' phase in the mode "periodization". A
        # filter longer than the side wraps around more than once, and its taps add up.
        half, taps = np.arange(side // 2)[:, None], np.arange(len(filters[0]))
        at = (2 * half + len(taps) // 2 - taps) % side
        matrix = np.zeros((side, side))
        for row, filter_ in zip((half, half + side // 2), filters, strict=True):
            np.add.at(matrix, (row, at), filter_)
        inverse: Floats = matrix.T
        if np.abs(matrix @ inverse - np.eye(side)).max() > ROUNDING:
            # The taps of dmey are cut off: its transpose brings images back only to 0.5 %.
            inverse = np.asarray(np.linalg.inv(matrix), dtype=np.float64)
        self.side = side
        self.analysis, self.synthesis = (
            torch.from_numpy(each).to(device, dtype) for each in (matrix, inverse)
        )


def check_levels(height: int, width: int, levels: int) -> None:
    """Raise SettingsError unless both sides can be halved ``levels`` times."""
    check_whole("wavelet_levels", levels, 1)
    unit, common = 1 << levels, gcd(height, width)
    if common % unit == 0:
        return
    most = (common & -common).bit_length() - 1
    sides = [max(unit, round(side / unit) * unit) for side in (height, width)]
    advice = f"use at most wavelet_levels={most}, or " if most else ""
    raise SettingsError(
        f"images of {height}×{width} pixels cannot be halved {levels} times; {advice}resize or "
        f"crop them to multiples of {unit}, such as {sides[0]}×{sides[1]}"
    )


def analysis_filters(wavelet: str) -> Filters:
    """The low-pass and high-pass filter of an orthonormal wavelet; raises SettingsError."""
    if wavelet == "haar":
        return np.array([1.0, 1.0]) / sqrt(2), np.array([-1.0, 1.0]) / sqrt(2)
    install, purpose = "pywavelets, or use 'haar'", f"for wavelet={wavelet!r}"
    pywt = library("pywt", purpose, error=SettingsError, package="PyWavelets", install=install)
    advice = "use an orthonormal one: haar, db2 to db38, sym2 to sym20, coif1 to coif17, dmey"
    if wavelet not in pywt.wavelist(kind="discrete"):
        raise SettingsError(f"wavelet={wavelet!r} is no discrete wavelet of PyWavelets; {advice}")
    found = pywt.Wavelet(wavelet)
    if not found.orthogonal:
        raise SettingsError(f"wavelet={wavelet!r} is not orthonormal; {advice}")
    return np.array(found.dec_lo), np.array(found.dec_hi)


class CellParts:
    """An image (C, H, W) in the cells of a ``grid``, as ImageParts."""

    def __init__(self, image: Tensor, grid: int, levels: int, wavelet: str) -> None:
        height, width = image.shape[-2:]
        self._grid, self._cell = grid, (height // grid, width // grid)
        self._packing = _packing(height, width, levels, wavelet, image.device)
        self._coefficients = self._packing.forward(image)
        blocks = self._coefficients.view(-1, grid, self._cell[0], grid, self._cell[1])
        self._blocks = blocks.permute(1, 3, 0, 2, 4)
        # As Packing counts them, the finest first; the approximation is of the last.
        self._levels = torch.from_numpy(np.minimum(levels + 1 - cell_levels(grid, levels), levels))

    def masked(self, masks: Tensor) -> Tensor:
        weights = masks.view(-1, self._grid, self._grid).repeat_interleave(self._cell[0], 1)
        weights = weights.repeat_interleave(self._cell[1], 2)
        return self._packing.inverse(self._coefficients * weights[:, None])

    def alone(self, parts: Tensor) -> Tensor:
        top, left = parts // self._grid, parts % self._grid
        levels = self._levels[top, left]
        pictures = self._coefficients.new_empty((len(parts), *self._coefficients.shape))
        for level in set(levels.tolist()):
            some = levels == level
            row, column = top[some], left[some]
            pictures[some] = self._packing.patch(self._blocks[row, column], row, column, level)
        return pictures


@lru_cache(maxsize=8)
def _packing(height: int, width: int, levels: int, wavelet: str, device: torch.device) -> Packing:
    return Packing(height, width, levels, wavelet, device=device)


def check_grid(height: int, width: int, grid: int, levels: int) -> None:
    """Raise SettingsError unless ``grid``² equal cells fit the sub-bands of such images."""
    check_levels(height, width, levels)
    unit, most = 1 << levels, int(MOST_INPUTS**0.5)
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
        near = [g for g in sizes if g < grid][-1:] + [g for g in sizes if g > grid][:1]
    raise SettingsError(
        f"grid={grid!r} does not fit images of {height}×{width} pixels and {levels} levels; it "
        f"must be a multiple of {unit}, so that cells lie within sub-bands, divide both sides, and "
        f"be {most} at most: use {' or '.join(map(str, near))}"
    )


def cell_levels(grid: int, depth: int) -> NDArray[np.int64]:
    """The level of each cell, (grid, grid): 0 the approximation, then details, coarsest first."""
    edges = [grid >> level for level in range(depth, 0, -1)]
    level = np.searchsorted(edges, np.arange(grid), side="right")
    return np.asarray(np.maximum(level[:, None], level), dtype=np.int64)


def level_sums(maps: Floats, depth: int) -> Floats:
    """The sum of maps (K, g, g) over the cells of each level, (K, depth + 1), coarsest first."""
    levels = cell_levels(maps.shape[-1], depth)
    return np.stack([maps[:, levels == level].sum(axis=1) for level in range(depth + 1)], axis=1)


def spatial_map(maps: Floats, depth: int, height: int, width: int) -> Floats:
    """Where in the image, (K, height, width): the sub-bands of ``maps`` resized and added."""
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
