"""What changes of a recipe are checked by, where it is known what its trainings differ by.

Limits leave room for what a retraining moves. Where trainings are compared, that is in the
interval (stats/seeds.py), and most of the room is not needed. The numbers here were chosen on two
networks of benchmarks/retraining.py, so that hardly one training of the same recipe in a hundred is
red; a third network and photographs were set aside (docs/calibration.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_iaside.compare.check import Check
from pytest_iaside.compare.families import Family
from pytest_iaside.measure.quantities import MEAN, PERTURBED
from pytest_iaside.thresholds import Limits

# Of a limit, for one training and for several: a single one may be the odd one out, which the
# normal law of a few others does not foretell.
LEFT_OF_ONE, LEFT_OF_SEVERAL = 0.5, 0.35
# Of the chance that an interval is wrong, of which there are a dozen.
CHANCE_OF_ONE, CHANCE_OF_SEVERAL = 0.4, 0.8
# Trainings of one recipe hardly differ in what they make of the upper bands: a rise above rounding
# shows that a model leans on what noise takes from it (SPEC.md 9).
LEFT_OF_UPPER = 0.02
# What is read off all bands is measured from the answers to blank images, which differ between
# trainings as much as between recipes: their limits stay.
AS_BEFORE = ("src", "sid", "value", "band")
# Where trainings differ by too much to tell in these, other checks of the gate decide. Answers to
# images as they are, in which trainings agree the most, are not among these.
ERRATIC = (*AS_BEFORE, "upper", PERTURBED, MEAN)


def limits_left(limits: Limits, candidates: int) -> Limits:
    """What of ``limits`` is left for a candidate of so many trainings."""
    return {
        name: limit
        if limit.change is None
        else replace(limit, change=_left(name, candidates) * limit.change)
        for name, limit in limits.items()
    }


def level_left(level: float, candidates: int) -> float:
    """The level of each family's intervals for a candidate of so many trainings."""
    return 1 - (1 - level) * (CHANCE_OF_ONE if candidates == 1 else CHANCE_OF_SEVERAL)


def of_recipes(
    families: Mapping[str, Family], candidates: int, baselines: int
) -> dict[str, Family]:
    """``families`` as recipes are compared: of the upper bands a rise alone is for the worse.

    What is left of a limit decides on drift; what is no drift is judged by the whole of it. How
    erratic a recipe is, several trainings of the baseline tell: where the candidate's alone make
    an interval wide, a bad one among them may do so.
    """
    found = {
        name: replace(
            family, left=_left(name, candidates), erratic=baselines > 1 and name.startswith(ERRATIC)
        )
        for name, family in families.items()
    }
    if (upper := found.get("upper")) is not None:
        found["upper"] = replace(upper, both_ways=False, better=["lower"] * len(upper.places))
    return found


def _left(name: str, candidates: int) -> float:
    if name in AS_BEFORE:
        return 1.0
    if name == "upper":
        return LEFT_OF_UPPER
    return LEFT_OF_ONE if candidates == 1 else LEFT_OF_SEVERAL


def undecided_by(checks: Sequence[Check], alone: Sequence[Sequence[Check]]) -> tuple[Check, ...]:
    """``checks`` of several trainings, where what ``alone`` shows of a single one counts as well.

    A bad training among good ones makes the interval of their mean wide: where one of them is drift
    by itself, that nothing was found says nothing.
    """
    found = []
    for check in checks:
        for number, single in enumerate(alone, start=1):
            same = next((each for each in single if each.name == check.name), None)
            if check.verdict == "nothing found" and same and same.verdict == "drift":
                told = f"{check.sentence}; training {number} of {len(alone)} alone: {same.sentence}"
                check = replace(check, verdict="inconclusive", sentence=told)
        found.append(check)
    return tuple(found)
