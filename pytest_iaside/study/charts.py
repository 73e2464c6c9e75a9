"""Charts of many models: as points, and their correlations as intervals or as a grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain

from markupsafe import Markup

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.groups import CHARACTER, legend, mark, tone
from pytest_iaside.report.charts.svg import LEFT, RIGHT, TOP, WIDTH, Scale
from pytest_iaside.report.numbers import fixed, printable

Bounds = tuple[float | None, float | None]
PLOT = 210.0  # height of the plane of a scatter chart
ROW = 17.0


@dataclass(frozen=True)
class Dot:
    """One model: its place, with intervals where they are known, and the number of its group."""

    name: str
    x: float
    y: float
    group: int = 0
    across: Bounds = (None, None)
    upright: Bounds = (None, None)


def scatter_chart(
    ident: str, dots: Sequence[Dot], *, across: str, upright: str, groups: Sequence[str], title: str
) -> Markup:
    """``dots`` over two named axes; pointing at one shows its name."""
    bottom = TOP + PLOT
    xs, ys = [dot.x for dot in dots], [dot.y for dot in dots]
    x = Scale(*svg.domain(xs, chain(*(dot.across for dot in dots)), zero=False), LEFT, RIGHT)
    y = Scale(*svg.domain(ys, chain(*(dot.upright for dot in dots)), zero=False), bottom, TOP)
    parts = svg.value_axis(y, upright, name_at=TOP - 10)
    parts += svg.horizontal_axis(x, bottom, name=across)
    for dot in dots:
        parts.append(f'<g style="{tone(dot.group)};stroke:var(--tone);opacity:.45">')
        parts.append(svg.whisker(x, y(dot.y), *dot.across, along="x"))
        parts.append(svg.whisker(y, x(dot.x), *dot.upright, along="y"))
        parts.append("</g>")
    parts += [mark(x(dot.x), y(dot.y), dot.group, dot.name) for dot in dots]
    key, height = legend(groups, bottom + 46)
    described = (
        f"{len(dots)} models; {upright} from {fixed(min(ys))} to {fixed(max(ys))} against "
        f"{across} from {fixed(min(xs))} to {fixed(max(xs))}. The numbers are in the table."
    )
    return svg.document(ident, title, described, height, parts + key)


def plane_chart(ident: str, dots: Sequence[Dot], *, groups: Sequence[str], title: str) -> Markup:
    """``dots`` in a plane whose axes mean nothing: only what is near what counts."""
    bottom = TOP + PLOT
    places = [dot.x for dot in dots], [dot.y for dot in dots]
    wide = max(max(values) - min(values) for values in places)
    unit = (PLOT - 16) / wide if wide > 0 else 1.0
    x, y = ((min(values) + max(values)) / 2 for values in places)
    sides = [(LEFT, TOP, RIGHT - LEFT, 0.0), (LEFT, bottom, RIGHT - LEFT, 0.0)]
    sides += [(LEFT, TOP, 0.0, PLOT), (RIGHT, TOP, 0.0, PLOT)]
    parts = [svg.strokes(sides, "grid")]
    for dot in dots:
        across = (LEFT + RIGHT) / 2 + (dot.x - x) * unit
        up = (TOP + bottom) / 2 - (dot.y - y) * unit
        parts.append(mark(across, up, dot.group, dot.name))
    key, height = legend(groups, bottom + 18)
    described = f"{len(dots)} models of {len(groups)} groups. Their places are in the table."
    return svg.document(ident, title, described, height, parts + key)


def convergence_curves(ident: str, curves: Mapping[str, Sequence[tuple[int, float]]]) -> Markup:
    """Steps of the running mean of ψ of each model, by the number of images; thin lines."""
    bottom = TOP + 130
    values = [value for curve in curves.values() for _, value in curve]
    most = max((at for curve in curves.values() for at, _ in curve), default=1)
    up, across = Scale(*svg.domain(values), bottom, TOP), Scale(0, most, LEFT, RIGHT)
    parts = svg.value_axis(up, "step in nats", name_at=TOP - 10)
    parts += svg.horizontal_axis(across, bottom, name="images")
    for name, curve in curves.items():
        points = [(across(at), up(value)) for at, value in curve]
        line = svg.polyline(points, "path")
        named = f"<title>{escape(printable(name))}</title>"
        parts.append(f'<g style="{tone(0)};stroke:var(--tone);opacity:.45">{named}{line}</g>')
    ends = [curve[-1][1] for curve in curves.values() if curve]
    told = f"{len(curves)} models; the last steps from {fixed(min(ends, default=None))} to "
    told += f"{fixed(max(ends, default=None))} nats. The numbers are in the table."
    return svg.document(ident, "Convergence of ψ", told, bottom + 36, parts)


def interval_chart(
    ident: str, bars: Mapping[str, Sequence[float | None]], *, name: str, title: str
) -> Markup:
    """Correlations with the two ends of their intervals, a row each, on the scale from −1 to 1."""
    across = Scale(-1, 1, max(map(len, bars), default=0) * CHARACTER + 12, WIDTH - 44)
    top, bottom = 8.0, 8.0 + ROW * len(bars)
    parts = svg.horizontal_axis(across, bottom, 5, name)
    parts.append(svg.line(across(0), top, across(0), bottom, "zero"))
    for number, (bar, (value, low, high)) in enumerate(bars.items()):
        y = top + ROW * (number + 0.5)
        parts.append(svg.text(across.start - 8, y + 3.5, bar, "", "end"))
        parts.append(svg.whisker(across, y, low, high, "candidate", along="x"))
        if value is not None:
            parts.append(svg.diamond(across(value), y, "mark candidate"))
        parts.append(svg.text(WIDTH - 4, y + 3.5, fixed(value, 2), "value", "end"))
        parts.append(svg.hit(0, WIDTH, y - ROW / 2, y + ROW / 2, number))
    described = "; ".join(
        f"{bar} {fixed(value, 2)}, interval {fixed(low, 2)} to {fixed(high, 2)}"
        for bar, (value, low, high) in bars.items()
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
    top = max(map(len, columns)) * CHARACTER + 8
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
                parts.append(f'<g style="{style}" fill-opacity="{0.6 * abs(value):.2f}">')
                parts.append(svg.box(x, y, wide - 1, high - 1, "cell") + "</g>")
            shown = fixed(value, 1 if wide < 26 else 2).replace("0.", ".", 1)
            parts.append(svg.text(x + wide / 2, y + high / 2 + 3.5, shown))
        parts.append(svg.hit(0, WIDTH, y, y + high, row))
    described = f"{len(rows)} quantities by {len(columns)} perturbations; numbers in the table."
    return svg.document(ident, title, described, top + high * len(rows) + 4, parts)
