"""Check: one quantity and its limit, and the one place that decides between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pytest_iaside.measure.measurement import Better
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.thresholds import Direction, FailOn

Verdict = Literal["pass", "drift", "inconclusive"]
WORST_FIRST: tuple[Verdict, ...] = ("drift", "inconclusive", "pass")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One family of quantities against its limit, at the place that decides.

    ``change`` is candidate − baseline with its interval ``low``…``high``, and ``limit`` the bound
    on it; of a check that bounds the candidate itself (``min_src``, ``bound``) ``change`` is the
    candidate's value. ``where`` names the band, frequency or quantity concerned. ``changed`` says
    whether the interval leaves out no change at all; ``sentence`` says it all in words.
    """

    name: str
    where: str = ""
    better: Better = "higher"
    baseline: float
    candidate: float
    change: float
    low: float
    high: float
    limit: float
    verdict: Verdict
    changed: bool = False
    sentence: str = ""


@dataclass(frozen=True, eq=False)
class Estimates:
    """What is known of a family of quantities at P places: values, change and its interval, (P,).

    Intervals hold for all places together.
    """

    baseline: Floats
    candidate: Floats
    change: Floats
    low: Floats
    high: Floats


def decide(
    low: float,
    high: float,
    allowed: float,
    *,
    better: Better = "higher",
    direction: Direction = "worse",
) -> Verdict:
    """The verdict on a change whose interval is ``low``…``high``.

    Pass where all of it is allowed, drift where none of it is, else inconclusive. ``allowed`` is
    how far a change for the worse may go, and with ``direction="any"`` one for the better.
    """
    if better == "lower":
        low, high = -high, -low
    if high < -allowed or (direction == "any" and low > allowed):
        return "drift"
    if low >= -allowed and (direction == "worse" or high <= allowed):
        return "pass"
    return "inconclusive"  # NaN ends here as well: every comparison with it is false


def check_places(
    name: str,
    places: Sequence[str],
    found: Estimates,
    limit: float,
    *,
    better: Sequence[Better],
    direction: Direction = "worse",
    resolution: float = 0.0,
    bound: bool = False,
) -> Check:
    """The check of one limit at several places: the worst verdict, where it is the plainest.

    ``better`` says of each place which way is. With ``bound`` the limit is for the candidate
    itself, which ``found`` has as its change. Changes within ``resolution`` count as none.
    """
    low, high = (found.low - limit, found.high - limit) if bound else (found.low, found.high)
    allowed = 0.0 if bound else limit
    verdicts = [
        decide(a, b, allowed, better=way, direction=direction)
        for a, b, way in zip(low.tolist(), high.tolist(), better, strict=True)
    ]
    verdict = worst(verdicts)
    candidates = [place for place, each in enumerate(verdicts) if each == verdict]
    signs = np.array([1 if way == "higher" else -1 for way in better])
    gain = -np.abs(found.change) if direction == "any" else signs * found.change
    at = min(candidates, key=lambda place: float(gain[place]))
    outside = (found.low > resolution) | (found.high < -resolution)
    return Check(
        name=name,
        where=places[at],
        better=better[at],
        baseline=float(found.baseline[at]),
        candidate=float(found.candidate[at]),
        change=float(found.change[at]),
        low=float(found.low[at]),
        high=float(found.high[at]),
        limit=limit if bound or better[at] == "lower" else -limit,
        verdict=verdict,
        changed=not bound and bool(np.any(outside)),
    )


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Drift before inconclusive before pass; no verdicts at all are a pass."""
    return min(verdicts, key=WORST_FIRST.index, default="pass")


def fails(verdict: Verdict, changed: bool, fail_on: FailOn) -> bool:
    """Whether a gate with ``verdict`` is red under ``fail_on``."""
    return (
        verdict == "drift"
        or (fail_on != "drift" and verdict == "inconclusive")
        or (fail_on == "any-change" and changed)
    )
