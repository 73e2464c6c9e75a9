"""Moments of gradients around images, by Monte Carlo: the ground of SpectralLens (SPEC.md 4)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.gradients import Explained, gradients
from pytest_iaside.explain.scales import check_scales
from pytest_iaside.stats.arrays import Floats

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
    standard normal and s the scale. At each scale drawing stops when the relative standard error
    of ‖SG2‖₁ is at most ``tolerance``, or at ``max_samples``.

    Raises SettingsError for settings out of range.
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
        if self.mixing not in get_args(Mixing):
            raise SettingsError(
                f"mixing={self.mixing!r} is unknown; use one of {', '.join(get_args(Mixing))}"
            )
        if not _whole(self.max_samples) or self.max_samples < LEAST:
            raise SettingsError(
                f"max_samples={self.max_samples!r} must be a whole number of at least {LEAST}: "
                "from fewer no error can be told"
            )
        if not _whole(self.seed):
            raise SettingsError(f"seed={self.seed!r} must be a whole number")

    def perturbed(self, inputs: Tensor, scale: float, draws: Tensor) -> Tensor:
        """x̃ for ``draws`` ε (n, channels, height, width) of one of ``inputs`` (channels, …)."""
        if self.mixing == "convex":
            return (1 - scale) * inputs + scale * self.noise * draws
        return inputs + scale * self.noise * (inputs.max() - inputs.min()) * draws


@dataclass(frozen=True, eq=False, kw_only=True)
class Moments:
    """What is known of g = ∇f at one scale around one image."""

    first: Tensor
    """E[g], (channels, height, width) float64."""
    second: Tensor
    """E[g⊙g], of the same shape."""
    samples: int
    norm: float
    """‖SG2‖₁: the sum of ``second``."""
    relative_error: float
    """The standard error of ``norm``, as a share of it."""


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

    ``classes`` (G,) go to f. The noise of an image depends on its key of ``keys``, the scale and
    the seed alone, and so does when its drawing stops: not on batches or on other images.
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


def check_positive(what: str, value: float) -> None:
    """Raise SettingsError unless ``value`` is a finite number above 0."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise SettingsError(f"{what}={value!r} must be a finite number above 0")


class RunningMean:
    """The mean of numbers that come a few at a time, and how far it may be off."""

    def __init__(self) -> None:
        self.count = 0
        self._shift = self._sum = self._squares = 0.0

    def add(self, values: Floats) -> None:
        """Take ``values`` (n,) in."""
        if not self.count:
            # Measured from the first, what does not vary has an error of exactly 0.
            self._shift = float(values[0])
        with np.errstate(invalid="ignore", over="ignore"):  # NaN is what infinity less itself is.
            offsets = values - self._shift
            self._sum += float(offsets.sum())
            self._squares += float(offsets @ offsets)
        self.count += len(values)

    @property
    def mean(self) -> float:
        return self._shift + self._sum / self.count

    @property
    def relative_error(self) -> float:
        """The standard error of the mean as a share of it; infinite below two numbers.

        0 where all are 0: then there is nothing to be uncertain of. NaN where one is not finite.
        """
        if self.mean == 0:
            return 0.0
        if self.count < 2:
            return math.inf
        variance = (self._squares - self._sum * self._sum / self.count) / (self.count - 1)
        # Rounding may leave less than nothing; of NaN, max keeps what comes first.
        return math.sqrt(max(variance, 0.0) / self.count) / self.mean


class _Cell:
    """One scale of one image, on its way."""

    def __init__(
        self, point: Tensor, label: Tensor, key: str, scale: float, sampling: Sampling
    ) -> None:
        self.label = label
        self._point, self._scale, self._sampling = point, scale, sampling
        stream = hashlib.sha256(f"lens {sampling.seed} {key} {scale!r}".encode()).digest()
        self._random = np.random.default_rng(int.from_bytes(stream, "little"))
        self._first = torch.zeros_like(point, dtype=torch.float64)
        self._second = torch.zeros_like(point, dtype=torch.float64)
        self._norm = RunningMean()

    def wanted(self) -> int:
        """How many more draws are needed before the next look; 0 when there are enough."""
        done, most = self._norm.count, self._sampling.max_samples
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
        self._norm.add(squares.flatten(1).sum(dim=1).cpu().numpy())

    def moments(self) -> Moments:
        samples = self._norm.count
        return Moments(
            first=self._first / samples,
            second=self._second / samples,
            samples=samples,
            norm=self._norm.mean,
            relative_error=self._error(),
        )

    def _error(self) -> float:
        return 0.0 if self._scale == 0 else self._norm.relative_error


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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
