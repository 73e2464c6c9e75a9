"""Numbers and user text in words, the same in every report."""

import math
from collections.abc import Sequence
from typing import Any

from pytest_iaside.errors import printable as printable

NONE = "—"


def finite(value: Any) -> float | None:
    """``value`` as a float, or None where it is missing, NaN or infinite."""
    return float(value) if value is not None and math.isfinite(value) else None


def finite_list(values: Sequence[Any]) -> list[float | None]:
    """``finite`` of every value."""
    return [finite(value) for value in values]


def formatted(number: float, form: str) -> str:
    """``number`` in the format ``form``, a zero without its sign: "-0.000" reads like a loss."""
    text = f"{number:{form}}"
    # Python 3.11 has the letter z for it.
    return text if text.strip("+-0.%") else f"{0.0:{form}}"


def _shown(value: Any, form: str) -> str:
    number = finite(value)
    return NONE if number is None else formatted(number, form).replace("-", "−")


def fixed(value: Any, digits: int = 3) -> str:
    """A number with so many digits and a minus sign that is one; — where there is none."""
    return _shown(value, f".{digits}f")


def signed(value: Any, digits: int = 3) -> str:
    """A change: like ``fixed``, with its sign."""
    return _shown(value, f"+.{digits}f")


def percent(value: Any, digits: int = 1) -> str:
    """A relative change in percent, with its sign."""
    return _shown(value, f"+.{digits}%")


def share(value: Any, digits: int = 1) -> str:
    """A share in percent, without a sign."""
    return _shown(value, f".{digits}%")


def p_value(value: Any) -> str:
    """A p-value; below a thousandth, that it is below."""
    number = finite(value)
    return "<0.001" if number is not None and number < 0.001 else _shown(number, ".3f")


def count(value: Any) -> str:
    """A whole number with its thousands separated: 51,200."""
    return _shown(value, ",.0f")


def compact(value: Any) -> str:
    """A whole number in at most five characters: 51.2k."""
    number = finite(value)
    if number is None:
        return NONE
    for unit in ("", "k", "M", "G"):
        if number < 999.95 or unit == "G":
            break
        number /= 1000
    return f"{number:.1f}{unit}" if unit and number < 99.95 else f"{number:.0f}{unit}"


def duration(seconds: Any) -> str:
    """Seconds as 4.2 s, 42 s, 2:38 or 1:02:38."""
    number = finite(seconds)
    if number is None:
        return NONE
    if number < 9.95:
        return f"{number:.1f} s"
    return f"{number:.0f} s" if number < 59.5 else clock(number)


def clock(seconds: float) -> str:
    """Seconds as 2:38 or 1:02:38."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
