"""SIDs of several models, or groups of them, as curves over frequency."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.groups import legend, shape, styles
from pytest_iaside.report.charts.svg import LEFT, RIGHT, TOP, Scale
from pytest_iaside.report.numbers import fixed, printable


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
    for number, (line, style) in enumerate(
        zip(lines, styles(len(lines), ordered=ordered), strict=True)
    ):
        points = [(x, up(value)) for x, value in zip(middles, line.values, strict=True)]
        parts.append(f'<g style="{style}">')
        parts.append(f'<g style="stroke:var(--tone)">{svg.polyline(points, "path")}</g>')
        parts += [shape(x, y, number, line.name) for x, y in points]
        parts.append("</g>")
    key, height = legend([line.name for line in lines], bottom + 46, ordered=ordered)
    described = " ".join(
        f"{printable(line.name)}: {', '.join(fixed(value, 2) for value in line.values)}."
        for line in lines
    )
    return svg.document(ident, title, described, height, parts + key)
