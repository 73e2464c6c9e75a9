"""Readings held against a baseline's, image by image, and against limits of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.compare.comparison import Verdict
from pytest_iaside.compare.evidence import holm, worst
from pytest_iaside.compare.held import Limit, QuantityChange, ReadingCheck, ReadingsComparison
from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.measure.measurement import Readings
from pytest_iaside.stats.intervals import STUDENT, jackknife_interval
from pytest_iaside.thresholds import Direction

Rows = NDArray[np.float64]
# Answers that differ by less than this, on every image and in every quantity, are the same: other
# batch sizes and backends move them by so much.
RESOLUTION = 1e-4


def compare_readings(
    candidate: Readings,
    baseline: Readings,
    limits: Mapping[str, Limit],
    *,
    level: float = 0.95,
    direction: Direction = "worse",
) -> ReadingsComparison:
    """Hold ``candidate`` against ``baseline`` on the images both were measured on.

    ``limits`` are by family. Images are matched by digest; every interval is of paired
    differences and simultaneous over the quantities of its family. With ``direction="any"``
    changes for the better count too.

    Raises BaselineError where the two did not measure the same thing, naming what differs.
    """
    require_same_measurement(candidate, baseline)
    _check_limits(candidate, limits)
    ours, theirs = _paired(candidate, baseline)
    same = bool((np.abs(ours - theirs) <= RESOLUTION).all())
    families = {quantity.family for quantity in candidate.quantities}
    places = {
        family: [at for at, each in enumerate(candidate.quantities) if each.family == family]
        for family in families
    }
    low, high, p_values = (np.empty(len(candidate.quantities)) for _ in range(3))
    for at, quantity in enumerate(candidate.quantities):
        change = _Change(ours[:, at] - theirs[:, at], quantity.counted, same)
        low[at], high[at] = change.interval(1 - (1 - level) / len(places[quantity.family]))
        p_values[at] = change.p_value()
    adjusted = holm(p_values)
    means = ours.mean(axis=0), theirs.mean(axis=0)
    quantities = tuple(
        QuantityChange(
            name=quantity.name,
            family=quantity.family,
            better=quantity.better,
            baseline=float(means[1][at]),
            candidate=float(means[0][at]),
            change=float(means[0][at] - means[1][at]),
            low=float(low[at]),
            high=float(high[at]),
            p_value=float(adjusted[at]),
            moved=bool(adjusted[at] < 1 - level),
        )
        for at, quantity in enumerate(candidate.quantities)
    )
    checks = []
    for family, limit in limits.items():
        some = [quantities[at] for at in places[family]]
        if limit.change is not None:
            checks.append(_change_check(family, some, limit.change, direction))
        if limit.bound is not None:
            values = ours[:, places[family]]
            checks.append(_bound_check(some, values, limit.bound, level))
    return ReadingsComparison(
        candidate=candidate,
        baseline=baseline,
        limits=dict(limits),
        level=level,
        images=len(ours),
        checks=tuple(checks),
        quantities=quantities,
        notes=() if candidate is baseline else _notes(same, quantities, limits, direction),
    )


def require_same_measurement(candidate: Readings, baseline: Readings) -> None:
    """Raise BaselineError, naming every difference, unless both measured the same thing."""
    differences = []
    if candidate.kind != baseline.kind:
        differences.append(f"kind: {candidate.kind} here, {baseline.kind} there")
    for name in sorted({*candidate.settings, *baseline.settings}):
        here, there = candidate.settings.get(name), baseline.settings.get(name)
        if here != there:
            differences.append(f"{name}: {here!r} here, {there!r} there")
    names = [tuple(each.name for each in one.quantities) for one in (candidate, baseline)]
    if names[0] != names[1] and not differences:
        differences.append(f"quantities: {', '.join(names[0])} here, {', '.join(names[1])} there")
    for what in ("shape", "labels", "digest"):
        here, there = (getattr(one.reference, what) for one in (candidate, baseline))
        if here != there:
            title = "reference sample" if what == "digest" else what
            differences.append(f"{title}: {here} here, {there} there")
    classes = candidate.model.classes, baseline.model.classes
    if classes[0] != classes[1]:
        differences.append(f"classes: {classes[0]} here, {classes[1]} there")
    if differences:
        raise BaselineError(
            "the baseline was made for something else, so nothing was compared: "
            + "; ".join(differences)
            + ". Restore the setting, or make a new baseline"
        )


@dataclass(frozen=True, eq=False)
class _Change:
    """The paired differences (K,) of one quantity."""

    rows: Rows
    counted: bool
    same: bool
    """Whether both models gave the same answers to every image, in every quantity."""

    def interval(self, level: float) -> tuple[float, float]:
        if self.same:
            return float(self.rows.mean()), float(self.rows.mean())
        if len(self.rows) < 2:
            return -np.inf, np.inf
        centre, error, freedom = self._estimate()
        reach = float(STUDENT.reach(level, np.asarray(freedom))) * error
        return centre - reach, centre + reach

    def p_value(self) -> float:
        if self.same or len(self.rows) < 2:
            return 1.0
        centre, error, freedom = self._estimate()
        if error == 0:
            return float(centre == 0)
        return float(STUDENT.p_value(np.asarray(abs(centre) / error), np.asarray(freedom)))

    def _estimate(self) -> tuple[float, float, float]:
        count = len(self.rows)
        if not self.counted:
            error = float(self.rows.std(ddof=1)) / np.sqrt(count)
            return float(self.rows.mean()), error, count - 1
        # Where no image changed its side, the plain error would be 0 and every change excluded:
        # Agresti and Min (Statistics in Medicine 2005) add half an image to each of the four
        # cells of before and after.
        lost, won = (float((side * self.rows > 0).sum()) + 0.5 for side in (-1, 1))
        count += 2
        centre = (won - lost) / count
        return centre, np.sqrt((won + lost) / count - centre**2) / np.sqrt(count), np.inf


def _change_check(
    family: str, quantities: list[QuantityChange], allowed: float, direction: Direction
) -> ReadingCheck:
    verdicts: list[Verdict] = []
    for each in quantities:
        low, high = (each.low, each.high) if each.better == "higher" else (-each.high, -each.low)
        if high < -allowed or (direction == "any" and low > allowed):
            verdicts.append("drift")
        elif low >= -allowed and (direction == "worse" or high <= allowed):
            verdicts.append("pass")
        else:
            verdicts.append("inconclusive")
    verdict = worst(verdicts)
    # Of those with the check's verdict, the one that got the most worse.
    deciding = [each for each, one in zip(quantities, verdicts, strict=True) if one == verdict]
    at = min(deciding, key=lambda each: each.change if each.better == "higher" else -each.change)
    if direction == "any":
        at = max(deciding, key=lambda each: abs(each.change))
    return ReadingCheck(
        name=family,
        where=at.name,
        better=at.better,
        baseline=at.baseline,
        candidate=at.candidate,
        change=at.change,
        low=at.low,
        high=at.high,
        limit=-allowed if at.better == "higher" else allowed,
        verdict=verdict,
    )


def _bound_check(
    quantities: list[QuantityChange], values: Rows, bound: float, level: float
) -> ReadingCheck:
    found = jackknife_interval(values, lambda mean: mean, 1 - (1 - level) / len(quantities))
    lows, highs = found.low, found.high
    sign = 1 if quantities[0].better == "higher" else -1
    verdicts: list[Verdict] = []
    for low, high in zip(lows, highs, strict=True):
        least, most = (low, high) if sign > 0 else (-high, -low)
        verdicts.append(
            "drift" if most < sign * bound else "pass" if least >= sign * bound else "inconclusive"
        )
    verdict = worst(verdicts)
    places = [at for at, each in enumerate(verdicts) if each == verdict]
    at = min(places, key=lambda place: sign * quantities[place].candidate)
    return ReadingCheck(
        name="bound",
        where=quantities[at].name,
        better=quantities[at].better,
        baseline=quantities[at].baseline,
        candidate=quantities[at].candidate,
        change=quantities[at].candidate,
        low=float(lows[at]),
        high=float(highs[at]),
        limit=bound,
        verdict=verdict,
    )


def _paired(candidate: Readings, baseline: Readings) -> tuple[Rows, Rows]:
    place = {digest: row for row, digest in enumerate(baseline.digests)}
    # In an order of their own: what is decided must not depend on that of the images.
    ours = sorted(
        (row for row, digest in enumerate(candidate.digests) if digest in place),
        key=lambda row: candidate.digests[row],
    )
    if not ours:
        raise BaselineError(
            "the baseline and this measurement have no image in common; make a new baseline"
        )
    theirs = [place[candidate.digests[row]] for row in ours]
    return candidate.values[ours], baseline.values[theirs]


def _check_limits(candidate: Readings, limits: Mapping[str, Limit]) -> None:
    families = {quantity.family for quantity in candidate.quantities}
    for family in limits:
        if family not in families:
            raise SettingsError(
                f"there is a limit for {family!r}, but no such quantity was measured; limits can "
                f"be given for {', '.join(sorted(families))}"
            )


def _notes(
    same: bool,
    quantities: tuple[QuantityChange, ...],
    limits: Mapping[str, Limit],
    direction: Direction,
) -> tuple[str, ...]:
    if same:
        return ("both models give the same answers to every image",)
    if direction == "any":
        return ()
    better = []
    for each in quantities:
        allowed = limits[each.family].change if each.family in limits else None
        gain = each.low if each.better == "higher" else -each.high
        if allowed is not None and gain > allowed:
            better.append(each.name)
    if not better:
        return ()
    return (
        f"better than the baseline by more than may be lost ({', '.join(better)}): refresh the "
        "baseline, so that the gain is kept (pytest --iaside-update=all)",
    )
