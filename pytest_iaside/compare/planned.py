"""What one check can see: by resampling, by its interval's width, or by the binomial law."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from pytest_iaside.compare.check import WIDEST
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.compare.families import SHARES, Family
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.power import (
    fewest,
    images_for_fall,
    images_for_share,
    smallest_fall,
    smallest_share,
)
from pytest_iaside.stats.resampling import Gates, Pool

RELATIVE = ("value", "band", "upper")
"""Families whose changes are shares of the baseline's v(all)."""
BY_WIDTH = ("src", "sid", "effective")
"""Families whose changes are no means over images: read off the SID, or beside clean accuracy."""
NORMAL = 500
"""Of so many images or groups the mean is normal enough for a law to foretell its power."""
RESAMPLED = 10 * NORMAL
"""Of more none are drawn: that takes minutes and gigabytes, and says what the law says."""
FEWEST = 4
"""Images that a gate needs to pass at all."""


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


@dataclass(frozen=True)
class Wanted:
    """What a check allows, the fall that images are counted for, and the gate that is planned.

    ``paired`` says whether pairs of measurements show how much differences vary.
    """

    allowed: float
    fall: float
    power: float
    level: float
    images: int
    paired: bool

    def planned(self, family: Family, place: int, **numbers: float) -> Planned:
        """The plan for ``family``, whose ``place`` sees the least."""
        if family.name.endswith(SHARES) and numbers["found"] >= 1:
            numbers["found"] = np.inf  # No share falls by more than all.
        return Planned(
            name=family.name,
            where=family.places[place],
            allowed=self.allowed,
            fall=self.fall,
            show=family.show,
            **{"deviation": np.nan, "won": np.nan, **numbers},
        )


def planned(family: Family, evidence: Sequence[Evidence], wanted: Wanted) -> Planned:
    """What the check of ``family`` sees, by ``evidence`` on one pair or several."""
    if family.hits:
        return _by_hits(family, evidence, wanted)
    if family.name in BY_WIDTH:
        return _by_width(family, evidence, wanted)
    return _by_resampling(family, evidence, wanted)


def _by_resampling(family: Family, evidence: Sequence[Evidence], wanted: Wanted) -> Planned:
    """Of means, and of what is a share of v(all): gates on images drawn from those at hand."""
    pools = [pool_of(family, each) for each in evidence]
    size = _mean_size(evidence)
    law = wanted.allowed, wanted.level
    units = round(wanted.images / size)
    if units > RESAMPLED:
        falls = _by_law(pools, units, wanted)
    else:
        falls = Gates(pools, units).smallest(*law, wanted.power)
    place = int(np.argmax(falls))
    told = falls[place] if np.isfinite(falls[place]) else wanted.fall
    deviations = [
        float(np.sqrt(np.mean([pool.deviation(fall)[place] ** 2 for pool in pools])))
        for fall in (told, wanted.fall)
    ]

    there = [pool.at(place) for pool in pools]

    def enough(units: int) -> bool:
        if units > RESAMPLED:
            return smallest_fall(deviations[1], units, *law, wanted.power) <= wanted.fall
        return bool(Gates(there, units).power(wanted.fall, *law)[0] >= wanted.power)

    # Of so many units that means are normal, a law tells the same at once.
    needed = images_for_fall(wanted.fall, deviations[1], *law, wanted.power)
    if needed < NORMAL:
        # Few images are often alike in all of what is counted, which is no evidence.
        needed = fewest(enough, least=max(FEWEST, int(needed / 2)))
    return wanted.planned(
        family,
        place % len(family.places),
        found=float(falls[place]),
        images=needed * size,
        deviation=deviations[0],
    )


def _by_law(pools: Sequence[Pool], units: int, wanted: Wanted) -> Floats:
    """The smallest falls (P,) of so many units that their mean is normal."""
    falls = np.full(pools[0].differences.shape[1], wanted.fall)
    for _ in range(2):  # Deviations depend on the fall, but hardly.
        spread = np.sqrt(np.mean([pool.deviation(falls) ** 2 for pool in pools], axis=0))
        law = wanted.allowed, wanted.level, wanted.power
        falls = np.array([smallest_fall(float(each), units, *law) for each in spread])
    return falls


def pool_of(family: Family, evidence: Evidence) -> Pool:
    """What gates draw: a fall at each place of ``family``, and after those a rise that counts."""
    names = [quantity.name for quantity in evidence.quantities]
    difference = evidence.candidate - evidence.baseline
    if family.name == "value":
        difference = difference.sum(axis=1, keepdims=True)
    else:
        difference = difference[:, [names.index(place) for place in family.places]]
    if family.both_ways:
        difference = np.hstack([difference, -difference])
    whole = evidence.baseline.sum(axis=1) if family.name in RELATIVE else None
    return Pool.of(difference, whole, evidence.groups)


def _mean_size(evidence: Sequence[Evidence]) -> float:
    """How many images a group has; 1 where each is its own."""
    return len(evidence[0].candidate) / evidence[0].drawn


def _by_width(family: Family, evidence: Sequence[Evidence], wanted: Wanted) -> Planned:
    """Of what is no mean over images: by how wide intervals are, and Student's law."""
    size = _mean_size(evidence)
    deviation = _of_intervals(family, evidence, wanted.level)
    place = int(np.argmax(deviation))
    law = wanted.allowed, wanted.level, wanted.power
    units, found = round(wanted.images / size), float(deviation[place])
    return wanted.planned(
        family,
        place,
        found=smallest_fall(found, units, *law),
        images=size * images_for_fall(wanted.fall, found, *law),
        deviation=found,
    )


def _by_hits(family: Family, evidence: Sequence[Evidence], wanted: Wanted) -> Planned:
    """Of shares of hits: by the binomial law, of so many images as would say as much alone."""
    won = won_beside(family, evidence, wanted.allowed, paired=wanted.paired)
    place = int(won.argmax())
    columns = _columns(evidence[0], family)
    effect = len(evidence[0].candidate) / evidence[0].alone(columns)
    law = wanted.allowed, wanted.level, wanted.power, float(won[place])
    found = smallest_share(max(int(wanted.images / effect), 1), *law)
    return wanted.planned(
        family,
        place,
        found=np.inf if found >= 1 else found,
        images=np.ceil(effect * images_for_share(wanted.fall, *law)),
        won=float(won[place]),
    )


def _columns(evidence: Evidence, family: Family) -> list[int]:
    return [n for n, each in enumerate(evidence.quantities) if each.name in family.places]


def won_beside(
    family: Family, evidence: Sequence[Evidence], allowed: float, *, paired: bool
) -> Floats:
    """The share of images (P,) that are won beside a fall.

    Of pairs those that turned both ways, on whichever side there are fewer. Of a baseline alone as
    many as make differences vary as its own hits do, p(1 − p): lost + won − fall².
    """
    found = []
    for each in evidence:
        columns = _columns(each, family)
        candidate, baseline = each.candidate[:, columns], each.baseline[:, columns]
        if paired:
            ways = [np.maximum(sign * (candidate - baseline), 0).mean(axis=0) for sign in (1, -1)]
            found.append(np.minimum(*ways))
        else:
            right = baseline.mean(axis=0)
            found.append(np.maximum(right * (1 - right) + allowed**2 - allowed, 0) / 2)
    return np.asarray(np.mean(found, axis=0))


def _of_intervals(family: Family, evidence: Sequence[Evidence], level: float) -> Floats:
    """Standard deviations over images, or groups of them, (P,), by how wide intervals are."""
    squares = []
    for each in evidence:
        found, units = family.estimate(each), each.drawn
        reach = special.stdtrit(max(units - 1, 1), 0.5 + level / 2)
        with np.errstate(invalid="ignore"):
            squares.append(((found.high - found.low) / 2 / reach) ** 2 * units)
    return np.asarray(np.sqrt(np.mean(squares, axis=0)))
