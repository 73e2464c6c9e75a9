"""The study of label noise, as a page and as lines."""

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.charts.band_curves import Line
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import finite, fixed, p_value, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.study.charts import Dot, scatter_chart
from pytest_iaside.study.label_noise import FLATNESS, LabelNoiseStudy, flatness
from pytest_iaside.study.pages.common import (
    HUNDREDTHS,
    aligned,
    curves_figure,
    lines_of,
    study_page,
)


def page(study: LabelNoiseStudy) -> Page:
    """The page of ``study``."""
    return study_page(
        study,
        title="label noise",
        headline=sentence(study),
        about=(
            f"{len(study.models)} models trained with {len(study.levels)} shares of wrong labels, "
            f"measured on the same {len(study.models[0].profile)} images with right ones. Flatness "
            "is the entropy of the SID, 1 where all bands weigh the same and 0 where one does. "
            "Spearman's ρ asks only whether a quantity keeps falling or rising with the noise."
        ),
        figures=[
            curves_figure(
                "SID by share of wrong labels",
                "The mean over the models of each share; the stronger the line, the more noise.",
                study.models[0].profile,
                [Line(f"{share(one.noise, 0)} wrong", one.sid.tolist()) for one in study.levels],
                ordered=True,
                head=("labels", "models"),
                counts=[len(one.models) for one in study.levels],
            ),
            _scores(study),
            _followers(study),
        ],
    )


def lines(study: LabelNoiseStudy) -> list[str]:
    """The main tables for a terminal, at most 80 columns."""
    levels = [("wrong labels", "models", "flatness", "signed SRC", "v(all)", "accuracy")]
    for level in study.levels:
        levels.append(
            (
                share(level.noise, 0),
                str(len(level.models)),
                fixed(level.flatness),
                signed(level.signed_src),
                fixed(level.value, 2),
                share(level.accuracy),
            )
        )
    follows = [("with the noise", "ρ", confidence(study.level), "r", "Holm p")]
    for name, one in study.follows.items():
        interval = interval_text(one.rank_low, one.rank_high, HUNDREDTHS)
        r = HUNDREDTHS(one.pearson)
        follows.append((name, HUNDREDTHS(one.spearman), interval, r, p_value(one.adjusted)))
    return lines_of(aligned(levels), aligned(follows), sentence=sentence(study))


def sentence(study: LabelNoiseStudy) -> str:
    """Whether SIDs get flatter with the share of wrong labels."""
    found = study.follows[FLATNESS]
    least, most = study.levels[0], study.levels[-1]
    interval = interval_text(found.rank_low, found.rank_high, HUNDREDTHS)
    if not found.rank_low > 0 and not found.rank_high < 0:
        how = "Whether SIDs get flatter with label noise cannot be told"
    else:
        how = f"SIDs get {'flatter' if found.spearman > 0 else 'less flat'} with label noise"
    return (
        f"{how}: ρ = {HUNDREDTHS(found.spearman)} ({confidence(study.level)} {interval}, "
        f"{found.units} models); flatness {fixed(least.flatness)} at {share(least.noise, 0)} wrong "
        f"labels, {fixed(most.flatness)} at {share(most.noise, 0)}."
    )


def _scores(study: LabelNoiseStudy) -> Figure:
    dots, rows = [], []
    for number, level in enumerate(study.levels):
        for model in level.models:
            value = model.profile.signed_src
            score = model.profile.interval("signed_src", study.level)
            bounds = finite(score.low), finite(score.high)
            dots.append(Dot(model.name, level.noise, value, number, upright=bounds))
            noise, interval = share(level.noise, 0), interval_text(*bounds, signed)
            rows.append([model.name, noise, signed(value), interval, fixed(flatness(model))])
    title = "Signed SRC against the share of wrong labels"
    return Figure(
        title,
        f"One mark for each model, with its {confidence(study.level)} over images.",
        Table(("model", "wrong", "signed SRC", confidence(study.level), "flatness"), rows),
        scatter_chart(
            "noise",
            dots,
            across="share of wrong labels",
            upright="signed SRC",
            groups=[f"{share(one.noise, 0)} wrong" for one in study.levels],
            title=title,
        ),
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
