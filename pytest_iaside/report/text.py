"""Text in terminal columns: how wide it is, how to shorten it."""

from __future__ import annotations

import unicodedata


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
    head, tail = "", ""
    front, back = 0, len(text) - 1
    while True:
        from_back = cells(tail) < cells(head)
        character = text[back] if from_back else text[front]
        if cells(head) + cells(tail) + _width(character) > room - 1:
            return f"{head}…{tail}"
        if from_back:
            tail, back = character + tail, back - 1
        else:
            head, front = head + character, front + 1


def pad(text: str, room: int, *, right: bool = False) -> str:
    """``text`` filled up with spaces to ``room`` columns, at its left where ``right``."""
    space = " " * (room - cells(text))
    return space + text if right else text + space


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
