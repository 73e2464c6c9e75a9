"""The wing track: its command, and the report's section on the checkpoints of a trend."""

from typing import Any

from pytest_iaside.report.wings import ReportSection, Wing
from pytest_iaside.track import command
from pytest_iaside.track.records import TrendRecord


def draw(record: TrendRecord, pictures: Any, ident: str) -> ReportSection:
    """The SIDs and the scores of all checkpoints; there are no pictures."""
    from pytest_iaside.track.charts import curves_of, scores_figure, sid_figure

    points = record["points"]
    scores = scores_figure(
        f"{ident}-scores",
        "Scores over checkpoints",
        "With the intervals of signed SRC over images.",
        points,
        curves_of(points),
        more={"checkpoint": [point["name"] for point in points]},
    )
    sids = sid_figure(f"{ident}-sids", "Spectral importance over checkpoints", points)
    return ReportSection(
        title="The checkpoints",
        about=f"Those of run {record['run']} that the trend is fitted to.",
        figures=[sids, scores],
    )


WING = Wing(name="trend", commands=(command,), draw=draw, record=TrendRecord)
