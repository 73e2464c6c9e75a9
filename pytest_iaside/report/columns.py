"""Text in terminal columns: how wide it is, how to shorten it."""

import unicodedata
from collections.abc import Sequence


def cells(text: str) -> int:
    """Columns that ``text`` takes on a terminal: two for wide characters, none for accents."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def shorten(text: str, room: int) -> str:
    """``text`` in at most ``room`` columns, an ellipsis in its middle where it was too wide.

    The end of a test id tells more than its middle: parameters stand there.
    """
    if cells(text) <= room:
        return text
    if room < 1:
        return ""
    front, back = 0, len(text)
    in_front, behind = 0, 0  # columns taken so far
    while True:
        from_back = behind < in_front
        width = _width(text[back - 1] if from_back else text[front])
        if in_front + behind + width > room - 1:
            return f"{text[:front]}…{text[back:]}"
        if from_back:
            back, behind = back - 1, behind + width
        else:
            front, in_front = front + 1, in_front + width


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


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
