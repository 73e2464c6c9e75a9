"""Text in terminal columns: how wide it is, how to shorten it."""

import unicodedata
from collections.abc import Sequence


def cells(text: str) -> int:
    """Columns that ``text`` takes on a terminal: two for wide characters, none for accents."""
    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )


def shorten(text: str, room: int) -> str:
    """``text`` in at most ``room`` columns, an ellipsis in its middle where it was too wide.

    The end of a test id tells more than its middle: parameters stand there.
    """
    if cells(text) <= room:
        return text
    if room < 1:
        return ""
    front, back = "", ""
    while True:
        rest = text[len(front) : len(text) - len(back)]
        from_back = cells(back) < cells(front)
        longer = (front, rest[-1] + back) if from_back else (front + rest[0], back)
        if sum(map(cells, longer)) > room - 1:
            return f"{front}…{back}"
        front, back = longer


def pad(text: str, room: int, *, right: bool = False) -> str:
    """``text`` filled up with spaces to ``room`` columns, at its left where ``right``."""
    space = " " * (room - cells(text))
    return space + text if right else text + space


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines: the first column at the left, the others at the right."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            pad(cell, width, right=column > 0)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
