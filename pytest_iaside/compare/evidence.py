"""The quantities a gate decides on, from the per-image ψ of candidate and baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pytest_iaside.compare.comparison import BandChange, Check, CheckName, Verdict
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.stats.intervals import (
    STUDENT,
    Change,
    Law,
    Rows,
    Statistic,
    paired_error,
    unpaired_error,
)
from pytest_iaside.stats.score import sid, signed_src
from pytest_iaside.stats.sid_intervals import Shares, change_interval, interval, least
from pytest_iaside.stats.structured import RESOLUTION
from pytest_iaside.thresholds import Direction, Thresholds

# Changes of a score, of a share of importance or of a share of v(all) below this come from
# rounding alone (another batch size or backend moves them by 1e-5) and count as none.
SHARE_RESOLUTION = 1e-3


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of both models: ψ of the same images in the same order, (K, M) each.

    Not the same images where ``paired`` is False; then K and L may differ. ``law`` says how
    many standard errors an interval reaches.
    """

    ours: Rows
    theirs: Rows
    partition: BandPartition
    level: float
    paired: bool = True
    law: Law = STUDENT

    def estimate(self, change: Change, places: int = 1) -> tuple[Rows, Rows, Rows]:
        """``change`` of the mean ψ and its bounds, simultaneous over ``places`` entries."""
        found, error, freedom = self._error(change)
        reach = self.law.reach(1 - (1 - self.level) / places, freedom) * error
        return found, found - reach, found + reach

    def estimate_shares(self, quantity: Shares, places: int) -> tuple[Rows, Rows, Rows]:
        """The same for the change of what is read off the SID."""
        ours, theirs = self.ours.mean(axis=0), self.theirs.mean(axis=0)
        found = quantity(ours, least(ours)) - quantity(theirs, least(theirs))
        low, high = change_interval(
            self.ours,
            self.theirs,
            quantity,
            1 - (1 - self.level) / places,
            law=self.law,
            paired=self.paired,
        )
        return found, low, high

    def p_values(self, change: Change, resolution: float) -> Rows:
        """Two-sided p-values of no change beyond ``resolution``, one per entry."""
        found, error, freedom = self._error(change)
        excess = np.maximum(np.abs(found) - resolution, 0.0)
        certain = np.where(excess > 0, np.inf, 0.0)
        ratio = np.divide(excess, error, out=certain, where=error > 0)
        return self.law.p_value(ratio, freedom)

    def _error(self, change: Change) -> tuple[Rows, Rows, Rows]:
        found = change(self.ours.mean(axis=0), self.theirs.mean(axis=0))
        error = paired_error if self.paired else unpaired_error
        return found, *error(self.ours, self.theirs, change)


def run_checks(evidence: Evidence, thresholds: Thresholds) -> list[Check]:
    """Every check that ``thresholds`` asks for."""
    checks = []
    if thresholds.min_src is not None:
        checks.append(_min_src(evidence, thresholds.min_src))
    quantities: tuple[tuple[CheckName, float | None], ...] = (
        ("src", thresholds.max_src_drop),
        ("sid", thresholds.max_sid_shift),
        ("value", thresholds.max_value_drop),
        ("band", thresholds.max_band_drop),
    )
    for name, allowed in quantities:
        if allowed is not None:
            checks.append(_check(name, evidence, allowed, thresholds.direction))
    return checks


def band_changes(evidence: Evidence) -> tuple[BandChange, ...]:
    """ψ of every band in both, with intervals simultaneous over bands and Holm's p-values."""
    bands = evidence.partition.bands
    change, low, high = evidence.estimate(np.subtract, bands)
    p_values = holm(evidence.p_values(np.subtract, RESOLUTION))
    ours, theirs = evidence.ours.mean(axis=0), evidence.theirs.mean(axis=0)
    return tuple(
        BandChange(
            index=band,
            label=evidence.partition.labels[band],
            baseline=float(theirs[band]),
            candidate=float(ours[band]),
            change=float(change[band]),
            low=float(low[band]),
            high=float(high[band]),
            p_value=float(p_values[band]),
            moved=bool(p_values[band] < 1 - evidence.level),
        )
        for band in range(bands)
    )


def quantity_of(name: CheckName, partition: BandPartition, where: str) -> Change:
    """The change that the check ``name`` is of, at its place ``where``: in nats, or of a share."""
    place = _places(name, partition).index(where) if where else 0

    def change(ours: Rows, theirs: Rows) -> Rows:
        if name in _SHARES:
            shares = _SHARES[name]
            difference = shares(ours, least(ours)) - shares(theirs, least(theirs))
        else:
            difference = _NATS[name](ours) - _NATS[name](theirs)
        return np.asarray(difference[..., place])

    return change


def holm(p_values: Rows) -> Rows:
    """Holm's step-down adjustment (1979): reject where the result is below the level."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def worst(verdicts: list[Verdict]) -> Verdict:
    """Drift before inconclusive before pass; no verdicts at all are a pass."""
    order: tuple[Verdict, ...] = ("drift", "inconclusive", "pass")
    return min(verdicts, key=order.index, default="pass")


def _check(name: CheckName, evidence: Evidence, allowed: float, direction: Direction) -> Check:
    """One check over one or more places (bands, edges), simultaneous over all of them."""
    places = _places(name, evidence.partition)
    ours, theirs = evidence.ours.mean(axis=0), evidence.theirs.mean(axis=0)
    if name in _SHARES:
        shares = _SHARES[name]
        here, there = shares(ours, least(ours)), shares(theirs, least(theirs))
        found, low, high = evidence.estimate_shares(shares, len(places))
    else:
        quantity = _NATS[name]
        here, there = quantity(ours), quantity(theirs)
        found, low, high = evidence.estimate(_relative_to_value(quantity), len(places))
    verdicts = [_decide(a, b, allowed, direction) for a, b in zip(low, high, strict=True)]
    verdict = worst(verdicts)
    # The place that decides: of those with the check's verdict, the one changed the most.
    candidates = [place for place, each in enumerate(verdicts) if each == verdict]
    key = found if direction == "worse" else -np.abs(found)
    at = min(candidates, key=lambda place: key[place])
    return Check(
        name=name,
        baseline=float(there[at]),
        candidate=float(here[at]),
        change=float(found[at]),
        low=float(low[at]),
        high=float(high[at]),
        limit=-allowed,
        verdict=verdict,
        changed=bool(np.any((low > SHARE_RESOLUTION) | (high < -SHARE_RESOLUTION))),
        where=places[at],
    )


def _relative_to_value(quantity: Statistic) -> Change:
    """The change of ``quantity`` as a share of the baseline's v(all)."""

    def change(ours: Rows, theirs: Rows) -> Rows:
        difference = quantity(ours) - quantity(theirs)
        value = theirs.sum(axis=-1, keepdims=True)
        # A baseline that gains nothing has no share to lose: undecided, see `structured`.
        return np.asarray(
            np.divide(difference, value, out=np.full_like(difference, np.nan), where=value > 0)
        )

    return change


def _min_src(evidence: Evidence, minimum: float) -> Check:
    ours, theirs = (
        float(_score(psi, least(psi))[0])
        for psi in (evidence.ours.mean(axis=0), evidence.theirs.mean(axis=0))
    )
    bounds = interval(evidence.ours, _score, evidence.level, law=evidence.law)
    low, high = (float(bound[0]) for bound in bounds)
    return Check(
        name="min_src",
        baseline=theirs,
        candidate=ours,
        change=ours,
        low=low,
        high=high,
        limit=minimum,
        verdict=_decide(low - minimum, high - minimum, 0.0, "worse"),
    )


def _decide(low: float, high: float, allowed: float, direction: Direction) -> Verdict:
    if high < -allowed or (direction == "any" and low > allowed):
        return "drift"
    if low >= -allowed and (direction == "worse" or high <= allowed):
        return "pass"
    return "inconclusive"  # NaN ends here as well: every comparison with it is false


def _score(psi: Rows, at: Rows) -> Rows:
    return signed_src(sid(psi, at))[..., None]


def _importance_below(psi: Rows, at: Rows) -> Rows:
    """Share of importance below each inner band edge, (…, M−1)."""
    return np.asarray(np.cumsum(sid(psi, at), axis=-1)[..., :-1])


def _value(psi: Rows) -> Rows:
    return np.asarray(psi.sum(axis=-1, keepdims=True))


def _bands(psi: Rows) -> Rows:
    return psi


_SHARES: dict[CheckName, Shares] = {"src": _score, "sid": _importance_below}
_NATS: dict[CheckName, Statistic] = {"value": _value, "band": _bands}


def _places(name: CheckName, partition: BandPartition) -> list[str]:
    if name == "sid":
        return [f"{edge:.2f} cycles/px" for edge in partition.edges[1:-1]]
    if name == "band":
        return [f"band {band} ({label})" for band, label in enumerate(partition.labels)]
    return [""]
