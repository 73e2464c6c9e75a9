"""Moments of gradients around images, by Monte Carlo: the ground of SpectralLens (SPEC.md 4)."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from pytest_iaside.checks import check_choice, check_positive, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.gradients import Explained, gradients
from pytest_iaside.stats.arrays import Floats, as_row, random_by

Mixing = Literal["convex", "additive"]
# The fewest draws that an error is judged by: an estimate of a deviation from fewer is often far
# too small, and sampling would stop on it.
LEAST = 16
# Draws from one look at the error to the next: so many, or a quarter of those before.
ROUND = 8


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How points around an image are drawn, and when there are enough of them.

    ``convex``: x̃ = (1−s)·x + s·noise·ε. ``additive``: x̃ = x + s·noise·(max x − min x)·ε. ε is
    standard normal and s the scale. Drawing stops when the relative standard error of ‖SG2‖₁ is at
    most ``tolerance``, or at ``max_samples``. Raises SettingsError for settings out of range.
    """

    scales: tuple[float, ...]
    noise: float
    mixing: Mixing
    tolerance: float
    max_samples: int
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", check_scales(self.scales))
        check_positive("noise", self.noise)
        check_positive("tolerance", self.tolerance)
        check_choice("mixing", self.mixing, Mixing)
        check_whole("max_samples", self.max_samples, LEAST, ": from fewer no error can be told")
        check_whole("seed", self.seed)

    def perturbed(self, inputs: Tensor, scale: float, draws: Tensor) -> Tensor:
        """x̃ for ``draws`` ε (n, channels, height, width) of one of ``inputs`` (channels, …)."""
        return mixed(self.mixing, inputs, scale, self.noise, draws)


def mixed(mixing: Mixing, inputs: Tensor, scale: float, noise: float, draws: Tensor) -> Tensor:
    """An image and ``noise`` times ``draws`` at a ``scale`` in [0, 1], as ``Sampling`` says."""
    if mixing == "convex":
        return (1 - scale) * inputs + scale * noise * draws
    return inputs + scale * noise * (inputs.max() - inputs.min()) * draws


@dataclass(frozen=True, eq=False)
class Moments:
    """What is known of g = ∇f at one scale around one image."""

    first: Tensor  # E[g], (channels, height, width) float64.
    second: Tensor  # E[g⊙g], of the same shape.
    samples: int
    norm: float  # ‖SG2‖₁: the sum of ``second``.
    relative_error: float  # The standard error of ``norm``, as a share of it.


def sample_moments(
    f: Explained,
    inputs: Tensor,
    classes: Tensor,
    keys: Sequence[str],
    sampling: Sampling,
    *,
    batch_size: int,
) -> list[list[Moments]]:
    """For each of ``inputs`` (G, channels, height, width) its moments at each scale.

    The noise of an image depends on its key of ``keys``, the scale and the seed alone, and so does
    when its drawing stops: not on batches or on other images.
    """
    rows = [
        [_Cell(point, label, key, scale, sampling) for scale in sampling.scales]
        for point, label, key in zip(inputs, classes, keys, strict=True)
    ]
    cells = [cell for row in rows for cell in row]
    while waiting := [(cell, wanted) for cell in cells if (wanted := cell.wanted())]:
        for batch in _batches(waiting, batch_size):
            points = torch.cat([cell.draw(count) for cell, count in batch])
            labels = torch.cat([cell.label.expand(count) for cell, count in batch])
            found = gradients(f, points, labels).to(torch.float64)
            pieces = torch.split(found, [count for _, count in batch])
            for (cell, _), piece in zip(batch, pieces, strict=True):
                cell.add(piece)
    return [[cell.moments() for cell in row] for row in rows]


def check_scales(scales: ArrayLike) -> tuple[float, ...]:
    """``scales`` as numbers; raises SettingsError unless they ascend strictly in [0, 1]."""
    found = as_row(scales)
    expected = "expected at least one number in [0, 1], each greater than the one before"
    if not found.size:
        raise SettingsError(f"scales={scales!r}; {expected}, as (0, 0.5, 1)")
    # Written so that NaN, which fails every comparison, counts as wrong.
    for wrong in found[~((found >= 0) & (found <= 1))]:
        raise SettingsError(f"scales has {wrong:g}; {expected}: how large noise is at 1 is `noise`")
    for at in np.flatnonzero(np.diff(found) <= 0):
        raise SettingsError(f"scales has {found[at]:g} before {found[at + 1]:g}; {expected}")
    return tuple(found.tolist())


def relative_error(values: Floats) -> float:
    """The standard error of a mean as a share of it: infinite below two, 0 where all are 0."""
    mean, count = float(values.mean()), len(values)
    if mean == 0 or count < 2:
        return 0.0 if mean == 0 else math.inf
    with np.errstate(invalid="ignore", over="ignore"):  # NaN is what infinity less itself is.
        # Measured from the first, what does not vary has an error of exactly 0.
        return float((values - values[0]).std(ddof=1)) / math.sqrt(count) / mean


class _Cell:
    """One scale of one image, on its way."""

    def __init__(
        self, point: Tensor, label: Tensor, key: str, scale: float, sampling: Sampling
    ) -> None:
        self.label = label
        self._point, self._scale, self._sampling = point, scale, sampling
        self._random = random_by(f"lens {sampling.seed} {key} {scale!r}")
        self._first = torch.zeros_like(point, dtype=torch.float64)
        self._second = torch.zeros_like(self._first)
        self._norms = np.empty(0)

    def wanted(self) -> int:
        """How many more draws are needed before the next look; 0 when there are enough."""
        done, most = len(self._norms), self._sampling.max_samples
        if self._scale == 0:
            return 1 - done  # There is no noise: one gradient says all.
        if done < LEAST:
            return min(LEAST, most) - done
        # Of numbers that are not finite no more are needed: NaN is never greater.
        more = min(max(ROUND, done // 4), most - done)
        return more if self._error() > self._sampling.tolerance else 0

    def draw(self, count: int) -> Tensor:
        shape = (count, *self._point.shape)
        # By numpy in float32: the same numbers on every device and for every dtype of network.
        draws = torch.from_numpy(self._random.standard_normal(shape, dtype=np.float32))
        return self._sampling.perturbed(self._point, self._scale, draws.to(self._point))

    def add(self, found: Tensor) -> None:
        squares = found.square()
        self._first += found.sum(dim=0)
        self._second += squares.sum(dim=0)
        self._norms = np.append(self._norms, squares.flatten(1).sum(dim=1).cpu().numpy())

    def moments(self) -> Moments:
        samples, norm = len(self._norms), float(self._norms.mean())
        first, second = self._first / samples, self._second / samples
        return Moments(first, second, samples, norm, self._error())

    def _error(self) -> float:
        return 0.0 if self._scale == 0 else relative_error(self._norms)


def _batches(waiting: Iterable[tuple[_Cell, int]], size: int) -> Iterator[list[tuple[_Cell, int]]]:
    """Draws of ``waiting`` in batches of ``size``: which cell makes how many."""
    batch: list[tuple[_Cell, int]] = []
    room = size
    for cell, wanted in waiting:
        while wanted:
            count = min(wanted, room)
            batch.append((cell, count))
            wanted, room = wanted - count, room - count
            if not room:
                yield batch
                batch, room = [], size
    if batch:
        yield batch
