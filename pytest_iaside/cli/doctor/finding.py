"""Finding: one line of what the doctor looked at."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["fine", "note", "wrong"]
MARKS: dict[Kind, str] = {"fine": "✓", "note": "○", "wrong": "✗"}


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and whether it is fine; ``note`` is worth knowing."""

    what: str
    found: str
    kind: Kind = "fine"

    @property
    def line(self) -> str:
        return f"  {MARKS[self.kind]} {self.what}: {self.found}"
