"""Numbers in words, the same in every sentence about a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_iaside.compare.check import Check


NATS = "nats"


def confidence(level: float) -> str:
    """``95% CI``, ``97.5% CI``."""
    return f"{100 * level:g}% CI"


# What can be at all: the score lies between −1 and 1, shares of importance between 0 and 1.
POSSIBLE = {"min_src": 1.0, "src": 2.0, "sid": 1.0, "effective": 1.0}


def within(check: Check, level: float, show: Callable[[float], str]) -> str:
    """The interval of ``check``, and what is allowed."""
    return f"{interval_of(check, level, show)}, allowed {show(check.limit)}"


def interval_of(check: Check, level: float, show: Callable[[float], str]) -> str:
    """The interval of ``check``, cut to what is possible; undetermined where it holds all that."""
    found = possible(check.low, check.high, POSSIBLE.get(check.name, math.inf))
    determined = found is not None and all(map(math.isfinite, found))
    told = f"{show(found[0])}…{show(found[1])}" if found and determined else "undetermined"
    return f"{confidence(level)} {told}"


def possible(
    low: float, high: float, most: float, least: float | None = None
) -> tuple[float, float] | None:
    """``low``…``high`` cut to ``least``…``most``, from −``most`` on by default.

    None where it says nothing: it holds all that is possible.
    """
    least = -most if least is None else least
    if low <= least and high >= most:
        return None
    return max(low, least), min(high, most)


def signed(value: float, digits: int = 3) -> str:
    """A change with its sign."""
    # Adding 0 takes the sign off a zero: "−0.000" of nothing reads like a loss.
    return _known(f"{round(value, digits) + 0.0:+.{digits}f}")


def number(value: float) -> str:
    """A value that may be large."""
    digits = 3 if abs(value) < 10 else 1
    return _known(f"{round(value, digits) + 0.0:.{digits}f}")


def fixed(value: float, digits: int = 3) -> str:
    """A value without a plus sign."""
    return signed(value, digits).removeprefix("+")


def about(count: float) -> str:
    """A number of images in two digits that count."""
    digits = max(0, int(math.log10(max(count, 1))) - 1)
    return f"{math.ceil(count / 10**digits) * 10**digits:,}"


def nats(value: float) -> str:
    return fixed(value, 2)


def in_unit(text: str, unit: str) -> str:
    """``text``, which was written for log-likelihoods in nats, of what is in ``unit``."""
    if unit == NATS:
        return text
    scored = "score" if unit == "score" else f"score in {unit}"
    text = text.replace("log-likelihood of the label", "score")
    text = text.replace(f"log-likelihood in {NATS}", scored).replace(
        "Log-likelihood by", "Score by"
    )
    return text.replace(f" {NATS}", f" {unit}")


def percent(value: float) -> str:
    """A relative change with its sign."""
    return _known(f"{round(100 * value, 1) + 0.0:+.1f}%")


def points(value: float) -> str:
    """A change of a share, in points of percent."""
    return signed(100 * value, 1)


def share(value: float) -> str:
    """A share in percent, without a plus sign."""
    return percent(value).removeprefix("+")


def _known(text: str) -> str:
    # Of a degenerate profile, or of one image, some numbers do not exist.
    return "n/a" if "n" in text else text.replace("-", "−")
