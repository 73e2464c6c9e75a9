"""Charts of correlations: with their intervals, and many at once as a grid of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.groups import CHARACTER, tone
from pytest_iaside.report.charts.svg import WIDTH, Scale
from pytest_iaside.report.numbers import fixed

ROW = 17.0


@dataclass(frozen=True)
class Bar:
    """A value with its interval in a row of its own."""

    name: str
    value: float | None
    low: float | None
    high: float | None


def interval_chart(ident: str, bars: Sequence[Bar], *, name: str, title: str) -> Markup:
    """Correlations with their intervals, a row each, on the scale from −1 to 1."""
    start = max((len(bar.name) for bar in bars), default=0) * CHARACTER + 12
    across = Scale(-1, 1, start, WIDTH - 44)
    top, bottom = 8.0, 8.0 + ROW * len(bars)
    parts = svg.horizontal_axis(across, bottom, 5, name)
    parts.append(svg.line(across(0), top, across(0), bottom, "zero"))
    for number, bar in enumerate(bars):
        y = top + ROW * (number + 0.5)
        parts.append(svg.text(across.start - 8, y + 3.5, bar.name, "", "end"))
        parts.append(svg.whisker(across, y, bar.low, bar.high, "candidate", along="x"))
        if bar.value is not None:
            parts.append(svg.diamond(across(bar.value), y, "mark candidate"))
        parts.append(svg.text(WIDTH - 4, y + 3.5, fixed(bar.value, 2), "value", "end"))
        parts.append(svg.hit(0, WIDTH, y - ROW / 2, y + ROW / 2, number))
    described = "; ".join(
        f"{bar.name} {fixed(bar.value, 2)}, interval {fixed(bar.low, 2)} to {fixed(bar.high, 2)}"
        for bar in bars
    )
    return svg.document(ident, title, f"{described}.", bottom + 36, parts)


def grid_chart(
    ident: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    *,
    title: str,
) -> Markup:
    """Correlations as a grid of numbers, each cell the stronger the further it is from 0."""
    left = max(map(len, rows)) * CHARACTER + 10
    top = max(map(len, columns)) * CHARACTER * 0.95 + 8
    wide, high = (WIDTH - 2 - left) / len(columns), 16.0
    parts = []
    for number, name in enumerate(columns):
        x = left + (number + 0.5) * wide + 3
        parts.append(
            f'<text transform="translate({svg.at(x)} {svg.at(top - 5)}) rotate(-90)" '
            f'text-anchor="start">{escape(name)}</text>'
        )
    for row, (name, cells) in enumerate(zip(rows, values, strict=True)):
        y = top + row * high
        parts.append(svg.text(left - 6, y + high / 2 + 3.5, name, "", "end"))
        for column, value in enumerate(cells):
            x = left + column * wide
            if value is not None:
                style = f"{tone(1 if value > 0 else 0)};fill:var(--tone)"
                parts.append(
                    f'<rect x="{svg.at(x)}" y="{svg.at(y)}" width="{svg.at(wide - 1)}" '
                    f'height="{svg.at(high - 1)}" style="{style}" '
                    f'fill-opacity="{0.6 * abs(value):.2f}"/>'
                )
            shown = fixed(value, 1 if wide < 26 else 2)
            shown = shown.replace("0.", ".", 1)
            parts.append(svg.text(x + wide / 2, y + high / 2 + 3.5, shown))
        parts.append(svg.hit(0, WIDTH, y, y + high, row))
    described = f"{len(rows)} quantities by {len(columns)} perturbations; numbers in the table."
    return svg.document(ident, title, described, top + high * len(rows) + 4, parts)
