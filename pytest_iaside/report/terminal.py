"""What the terminal shows: a line of progress, and at the end the gates and why they failed."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pytest_iaside.report.columns import cells, pad, shorten
from pytest_iaside.report.gates import gates, interval_name, score_name
from pytest_iaside.report.numbers import clock, printable
from pytest_iaside.report.record import GateRecord

if TYPE_CHECKING:
    from pytest_iaside.measure.spectral import Progress

FAILED = "31"  # the terminal's red
COLOURS = {
    "inconclusive": "33",
    "nothing found": "92",
    "updated": "36",
    "created": "36",
    "pass": "32",
}
# Green, but a sentence stands below: what could have been seen, or what an update overrules.
UNSURE = ("inconclusive", "nothing found", "updated")
GAP = "  "
SECONDS_BETWEEN = 0.2  # two states of progress


def terminal_lines(records: Sequence[GateRecord], *, width: int, color: bool) -> list[str]:
    """The table of gates, worst first, and under it one sentence for each failed gate.

    Lines are at most ``width`` columns long (72 where it is less), but for a path that is longer
    than that. Where gate names do not fit beside their numbers they stand above them; only a name
    longer than a line is shortened.
    """
    found = gates(records)
    if not found:
        return []
    width = max(width, 72)
    head = (score_name(found), f"change ({interval_name(found)})", "verdict", "forward", "time")
    rows = [gate.row for gate in found]
    widths = [max(cells(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str], paint: str = "") -> str:
        texts = [
            pad(cell, room, right=column not in (1, 2))
            for column, (cell, room) in enumerate(zip(row, widths, strict=True))
        ]
        if paint:
            texts[2] = f"\x1b[{paint}m{texts[2]}\x1b[0m"
        return GAP.join(texts).rstrip()

    numbers_width = sum(widths) + len(GAP) * (len(widths) - 1)
    names = [gate.full_label for gate in found]
    longest = max(map(cells, names))
    beside = longest <= width - numbers_width - len(GAP)
    lines = [GAP.join((pad("gate", longest), line(head))) if beside else f"gate{GAP}{line(head)}"]
    for gate, name, row in zip(found, names, rows, strict=True):
        paint = FAILED if gate.failed else COLOURS.get(gate.word, FAILED)
        numbers = line(row, paint if color else "")
        if beside:
            lines.append(GAP.join((pad(name, longest), numbers)))
        else:
            lines += [shorten(name, width), f"    {GAP}{numbers}"]
    for gate in found:
        # Of a new baseline only what is more than where it lies.
        more = gate.word in UNSURE or (gate.word == "created" and "; " in gate.sentence)
        parts = [gate.sentence] if gate.failed or more else []
        parts += [] if gate.failed else map(printable, gate.notes)
        if told := "; ".join([*parts, gate.size] if gate.size else parts):
            lines += ["", f"{gate.mark} {shorten(gate.label, width - 4)}:"]
            # A path or a command that is broken in its middle cannot be copied.
            wrapped = textwrap.wrap(
                told, width - len(GAP), break_on_hyphens=False, break_long_words=False
            )
            lines += [f"{GAP}{each}" for each in wrapped]
    return lines


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
