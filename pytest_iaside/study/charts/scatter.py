"""Models as points: over two quantities with their errors, or in a plane without axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.groups import legend, mark, tone
from pytest_iaside.report.charts.svg import LEFT, RIGHT, TOP, Scale
from pytest_iaside.report.numbers import fixed

Bounds = tuple[float | None, float | None]
PLOT = 210.0  # height of the plane of a scatter chart
NOWHERE: Bounds = (None, None)


@dataclass(frozen=True)
class Dot:
    """One model: its place, with intervals where they are known, and the number of its group."""

    name: str
    x: float
    y: float
    group: int = 0
    across: Bounds = NOWHERE
    upright: Bounds = NOWHERE


def scatter_chart(
    ident: str,
    dots: Sequence[Dot],
    *,
    across: str,
    upright: str,
    groups: Sequence[str],
    title: str,
) -> Markup:
    """``dots`` over two named axes; pointing at one shows its name."""
    bottom = TOP + PLOT
    x = Scale(*_extent([dot.x for dot in dots], [dot.across for dot in dots]), LEFT, RIGHT)
    y = Scale(*_extent([dot.y for dot in dots], [dot.upright for dot in dots]), bottom, TOP)
    parts = [
        *svg.value_axis(y, upright, name_at=TOP - 10),
        *svg.horizontal_axis(x, bottom, name=across),
    ]
    for dot in dots:
        parts.append(f'<g style="{tone(dot.group)};stroke:var(--tone);opacity:.45">')
        parts.append(svg.whisker(x, y(dot.y), *dot.across, along="x"))
        parts.append(svg.whisker(y, x(dot.x), *dot.upright, along="y"))
        parts.append("</g>")
    parts += [mark(x(dot.x), y(dot.y), dot.group, dot.name) for dot in dots]
    key, height = legend(groups, bottom + 46)
    parts += key
    described = f"{len(dots)} models; {upright} from {_range([dot.y for dot in dots])} against "
    described += f"{across} from {_range([dot.x for dot in dots])}. The numbers are in the table."
    return svg.document(ident, title, described, height, parts)


def plane_chart(ident: str, dots: Sequence[Dot], *, groups: Sequence[str], title: str) -> Markup:
    """``dots`` in a plane whose axes mean nothing: only what is near what counts."""
    bottom = TOP + PLOT
    places = [dot.x for dot in dots], [dot.y for dot in dots]
    wide = max(max(values) - min(values) for values in places)
    unit = (PLOT - 16) / wide if wide > 0 else 1.0
    middle = [(min(values) + max(values)) / 2 for values in places]
    sides = [(LEFT, TOP, RIGHT - LEFT, 0.0), (LEFT, bottom, RIGHT - LEFT, 0.0)]
    sides += [(LEFT, TOP, 0.0, PLOT), (RIGHT, TOP, 0.0, PLOT)]
    parts = [svg.strokes(sides, "grid")]
    for dot in dots:
        place = (
            (LEFT + RIGHT) / 2 + (dot.x - middle[0]) * unit,
            (TOP + bottom) / 2 - (dot.y - middle[1]) * unit,
        )
        parts.append(mark(*place, dot.group, dot.name))
    key, height = legend(groups, bottom + 18)
    described = f"{len(dots)} models of {len(groups)} groups. Their places are in the table."
    return svg.document(ident, title, described, height, parts + key)


def _extent(values: Sequence[float], bounds: Sequence[Bounds]) -> tuple[float, float]:
    """What an axis spans: all values, and of their intervals what is not far off."""
    low, high = min(values), max(values)
    both = (bound for pair in bounds for bound in pair)
    low, high = svg.extended(low, high, both, 0.5 * (high - low))
    room = 0.05 * (high - low) or max(0.05 * abs(high), 0.05)
    return low - room, high + room


def _range(values: Sequence[float]) -> str:
    return f"{fixed(min(values), 3)} to {fixed(max(values), 3)}"
