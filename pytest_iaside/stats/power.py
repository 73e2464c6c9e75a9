"""What a paired comparison can see: the falls it finds, and the images that it takes (SPEC.md 11).

A fall is found where the whole interval of the change lies beyond what is allowed. Of means this is
Student's law: the noncentral t. Of shares of hits it is the law of how many are lost and won.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from pytest_iaside.stats.arrays import Floats

POWER = 0.99
"""What a detectable change is found with."""
MOST_IMAGES = 10_000_000
"""More than this no plan asks for; infinitely many are told instead."""
FARTHEST = 1e3
"""Standard errors: Student's law of two images at high levels; to invert it takes minutes there."""


def detectable(
    low: Floats, high: Floats, allowed: float, level: float, freedom: float = np.inf
) -> Floats:
    """The smallest change for the worse that would be drift with 99 % power (SPEC.md 11).

    Of intervals at ``level``: beyond what is ``allowed`` by their half width and by the normal
    quantile of the power, in standard errors, of which so many make half a width as Student's law
    of ``freedom`` degrees says.
    """
    reach = special.stdtrit(freedom, 0.5 + level / 2) if np.isfinite(freedom) else None
    reach = special.ndtri(0.5 + level / 2) if reach is None else reach
    with np.errstate(invalid="ignore"):
        return np.asarray(allowed + (high - low) / 2 * (1 + special.ndtri(POWER) / reach))


def detectable_share(images: int, allowed: float, level: float, freedom: float = np.inf) -> float:
    """The same of a share of hits among so many ``images``, from the binomial law.

    In groups these are as many as would say as much alone, and ``freedom`` is the groups less one.
    Where hits are lost the interval grows with them, so that its width of today says too little.
    By Agresti and Min's interval (evidence.py) of so many lost and none won; 1 where no loss at
    all would be drift.
    """
    return smallest_share(images, allowed, level, freedom=freedom)


def power_of_fall(
    fall: float, deviation: float, images: int, allowed: float, level: float
) -> float:
    """The probability that a mean that truly fell by ``fall`` is found to have drifted.

    ``deviation`` is the standard deviation over images of the paired differences, in the unit of
    ``fall`` and of ``allowed``; the interval is Student's at ``level``, two-sided. 0 below two
    images.
    """
    if images < 2 or not np.isfinite(deviation):
        return 0.0
    if deviation <= 0:
        return float(fall > allowed)
    reach = special.stdtrit(images - 1, 0.5 + level / 2)
    beyond = (fall - allowed) * np.sqrt(images) / deviation
    found = 1 - special.nctdtr(images - 1, beyond, reach)
    # Of falls far beyond the interval the law underflows: they cannot be missed.
    return float(found) if np.isfinite(found) else float(beyond > reach)


def smallest_fall(
    deviation: float, images: int, allowed: float, level: float, power: float = POWER
) -> float:
    """The smallest fall that is found with ``power``; arguments as of ``power_of_fall``.

    Infinite below two images, and where intervals are wider than the law can be inverted for.
    """
    if images < 2 or not np.isfinite(deviation):
        return np.inf
    reach = special.stdtrit(images - 1, 0.5 + level / 2)
    if reach > FARTHEST:
        return np.inf
    beyond = special.nctdtrinc(images - 1, 1 - power, reach)
    return float(allowed + beyond * deviation / np.sqrt(images))


def images_for_fall(
    fall: float, deviation: float, allowed: float, level: float, power: float = POWER
) -> float:
    """How many images it takes to find ``fall`` with ``power``, a whole number.

    Infinite where no number does: a fall that is allowed is no drift.
    """
    if fall <= allowed or not np.isfinite(deviation):
        return np.inf
    return fewest(lambda images: smallest_fall(deviation, images, allowed, level, power) <= fall)


def least_lost(
    images: int, won: Floats, allowed: float, level: float, freedom: float = np.inf
) -> Floats:
    """How many hits of so many ``images`` must be lost to be drift, where ``won`` (N,) are won.

    Agresti and Min's interval of the change lies beyond what is ``allowed`` then, (N,). May be more
    than there are images.
    """
    count = images + 2
    reach = special.stdtrit(freedom, 0.5 + level / 2) if np.isfinite(freedom) else None
    square = (special.ndtri(0.5 + level / 2) if reach is None else reach) ** 2
    # Where the interval just reaches the limit: a quadratic equation in the centre of the change.
    first, second = count + square, 2 * allowed * count + square
    third = allowed**2 * count - square * (2 * won + 1) / count
    centre = (second + np.sqrt(second**2 - 4 * first * third)) / (2 * first)
    return np.asarray(np.floor(count * centre + won + 1e-9) + 1)


def power_of_share(
    fall: float, images: int, allowed: float, level: float, won: float = 0.0
) -> float:
    """The probability that a share of hits that truly fell by ``fall`` is found to have drifted.

    ``won`` is the share of images that miss before and hit after; ``fall`` + ``won`` are lost.
    """
    lost = min(fall + won, 1 - won)
    if lost <= 0:
        return 0.0
    # Of more than so many won there is no probability worth counting.
    most = min(images, int(np.ceil(images * won + 10 * np.sqrt(images * won) + 10))) if won else 0
    counts = np.arange(most + 1.0)
    chance = _binomial(counts, images, won)
    least, left = least_lost(images, counts, allowed, level), images - counts
    possible = least <= left
    found = special.betainc(
        np.where(possible, least, 1), np.where(possible, left - least + 1, 1), lost / (1 - won)
    )
    return float(np.sum(chance * np.where(possible, found, 0.0)))


def smallest_share(
    images: int,
    allowed: float,
    level: float,
    power: float = POWER,
    won: float = 0.0,
    freedom: float = np.inf,
) -> float:
    """The smallest fall of a share of hits that is found with ``power``; 1 where none is."""
    if won <= 0:
        least = float(least_lost(images, np.zeros(1), allowed, level, freedom)[0])
        # The share of which so many or more are lost with that probability.
        return (
            1.0 if least > images else float(special.betaincinv(least, images - least + 1, power))
        )
    low, high = 0.0, 1 - 2 * won
    if high <= 0 or power_of_share(high, images, allowed, level, won) < power:
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        enough = power_of_share(middle, images, allowed, level, won) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def images_for_share(
    fall: float, allowed: float, level: float, power: float = POWER, won: float = 0.0
) -> float:
    """How many images it takes to find a ``fall`` of a share of hits with ``power``.

    Infinite where no number does. Hits are counted, so that a few images more may see a little
    less; the number is where the power has just been reached.
    """
    if fall <= allowed or fall + 2 * won > 1:
        return np.inf
    rounded = power - 1e-9
    return fewest(lambda images: power_of_share(fall, images, allowed, level, won) >= rounded)


def fewest(enough: Callable[[int], bool], least: int = 2) -> float:
    """The fewest images from ``least`` on that are ``enough``; infinite above what anyone takes."""
    high = max(least, 2)
    if high > 2 and enough(high):
        return float(high)
    while not enough(high):
        high *= 2
        if high > MOST_IMAGES:
            return np.inf
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)


def _binomial(counts: Floats, images: int, share: float) -> Floats:
    """The probability (N,) of so many ``counts`` (N,) among ``images``."""
    ways = special.gammaln(images + 1) - special.gammaln(counts + 1)
    ways = ways - special.gammaln(images - counts + 1)
    chance = special.xlogy(counts, share) + special.xlog1py(images - counts, -share)
    return np.asarray(np.exp(ways + chance))
