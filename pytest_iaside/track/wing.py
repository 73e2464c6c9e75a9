"""The wing track: its command, and the report's section on the checkpoints of a trend."""

from typing import Any

from pytest_iaside.report.wings import ReportSection, Wing
from pytest_iaside.track import command
from pytest_iaside.track.records import TrendRecord


def draw(record: TrendRecord, pictures: Any, ident: str) -> ReportSection:
    """The SIDs and the scores of all checkpoints; there are no pictures."""
    from pytest_iaside.track.charts import trend_figures

    return ReportSection(
        title="The checkpoints",
        about=f"Those of run {record['run']} that the trend is fitted to.",
        figures=trend_figures(record, ident),
    )


WING = Wing(name="trend", commands=(command,), draw=draw, record=TrendRecord)
