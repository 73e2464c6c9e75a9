"""A gate on readings as the HTML report shows it: every quantity's change, family by family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from pytest_iaside.compare.comparison import confidence
from pytest_iaside.report.charts import gate as charts
from pytest_iaside.report.charts import svg
from pytest_iaside.report.charts.spectra import snr_figure, spectrum_figure
from pytest_iaside.report.charts.svg import Scale
from pytest_iaside.report.figures import Figure
from pytest_iaside.report.gates import Gate
from pytest_iaside.report.numbers import finite, fixed, p_value, signed
from pytest_iaside.report.tables import Cell, Table, interval_text

Quantity = Mapping[str, Any]
ROW = 30.0  # a quantity's name, and below it its interval
LEFT, RIGHT = 12.0, 348.0


def readings_figures(gate: Gate, ident: str) -> list[Figure]:
    """Changes of every family, and the spectra of what perturbs the images where known."""
    facts = gate.readings
    assert facts is not None
    family = _family
    found = [
        _changes_figure(f"{ident}-{name}", name, list(some), facts)
        for name, some in groupby(sorted(facts["quantities"], key=family), key=family)
    ]
    if spectrum := gate.record["spectrum"]:
        if spectrum["snr"]:
            found.append(snr_figure(f"{ident}-snr", spectrum))
        found.append(spectrum_figure(f"{ident}-spectrum", spectrum))
    return found


def _family(quantity: Quantity) -> str:
    return str(quantity["family"])


def _changes_figure(
    ident: str, family: str, quantities: Sequence[Quantity], facts: Mapping[str, Any]
) -> Figure:
    limit = facts["limits"].get(family, {}).get("change")
    level = confidence(facts["level"])
    better = quantities[0]["better"]
    rows = [
        [
            Cell(each["name"]),
            Cell(fixed(each["baseline"])),
            Cell(fixed(each["candidate"])),
            Cell(signed(each["change"])),
            Cell(interval_text(each["low"], each["high"], signed)),
            Cell(p_value(each["p_value"])),
            Cell("≠ moved" if each["moved"] else "", "differs" if each["moved"] else ""),
        ]
        for each in quantities
    ]
    head = ("quantity", "baseline", "candidate", "change", level, "p (Holm)", "")
    return Figure(
        f"Change of {_title(family)}",
        f"The paired change, image by image; {better} is better. Intervals hold for all "
        f"{len(quantities)} together.",
        Markup(_changes_chart(ident, quantities, limit, better)),
        Table(head, rows),
        marks="",
    )


def _title(family: str) -> str:
    return {"mpe": "mPE", "mce": "mCE", "accuracy": "accuracy"}.get(family, family)


def _changes_chart(
    ident: str, quantities: Sequence[Quantity], limit: float | None, better: str
) -> str:
    bottom = 24 + ROW * len(quantities)
    allowed = None if limit is None else limit if better == "lower" else -limit
    changes = [finite(each["change"]) for each in quantities]
    bounds = [finite(each[side]) for each in quantities for side in ("low", "high")]
    across = Scale(*svg.domain(changes, [*bounds, allowed], 1e-3), LEFT, RIGHT)
    parts = charts.horizontal_axis(across, bottom, most=6)
    if across.holds(0):
        parts.append(svg.line(across(0), 18, across(0), bottom, "zero"))
    if allowed is not None and across.holds(allowed):
        parts.append(svg.line(across(allowed), 18, across(allowed), bottom, "limit"))
        end = "end" if across(allowed) > (LEFT + RIGHT) / 2 else "start"
        parts.append(svg.text(across(allowed), 13, f"allowed {signed(allowed)}", "note", end))
    for row, each in enumerate(quantities):
        y = 32 + ROW * row
        moved = " · moved" if each["moved"] else ""
        parts.append(svg.text(LEFT, y, f"{each['name']}{moved}", "value", "start"))
        low, high = finite(each["low"]), finite(each["high"])
        parts.append(svg.whisker(across, y + 10, low, high, "candidate", along="x"))
        if changes[row] is not None:
            parts.append(svg.diamond(across(changes[row] or 0.0), y + 10, "mark candidate"))
    intervals = [interval_text(each["low"], each["high"], signed) for each in quantities]
    told = "; ".join(
        f"{each['name']} {signed(each['change'])} ({interval})"
        for each, interval in zip(quantities, intervals, strict=True)
    )
    return svg.document(ident, "Paired changes", told, bottom + 24, parts)
