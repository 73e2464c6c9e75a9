"""Groups of models told apart by shape and colour: marks, a legend, and curves over frequency."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from markupsafe import Markup

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.svg import LEFT, RIGHT, TOP, WIDTH, Scale
from pytest_iaside.report.numbers import fixed, printable

LINE = 13.0
CHARACTER = 6.1  # width of one in a legend, in the widest of usual fonts
# On light pages and on dark ones: Okabe and Ito's colours, darkened or lightened until they stand
# out from either. After eight groups they come again with other shapes.
COLOURS = (
    ("#0072b2", "#56b4e9"),
    ("#b34700", "#f5a55a"),
    ("#00745a", "#4fc9a4"),
    ("#9c3f78", "#e39ac4"),
    ("#7a6200", "#e6d352"),
    ("#5b4bb0", "#a99bf2"),
    ("#a32626", "#ff8f80"),
    ("#4a4f57", "#b9c0ca"),
)
# Paths around (0, 0), of about the same area.
SHAPES = (
    "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0-7.2 0z",
    "M-3.2-3.2h6.4v6.4h-6.4z",
    "M0-4.6L4.2 3.2H-4.2z",
    "M0-4.8L4.8 0L0 4.8L-4.8 0z",
    "M0 4.6L4.2-3.2H-4.2z",
    "M-1.4-4.2h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8v-2.8h-2.8v-2.8h2.8z",
    "M-4.2-2.2L-2.2-4.2L0-2L2.2-4.2L4.2-2.2L2 0L4.2 2.2L2.2 4.2L0 2L-2.2 4.2L-4.2 2.2L-2 0z",
    "M-4.4 0L-2.2-3.8H2.2L4.4 0L2.2 3.8H-2.2z",
)


def tone(group: int) -> str:
    """A style that sets the colour --tone of a group."""
    light, dark = COLOURS[group % len(COLOURS)]
    return f"--tone:light-dark({light},{dark})"


def _styles(count: int, ordered: bool) -> list[str]:
    """A style for each of so many: colours of groups, or of one that grows stronger."""
    if not ordered:
        return [tone(number) for number in range(count)]
    return [f"{tone(0)};opacity:{0.3 + 0.7 * (n + 1) / count:.2f}" for n in range(count)]


def mark(x: float, y: float, group: int, name: str) -> str:
    """The mark of a group in its colour; pointing at it shows ``name``."""
    return f'<g style="{tone(group)}">{_shape(x, y, group, name)}</g>'


def _shape(x: float, y: float, group: int, name: str) -> str:
    """A group's mark in the colour --tone of what it stands in."""
    path = SHAPES[(group + group // len(COLOURS)) % len(SHAPES)]
    return (
        f'<path d="{path}" transform="translate({svg.at(x)} {svg.at(y)})" '
        'style="fill:var(--tone)" stroke="var(--card)" stroke-width=".8">'
        f"<title>{escape(printable(name))}</title></path>"
    )


def legend(names: Sequence[str], y: float, *, ordered: bool = False) -> tuple[list[str], float]:
    """The groups under a chart, as many to a line as fit, and where the chart ends."""
    parts: list[str] = []
    if len(names) < 2 and not any(names):
        return parts, y - 8
    x = LEFT
    for number, (name, style) in enumerate(zip(names, _styles(len(names), ordered), strict=True)):
        room = 16 + len(name) * CHARACTER + 10
        if x > LEFT and x + room > WIDTH:
            x, y = LEFT, y + LINE
        parts.append(f'<g style="{style}">{_shape(x + 5, y - 3.5, number, name)}</g>')
        parts.append(svg.text(x + 13, y, printable(name) or "others", "", "start"))
        x += room
    return parts, y + 8


@dataclass(frozen=True)
class Line:
    """One value for each band."""

    name: str
    values: Sequence[float]


def curves_by_band(
    ident: str, edges: Sequence[float], lines: Sequence[Line], *, ordered: bool, title: str
) -> Markup:
    """The share of importance of each band, a curve for each of ``lines``.

    ``ordered`` lines fade from the last to the first; others have the colours of groups.
    """
    bottom = TOP + 150
    across = Scale(edges[0], edges[-1], LEFT, RIGHT)
    up = Scale(*svg.domain([value for line in lines for value in line.values]), bottom, TOP)
    parts = svg.value_axis(up, "share of importance", name_at=TOP - 10)
    parts += svg.horizontal_axis(across, bottom, name="cycles/pixel")
    middles = [across((left + right) / 2) for left, right in pairwise(edges)]
    for number, (line, style) in enumerate(zip(lines, _styles(len(lines), ordered), strict=True)):
        points = [(x, up(value)) for x, value in zip(middles, line.values, strict=True)]
        parts.append(f'<g style="{style}">')
        parts.append(f'<g style="stroke:var(--tone)">{svg.polyline(points, "path")}</g>')
        parts += [_shape(x, y, number, line.name) for x, y in points]
        parts.append("</g>")
    key, height = legend([line.name for line in lines], bottom + 46, ordered=ordered)
    described = " ".join(
        f"{printable(line.name)}: {', '.join(fixed(value, 2) for value in line.values)}."
        for line in lines
    )
    return svg.document(ident, title, described, height, parts + key)
