"""Figures of a training run: its SIDs as a heat map, and curves.

Each checkpoint has a column of its own, whatever lies between their steps, so that the heat map
and the curves can be read together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.heat import colours, encoded
from pytest_iaside.report.charts.svg import RIGHT, TOP, Scale
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import finite_list, fixed, share
from pytest_iaside.track.records import PointRecord, unit_of

HUNDREDTHS = partial(fixed, digits=2)
Values = Sequence[float | None]
LEFT = 62.0
ROW, MOST_HEIGHT = 24.0, 256.0  # of a band in the heat map, and of all together
PANEL, GAP = 84.0, 30.0  # height of a curve, and what lies between two
SCALE_BAR = 8.0
LABEL_WIDTH = 6.0  # of a character
FEW = 40  # checkpoints up to which each has a mark in a curve


@dataclass(frozen=True)
class Curve:
    """One quantity of every checkpoint with its interval; None where it is not known.

    ``form`` writes a number. The axis spans ``least`` at least. ``hollow`` marks checkpoints whose
    value says little; ``line`` is drawn through the last ones, dashed.
    """

    name: str
    values: Values
    low: Values = ()
    high: Values = ()
    form: Callable[[Any], str] = fixed
    least: float = 0.0
    hollow: Sequence[bool] = ()
    line: Sequence[float] = ()


def sid_figure(
    ident: str, title: str, points: Sequence[PointRecord], bands: Sequence[str] = ()
) -> Figure:
    """The SIDs of checkpoints as a heat map, and in numbers; ``bands`` are their frequencies."""
    steps, unit = [point["step"] for point in points], unit_of([each["name"] for each in points])
    shares = np.array([point["sid"] for point in points], dtype=np.float64)
    names = [f"band {band}" for band in range(shares.shape[1])]
    if bands:
        names = [f"{name} ({label})" for name, label in zip(names, bands, strict=True)]
    rows = [
        [str(step), *(fixed(value) for value in one)]
        for step, one in zip(steps, shares, strict=True)
    ]
    return Figure(
        title,
        "The share of importance (SID) of each frequency band, a column for each checkpoint, low "
        "frequencies at the bottom. The more of it lies there, the higher the score.",
        Table((unit, *names), rows),
        sid_heat_map(ident, shares, steps, bands or names, unit),
    )


def scores_figure(
    ident: str,
    title: str,
    about: str,
    points: Sequence[PointRecord],
    curves: Sequence[Curve],
    *,
    interval: str = "CI",
    more: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Quantities of checkpoints as curves, and in numbers; ``more`` are columns of the table."""
    steps, unit = [point["step"] for point in points], unit_of([each["name"] for each in points])
    columns: list[tuple[str, Iterable[str]]] = [(unit, map(str, steps))]
    for curve in curves:
        columns.append((curve.name, map(curve.form, curve.values)))
        if curve.low:
            bounds = zip(curve.low, curve.high, strict=True)
            columns.append((interval, [interval_text(*each, curve.form) for each in bounds]))
    head, texts = zip(*columns, *(more or {}).items(), strict=True)
    table = Table(head, zip(*texts, strict=True))
    known = [curve for curve in curves if any(value is not None for value in curve.values)]
    return Figure(title, about, table, curves_chart(ident, known, steps, unit))


def curves_of(
    points: Sequence[PointRecord],
    *,
    value_low: Values = (),
    value_high: Values = (),
    hollow: Sequence[bool] = (),
    line: Sequence[float] = (),
) -> list[Curve]:
    """Signed SRC, v(all), accuracy and loss of checkpoints, in this order."""
    # The axes span so much at least, lest rounding errors fill them.
    return [
        Curve(
            "signed SRC",
            finite_list([point["signed_src"] for point in points]),
            finite_list([point["low"] for point in points]),
            finite_list([point["high"] for point in points]),
            least=0.02,
            hollow=hollow,
            line=line,
        ),
        Curve(
            "v(all), nats",
            [point["value"] for point in points],
            value_low,
            value_high,
            form=HUNDREDTHS,
            least=0.1,
        ),
        Curve("accuracy", [point["accuracy"] for point in points], form=share, least=0.02),
        Curve("loss", [point["loss"] for point in points]),
    ]


def sid_heat_map(
    ident: str,
    shares: NDArray[np.float64],
    steps: Sequence[int],
    bands: Sequence[str],
    counted: str = "step",
) -> Markup:
    """SIDs (N, M) of N checkpoints at ``steps``: a column each, the lowest band at the bottom.

    ``counted`` is what steps count.

    A checkpoint without a SID (NaN) leaves its column empty.
    """
    count, rows = shares.shape
    height = min(rows * ROW, MOST_HEIGHT)
    bottom = TOP + height
    known = shares[np.isfinite(shares)]
    most = float(known.max()) if known.size else 1.0
    unit = "cycles/pixel" if bands[0].endswith("cycles/px") else ""
    parts = [svg.text(2, TOP - 9, unit, "note", "start")]
    parts.append(_coloured((shares / most).T[::-1], TOP, height))
    skip = int(np.ceil(11 / (height / rows)))
    for band in range(0, rows, skip):
        y = bottom - (band + 0.5) * height / rows
        name = bands[band].removesuffix(" cycles/px")
        parts.append(svg.text(LEFT - 5, y + 3.5, name, "", "end"))
    parts += _columns(steps, bottom, counted)
    scale = bottom + 44
    parts.append(svg.text(LEFT - 5, scale + SCALE_BAR, "SID", "note", "end"))
    parts.append(_coloured(np.linspace(0, 1, 64)[None], scale, SCALE_BAR))
    parts += svg.horizontal_axis(Scale(0.0, most, LEFT, RIGHT), scale + SCALE_BAR)
    last = ", ".join(fixed(share, 2) for share in shares[-1])
    title = f"SID of {rows} bands over {count} checkpoints"
    described = f"Steps {steps[0]} to {steps[-1]}. Of the last, band 0 to {rows - 1}: {last}."
    return svg.document(ident, title, described, scale + SCALE_BAR + 20, parts)


def curves_chart(
    ident: str, curves: Sequence[Curve], steps: Sequence[int], unit: str = "step"
) -> Markup:
    """``curves`` one below the other, each on a scale of its own."""
    parts: list[str] = []
    for number, curve in enumerate(curves):
        parts += _panel(curve, TOP + number * (PANEL + GAP))
    bottom = TOP + len(curves) * (PANEL + GAP) - GAP
    parts += _columns(steps, bottom, unit)
    described = " ".join(
        f"{curve.name}: {curve.form(curve.values[0])} at {unit} {steps[0]}, "
        f"{curve.form(curve.values[-1])} at {unit} {steps[-1]}."
        for curve in curves
    )
    title = f"{', '.join(curve.name for curve in curves)} over {len(steps)} checkpoints"
    return svg.document(ident, title, described, bottom + 36, parts)


def _panel(curve: Curve, top: float) -> list[str]:
    bottom = top + PANEL
    bounds = (*curve.low, *curve.high)
    up = Scale(*svg.domain(curve.values, bounds, curve.least, zero=False), bottom, top)
    count = len(curve.values)
    parts = svg.value_axis(up, curve.name, 4, left=LEFT)
    for missing, stretch in groupby(range(count), lambda place: curve.values[place] is None):
        if missing:
            continue
        places = list(stretch)
        if curve.low and curve.high:
            parts.append(_ribbon(curve, places, up))
        points = [(_middle(place, count), up(curve.values[place] or 0.0)) for place in places]
        parts.append(svg.polyline(points, "path candidate"))
        for place, (x, y) in zip(places, points, strict=True):
            if curve.hollow and curve.hollow[place]:
                parts.append(svg.circle(x, y, "mark baseline"))
            elif count <= FEW or len(places) == 1:
                parts.append(svg.diamond(x, y, "mark candidate"))
    if curve.line:
        first = count - len(curve.line)
        line = [
            (_middle(first + i, count), up(up.clip(value))) for i, value in enumerate(curve.line)
        ]
        parts.append(svg.polyline(line, "path baseline"))
    return parts


def _ribbon(curve: Curve, places: Sequence[int], up: Scale) -> str:
    # An infinite bound is none: the ribbon then fills the panel.
    ends = [(place, curve.low[place], up.low) for place in places]
    ends += [(place, curve.high[place], up.high) for place in reversed(places)]
    outline = " ".join(
        f"{svg.at(_middle(place, len(curve.values)))},"
        f"{svg.at(up(up.clip(missing if bound is None else bound)))}"
        for place, bound, missing in ends
    )
    return (
        f'<polygon points="{outline}" class="ribbon" fill="var(--candidate)" fill-opacity=".17"/>'
    )


def _middle(place: int, count: int) -> float:
    return LEFT + (place + 0.5) * (RIGHT - LEFT) / count


def _columns(steps: Sequence[int], bottom: float, unit: str) -> list[str]:
    """The steps under a chart, as many as there is room for, and where the pointer finds them."""
    count = len(steps)
    widest = max(len(str(step)) for step in steps) * LABEL_WIDTH + 6
    least = widest * count / (RIGHT - LEFT)
    # 7 of 60 columns are no step that people count in.
    nice = (factor * 10**power for power in range(9) for factor in (1, 2, 5))
    shown = range(0, count, next(skip for skip in nice if skip >= least))
    ticks = [(_middle(place, count), bottom, 0.0, 3.0) for place in shown]
    wide = (RIGHT - LEFT) / count
    return [
        svg.line(LEFT, bottom, RIGHT, bottom, "axis"),
        svg.text(RIGHT, bottom + 29, unit, "note", "end"),
        svg.strokes(ticks, "axis"),
        *(svg.text(_middle(place, count), bottom + 15, str(steps[place])) for place in shown),
        *(svg.hit(LEFT + i * wide, LEFT + (i + 1) * wide, TOP, bottom, i) for i in range(count)),
    ]


def _coloured(values: NDArray[np.float64], y: float, height: float) -> str:
    """A map of (rows, columns) between 0 and 1 over the whole width; NaN is transparent."""
    opaque = np.where(np.isnan(values), 0, 255).astype(np.uint8)
    # A PNG of a pixel for each cell: a rectangle for each would be a hundred times as large.
    content = encoded(np.dstack([colours(np.nan_to_num(values)), opaque]))
    return (
        f'<image href="data:image/png;base64,{content}" '
        f'x="{svg.at(LEFT)}" y="{svg.at(y)}" '
        f'width="{svg.at(RIGHT - LEFT)}" height="{svg.at(height)}" preserveAspectRatio="none" '
        'style="image-rendering:pixelated"/>'
    )
