"""What got worse in words: the sentence that every report of a red gate begins with."""

import re
from collections.abc import Sequence

from pytest_iaside.compare.check import Check, Verdict
from pytest_iaside.compare.check_order import ANSWERS, kind_of, order
from pytest_iaside.compare.quantity_change import QuantityChange
from pytest_iaside.measure.quantities import AS_ANSWERED

MUCH = 3.0
"""Times what is allowed, from which on a change is called much."""
LOST = " lost "
"""In the names of what perturbations cost: the more, the worse."""
AS_ANSWERED_TOLD = "the log-likelihood as the model answers"
CLEAN_ACCURACY = ("accuracy, clean", "clean accuracy")
# A perturbation's name and its severity, at the end of a quantity's name.
UNDER = re.compile(r" under (?P<name>.+?)(?: (?P<severity>[1-5]))?$")


def headline(
    checks: Sequence[Check],
    verdict: Verdict,
    bands: Sequence[QuantityChange],
    answers: Sequence[QuantityChange],
    *,
    agreement: bool,
) -> str:
    """What decides ``verdict``, drift or inconclusive, in a sentence without symbols.

    ``bands`` are the changes of every band's ψ, ``answers`` those of the answers; ``agreement``
    says that labels are the baseline's own predictions. Empty where nothing is red.
    """
    deciding = [check for check in checks if check.verdict == verdict]
    if verdict not in ("drift", "inconclusive") or not deciding:
        return ""
    check = min(deciding, key=lambda each: order(each.name))
    if check.name == "structured":
        return "nothing can be told from noise"
    of_answers = kind_of(check.name) in ANSWERS and LOST not in check.where
    told = _answered(check, answers, agreement) if of_answers else _relied(check, bands)
    if verdict == "inconclusive":
        return f"it cannot be decided whether {told}"
    where = _lost_where(bands) if of_answers else ""
    return f"{told}; {where}" if where else told


def structure(index: int, bands: int) -> str:
    """What the band ``index`` of so many holds of an image, in words."""
    part = index / bands
    if index == 0 or part < 1 / 3:
        return "coarse structures"
    return "structures of medium size" if part < 2 / 3 else "fine details"


def perturbed_by(name: str) -> str:
    """``gaussian blur (severity 3)``, of a quantity under a perturbation; empty of others."""
    found = UNDER.search(name)
    if found is None:
        return ""
    severity = f" (severity {found['severity']})" if found["severity"] else ""
    return f"{found['name'].replace('_', ' ')}{severity}"


def percents(before: float, after: float) -> str:
    """``93 % → 86 %``, with a digit more where both would be the same."""
    digits = 1 if before != after and round(100 * before) == round(100 * after) else 0
    return f"{100 * before:.{digits}f} % → {100 * after:.{digits}f} %"


def _degree(check: Check, less: str = "less", more: str = "more") -> str:
    """``much less``: how far and which way it went, for the worse being less."""
    worse = (check.change < 0) == (check.better == "higher")
    much = "much " if abs(check.change) >= MUCH * abs(check.limit) > 0 else ""
    return f"{much}{less if worse else more}"


def _answered(check: Check, answers: Sequence[QuantityChange], agreement: bool) -> str:
    """What became of the answers: how often they are right, and how sure of it the model is."""
    kind, under = kind_of(check.name), perturbed_by(check.where)
    everywhere = "clean and perturbed" in check.where
    where = f" under {under}" if under else " on clean and perturbed images" if everywhere else ""
    right = "what the baseline answered" if agreement else "the right class"
    what = "agreement" if agreement else "accuracy"
    if kind == "effective":
        return f"the model loses more{where} than its accuracy on clean images explains"
    if kind in ("score", "lost"):
        return f"the model scores {_degree(check, 'lower', 'higher')}{where}"
    if kind == "mpe":
        return f"the model errs {_degree(check, 'more', 'less')}{where}"
    if kind == "accuracy":
        numbers = percents(check.baseline, check.candidate)
        degree = _degree(check, "less often", "more often")
        return f"the model finds {right} {degree}{where}: {what} {numbers}"
    told = f"the model finds {right} {_degree(check, 'less well', 'better')}{where}"
    clean = next((each for each in answers if each.name in CLEAN_ACCURACY), None)
    if clean is None:
        return told
    if clean.baseline == clean.candidate:
        return f"{told}, with the same {what} on clean images ({100 * clean.candidate:.0f} %)"
    return f"{told}; {what} on clean images {percents(clean.baseline, clean.candidate)}"


def _relied(check: Check, bands: Sequence[QuantityChange]) -> str:
    """What became of the bands that the model relies on; of other quantities, that they moved."""
    at = next((each for each in bands if each.name == check.where), None)
    degree = _degree(check)
    if at is not None:
        place = f"{structure(at.index, len(bands))} (band {at.index})"
        # A change of the upper half counts either way.
        degree = degree.replace("less", "more") if at.change > 0 else degree
        return f"the model relies {degree} on {place}"
    match check.name:
        case "value":
            return f"the model finds {degree} in the images, all bands together"
        case "src" | "sid":
            other = "more" if "less" in degree else "less"
            return f"the model relies {degree} on coarse structures, and {other} on finer ones"
        case "min_src":
            return "the model relies too little on coarse structures"
    if check.name == "bound":
        return f"{check.where} is {'above' if check.better == 'lower' else 'below'} its bound"
    way = "rose" if check.change > 0 else "fell" if check.change < 0 else "differs"
    what = AS_ANSWERED_TOLD if check.where == AS_ANSWERED else check.where or check.name
    return f"{what} {way} by more than is allowed"


def _lost_where(bands: Sequence[QuantityChange]) -> str:
    """In which structures the most was lost; empty where no band fell beyond noise."""
    fallen = sorted(
        (each for each in bands if each.moved and each.change < 0), key=lambda each: each.change
    )
    if not fallen:
        return ""
    first = fallen[0]
    named = f"{structure(first.index, len(bands))} (band {first.index})"
    if 2 * first.change <= sum(each.change for each in fallen):
        return f"most is lost in {named}"
    return f"more is lost in {named} than in any other band"
