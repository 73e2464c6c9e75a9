"""The study of label noise, as a page and as lines."""

from __future__ import annotations

import textwrap

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.charts.band_curves import Line
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import finite, fixed, p_value, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.study.charts.scatter import Dot, scatter_chart
from pytest_iaside.study.label_noise import LabelNoiseStudy, flatness
from pytest_iaside.study.pages.common import (
    COLUMNS,
    aligned,
    curves_figure,
    models_figure,
    study_settings,
    warnings_of,
)

FLATNESS = "flatness of the SID"


def page(study: LabelNoiseStudy) -> Page:
    """The page of ``study``."""
    first = study.models[0].profile
    return Page(
        title="label noise",
        headline=sentence(study),
        about=(
            f"{len(study.models)} models trained with {len(study.levels)} shares of wrong labels, "
            f"measured on the same {len(first)} images with right ones. Flatness is the entropy "
            "of the SID, 1 where all bands weigh the same and 0 where one does. Spearman's ρ asks "
            "only whether a quantity keeps falling or rising with the noise."
        ),
        warnings=list(warnings_of(study.left_out, study.unstructured)),
        figures=[
            _curves(study),
            _flatness(study),
            _followers(study),
            models_figure([*study.models, *study.unstructured], study.level),
        ],
        settings=study_settings(first),
    )


def lines(study: LabelNoiseStudy) -> list[str]:
    """The main tables for a terminal, at most 80 columns."""
    head = ("wrong labels", "models", "flatness", "signed SRC", "v(all)", "accuracy")
    rows = [
        (
            share(one.noise, 0),
            str(len(one.models)),
            fixed(one.flatness),
            signed(one.signed_src),
            fixed(one.value, 2),
            share(one.accuracy),
        )
        for one in study.levels
    ]
    found = [
        (
            name,
            signed(one.spearman, 2),
            interval_text(one.rank_low, one.rank_high, lambda bound: signed(bound, 2)),
            signed(one.pearson, 2),
            p_value(one.adjusted),
        )
        for name, one in study.follows.items()
    ]
    own = ("with the noise", "ρ", confidence(study.level), "r", "Holm p")
    return [
        *aligned([head, *rows]),
        "",
        *aligned([own, *found]),
        "",
        *textwrap.wrap(sentence(study), COLUMNS),
    ]


def sentence(study: LabelNoiseStudy) -> str:
    """Whether SIDs get flatter with the share of wrong labels."""
    found = study.follows[FLATNESS]
    least, most = study.levels[0], study.levels[-1]
    interval = interval_text(found.rank_low, found.rank_high, lambda bound: signed(bound, 2))
    if not found.rank_low > 0 and not found.rank_high < 0:
        how = "Whether SIDs get flatter with label noise cannot be told"
    else:
        how = f"SIDs get {'flatter' if found.spearman > 0 else 'less flat'} with label noise"
    return (
        f"{how}: ρ = {signed(found.spearman, 2)} ({confidence(study.level)} {interval}, "
        f"{found.units} models); flatness {fixed(least.flatness)} at {share(least.noise, 0)} wrong "
        f"labels, {fixed(most.flatness)} at {share(most.noise, 0)}."
    )


def _curves(study: LabelNoiseStudy) -> Figure:
    return curves_figure(
        "SID by share of wrong labels",
        "The mean over the models of each share; the stronger the line, the more noise.",
        study.models[0].profile.partition,
        [Line(f"{share(one.noise, 0)} wrong", one.sid.tolist()) for one in study.levels],
        ordered=True,
        head=("labels", "models"),
        counts=[len(one.models) for one in study.levels],
    )


def _flatness(study: LabelNoiseStudy) -> Figure:
    title = "Signed SRC against the share of wrong labels"
    groups = [f"{share(one.noise, 0)} wrong" for one in study.levels]
    dots, rows = [], []
    for number, one in enumerate(study.levels):
        for model in one.models:
            value, score = (
                model.profile.signed_src,
                model.profile.interval("signed_src", study.level),
            )
            interval = (finite(score.low), finite(score.high))
            dots.append(Dot(model.name, one.noise, value, number, upright=interval))
            rows.append(
                [
                    model.name,
                    share(one.noise, 0),
                    signed(value),
                    interval_text(*interval, signed),
                    fixed(flatness(model)),
                ]
            )
    chart = scatter_chart(
        "noise",
        dots,
        across="share of wrong labels",
        upright="signed SRC",
        groups=groups,
        title=title,
    )
    return Figure(
        title,
        f"One mark for each model, with its {confidence(study.level)} over images.",
        Table(("model", "wrong", "signed SRC", confidence(study.level), "flatness"), rows),
        chart,
    )


def _followers(study: LabelNoiseStudy) -> Figure:
    rows = [
        [
            name,
            signed(one.spearman),
            interval_text(one.rank_low, one.rank_high, signed),
            signed(one.pearson),
            interval_text(one.low, one.high, signed),
            p_value(one.p_value),
            p_value(one.adjusted),
        ]
        for name, one in study.follows.items()
    ]
    interval = confidence(study.level)
    head = ("quantity", "Spearman's ρ", interval, "Pearson's r", interval, "p", "Holm's p")
    return Figure(
        "What follows the noise",
        f"Over {len(study.models)} models. p-values are those of r, Holm's for all of the table.",
        Table(head, rows),
        wide=True,
    )
