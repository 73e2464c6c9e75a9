"""The gates that most tests of the report show."""

from __future__ import annotations

from gate_records import edge_cases, green, new, record_of, red, refused

__all__ = ["edge_cases", "green", "new", "record_of", "red", "refused"]
