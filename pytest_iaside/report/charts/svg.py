"""The few SVG elements that charts are made of, and the scales that place them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from markupsafe import Markup

from pytest_iaside.report.numbers import formatted

WIDTH = 360.0  # of every chart, in units of its viewBox: small, so that text is legible on a phone
LEFT, RIGHT, TOP = 48.0, WIDTH - 14.0, 22.0  # what most charts leave around what they draw
CAP = 3.0
TINY = 1e-200  # ranges below have no round numbers: a float cannot tell them apart
SPARK = (112.0, 30.0)  # width and height of a chart in a table's cell


@dataclass(frozen=True)
class Scale:
    """A linear map from data ``low``…``high`` to positions ``start``…``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def covers(self, value: float) -> bool:
        return self.low <= value <= self.high

    def clip(self, value: float) -> float:
        return min(max(value, self.low), self.high)


def domain(
    values: Iterable[float | None],
    bounds: Iterable[float | None] = (),
    least: float = 0.0,
    *,
    zero: bool = True,
) -> tuple[float, float]:
    """A range with all ``values``, 0 if ``zero``, and the ``bounds`` that are not far off them.

    An interval of two images can be a hundred times wider than what it is about: bounds beyond
    1.5 times the values' spread are left to run off the chart. A range narrower than ``least``
    is widened to it, lest rounding errors fill a chart.
    """
    known = [value for value in values if value is not None]
    if zero or not known:
        known.append(0.0)
    low, high = min(known), max(known)
    # Where all values are the same there is no spread to go by, and the bounds are all there is.
    reach, ends = 1.5 * (high - low) or math.inf, [end for end in bounds if end is not None]
    low, high = (
        min([low, *(max(end, low - reach) for end in ends)]),
        max([high, *(min(end, high + reach) for end in ends)]),
    )
    if high - low < max(least, TINY, 1e-9 * max(abs(low), abs(high))):
        middle, half = (low + high) / 2, least / 2 or max(1.0, 1e-9 * abs(low))
        low, high = middle - half, middle + half
    room = 0.06 * (high - low)
    # An axis that ends at 0 ends there.
    return (
        low - room if low < 0 or not zero else low,
        high + room if high > 0 or not zero else high,
    )


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most ``most`` round numbers from ``low`` to ``high``, evenly spaced by 1, 2 or 5·10ⁿ."""
    step = nice_step(low, high, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [min(max(number * step, low), high) for number in range(first, last + 1)]


def nice_step(low: float, high: float, most: int) -> float:
    """The least step of 1, 2 or 5·10ⁿ that leaves at most ``most`` ticks in ``low``…``high``."""
    power = math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20, 50):
        step = factor * 10.0**power
        if math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1 <= most:
            return step
    return 10.0 ** (power + 2)


def tick_text(value: float, step: float) -> str:
    """A tick's value with as many digits as its step needs."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if digits > 4 or abs(value) >= 1e5:
        return f"{value:.0e}".replace("-", "−") if value else "0"
    return formatted(value, f".{digits}f").replace("-", "−")


def at(value: float) -> str:
    """A coordinate to a tenth, without zeros that say nothing."""
    return formatted(value, ".1f").removesuffix(".0")


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line x1="{at(x1)}" y1="{at(y1)}" x2="{at(x2)}" y2="{at(y2)}" class="{css}"/>'


def strokes(segments: Iterable[tuple[float, float, float, float]], css: str) -> str:
    """Lines from (x, y) by (dx, dy), all in one path: many elements make a report large."""
    path = "".join(
        f"M{at(x)} {at(y)}"
        + (f"v{at(dy)}" if dx == 0 else f"h{at(dx)}" if dy == 0 else f"l{at(dx)} {at(dy)}")
        for x, y, dx, dy in segments
    )
    return f'<path d="{path}" class="{css}"/>'


def box(x: float, y: float, width: float, height: float, css: str) -> str:
    return (
        f'<rect x="{at(x)}" y="{at(y)}" width="{at(width)}" height="{at(height)}" class="{css}"/>'
    )


def text(x: float, y: float, content: str, css: str = "", anchor: str = "") -> str:
    """Text around x, or with its "start" or "end" there."""
    style = (f' text-anchor="{anchor}"' if anchor else "") + (f' class="{css}"' if css else "")
    return f'<text x="{at(x)}" y="{at(y)}"{style}>{escape(content)}</text>'


def circle(x: float, y: float, css: str) -> str:
    return f'<circle cx="{at(x)}" cy="{at(y)}" r="3.2" class="{css}"/>'


def diamond(x: float, y: float, css: str) -> str:
    return f'<path d="M{at(x)} {at(y - 4.4)}l4.4 4.4l-4.4 4.4l-4.4-4.4z" class="{css}"/>'


def triangle(x: float, y: float, css: str, *, down: bool) -> str:
    """An arrowhead whose middle is at (x, y)."""
    side = 1 if down else -1
    return f'<path d="M{at(x - 5)} {at(y - 4 * side)}h10l-5 {8 * side}z" class="{css}"/>'


def hit(left: float, right: float, top: float, bottom: float, row: int) -> str:
    """Where the pointer asks for ``row`` of the table under a chart."""
    return (
        f'<rect class="hit" data-row="{row}" x="{at(left)}" y="{at(top)}" '
        f'width="{at(right - left)}" height="{at(bottom - top)}"/>'
    )


def polyline(points: Sequence[tuple[float, float]], css: str) -> str:
    path = " ".join(f"{at(x)},{at(y)}" for x, y in points)
    return f'<polyline points="{path}" class="{css}"/>'


def spark(
    before: Sequence[float | None], after: Sequence[float | None], extent: tuple[float, float]
) -> Markup:
    """Two lines in a table's cell, one value for each place; their numbers stand elsewhere."""
    across = Scale(0, max(len(before) - 1, 1), 3, SPARK[0] - 3)
    low, high = min(extent[0], 0.0), max(extent[1], 0.0)
    up = Scale(low, high if high > low else low + 1, SPARK[1] - 3, 3)
    parts = [strokes([(across.start, up(0), across.end - across.start, 0.0)], "zero")]
    for role, values in (("baseline", before), ("candidate", after)):
        points = [(across(i), up(value)) for i, value in enumerate(values) if value is not None]
        parts.append(polyline(points, f"path {role}"))
    return Markup(
        f'<svg class="spark" viewBox="0 0 {at(SPARK[0])} {at(SPARK[1])}" '
        f'aria-hidden="true">{"".join(parts)}</svg>'
    )


def value_axis(
    up: Scale,
    name: str,
    most: int = 6,
    *,
    name_at: float | None = None,
    left: float = LEFT,
    zero: bool = True,
) -> list[str]:
    """An upright axis called ``name``, with lines across the chart at round numbers and at 0."""
    parts = [text(2, up.end - 8 if name_at is None else name_at, name, "note", "start")]
    ticks = _ticks(up, most)
    parts.append(strokes([(left, y, RIGHT - left, 0) for y in ticks], "grid"))
    if zero and up.covers(0):
        parts.append(line(left, up(0), RIGHT, up(0), "zero"))
    return parts + [text(left - 5, y + 3.5, told, "", "end") for y, told in ticks.items()]


def horizontal_axis(across: Scale, y: float, most: int = 6, name: str = "") -> list[str]:
    """An axis at ``y`` with round numbers below it."""
    ticks = _ticks(across, most)
    whole = (across.start, y, across.end - across.start, 0.0)
    parts = [strokes([whole, *((x, y, 0.0, 3.0) for x in ticks)], "axis")]
    parts += [text(x, y + 15, told) for x, told in ticks.items()]
    if name:
        parts.append(text(across.end, y + 29, name, "note", "end"))
    return parts


def _ticks(scale: Scale, most: int) -> dict[float, str]:
    """Round numbers on ``scale`` by their places."""
    step = nice_step(scale.low, scale.high, most)
    values = nice_ticks(scale.low, scale.high, most)
    return {scale(value): tick_text(value, step) for value in values}


def whisker(
    scale: Scale,
    cross: float,
    low: float | None,
    high: float | None,
    css: str = "",
    *,
    along: Literal["x", "y"],
) -> str:
    """An interval at ``cross`` on the other axis; an end beyond the scale is an arrowhead."""
    if low is None or high is None or high < scale.low or low > scale.high:
        return ""
    near, far = scale(scale.clip(low)), scale(scale.clip(high))
    segments = [(near, cross, far - near, 0.0)]
    outwards = CAP if scale.end > scale.start else -CAP
    for bound, place, back in ((low, near, outwards), (high, far, -outwards)):
        if scale.covers(bound):
            segments.append((place, cross - CAP, 0.0, 2 * CAP))
        else:
            segments += [(place, cross, back, side) for side in (-CAP, CAP)]
    if along == "y":
        segments = [(y, x, dy, dx) for x, y, dx, dy in segments]
    return strokes(segments, f"whisker {css}".rstrip())


def document(
    ident: str, title: str, description: str, height: float, parts: Sequence[str]
) -> Markup:
    """An SVG that says what it shows; ``ident`` is unique in the page. Text is escaped here."""
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {at(WIDTH)} '
        f'{at(height)}" text-anchor="middle" role="img" '
        f'aria-labelledby="{ident}-title {ident}-desc">'
        f'<title id="{ident}-title">{escape(title)}</title>'
        f'<desc id="{ident}-desc">{escape(description)}</desc>{"".join(parts)}</svg>'
    )
