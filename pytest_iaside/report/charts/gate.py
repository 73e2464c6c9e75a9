"""The charts of a gate: four of spectral profiles, and one of any quantities, as SVG.

Colours are the page's CSS variables. Everywhere the baseline is a pale bar or a circle, the
candidate a solid bar or a diamond: shape tells them apart as well as colour. Values that do not
exist (None) are not drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.svg import LEFT, RIGHT, WIDTH, Scale, horizontal_axis, value_axis
from pytest_iaside.report.figures import interval_text
from pytest_iaside.report.numbers import finite_list, fixed, signed
from pytest_iaside.report.record import QuantityRecord

Values = Sequence[float | None]
TOP = 20.0
AXIS = 50.0  # height of the bands and their frequencies under a chart
LEAST_NATS = 0.01  # what a chart of nats spans at least: ten times what rounding moves
ROW = 30.0  # of the chart of changes: the name of a quantity, and its interval below it
EDGE = 16.0  # what that chart leaves at its sides
MARKER = {"baseline": svg.circle, "candidate": svg.diamond}


@dataclass(frozen=True)
class Series:
    """One value per place with its interval; ``role`` is "baseline" or "candidate"."""

    role: str
    values: Values
    low: Values = ()
    high: Values = ()

    def interval(self, place: int) -> tuple[float | None, float | None]:
        return (self.low[place], self.high[place]) if self.low and self.high else (None, None)

    def whisker(self, up: Scale, x: float, place: int) -> str:
        return svg.whisker(up, x, *self.interval(place), self.role, along="y")


def score_chart(
    ident: str,
    points: Mapping[str, tuple[float | None, float | None, float | None]],
    thresholds: Mapping[str, float],
    attainable: tuple[float, float],
    *,
    most: float | None = None,
) -> Markup:
    """Signed SRC of each row (value, low, high) on the range that a SID can attain.

    Scores under any of ``thresholds``, and those over ``most``, are shaded as not allowed.
    """
    across = Scale(*attainable, 74, WIDTH - 54)
    top, step = 14.0 + 13 * len(thresholds), 24.0
    bottom = top + step * len(points)
    parts: list[str] = []
    least = max(thresholds.values(), default=None)
    for near, far in ((attainable[0], least), (most, attainable[1])):
        if near is not None and far is not None:
            left, right = across(across.clip(near)), across(across.clip(far))
            parts.append(svg.box(left, top, right - left, bottom - top, "beyond"))
    parts += horizontal_axis(across, bottom)
    parts.append(svg.line(across(0), top, across(0), bottom, "zero"))
    labels: list[str] = []
    for number, (name, limit) in enumerate(thresholds.items()):
        place, height = across(across.clip(limit)), 10.0 + 13 * number
        anchor = "start" if place < (across.start + across.end) / 2 else "end"
        parts.append(svg.line(place, height + 3, place, bottom, "limit"))
        labels.append(svg.text(place, height, f"{name} {fixed(limit)}", "note", anchor))
    parts += labels  # over every line, so that none crosses a label
    for number, (name, (value, low, high)) in enumerate(points.items()):
        y = top + step * (number + 0.5)
        role = "baseline" if name == "baseline" else "candidate"
        parts.append(svg.text(across.start - 8, y + 4, name, "", "end"))
        parts.append(svg.whisker(across, y, low, high, role, along="x"))
        if value is not None:
            parts.append(MARKER[role](across(across.clip(value)), y, f"mark {role}"))
        parts.append(svg.text(WIDTH - 4, y + 4, fixed(value), "value", "end"))
    parts.append(svg.text(across.start, bottom + 29, "← highest band only", "note", "start"))
    parts.append(svg.text(across.end, bottom + 29, "lowest band only →", "note", "end"))
    described = "; ".join(
        f"{name} {fixed(value)}, interval {fixed(low)} to {fixed(high)}"
        for name, (value, low, high) in points.items()
    )
    limits = "".join(f"; {name} {fixed(limit)}" for name, limit in thresholds.items())
    title = f"Signed SRC from {fixed(attainable[0])} to {fixed(attainable[1])}"
    return svg.document(ident, title, f"{described}{limits}.", bottom + 36, parts)


def sid_chart(
    ident: str,
    edges: Sequence[float],
    series: Sequence[Series],
    *,
    title: str = "SID by band",
    axis: str = "share of importance",
) -> Markup:
    """Spectral importance distribution, or other shares: one bar for each band and series."""
    bottom = 150.0
    up = _vertical(series, bottom)
    across = Scale(edges[0], edges[-1], LEFT, RIGHT)
    parts = value_axis(up, axis)
    for place, (left, right) in enumerate(pairwise(edges)):
        slot = (across(right) - across(left)) * 0.8 / len(series)
        start = across(left) + (across(right) - across(left)) * 0.1
        for number, one in enumerate(series):
            value, x = one.values[place], start + slot * number
            if value is not None:
                parts.append(svg.box(x, up(value), slot - 0.6, up(0) - up(value), one.role))
            parts.append(one.whisker(up, x + slot / 2, place))
    parts += _band_axis(across, edges, bottom)
    without = [one.role for one in series if all(value is None for value in one.values)]
    if without:
        missing = f"{' and '.join(without)}: all ψ equal, no SID"
        parts.append(svg.text(RIGHT, TOP + 16, missing, "note", "end"))
    return svg.document(ident, title, _described(series, "band"), bottom + AXIS, parts)


def psi_chart(
    ident: str,
    edges: Sequence[float],
    series: Sequence[Series],
    changes: Sequence[QuantityRecord] = (),
    allowed: float | None = None,
    *,
    title: str = "Raw ψ by band, in nats",
    axis: str = "ψ in nats",
) -> Markup:
    """Raw ψ, or other nats of each band; below, on its own scale, paired changes and a limit."""
    bottom = 140.0
    up = _vertical(series, bottom, LEAST_NATS)
    across = Scale(edges[0], edges[-1], LEFT, RIGHT)
    parts: list[str] = []
    lower = bottom + 136 if changes else bottom
    moved = [band for band, change in enumerate(changes) if change["moved"]]
    for band in moved:
        left, right = across(edges[band]), across(edges[band + 1])
        parts.append(svg.box(left, TOP, right - left, lower - TOP, "moved"))
    parts += value_axis(up, axis)
    for place, (left, right) in enumerate(pairwise(edges)):
        middle, apart = across((left + right) / 2), (across(right) - across(left)) * 0.2
        for number, one in enumerate(series):
            value = one.values[place]
            x = middle + apart * (2 * number - len(series) + 1)
            parts.append(one.whisker(up, x, place))
            if value is not None:
                parts.append(MARKER[one.role](x, up(value), f"mark {one.role}"))
    description = _described(series, "band")
    if changes:
        parts += _change_panel(across, edges, changes, allowed, bottom + 28, lower)
        description += f" Moved bands: {', '.join(map(str, moved)) or 'none'}."
    parts += _band_axis(across, edges, lower)
    return svg.document(ident, title, description, lower + AXIS, parts)


def size_chart(ident: str, series: Sequence[Series]) -> Markup:
    """Mean log-likelihood over the coalitions of each size."""
    bottom = 150.0
    values = [value for one in series for value in one.values]
    up = Scale(*svg.domain(values, least=LEAST_NATS, zero=False), bottom, TOP)
    sizes = len(series[0].values) - 1
    across = Scale(0, sizes, LEFT + 8, RIGHT - 8)
    parts = value_axis(up, "log-likelihood in nats", zero=False)
    parts.append(svg.line(LEFT, bottom, RIGHT, bottom, "axis"))
    for size in range(0, sizes + 1, 1 if sizes <= 16 else 2):
        parts.append(svg.text(across(size), bottom + 14, str(size)))
    parts.append(svg.text((LEFT + RIGHT) / 2, bottom + 29, "bands in the coalition", "note"))
    for one in series:
        points = [
            (across(size), up(value)) for size, value in enumerate(one.values) if value is not None
        ]
        parts.append(svg.polyline(points, f"path {one.role}"))
        parts += [MARKER[one.role](x, y, f"mark {one.role}") for x, y in points]
    middles = [across(size - 0.5) for size in range(sizes + 2)]
    for size, (left, right) in enumerate(pairwise(middles)):
        parts.append(svg.hit(max(left, LEFT), min(right, RIGHT), TOP, bottom, size))
    title, description = "Log-likelihood by coalition size", _described(series, "size", 2)
    return svg.document(ident, title, description, bottom + 36, parts)


def convergence_chart(
    ident: str, curves: Mapping[str, Sequence[tuple[int, float | None]]]
) -> Markup:
    """Steps of the running mean of each role, by the number of images."""
    bottom = 150.0
    values = [value for curve in curves.values() for _, value in curve]
    most = max((at for curve in curves.values() for at, _ in curve), default=1)
    up = Scale(*svg.domain(values, least=LEAST_NATS), bottom, TOP)
    across = Scale(0, max(most, 1), LEFT, RIGHT)
    parts = [*value_axis(up, "step in nats"), *horizontal_axis(across, bottom, name="images")]
    for role, curve in curves.items():
        points = [(across(at), up(value)) for at, value in curve if value is not None]
        parts.append(svg.polyline(points, f"path {role}"))
    told = "; ".join(
        f"{role}: {', '.join(f'{at} images {fixed(value, 4)}' for at, value in curve[-3:])}"
        for role, curve in curves.items()
    )
    return svg.document(ident, "Convergence of ψ", told, bottom + 36, parts)


def changes_chart(
    ident: str, quantities: Sequence[QuantityRecord], allowed: float | None, *, either: bool = False
) -> Markup:
    """The change of each quantity on one scale; ``allowed`` is the furthest allowed change.

    With ``either`` it is so both ways.
    """
    bottom = 24 + ROW * len(quantities)
    changes, extent = _changes(quantities, allowed, 1e-3)
    across = Scale(*extent, EDGE, WIDTH - EDGE)
    parts = horizontal_axis(across, bottom)
    if across.covers(0):
        parts.append(svg.line(across(0), 18, across(0), bottom, "zero"))
    ends = [] if allowed is None else [allowed, -allowed] if either else [allowed]
    shown = [end for end in ends if across.covers(end)]
    parts += [svg.line(across(end), 18, across(end), bottom, "limit") for end in shown]
    if shown and allowed is not None:
        told = f"±{fixed(abs(allowed))}" if either else signed(allowed)
        x = across(shown[0])
        parts.append(
            svg.text(x, 13, f"allowed {told}", "note", "end" if x > WIDTH / 2 else "start")
        )
    texts = []
    for number, (quantity, (change, low, high)) in enumerate(zip(quantities, changes, strict=True)):
        name, y = quantity["name"], 32 + ROW * number
        moved = f"{name} · moved" if quantity["moved"] else name
        parts.append(svg.text(EDGE, y, moved, "value", "start"))
        parts.append(svg.whisker(across, y + 10, low, high, "candidate", along="x"))
        if change is not None:
            parts.append(svg.diamond(across(change), y + 10, "mark candidate"))
        texts.append(f"{name} {signed(change)} ({interval_text(low, high, signed)})")
    return svg.document(ident, "Paired changes", "; ".join(texts), bottom + 24, parts)


def _change_panel(
    across: Scale,
    edges: Sequence[float],
    bands: Sequence[QuantityRecord],
    allowed: float | None,
    top: float,
    bottom: float,
) -> list[str]:
    changes, extent = _changes(bands, allowed, LEAST_NATS)
    # The room above is for the marks of moved bands: one line, to be read at a glance.
    up = Scale(*extent, bottom - 4, top + 24)
    parts = value_axis(up, "paired change in nats", 4, name_at=top - 6)
    if allowed is not None and up.covers(allowed):
        parts.append(svg.line(LEFT, up(allowed), RIGHT, up(allowed), "limit"))
    labelled: list[float] = []
    for band in sorted(range(len(bands)), key=lambda band: -abs(changes[band][0] or 0.0)):
        value, low, high = changes[band]
        if value is None:
            continue
        x = across((edges[band] + edges[band + 1]) / 2)
        parts.append(svg.whisker(up, x, low, high, "candidate", along="y"))
        parts.append(svg.diamond(x, up(value), "mark candidate"))
        if not bands[band]["moved"]:
            continue
        fallen = value < 0
        parts.append(svg.triangle(x, top + 2, "fallen" if fallen else "risen", down=fallen))
        # Labels of narrow bands would overlap; the largest changes keep theirs.
        if all(abs(x - other) > 36 for other in labelled):
            labelled.append(x)
            parts.append(svg.text(x, top + 18, signed(value, 2), "value"))
    return parts


def _changes(
    quantities: Sequence[QuantityRecord], allowed: float | None, least: float
) -> tuple[list[list[float | None]], tuple[float, float]]:
    """Change, low and high of each, and the range of all of them."""
    found = [finite_list([each["change"], each["low"], each["high"]]) for each in quantities]
    bounds = [bound for _, *both in found for bound in both]
    return found, svg.domain([change for change, _, _ in found], [*bounds, allowed], least)


def _vertical(series: Sequence[Series], bottom: float, least: float = 0.0) -> Scale:
    values = [value for one in series for value in one.values]
    bounds = [bound for one in series for bound in (*one.low, *one.high)]
    return Scale(*svg.domain(values, bounds, least), bottom, TOP)


def _band_axis(across: Scale, edges: Sequence[float], y: float) -> list[str]:
    """The bands and their frequencies under a chart that ends at ``y``, for the pointer too."""
    parts = [svg.text(LEFT - 5, y + 13, "band", "note", "end")]
    skip = 1 if (across.end - across.start) / (len(edges) - 1) >= 14 else 2
    parts.append(svg.strokes([(across(edge), y, 0.0, 4.0) for edge in edges], "axis"))
    for band, (left, right) in enumerate(pairwise(map(across, edges))):
        if band % skip == 0:
            parts.append(svg.text((left + right) / 2, y + 13, str(band)))
        parts.append(svg.hit(left, right, TOP, y, band))
    return parts + horizontal_axis(across, y + 17, name="cycles/pixel")


def _described(series: Sequence[Series], place: str, digits: int = 3) -> str:
    return " ".join(
        f"{one.role}, {place} 0 to {len(one.values) - 1}: "
        f"{', '.join(fixed(value, digits) for value in one.values)}."
        for one in series
    )
