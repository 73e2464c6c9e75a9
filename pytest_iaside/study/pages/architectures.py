"""The study of architectures, as a page and as lines."""

from __future__ import annotations

import textwrap

import numpy as np

from pytest_iaside.report.charts.band_curves import Line
from pytest_iaside.report.figures import Figure, Table
from pytest_iaside.report.numbers import NONE, fixed, p_value, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.study.architectures import ArchitecturesStudy
from pytest_iaside.study.charts.scatter import Dot, plane_chart
from pytest_iaside.study.pages.common import (
    COLUMNS,
    accuracy_text,
    aligned,
    curves_figure,
    models_figure,
    study_settings,
    warnings_of,
)


def page(study: ArchitecturesStudy, level: float) -> Page:
    """The page of ``study``, with intervals at ``level``."""
    first = study.models[0].profile
    return Page(
        title="SIDs of architectures",
        headline=sentence(study),
        about=(
            f"{len(study.models)} models of {len(study.groups)} groups, measured on the same "
            f"{len(first)} images; {study.projection.how}. By chance is what shuffled groups "
            "would agree in. The sentence above is read off the SIDs, not off the plane: a "
            "projection may tear apart what is near, and t-SNE's distances between clusters mean "
            "nothing."
        ),
        warnings=list(warnings_of(study.left_out, study.unstructured)),
        figures=[
            _plane(study),
            _curves(study),
            models_figure([*study.models, *study.unstructured], level),
        ],
        settings=study_settings(first, {"projection": study.projection.how}),
    )


def lines(study: ArchitecturesStudy) -> list[str]:
    """The main table for a terminal, at most 80 columns."""
    bands = study.models[0].profile.rules.bands
    shown = min(bands, 8)
    head = ("SID of the group", "n", "SRC ±", *(str(band) for band in range(shown)))
    rows = []
    for group in study.groups:
        models = study.of(group)
        mean = np.mean([one.profile.sid for one in models], axis=0)
        score = np.mean([one.profile.signed_src for one in models])
        rows.append(
            (
                group or NONE,
                str(len(models)),
                signed(score, 2),
                *(fixed(value, 2) for value in mean[:shown]),
            )
        )
    return [
        study.projection.how,
        "",
        *aligned([head, *rows]),
        "",
        *textwrap.wrap(sentence(study), COLUMNS),
    ]


def sentence(study: ArchitecturesStudy) -> str:
    """Whether models of one group have SIDs that are near each other."""
    found = study.agreement
    if found is None:
        return f"{len(study.models)} models in a plane; say their groups to see whether they agree."
    return (
        f"The SID nearest to a model's is of its own group for {found.agreeing} of {found.models} "
        f"models; {fixed(found.by_chance, 1)} would be by chance (p {_p(found.p_value)})."
    )


def _p(value: float) -> str:
    shown = p_value(value)
    return shown if shown.startswith("<") else f"= {shown}"


def _plane(study: ArchitecturesStudy) -> Figure:
    groups = study.groups
    dots = [
        Dot(one.name, float(x), float(y), groups.index(one.model.group))
        for one, (x, y) in zip(study.models, study.projection.points, strict=True)
    ]
    rows = [
        [
            dot.name,
            one.model.group or NONE,
            fixed(dot.x, 2),
            fixed(dot.y, 2),
            accuracy_text(one),
        ]
        for dot, one in zip(dots, study.models, strict=True)
    ]
    title = "SIDs in a plane"
    return Figure(
        title,
        f"{study.projection.how}. What is near has a similar SID; the axes mean nothing.",
        Table(("model", "group", "x", "y", "accuracy"), rows),
        plane_chart("plane", dots, groups=groups, title=title),
    )


def _curves(study: ArchitecturesStudy) -> Figure:
    lines = [
        Line(group, np.mean([one.profile.sid for one in study.of(group)], axis=0).tolist())
        for group in study.groups
    ]
    return curves_figure(
        "SID of each group",
        "The mean over the models of the group.",
        study.models[0].profile.partition,
        lines,
        ordered=False,
    )
