"""Check: one quantity and its limit, and the rule that decides between them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from pytest_iaside.measure.measurement import Better
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.thresholds import Direction

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
    """Values, change and interval at P places of a family, (P,); intervals hold together."""

    baseline: Floats
    candidate: Floats
    change: Floats
    low: Floats
    high: Floats

    def at(self, place: int) -> dict[str, Any]:
        """The five numbers at one place, by name."""
        return {each.name: float(getattr(self, each.name)[place]) for each in fields(self)}


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


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Drift before inconclusive before pass; no verdicts at all are a pass."""
    return min(verdicts, key=WORST_FIRST.index, default="pass")
