"""A figure: a chart, what it shows in a sentence, and all its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from pytest_iaside.report.tables import Table


@dataclass(frozen=True)
class Figure:
    """A chart, what it shows in a sentence, and all its numbers."""

    title: str
    about: str
    chart: Markup
    """SVG or an image; empty where the table is all there is."""
    table: Table | None
    marks: Literal["bar", "point", ""] = "point"
    """What stands for baseline and candidate; nothing where the chart is of neither."""
    wide: bool = False
    """Whether it takes the whole width of its page."""
