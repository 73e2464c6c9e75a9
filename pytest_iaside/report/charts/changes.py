"""The chart of paired changes: a row for each quantity, with its interval and its limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.svg import Scale
from pytest_iaside.report.numbers import signed

ROW = 30.0  # the name of a quantity, and its interval below it
LEFT, RIGHT = 12.0, 348.0


@dataclass(frozen=True)
class Row:
    """The change of one quantity; ``told`` is it in words."""

    name: str
    told: str
    change: float | None
    low: float | None
    high: float | None


def changes_chart(ident: str, rows: Sequence[Row], allowed: float | None) -> Markup:
    """``rows`` on one scale; ``allowed`` is the furthest allowed change."""
    bottom = 24 + ROW * len(rows)
    bounds = [bound for row in rows for bound in (row.low, row.high)]
    changes = [row.change for row in rows]
    across = Scale(*svg.domain(changes, [*bounds, allowed], 1e-3), LEFT, RIGHT)
    parts = svg.horizontal_axis(across, bottom)
    if across.covers(0):
        parts.append(svg.line(across(0), 18, across(0), bottom, "zero"))
    if allowed is not None and across.covers(allowed):
        parts.append(svg.line(across(allowed), 18, across(allowed), bottom, "limit"))
        end = "end" if across(allowed) > (LEFT + RIGHT) / 2 else "start"
        parts.append(svg.text(across(allowed), 13, f"allowed {signed(allowed)}", "note", end))
    for number, row in enumerate(rows):
        y = 32 + ROW * number
        parts.append(svg.text(LEFT, y, row.name, "value", "start"))
        parts.append(svg.whisker(across, y + 10, row.low, row.high, "candidate", along="x"))
        if row.change is not None:
            parts.append(svg.diamond(across(row.change), y + 10, "mark candidate"))
    told = "; ".join(row.told for row in rows)
    return svg.document(ident, "Paired changes", told, bottom + 24, parts)
