"""The study of architectures, as a page and as lines."""

import numpy as np

from pytest_iaside.report.charts.band_curves import Line
from pytest_iaside.report.figures import Figure, Table
from pytest_iaside.report.numbers import NONE, fixed, p_value, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.study.architectures import ArchitecturesStudy
from pytest_iaside.study.charts import Dot, plane_chart
from pytest_iaside.study.pages.common import aligned, curves_figure, lines_of, study_page


def page(study: ArchitecturesStudy) -> Page:
    """The page of ``study``."""
    how = study.projection.how
    return study_page(
        study,
        title="SIDs of architectures",
        headline=sentence(study),
        about=(
            f"{len(study.models)} models of {len(study.groups)} groups, measured on the same "
            f"{len(study.models[0].profile)} images; {how}. By chance is what shuffled groups "
            "would agree in. The sentence above is read off the SIDs, not off the plane: a "
            "projection may tear apart what is near, and t-SNE's distances between clusters mean "
            "nothing."
        ),
        figures=[
            _plane(study),
            curves_figure(
                "SID of each group",
                "The mean over the models of the group.",
                study.models[0].profile,
                [Line(group, _mean_sid(study, group).tolist()) for group in study.groups],
                ordered=False,
            ),
        ],
        settings={"projection": how},
    )


def lines(study: ArchitecturesStudy) -> list[str]:
    """The main table for a terminal, at most 80 columns."""
    shown = min(study.models[0].profile.rules.bands, 8)
    rows = [("SID of the group", "n", "SRC ±", *map(str, range(shown)))]
    for group in study.groups:
        scores = [one.profile.signed_src for one in study.of(group)]
        shares = [fixed(value, 2) for value in _mean_sid(study, group)[:shown]]
        rows.append((group or NONE, str(len(scores)), signed(np.mean(scores), 2), *shares))
    return lines_of([study.projection.how], aligned(rows), sentence=sentence(study))


def sentence(study: ArchitecturesStudy) -> str:
    """Whether models of one group have SIDs that are near each other."""
    found = study.agreement
    if found is None:
        return f"{len(study.models)} models in a plane; say their groups to see whether they agree."
    p = p_value(found.p_value)
    return (
        f"The SID nearest to a model's is of its own group for {found.agreeing} of {found.models} "
        f"models; {fixed(found.by_chance, 1)} would be by chance "
        f"(p {p if p.startswith('<') else f'= {p}'})."
    )


def _mean_sid(study: ArchitecturesStudy, group: str) -> np.ndarray:
    return np.asarray(np.mean([one.profile.sid for one in study.of(group)], axis=0))


def _plane(study: ArchitecturesStudy) -> Figure:
    groups = study.groups
    dots, rows = [], []
    for one, (x, y) in zip(study.models, study.projection.points, strict=True):
        group = one.model.group
        dots.append(Dot(one.name, float(x), float(y), groups.index(group)))
        rows.append([one.name, group or NONE, fixed(x, 2), fixed(y, 2), share(one.accuracy)])
    title = "SIDs in a plane"
    return Figure(
        title,
        f"{study.projection.how}. What is near has a similar SID; the axes mean nothing.",
        Table(("model", "group", "x", "y", "accuracy"), rows),
        plane_chart("plane", dots, groups=groups, title=title),
    )
