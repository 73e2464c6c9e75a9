"""What can go wrong, one kind per cause, and how a message shows what somebody else wrote.

Every message says what was found, what was expected and what to do.
"""

from __future__ import annotations

from typing import Any

# Characters of one value in a message, and of a whole line of it.
LONGEST_VALUE = 80
LONGEST_LINE = 2_000


class SpectralRobustnessError(Exception):
    """Base of every error that pytest-iaside raises on purpose; its message is safe to show."""

    def __init__(self, message: object = "") -> None:
        super().__init__(visible(message))


class SettingsError(SpectralRobustnessError, ValueError):
    """A setting is unknown, out of range, or does not fit the images."""


class ReferenceSampleError(SpectralRobustnessError, ValueError):
    """The reference sample is empty, out of range, or its labels do not fit it."""


class ModelError(SpectralRobustnessError):
    """The model cannot be run, or its output is not a finite (batch, classes) tensor."""


class BaselineError(SpectralRobustnessError):
    """A baseline is missing, unreadable, or does not fit what it is compared with."""


class OutOfTimeError(SpectralRobustnessError):
    """A gate took longer than its timeout, and was stopped."""


class UndecidedWarning(UserWarning):
    """A gate is green because it could not decide, not because nothing got worse."""


def one_line(error: Exception) -> str:
    """What another library raised, for the middle of a message."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return printable(shortened(text, 4 * LONGEST_VALUE))


def quoted(value: Any) -> str:
    """``repr`` of what a file or a caller gave, as much of it as a message has room for."""
    try:
        return printable(shortened(repr(value)))
    except Exception:  # Of a number with too many digits, or a value that is its own part.
        return f"a {type(value).__name__} that cannot be shown"


def shortened(text: str, most: int = LONGEST_VALUE) -> str:
    """``text`` in at most ``most`` characters, an ellipsis in its middle where it was longer."""
    half = most // 2
    return text if len(text) <= most else f"{text[: most - half - 1]}…{text[-half:]}"


def printable(text: object) -> str:
    """``text`` in one line, every character that is not printable as its escape code.

    Test ids may hold line breaks, terminal escapes, marks that turn the writing direction,
    and lone surrogates that no file can be written with.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )


def visible(text: object) -> str:
    """``text`` in as many lines as it has, each printable and of a length that can be read."""
    return "\n".join(shortened(printable(each), LONGEST_LINE) for each in str(text).split("\n"))
