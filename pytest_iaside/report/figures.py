"""Figures and tables: what pages are made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from markupsafe import Markup, escape

from pytest_iaside.compare.words import NATS, in_unit
from pytest_iaside.report.numbers import NONE, count, duration, finite, fixed, p_value, signed
from pytest_iaside.report.record import MeasurementRecord, QuantityRecord

NO_CHART = Markup("")
MOVED = ("p (Holm)", "moved")
"""The heads of what ``change_cells`` tells last."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table; ``mark`` names what is special about it, for its style."""

    text: str
    mark: str = ""


class Table:
    """Texts in rows; the first of each row is its name."""

    def __init__(self, head: Sequence[str], rows: Iterable[Sequence[str | Cell]]) -> None:
        """Rows that are shorter than ``head`` end with empty cells."""
        found = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
        self.head = tuple(head)
        self.rows = [row + [Cell("")] * (len(head) - len(row)) for row in found]


@dataclass(frozen=True)
class Figure:
    """A chart, what it shows in a sentence, and all its numbers."""

    title: str
    about: str
    table: Table | None = None
    chart: Markup = NO_CHART  # SVG or an image; empty where the table is all there is.
    marks: Literal["bar", "point", ""] = ""
    """The shapes that stand for baseline and candidate; empty in a chart without the two."""
    wide: bool = False  # Whether it takes the whole width of its page.


def in_the_unit(figure: Figure, unit: str) -> Figure:
    """``figure``, whose words are of log-likelihoods in nats, of what is in ``unit``."""
    if unit == NATS:
        return figure
    table = figure.table
    if table is not None:
        told = [in_unit(each, unit) for each in table.head]
        rows = [[Cell(in_unit(cell.text, unit), cell.mark) for cell in row] for row in table.rows]
        table = Table(told, rows)
    return replace(
        figure,
        title=in_unit(figure.title, unit),
        about=in_unit(figure.about, unit),
        table=table,
        # Texts of a chart are escaped; a unit is escaped here.
        chart=Markup(in_unit(str(figure.chart), str(escape(unit)))),
    )


def moved_cell(change: float | None, moved: bool) -> Cell:
    """Which way something moved; empty where noise explains the change."""
    if not moved:
        return Cell("")
    return Cell("▼ fell" if (change or 0.0) < 0 else "▲ rose", "differs")


def interval_text(low: Any, high: Any, form: Callable[[Any], str] = fixed) -> str:
    """An interval; — where a bound does not exist."""
    if finite(low) is None or finite(high) is None:
        return NONE
    return f"{form(low)}…{form(high)}"


def change_cells(quantity: QuantityRecord) -> list[str | Cell]:
    return [
        signed(quantity["change"]),
        interval_text(quantity["low"], quantity["high"], signed),
        p_value(quantity["p_value"]),
        moved_cell(quantity["change"], quantity["moved"]),
    ]


def settings_table(measurements: Mapping[str, MeasurementRecord]) -> tuple[Table, int]:
    """Settings and environments side by side, and how many of their rows differ."""
    columns = [settings_of(measurement) for measurement in measurements.values()]
    rows: list[list[str | Cell]] = []
    differences = 0
    for name in dict.fromkeys(name for column in columns for name in column):
        texts = [column.get(name, NONE) for column in columns]
        differ = len(set(texts)) > 1 and not name.startswith("cost: ")
        differences += differ
        mark = "differs" if differ else ""
        rows.append([name, *(Cell(text, mark) for text in texts)])
        if differ:
            rows[-1].append(Cell("≠ differs", mark))
    return Table(("", *measurements, *([""] if len(columns) > 1 else [])), rows), differences


def settings_of(measurement: MeasurementRecord) -> dict[str, str]:
    """Everything that says how something was measured, by group and name."""
    groups: dict[str, Mapping[str, Any]] = {
        "model": measurement["model"],
        "reference": measurement["reference"],
        "settings": measurement["settings"],
        "environment": dict(sorted(measurement["environment"].items())),
    }
    found = {
        f"{group}: {key}": NONE if value is None else str(value)
        for group, values in groups.items()
        for key, value in values.items()
    }
    found["cost: forward passes"] = count(measurement["forward_passes"])
    if passes := measurement["passes_from_cache"]:
        found["cost: of them from the cache"] = count(passes)
        found["cost: of those replayed"] = count(measurement["passes_replayed"])
    if why := measurement["not_cached_because"]:
        found["cost: not cached for the next run"] = why
    # A baseline that was read from its file does not tell how long it took.
    found["cost: time"] = duration(measurement["seconds"] or None)
    return found
