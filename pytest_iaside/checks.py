"""Checks of arguments, and imports of libraries that may not be installed."""

from __future__ import annotations

import importlib
import math
from typing import Any, TypeGuard, get_args

from pytest_iaside.errors import SettingsError, SpectralRobustnessError


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether ``value`` is an int; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether ``value`` is an int or a float; True and False are neither."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_choice(name: str, value: Any, literal: Any) -> None:
    """Raise SettingsError unless ``value`` is one of the choices of the type ``literal``."""
    if value not in get_args(literal):
        raise SettingsError(
            f"{name}={value!r} is unknown; use one of {', '.join(get_args(literal))}"
        )


def check_whole(
    name: str, value: Any, least: int | None = None, why: str = "", *, or_none: bool = False
) -> None:
    """Raise SettingsError unless ``value`` is a whole number, of at least ``least``.

    With ``or_none`` None will do as well; ``why`` is what the message ends in.
    """
    if or_none and value is None:
        return
    if not is_whole(value) or (least is not None and value < least):
        smallest = "" if least is None else f" of at least {least}"
        why = ", or None" if or_none else why
        raise SettingsError(f"{name}={value!r} must be a whole number{smallest}{why}")


def check_positive(name: str, value: Any, why: str = "") -> None:
    """Raise SettingsError unless ``value`` is a finite number above 0."""
    if not is_number(value) or not 0 < value < math.inf:
        raise SettingsError(f"{name}={value!r} must be a finite number above 0{why}")


def check_between(name: str, value: Any, example: float) -> None:
    """Raise SettingsError unless ``value`` lies between 0 and 1, as ``example`` does."""
    if not is_number(value) or not 0 < value < 1:
        raise SettingsError(f"{name}={value!r} must lie between 0 and 1, as {example} does")


def check_range(name: str, value: Any, low: float, high: float, what: str) -> None:
    """Raise SettingsError unless ``value`` is a finite number from ``low`` to ``high``."""
    if not is_number(value) or not low <= value <= high or math.isinf(value):
        raise SettingsError(f"{name}={value!r} must be {what}")


def check_level(level: Any) -> None:
    """Raise SettingsError unless ``level`` is the confidence of an interval."""
    if is_number(level) and 1 < level <= 100:
        raise SettingsError(f"level={level!r} must lie between 0 and 1: {_as_share(level)}")
    check_between("level", level, 0.95)


NEVER_BEYOND_ONE = (
    "max_accuracy_drop",
    "max_accuracy_difference",
    "max_probability_drop",
    "max_probability_difference",
)


def check_share(name: str, value: float, what: str) -> None:
    """Raise SettingsError where ``value`` is above 1; ``what`` it is: "a share of the images".

    Also where it is 1 and nothing could be beyond: who writes that means one percent.
    """
    if value == 1 and name in NEVER_BEYOND_ONE:
        raise SettingsError(
            f"{name}=1 allows everything, so nothing would be checked: write 0.01 for 1 %, or None "
            "to leave the check out"
        )
    if value > 1:
        advice = _as_share(value) if value <= 100 else "give 1 at most"
        raise SettingsError(f"{name}={value!r} is {what}: {advice}")


def _as_share(value: float) -> str:
    """What to write instead of ``value``, which seems to be in percent."""
    return f"write {value / 100:g} for {value:g} %"


def checked_limit(name: str, value: Any, share: str = "") -> float | None:
    """``value`` if it can limit a change; raises SettingsError otherwise.

    ``share`` says what it is, if it can be 1 at most.
    """
    if value is None:
        return None
    if not is_number(value) or not 0 <= value < math.inf:
        raise SettingsError(f"{name}={value!r} must be a finite number, not negative, or None")
    if share:
        check_share(name, value, share)
    return float(value)


def library(
    name: str,
    purpose: str,
    *,
    error: type[SpectralRobustnessError],
    package: str | None = None,
    install: str | None = None,
) -> Any:
    """The module ``name``; raises ``error`` where it cannot be imported.

    The message says what ``package`` is needed for (``purpose``: "to read image files") and how
    to ``install`` it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as why:
        package = package or name
        raise error(
            f"{package} is needed {purpose} and cannot be imported ({why}); "
            f"pip install {install or package}"
        ) from why
