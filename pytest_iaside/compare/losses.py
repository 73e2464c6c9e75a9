"""What perturbations cost before and after, and through which bands (SPEC.md 7)."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from pytest_iaside.compare.fit import pair
from pytest_iaside.compare.words import confidence, nats
from pytest_iaside.measure.decomposition import partition_of
from pytest_iaside.measure.perturbation import PerturbedAnswers
from pytest_iaside.stats.arrays import Floats, averaged
from pytest_iaside.stats.estimate import Estimate
from pytest_iaside.stats.groups import Groups, of_rows

FEWEST = 2
"""Images, or no interval is known."""
LEAST = 0.005
"""Nats; less is told as 0.00, and is rounding where a model takes a perturbation out."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LossChange:
    """The loss under one perturbation, in nats, of both models on the same images.

    ``change`` is of the whole loss; of each band ``baseline``, ``candidate`` and their ``bands``
    (M), whose intervals hold together. ``energy`` (M,) is the share of the perturbation's own
    energy in each band.
    """

    perturbation: str
    level: float
    images: int
    change: Estimate
    baseline: tuple[Estimate, ...]
    candidate: tuple[Estimate, ...]
    bands: tuple[Estimate, ...]
    energy: Floats
    labels: tuple[str, ...]
    edges: tuple[float, ...]

    @property
    def costs_more(self) -> bool:
        """Whether the candidate loses more beyond noise, and so much that it can be told."""
        return self.change.low > 0 and self.change.value >= LEAST

    @property
    def sentence(self) -> str:
        """What is lost more, and through which band most of it."""
        told = (
            f"{self.perturbation} costs {nats(self.change.value)} nats more than the baseline "
            f"({confidence(self.level)} {nats(self.change.low)}…{nats(self.change.high)})"
        )
        most = max(range(len(self.bands)), key=lambda band: self.bands[band].value)
        if self.bands[most].low <= 0:
            return f"{told}; through which bands cannot be told on {self.images} images"
        return (
            f"{told}: {nats(self.bands[most].value)} of it through band {most} "
            f"({self.labels[most]})"
        )


def loss_changes(
    candidate: PerturbedAnswers, baseline: PerturbedAnswers, level: float
) -> tuple[LossChange, ...]:
    """Of each perturbation that was divided for both, the largest change first."""
    if (
        candidate.phi is None
        or baseline.phi is None
        or candidate.phi.shape[1:] != baseline.phi.shape[1:]
    ):
        return ()
    rows = pair(candidate, baseline)
    both = []
    for one, some in zip((candidate, baseline), rows, strict=True):
        assert one.phi is not None and one.change is not None
        keys = [one.digests[row] for row in some]
        both.append((averaged(one.phi[some], keys), averaged(one.change[some], keys)))
    digests = list(dict.fromkeys(candidate.digests[row] for row in rows[0]))
    known = dict(zip(candidate.digests, candidate.groups or candidate.digests, strict=True))
    names, partition = candidate.perturbations, partition_of(candidate)
    found = []
    for place, name in enumerate(names):
        columns = slice(place * partition.bands, (place + 1) * partition.bands)
        (ours, energy), (theirs, _) = ((phi[:, columns], e[:, columns]) for phi, e in both)
        at = np.flatnonzero(np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1))
        if len(at) < FEWEST:
            continue
        images = [digests[row] for row in at]
        groups = of_rows(images, [known[each] for each in images] if candidate.groups else None)
        together = 1 - (1 - level) / partition.bands
        of = partial(_estimates, level=together, groups=groups)
        moved = ours[at] - theirs[at]
        total = energy[at].sum(axis=1, keepdims=True)
        shares = np.divide(energy[at], total, out=np.zeros_like(energy[at]), where=total > 0)
        found.append(
            LossChange(
                perturbation=name,
                level=level,
                images=len(at),
                change=Estimate.of_mean(moved.sum(axis=1), level, groups),
                baseline=of(theirs[at]),
                candidate=of(ours[at]),
                bands=of(moved),
                energy=shares.mean(axis=0),
                labels=tuple(partition.labels),
                edges=tuple(partition.edges.tolist()),
            )
        )
    return tuple(sorted(found, key=lambda each: -each.change.value))


def _estimates(values: Floats, *, level: float, groups: Groups) -> tuple[Estimate, ...]:
    """The mean of each column."""
    return tuple(Estimate.of_mean(column, level, groups) for column in values.T)
