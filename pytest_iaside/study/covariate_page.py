"""The study of a covariate, as a page and as lines."""

from collections.abc import Callable, Sequence

import numpy as np

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.charts.groups import Line
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import finite, fixed, p_value, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.study.charts import Dot, scatter_chart
from pytest_iaside.study.covariate import FLATNESS, CovariateStudy, Level
from pytest_iaside.study.models import NOISE
from pytest_iaside.study.pages import HUNDREDTHS, aligned, curves_figure, lines_of, study_page
from pytest_iaside.study.quantities import SIGNED_SRC

CURVES = 6
"""Values of which the SID is drawn, and lines of a table in a terminal: some of them where many."""
MANY = 12
GROUPS = ("structured", "unstructured: no SID")
Show = Callable[[float], str]
SHOWN: dict[str, Show] = {"clean accuracy": share, "information share": share}


def page(study: CovariateStudy) -> Page:
    """The page of ``study``."""
    drawn = [one for one in study.levels if np.isfinite(one.sid).all()]
    drawn = _some(drawn, CURVES)
    return study_page(
        study,
        title=study.what,
        headline=headline(study),
        about=(
            f"{_closest(study)}{len(study.measured)} models of {len(study.levels)} values of "
            f"{study.what}, measured on the same {len(study.measured[0].profile)} images. Flatness "
            "is the entropy of the SID, 1 where all bands weigh the same and 0 where one does. "
            f"Spearman's ρ asks only whether a quantity keeps falling or rising with {study.what}."
        ),
        figures=[
            *([_curves(study, drawn)] if drawn else []),
            *(_scatter(study, at, name) for at, name in enumerate(study.values)),
            _followers(study),
            _levels(study),
        ],
        marked=True,
    )


def lines(study: CovariateStudy) -> list[str]:
    """The main tables for a terminal, at most 80 columns."""
    robust = "mean mPE" in study.values
    levels: list[Sequence[str]] = []
    head = (study.what, "models", "flatness", "signed SRC", "v(all)", "accuracy")
    levels.append((*head, "mPE") if robust else head)
    for level in _some(study.levels, MANY):
        means = level.means
        scores = fixed(means[FLATNESS]), signed(means[SIGNED_SRC]), fixed(means["v(all)"], 2)
        marked = f" ({level.unstructured} unstr.)" if level.unstructured else ""
        row: tuple[str, ...] = (_shown(study, level.value), f"{len(level.models)}{marked}", *scores)
        row = (*row, share(means["clean accuracy"]))
        levels.append((*row, fixed(means["mean mPE"])) if robust else row)
    follows = [(f"with {study.what}", "models", "ρ", confidence(study.level), "r", "Holm p")]
    for name, one in study.follows.items():
        interval = interval_text(one.rank_low, one.rank_high, HUNDREDTHS)
        r = HUNDREDTHS(one.pearson)
        row = (name, str(one.units), HUNDREDTHS(one.spearman), interval, r, p_value(one.adjusted))
        follows.append(row)
    return lines_of(aligned(levels), aligned(follows), sentence=sentence(study))


def sentence(study: CovariateStudy) -> str:
    """Whether SIDs get flatter with the covariate, and what follows it the most."""
    return f"{headline(study)} {_closest(study)}".strip()


def headline(study: CovariateStudy) -> str:
    """Whether SIDs get flatter with the covariate."""
    found = study.follows[FLATNESS]
    if found.rank_low > 0 or found.rank_high < 0:
        how = f"SIDs get {'flatter' if found.spearman > 0 else 'less flat'} with {study.what}"
    else:
        how = f"Whether SIDs get flatter with {study.what} cannot be told"
    told = f"{how}: {_told(study, FLATNESS)}"
    ends = [study.levels[0], study.levels[-1]]
    flat = [one.means[FLATNESS] for one in ends]
    if np.isfinite(flat).all():
        places = [_shown(study, one.value) for one in ends]
        told += f"; flatness {fixed(flat[0])} at {places[0]}, {fixed(flat[1])} at {places[1]}"
    return f"{told}."


def _closest(study: CovariateStudy) -> str:
    """What follows the covariate the most, and how many models have no SID."""
    known = [name for name, one in study.follows.items() if np.isfinite(one.spearman)]
    told = ""
    if known:
        best = max(known, key=lambda name: abs(study.follows[name].spearman))
        adjusted = p_value(study.follows[best].adjusted)
        told = (
            f"What follows {study.what} most closely is {best}: {_told(study, best)}; Holm's p for "
            f"{len(known)} quantities {adjusted}. "
        )
    if study.unstructured:
        told += (
            f"{len(study.unstructured)} of {len(study.measured)} models have no SID: their ψ "
            "cannot be told from noise. "
        )
    return told


def _told(study: CovariateStudy, name: str) -> str:
    found = study.follows[name]
    interval = interval_text(found.rank_low, found.rank_high, HUNDREDTHS)
    rho = f"ρ = {HUNDREDTHS(found.spearman)}"
    return f"{rho} ({confidence(study.level)} {interval}, {found.units} models)"


def _fixed(value: float) -> str:
    return fixed(value)


def _shown(study: CovariateStudy, value: float) -> str:
    """A value of the covariate in words."""
    if study.covariate == NOISE:
        return f"{share(value, 0)} wrong"
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def _some(values: Sequence[Level], most: int) -> list[Level]:
    """Of many, some of them, evenly spaced, the first and the last among them."""
    places = np.unique(np.linspace(0, len(values) - 1, most).round().astype(int))
    return [values[at] for at in places] if len(values) > most else list(values)


def _curves(study: CovariateStudy, drawn: Sequence[Level]) -> Figure:
    return curves_figure(
        f"SID by {study.what}",
        "The mean over the structured models of each value; the stronger the line, the more "
        f"{study.what}.",
        study.measured[0].profile,
        [Line(_shown(study, one.value), one.sid.tolist()) for one in drawn],
        ordered=True,
        head=(study.what, "models"),
        counts=[len(one.models) - one.unstructured for one in drawn],
    )


def _scatter(study: CovariateStudy, number: int, name: str) -> Figure:
    """One quantity of every model against the covariate, unstructured ones marked."""
    show = signed if name.startswith(SIGNED_SRC) else SHOWN.get(name, _fixed)
    dots, rows = [], []
    for one, x, value in zip(study.measured, study.places, study.values[name], strict=True):
        bounds: tuple[float | None, float | None] = (None, None)
        if name == SIGNED_SRC and one.profile.structured:
            score = one.profile.interval("signed_src", study.level)
            bounds = finite(score.low), finite(score.high)
        if np.isfinite(value):
            group = int(not one.profile.structured)
            dots.append(Dot(one.name, x, value, group, upright=bounds))
        marked = "" if one.profile.structured else "unstructured"
        own = _shown(study, one.covariates[study.covariate])
        rows.append([one.name, own, show(value), interval_text(*bounds, signed), marked])
    across = f"log10 of {study.what}" if study.logarithm else study.what
    head = ("model", study.what, name, confidence(study.level), "")
    about = "One mark for each model; where it is an interval, it is over images."
    if not dots:
        return Figure(f"{name} against {study.what}", "No model has it.", Table(head, rows))
    groups = GROUPS if study.unstructured else GROUPS[:1]
    title = f"{name} against {study.what}"
    chart = scatter_chart(
        f"covariate-{number}", dots, across=across, upright=name, groups=groups, title=title
    )
    return Figure(title, about, Table(head, rows), chart)


def _followers(study: CovariateStudy) -> Figure:
    rows = []
    for name, one in study.follows.items():
        rank = signed(one.spearman), interval_text(one.rank_low, one.rank_high, signed)
        r = signed(one.pearson), interval_text(one.low, one.high, signed)
        p = p_value(one.p_value), p_value(one.adjusted)
        rows.append([name, str(one.units), *rank, *r, *p])
    interval = confidence(study.level)
    r_with = "r with its logarithm" if study.logarithm else "Pearson's r"
    head = ("quantity", "models", "Spearman's ρ", interval, r_with, interval, "p", "Holm's p")
    about = (
        "Over the models that have the quantity: those without structure have no SID. p-values are "
        "those of r, Holm's for all of the table."
    )
    return Figure(f"What follows {study.what}", about, Table(head, rows), wide=True)


def _levels(study: CovariateStudy) -> Figure:
    names = list(study.values)
    rows = []
    for one in study.levels:
        means = (SHOWN.get(name, _fixed)(one.means[name]) for name in names)
        counts = str(len(one.models)), str(one.unstructured)
        rows.append([_shown(study, one.value), *counts, *means])
    head = (study.what, "models", "unstructured", *names)
    about = "Means over the models of each value that have the quantity."
    return Figure(f"By {study.what}", about, Table(head, rows), wide=True)
