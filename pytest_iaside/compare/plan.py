"""What a gate can see at a baseline's images, and what it takes to see more (SPEC.md 11).

How much paired differences vary is read off pairs of measurements where there are any, else off the
baseline alone, of which it is assumed that they vary no more than its values do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
from scipy import special

from pytest_iaside.compare.answers import in_common
from pytest_iaside.compare.changes import compare_quantities, evidence_of
from pytest_iaside.compare.check import WIDEST
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.compare.families import Family, families_of
from pytest_iaside.compare.fit import pair
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.trainings import trainings_of
from pytest_iaside.stats import power as law
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.power import POWER
from pytest_iaside.thresholds import LEVEL, Limits, Thresholds

TIMES = 2.0
"""Of what is allowed: the fall that images are counted for, unless another is asked for."""


RELATIVE = ("value", "band", "upper")
"""Families whose changes are shares of the baseline's v(all)."""
MOST = 1e3
"""No fall is looked for beyond this."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What one check can see, at the place that sees the least, in the check's own unit.

    ``found`` is the smallest change for the worse that is found, ``images`` how many it takes to
    find one of ``fall``; both infinite where nothing is. ``deviation`` is the standard deviation
    over images of the paired differences where the change is ``found``; ``won`` the share of images
    that miss before and hit after, where hits are counted by the binomial law; else NaN. ``show``
    tells a change in words.
    """

    name: str
    where: str
    allowed: float
    found: float
    fall: float
    images: float
    deviation: float
    won: float
    show: Callable[[float], str]

    @property
    def blind(self) -> bool:
        """Whether only so much more than is allowed is found that the check says little."""
        return not self.found <= WIDEST * self.allowed


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a gate of ``images`` images sees with ``power``.

    ``pairs`` is how many pairs of measurements told how much differences vary; 0 where the baseline
    alone did.
    """

    images: int
    level: float
    power: float
    pairs: int
    checks: tuple[Planned, ...]

    def check(self, name: str) -> Planned | None:
        """The check ``name``, where there is one."""
        return next((each for each in self.checks if each.name == name), None)


def plan(
    baseline: Measurement,
    thresholds: Thresholds = Thresholds(),
    *,
    candidate: Measurement | None = None,
    level: float = LEVEL,
    fall: float | None = None,
    power: float = POWER,
    images: int | None = None,
) -> Plan:
    """What each check of a gate against ``baseline`` sees; ``fall`` is by default twice the limit.

    How much differences vary comes from ``candidate`` and the baseline, else from pairs of the
    baseline's trainings, else from the baseline's own values. Bounds (``min_src``) are left out:
    they are no changes. ``images`` is how many a gate has, by default the baseline's. Raises as
    compare().
    """
    trainings = trainings_of(baseline)
    if candidate is not None:
        pairs = list(product(trainings_of(candidate), trainings))
    else:
        pairs = list(combinations(trainings, 2))
    checks, count = [], len(baseline)
    for limits, some in (
        (thresholds.answer_limits, [in_common(*each) for each in pairs or [(baseline, baseline)]]),
        (thresholds.limits, pairs or [(baseline, baseline)]),
    ):
        known = [each for each in some if each is not None]
        if not known:
            continue
        evidence = [_evidence(*each, level, paired=bool(pairs)) for each in known]
        families = families_of(known[0][1])
        count = images or len(evidence[0].baseline)
        checks += [
            _planned(families[name], evidence, limit.change, fall, power, count, paired=bool(pairs))
            for name, limit in limits.items()
            if name in families and limit.change is not None
        ]
    return Plan(images=count, level=level, power=power, pairs=len(pairs), checks=tuple(checks))


def _evidence(
    candidate: Measurement, baseline: Measurement, level: float, *, paired: bool
) -> Evidence:
    """The two in pairs; of a baseline alone, its values against their own mean."""
    if paired:
        limits: Limits = {}
        return compare_quantities(
            candidate, baseline, limits, level=level, direction="worse", paired=True
        )[1]
    found = evidence_of(baseline, baseline, pair(baseline, baseline), level)
    mean = np.broadcast_to(found.candidate.mean(axis=0), found.candidate.shape)
    return replace(found, baseline=mean, resolution=0.0)


def _planned(
    family: Family,
    evidence: Sequence[Evidence],
    allowed: float,
    fall: float | None,
    power: float,
    images: int,
    *,
    paired: bool,
) -> Planned:
    wanted = TIMES * allowed if fall is None else fall
    places = len(family.places)
    level = evidence[0].level_of_each(places)
    if family.hits:
        won = _won(family, evidence, allowed, paired=paired)
        at = int(won.argmax())
        found = law.smallest_share(images, allowed, level, power, float(won[at]))
        needed = law.images_for_share(wanted, allowed, level, power, float(won[at]))
        found, deviation, turned = np.inf if found >= 1 else found, np.nan, float(won[at])
    else:
        spread = _spread(family, evidence, level)

        def least(at: int) -> float:
            return _smallest(lambda fall: float(spread(fall)[at]), images, allowed, level, power)

        falls = [least(at) for at in range(places)]
        at = int(np.argmax(falls))
        found, turned = falls[at], np.nan
        needed = law.images_for_fall(wanted, float(spread(wanted)[at]), allowed, level, power)
        deviation = float(spread(found if np.isfinite(found) else wanted)[at])
    return Planned(
        name=family.name,
        where=family.places[at],
        allowed=allowed,
        found=found,
        fall=wanted,
        images=needed,
        deviation=deviation,
        won=turned,
        show=family.show,
    )


def _won(family: Family, evidence: Sequence[Evidence], allowed: float, *, paired: bool) -> Floats:
    """The share of images (P,) that are won beside a fall.

    Of pairs those that turned both ways, on whichever side there are fewer. Of a baseline alone as
    many as make differences vary as its own hits do, p(1 − p): lost + won − fall².
    """
    found = []
    for each in evidence:
        columns = [n for n, q in enumerate(each.quantities) if q.name in family.places]
        candidate, baseline = each.candidate[:, columns], each.baseline[:, columns]
        if paired:
            ways = [np.maximum(sign * (candidate - baseline), 0).mean(axis=0) for sign in (1, -1)]
            found.append(np.minimum(*ways))
        else:
            right = baseline.mean(axis=0)
            found.append(np.maximum(right * (1 - right) + allowed**2 - allowed, 0) / 2)
    return np.asarray(np.mean(found, axis=0))


def _spread(
    family: Family, evidence: Sequence[Evidence], level: float
) -> Callable[[float], Floats]:
    """Standard deviations over images (P,) of a fall's differences; root mean squares over pairs.

    What counts of ψ is a share of v(all), so that it is uncertain how large a share the fall is
    as well: the more, the further it fell. A fall is taken to be the same on every image.
    """
    if family.name not in RELATIVE:
        known = _of_intervals(family, evidence, level)
        return lambda fall: known
    own, both, totals = (np.zeros(len(family.places)) for _ in range(3))
    for each in evidence:
        difference = each.candidate - each.baseline
        names = [quantity.name for quantity in each.quantities]
        if family.name == "value":
            rows = difference.sum(axis=1, keepdims=True)
        else:
            rows = difference[:, [names.index(place) for place in family.places]]
        whole = each.baseline.sum(axis=1)
        shares, total = ((x - x.mean(axis=0)) / whole.mean() for x in (rows, whole))
        free = max(len(rows) - 1, 1) * len(evidence)
        own += (shares**2).sum(axis=0) / free
        both += 2 * (shares * total[:, None]).sum(axis=0) / free
        totals += (total**2).sum() / free
    if family.both_ways:
        both = np.abs(both)  # Of falls and rises the one that varies more.
    return lambda fall: np.asarray(np.sqrt(np.maximum(own + fall * both + fall**2 * totals, 0)))


def _smallest(
    deviation: Callable[[float], float], images: int, allowed: float, level: float, power: float
) -> float:
    """The smallest fall that is found, where the ``deviation`` of differences depends on it."""

    def enough(fall: float) -> bool:
        return law.smallest_fall(deviation(fall), images, allowed, level, power) <= fall

    low, high = allowed, law.smallest_fall(deviation(allowed), images, allowed, level, power)
    while not enough(high):
        low, high = high, allowed + 2 * (high - allowed)
        if not high < MOST:
            return np.inf
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _of_intervals(family: Family, evidence: Sequence[Evidence], level: float) -> Floats:
    """Standard deviations over images (P,), by how wide intervals are."""
    squares = []
    for each in evidence:
        found, images = family.estimate(each), len(each.candidate)
        reach = special.stdtrit(max(images - 1, 1), 0.5 + level / 2)
        with np.errstate(invalid="ignore"):
            squares.append(((found.high - found.low) / 2 / reach) ** 2 * images)
    return np.asarray(np.sqrt(np.mean(squares, axis=0)))


def in_words(baseline: Measurement, thresholds: Thresholds, level: float) -> str:
    """What a gate against ``baseline`` alone sees, in a sentence; empty where there is nothing.

    Of accuracy and of the bands; louder where that is so much that the gate says little.
    """
    found = plan(baseline, thresholds, level=level)
    accuracy, band = found.check("clean accuracy"), found.check("band")
    told, loud = [], []
    if accuracy is not None:
        told.append(_lost(accuracy.found, "points of accuracy"))
        # None won is the most that a gate can see; how many are, no baseline knows.
        least = law.detectable_share(found.images, accuracy.allowed, level)
        if least > WIDEST * accuracy.allowed:
            loud.append(f"cannot see its own allowed change of accuracy ({accuracy.allowed:.0%})")
    if band is not None:
        told.append(_lost(band.found, "% of v(all) in any band"))
        if band.blind:
            loud.append(f"may not see its own allowed change of bands ({band.allowed:.0%})")
    if not told:
        return ""
    power = f"{100 * found.power:g} % probability"
    sentence = f"with {found.images} images a gate finds {', or '.join(told)}, with {power}"
    return f"{sentence}: IT {' AND '.join(loud)}, take more images" if loud else sentence


def _lost(fall: float, unit: str) -> str:
    return f"a fall of {np.ceil(100 * fall):.0f} {unit}" if np.isfinite(fall) else f"no {unit}"
