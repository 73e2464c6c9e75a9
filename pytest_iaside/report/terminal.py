"""The session on the terminal: a table of gates, and the sentences of those that failed."""

import textwrap
from collections.abc import Sequence

from pytest_iaside.report.columns import cells, pad, shorten
from pytest_iaside.report.gates import gates, interval_name, score_name
from pytest_iaside.report.record import GateRecord

FAILED = "31"  # the terminal's red
COLOURS = {"inconclusive": "33", "updated": "36", "created": "36", "pass": "32"}
GAP = "  "


def terminal_lines(records: Sequence[GateRecord], *, width: int, color: bool) -> list[str]:
    """The table of gates, worst first, and under it one sentence for each failed gate.

    Lines are at most ``width`` columns long (72 where it is less). Where gate names do not fit
    beside their numbers they stand above them; only a name longer than a line is shortened.
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
        if told := gate.sentence if gate.failed else "; ".join(gate.notes):
            lines += ["", f"{gate.mark} {shorten(gate.label, width - 4)}:"]
            wrapped = textwrap.wrap(told, width - len(GAP), break_on_hyphens=False)
            lines += [f"{GAP}{each}" for each in wrapped]
    return lines
