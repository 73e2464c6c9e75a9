"""How right images are answered, before and after: SPEC.md 12 and 14."""

from dataclasses import replace

import numpy as np

from pytest_iaside.compare.changes import SAME_ANSWERS, at_own_temperature, compare_quantities
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.families import families_of
from pytest_iaside.compare.fit import pair
from pytest_iaside.compare.recipes import undecided_by
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import clean_answers
from pytest_iaside.measure.quantities import AS_ANSWERED, TEMPERATURE
from pytest_iaside.thresholds import LEVEL, Direction, Limits

CLEAN_LIKELIHOOD = "clean log-likelihood"
# Temperatures whose ratio is this near to one are the same.
SAME_TEMPERATURE = 0.01


def compare_answers(
    candidate: Measurement,
    baseline: Measurement,
    limits: Limits,
    *,
    level: float = LEVEL,
    direction: Direction = "worse",
    paired: bool = True,
) -> Comparison | None:
    """How right the images are answered, before and after; None where either does not say.

    Under the panel where both have it, else the images as they are. Of labels that the baseline's
    model predicted, accuracy is how often the candidate agrees.
    """
    both = in_common(candidate, baseline)
    if both is None:
        return None
    found = compare_alike(*both, limits, level=level, direction=direction, paired=paired)
    same = candidate is baseline
    return replace(found, notes=() if same else tuple(_temperature_note(found)))


def compare_alike(
    ours: Measurement,
    theirs: Measurement,
    limits: Limits,
    *,
    level: float = LEVEL,
    direction: Direction = "worse",
    paired: bool = True,
) -> Comparison:
    """The same of answers to the same: under one panel, or to the images as they are alone."""
    families = families_of(ours)
    if (ours.trainings or theirs.trainings) and (limit := limits.get(CLEAN_LIKELIHOOD)):
        # Trainings of one recipe are alike in their confidence as well: where it moves, the recipe
        # did, for the worse where the answers as they are get less likely (SPEC.md 9).
        limits = {**limits, AS_ANSWERED: limit}
    limits = {family: limit for family, limit in limits.items() if family in families}

    def compared(one: Measurement) -> Comparison:
        return compare_quantities(
            one, theirs, limits, level=level, direction=direction, paired=paired
        )[0]

    found = compared(ours)
    if ours.trainings and theirs.trainings and ours is not theirs:
        alone = [compared(each).checks for each in ours.trainings]
        found = replace(found, checks=undecided_by(found.checks, alone))
    return found


def in_common(
    candidate: Measurement, baseline: Measurement
) -> tuple[Measurement, Measurement] | None:
    """The answers of both that can be compared; None where either does not say."""
    if candidate.answers is None or baseline.answers is None:
        return None
    return alike(candidate.answers, baseline.answers)


def alike(ours: Measurement, theirs: Measurement) -> tuple[Measurement, Measurement]:
    """Both answers under the panel, or both to the images as they are alone."""
    if ours.settings["panel"] and theirs.settings["panel"]:
        return ours, theirs
    return clean_answers(ours), clean_answers(theirs)


def explained_by_temperature(candidate: Measurement, baseline: Measurement) -> float | None:
    """The ratio of the temperatures of two models' answers where that alone tells them apart.

    None where the temperatures are the same, or something else differs on any image both answered.
    """
    candidate, baseline = alike(candidate, baseline)
    rows = pair(candidate, baseline)
    ours, theirs = (one.values[some] for one, some in zip((candidate, baseline), rows, strict=True))
    at = [quantity.name for quantity in candidate.quantities].index(TEMPERATURE)
    shown = at_own_temperature(candidate)
    ratio = float(ours[0, at] / theirs[0, at])
    close = np.allclose(ours[:, shown], theirs[:, shown], rtol=0, atol=SAME_ANSWERS)
    return ratio if close and abs(ratio - 1) > SAME_TEMPERATURE else None


def worse(answers: Comparison) -> bool:
    """Whether any answers seem worse by a tenth of what is allowed: nothing is better then."""
    return any(
        check.verdict in ("drift", "inconclusive") or check.change < -abs(check.limit) / 10
        for check in answers.checks
    )


def rose(answers: Comparison, name: str) -> bool:
    """Whether the mean of the quantity ``name`` is higher beyond noise."""
    return any(each.name == name and each.low > 0 for each in answers.quantities)


def _temperature_note(answers: Comparison) -> list[str]:
    """What a change of confidence alone is called."""
    if explained_by_temperature(answers.candidate, answers.baseline) is None:
        return []
    found = next(each for each in answers.quantities if each.name == TEMPERATURE)
    what = "the answers" if answers.candidate.settings["panel"] else "the answers to clean images"
    return [
        f"{what} differ by their temperature alone ({found.baseline:.3g} → "
        f"{found.candidate:.3g}): every image is answered as before, with another confidence"
    ]
