"""One line that is rewritten while a profile is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_iaside.report.columns import cells, shorten
from pytest_iaside.report.numbers import clock, printable

if TYPE_CHECKING:
    from pytest_iaside.measure.spectral import Progress

SECONDS_BETWEEN = 0.2


class ProgressLine:
    """Writes ``iaside test_x: 24/200 images · 312 img/s · 1:23 left`` over itself.

    ``write`` takes text for a terminal ``width`` columns wide; img/s are forward passes per
    second. Writes at most five times a second, the first and the last state always.
    """

    def __init__(self, write: Callable[[str], None], name: str, width: int) -> None:
        self._write = write
        self._name = printable(name)
        self._width = width - 1  # a full last column makes some terminals wrap
        self._written: float | None = None
        self._cells = 0

    def __call__(self, progress: Progress) -> None:
        # By the measurement's own clock: what is written does not depend on the terminal.
        recent = self._written is not None and (progress.seconds - self._written < SECONDS_BETWEEN)
        if recent and progress.images_done < progress.images:
            return
        self._written = progress.seconds
        line = self._line(progress)
        self._write("\r" + line + " " * (self._cells - cells(line)))
        self._cells = cells(line)

    def close(self) -> None:
        """Erase the line."""
        if self._cells:
            self._write("\r" + " " * self._cells + "\r")
            self._cells = 0

    def _line(self, progress: Progress) -> str:
        parts = [f"{progress.images_done}/{progress.images} images"]
        if progress.seconds > 0:
            parts.append(f"{progress.forward_passes / progress.seconds:.0f} img/s")
        if progress.images_done:
            left = progress.images - progress.images_done
            parts.append(f"{clock(progress.seconds / progress.images_done * left)} left")
        state = " · ".join(parts)
        room = self._width - cells(f"iaside : {state}")
        if room >= 8:
            return f"iaside {shorten(self._name, room)}: {state}"
        return shorten(state, self._width)
