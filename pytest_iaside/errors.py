"""What can go wrong, one kind per cause.

Every message says what was found, what was expected and what to do.
"""

from __future__ import annotations


class SpectralRobustnessError(Exception):
    """Base of every error that pytest-iaside raises on purpose."""


class SettingsError(SpectralRobustnessError, ValueError):
    """A setting is unknown, out of range, or does not fit the images."""


class ReferenceSampleError(SpectralRobustnessError, ValueError):
    """The reference sample is empty, out of range, or its labels do not fit it."""


class ModelError(SpectralRobustnessError):
    """The model cannot be run, or its output is not a finite (batch, classes) tensor."""


class BaselineError(SpectralRobustnessError):
    """A baseline is missing, unreadable, or does not fit what it is compared with."""


class UndecidedWarning(UserWarning):
    """A gate is green because it could not decide, not because nothing got worse."""


def one_line(error: Exception) -> str:
    """What another library raised, for the middle of a message."""
    return " ".join(f"{type(error).__name__}: {error}".split())
