"""Check: one quantity and its limit, and the rule that decides between them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from pytest_iaside.measure.quantities import Better
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.power import detectable
from pytest_iaside.thresholds import Direction

Verdict = Literal["pass", "nothing found", "inconclusive", "drift"]
WORST_FIRST: tuple[Verdict, ...] = ("drift", "inconclusive", "nothing found", "pass")
# Of what is allowed: a change of so many times must be detectable for "nothing found" to say
# anything. With 0.02 of accuracy allowed that is 12 points; benchmarks/real_changes.py shows how
# many harmful changes are red by then.
WIDEST = 6.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """One family of quantities against its limit, at the place that decides.

    ``change`` is candidate − baseline with its interval ``low``…``high``, and ``limit`` the bound
    on it; of a check that bounds the candidate itself (``min_src``, ``bound``) ``change`` is the
    candidate's value. ``where`` names the band, frequency or quantity concerned. ``changed`` says
    whether the interval leaves out no change at all. ``detectable`` is the smallest change for the
    worse that is found with 99 % power at so many images, and ``images_to_pass`` how many images
    an unchanged quantity needs to pass (SPEC.md 11), ``groups_to_pass`` how many groups of them
    where they come in groups; ``sentence`` says it all in words.
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
    detectable: float = float("nan")
    images_to_pass: float = float("nan")
    groups_to_pass: float = float("nan")
    of_seeds: float = float("nan")
    """Which share of the interval's square is other seeds; NaN where trainings are not compared."""
    sentence: str = ""


@dataclass(frozen=True, eq=False)
class Estimates:
    """Values, change and interval at P places of a family, (P,); intervals hold together."""

    baseline: Floats
    candidate: Floats
    change: Floats
    low: Floats
    high: Floats
    of_seeds: Floats | None = None
    """Which share of an interval's square is other seeds, where trainings are compared."""

    def at(self, place: int) -> dict[str, Any]:
        """The numbers at one place, by name."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: np.nan if all is None else float(all[place]) for name, all in found.items()}


def decide(
    low: float,
    high: float,
    allowed: float,
    *,
    better: Better = "higher",
    direction: Direction = "worse",
    level: float = 0.95,
    freedom: float = np.inf,
) -> Verdict:
    """The verdict on a change whose interval at ``level`` is ``low``…``high``.

    Pass where all of it is allowed, drift where none of it is. Between them: nothing found, where
    its middle is allowed and a change of ``WIDEST`` times what is allowed would have been found;
    else inconclusive. ``allowed`` is how far a change for the worse may go, and with
    ``direction="any"`` one for the better.
    """
    if better == "lower":
        low, high = -high, -low
    if high < -allowed or (direction == "any" and low > allowed):
        return "drift"
    if low >= -allowed and (direction == "worse" or high <= allowed):
        return "pass"
    middle = (low + high) / 2
    # One image of 50 is 2 %, and no less: what just reaches the limit is not within it.
    left = allowed * (1 - 1e-9)
    within = middle > -left and (direction == "worse" or middle < left)
    found = detectable(np.array(low), np.array(high), allowed, level, freedom)
    if within and found <= WIDEST * allowed:
        return "nothing found"
    return "inconclusive"  # NaN ends here as well: every comparison with it is false


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Drift before inconclusive before nothing found before pass; none at all are a pass."""
    return min(verdicts, key=WORST_FIRST.index, default="pass")
