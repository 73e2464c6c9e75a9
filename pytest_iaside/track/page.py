"""The page of a training run: its SIDs, its scores, and the trend of its last checkpoints."""

from collections.abc import Sequence

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.words import confidence
from pytest_iaside.report.figures import settings_table
from pytest_iaside.report.numbers import finite_list
from pytest_iaside.report.pages import Page
from pytest_iaside.report.recorded import measurement_record
from pytest_iaside.track.charts import curves_of, scores_figure, sid_figure
from pytest_iaside.track.history import Point
from pytest_iaside.track.records import trend_record, unit_of
from pytest_iaside.track.trend import LAST, unlike

WORDS = {
    "pass": "No decline",
    "nothing found": "No decline found",
    "drift": "Decline",
    "inconclusive": "Undecided",
}


def track_page(
    points: Sequence[Point],
    trend: Comparison | None,
    *,
    level: float,
    last: int = LAST,
    no_trend: str = "",
) -> Page:
    """The page of ``points`` of one run, by step; ``trend`` is that of the ``last`` ones.

    ``no_trend`` says why there is none. Points that were not measured as the last one are left
    out, and the page says so.
    """
    alike = [point for point in points if not unlike([point, points[-1]])]
    profile = points[-1].profile
    warnings = list(trend.notes) if trend else []
    if left_out := unlike(points):
        warnings.append(
            f"{len(left_out)} checkpoints are left out, they were not measured as the last one: "
            f"{left_out[0]}"
        )
    unit = unit_of([point.name for point in alike])
    unstructured = [point.step for point in alike if not point.profile.structured]
    if unstructured:
        which = f"{unit} {some_steps(unstructured)}"
        warnings.append(
            f"{len(unstructured)} checkpoints are unstructured ({which}): "
            "their ψ cannot be told from noise, and their SID and SRC mean nothing. Their marks "
            "are hollow."
        )
    headline, dashed = f"{len(alike)} checkpoints, and no trend", ""
    line: list[float] = []
    if trend:
        recent = [point.step for point in alike[-last:]]
        headline = f"{WORDS[trend.verdict]} over the last {len(recent)} checkpoints of {len(alike)}"
        dashed = " Dashed: the line fitted to the last checkpoints."
        # The fitted signed SRC at each of the trend's checkpoints.
        line = [
            check.baseline + check.change * (step - recent[0]) / (recent[-1] - recent[0])
            for check in trend.checks
            if check.name == "src"
            for step in recent
        ]
    values = [point.profile.interval("value", level) for point in alike]
    records = trend_record(alike, level)["points"]
    curves = curves_of(
        records,
        value_low=finite_list([each.low for each in values]),
        value_high=finite_list([each.high for each in values]),
        hollow=[point.step in unstructured for point in alike],
        line=line,
    )
    return Page(
        title="robustness over checkpoints",
        headline=headline,
        about=(
            f"{trend.summary() if trend else no_trend}. Run {points[-1].run}, {unit} "
            f"{alike[0].step} to {alike[-1].step}, each checkpoint measured on {len(profile)} "
            f"images in {profile.rules.bands} bands."
        ),
        warnings=warnings,
        figures=[
            sid_figure(
                "sid-heat-map",
                "Spectral importance over checkpoints",
                records,
                profile.partition.labels,
            ),
            scores_figure(
                "score-curves",
                "Scores over checkpoints",
                f"With intervals over images ({confidence(level)}), the same images for every "
                "checkpoint: changes between checkpoints are known better than the intervals "
                f"look.{dashed}",
                records,
                curves,
                interval=confidence(level),
                more={
                    "": ["unstructured" if p.step in unstructured else "" for p in alike],
                    "checkpoint": [point.name for point in alike],
                },
            ),
        ],
        settings=settings_table({"last checkpoint": measurement_record(profile, level)})[0],
    )


def some_steps(steps: Sequence[int]) -> str:
    """The first few of ``steps``."""
    return ", ".join(map(str, steps[:8])) + ("…" if len(steps) > 8 else "")
