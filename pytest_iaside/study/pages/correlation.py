"""The study of what follows robustness, as a page and as lines."""

from __future__ import annotations

import textwrap
from functools import partial

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import finite, fixed, p_value, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.stats.correlation import Correlation
from pytest_iaside.study.charts.correlations import Bar, grid_chart, interval_chart
from pytest_iaside.study.charts.scatter import Dot, scatter_chart
from pytest_iaside.study.correlation import CorrelationStudy, Follows
from pytest_iaside.study.correlation import Table as Correlations
from pytest_iaside.study.pages.common import (
    COLUMNS,
    aligned,
    models_figure,
    study_settings,
    warnings_of,
)
from pytest_iaside.study.quantities import MEAN, SIGNED_SRC

# As Cohen's "large" (1988): below it the word is weak.
LARGE = 0.5


def page(study: CorrelationStudy) -> Page:
    """The page of ``study``."""
    closest = study.mpe.mean[0].predictor
    shown = list(dict.fromkeys([SIGNED_SRC, closest]))
    first = study.models[0].measured.profile
    return Page(
        title="what follows robustness",
        headline=f"{_own(study)}.",
        about=(
            f"{_better(study)} {_counted(study)}, measured on the same {len(first)} images under "
            f"{len(study.perturbations)} perturbations. Models of one recipe differ in their seed "
            "alone; they are averaged before correlating, for near copies are no evidence of "
            f"their own. Intervals ({confidence(study.level)}, Fisher's) are for other recipes "
            "like these: they hold for this set, not for models of another kind. Which quantity "
            "follows best was chosen after looking, so its r is flattered; Holm's p-values count "
            "all quantities of the table."
        ),
        warnings=list(warnings_of(study.left_out, [each.measured for each in study.unstructured])),
        figures=[
            _ranking(study.mpe, "mean mPE", "mpe", study.level),
            *(_scatter(study, name, number) for number, name in enumerate(shown)),
            _by_perturbation(study, study.mpe, "mPE", "mpe-each"),
            _ranking(study.drop, "mean accuracy drop", "drop", study.level),
            _by_perturbation(study, study.drop, "accuracy drop", "drop-each"),
            models_figure(
                [each.measured for each in (*study.models, *study.unstructured)], study.level
            ),
        ],
        settings=study_settings(first, {"perturbations": ", ".join(study.perturbations)}),
    )


def lines(study: CorrelationStudy) -> list[str]:
    """The main tables for a terminal, at most 80 columns."""
    found = [f"{_counted(study)}; {len(study.perturbations)} perturbations"]
    for table, name in ((study.mpe, "mean mPE"), (study.drop, "accuracy drop")):
        head = (f"r with {name}", "r", confidence(study.level), "Holm p", "± img", "ρ", "r models")
        rows = [
            (
                one.predictor,
                signed(one.recipes.pearson, 2),
                _interval(one.recipes),
                p_value(one.recipes.adjusted),
                fixed(one.recipes.image_error, 2),
                signed(one.recipes.spearman, 2),
                signed(one.models.pearson, 2),
            )
            for one in table.mean
        ]
        found += ["", *aligned([head, *rows])]
    return [*found, "", *textwrap.wrap(sentence(study), COLUMNS)]


def sentence(study: CorrelationStudy) -> str:
    """Whether the signed SRC follows mean mPE, and what follows it better."""
    return f"{_own(study)}. {_better(study)}"


def _own(study: CorrelationStudy) -> str:
    found = study.mpe.of(SIGNED_SRC).recipes
    return f"The signed SRC {_how(found)} mean mPE: {_told(found)}"


def _better(study: CorrelationStudy) -> str:
    better = study.better_than_src()
    if not better:
        return "Nothing else that was looked at follows it better."
    best = better[0].recipes
    return (
        f"{better[0].predictor} follows it better: {_told(best)}; Holm's p for "
        f"{len(study.predictors.names)} quantities {p_value(best.adjusted)}."
    )


def _how(found: Correlation) -> str:
    if finite(found.pearson) is None:
        return "is the same for all models and cannot follow"
    if found.low <= 0 <= found.high:
        return "cannot be told from unrelated to"
    if found.pearson > 0:
        return "goes the wrong way with"
    return "follows" if abs(found.pearson) >= LARGE else "weakly follows"


def _told(found: Correlation) -> str:
    return (
        f"r = {signed(found.pearson, 2)} ({confidence(found.level)} {_interval(found)}, "
        f"{found.units} recipes)"
    )


def _counted(study: CorrelationStudy) -> str:
    return f"{len(study.models)} models of {len(study.recipes)} recipes"


def _interval(found: Correlation) -> str:
    return interval_text(found.low, found.high, _hundredths)


def _ranking(table: Correlations, target: str, ident: str, level: float) -> Figure:
    bars = [
        Bar(one.predictor, *map(finite, (each.pearson, each.low, each.high)))
        for one in table.mean
        for each in [one.recipes]
    ]
    head = (
        "quantity",
        "r over recipes",
        confidence(level),
        "± from the images",
        "p",
        "Holm's p",
        "ρ over recipes",
        confidence(level),
        "r over models",
        confidence(level),
        "ρ over models",
    )
    return Figure(
        f"What follows {target}",
        f"Pearson's r of each quantity with {target} over recipes, the closest first, with its "
        "interval. Robust models have low values: what foretells robustness is at the left.",
        Table(head, [_numbers(one) for one in table.mean]),
        interval_chart(ident, bars, name="Pearson's r", title=f"r with {target}"),
    )


def _numbers(one: Follows) -> list[str]:
    recipes, models = one.recipes, one.models
    return [
        one.predictor,
        signed(recipes.pearson),
        _interval(recipes),
        fixed(recipes.image_error),
        p_value(recipes.p_value),
        p_value(recipes.adjusted),
        signed(recipes.spearman),
        interval_text(recipes.rank_low, recipes.rank_high, _hundredths),
        signed(models.pearson),
        _interval(models),
        signed(models.spearman),
    ]


def _scatter(study: CorrelationStudy, predictor: str, number: int) -> Figure:
    groups = list(dict.fromkeys(each.measured.model.group for each in study.models))
    x, y = study.predictors.of_all_images(predictor), study.mpe.targets.of_all_images(MEAN)
    x_error = study.predictors.standard_errors(predictor)
    y_error = study.mpe.targets.standard_errors(MEAN)
    dots, rows = [], []
    for at, each in enumerate(study.models):
        model = each.measured.model
        across, upright = (
            (finite(values[at] - errors[at]), finite(values[at] + errors[at]))
            for values, errors in ((x, x_error), (y, y_error))
        )
        group = groups.index(model.group)
        dots.append(Dot(model.name, float(x[at]), float(y[at]), group, across, upright))
        numbers = (x[at], x_error[at], y[at], y_error[at])
        rows.append([model.name, model.recipe, *map(fixed, numbers)])
    title = f"{predictor} against mean mPE"
    chart = scatter_chart(
        f"scatter-{number}",
        dots,
        across=predictor,
        upright="mean mPE",
        groups=groups,
        title=title,
    )
    return Figure(
        title,
        "One mark for each model; lines are one standard error over images either way.",
        Table(("model", "recipe", predictor, "± se", "mean mPE", "± se"), rows),
        chart,
    )


def _by_perturbation(
    study: CorrelationStudy, table: Correlations, target: str, ident: str
) -> Figure:
    names, perturbations = study.predictors.names, study.perturbations
    single = {(one.predictor, one.target): one.recipes for one in table.single}
    found = [[single[name, each] for each in perturbations] for name in names]
    values = [[finite(one.pearson) for one in row] for row in found]
    rows = [
        [name, *map(partial(_starred, study.level), row)]
        for name, row in zip(names, found, strict=True)
    ]
    return Figure(
        f"{target} under each perturbation",
        f"Pearson's r over recipes of every quantity with the {target} under each perturbation. "
        f"In the table * marks those whose p-value, Holm's for all {len(table.single)}, is below "
        f"{1 - study.level:.2g}.",
        Table(("quantity", *perturbations), rows),
        grid_chart(ident, names, perturbations, values, title=f"r with {target} by perturbation"),
    )


def _starred(level: float, found: Correlation) -> str:
    return f"{_hundredths(found.pearson)}{'*' if found.adjusted < 1 - level else ''}"


def _hundredths(value: float | None) -> str:
    return signed(value, 2)
