"""The chart of how much pairs of bands need each other, as SVG."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.svg import LEFT, RIGHT
from pytest_iaside.report.numbers import finite, signed
from pytest_iaside.report.record import QuantityRecord

TOP = 16.0


def interaction_chart(ident: str, bands: int, pairs: Sequence[QuantityRecord]) -> Markup:
    """A square for every pair: below the diagonal the candidate's interaction, above its change.

    Areas are as the numbers; filled squares are above 0, hollow ones below. Pairs that moved are
    shaded. ``pairs`` in the order (0, 1), (0, 2), …
    """
    step = (RIGHT - LEFT) / bands
    values = {each["index"]: finite(each["candidate"]) for each in pairs}
    changes = {each["index"]: finite(each["change"]) for each in pairs}
    known = [abs(x) for some in (values, changes) for x in some.values() if x is not None]
    most = max(known, default=0.0) or 1.0
    parts = [svg.line(LEFT, TOP, RIGHT, TOP + step * bands, "zero")]
    for band in range(bands):
        middle = step * (band + 0.5)
        parts.append(svg.text(LEFT + middle, TOP - 4, str(band)))
        parts.append(svg.text(LEFT - 8, TOP + middle + 4, str(band), "", "end"))
    numbered = ((i, j) for i in range(bands) for j in range(i + 1, bands))
    for each, (low, high) in zip(pairs, numbered, strict=True):
        left, top = LEFT + step * high, TOP + step * low
        if each["moved"]:
            parts.append(svg.box(left, top, step, step, "moved"))
        parts += _square(left, top, step, changes[each["index"]], most)
        parts += _square(LEFT + step * low, TOP + step * high, step, values[each["index"]], most)
    bottom = TOP + step * bands
    for x, told in ((LEFT, "below: the candidate"), (RIGHT, "above: its change")):
        parts.append(svg.text(x, bottom + 16, told, "note", "start" if x == LEFT else "end"))
    parts.append(svg.text(2, TOP - 4, "band", "note", "start"))
    told = "; ".join(
        f"{each['name']} {signed(each['candidate'])}, change {signed(each['change'])}"
        for each in pairs
    )
    return svg.document(ident, "Interactions of bands, in nats", told, bottom + 24, parts)


def _square(left: float, top: float, step: float, value: float | None, most: float) -> list[str]:
    """A square in the middle of a cell, as large as ``value`` is beside ``most``."""
    side = 0 if value is None else 0.86 * step * math.sqrt(abs(value) / most)
    if value is None or side < 1:
        return []
    at = (step - side) / 2
    return [svg.box(left + at, top + at, side, side, "candidate" if value > 0 else "replaces")]
