"""The study of what follows robustness, as a page and as lines."""

import numpy as np

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import NONE, finite, fixed, p_value, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.stats.correlation import Correlation
from pytest_iaside.study.charts import Dot, grid_chart, interval_chart, scatter_chart
from pytest_iaside.study.correlation import Correlations, CorrelationStudy, jackknife_error
from pytest_iaside.study.pages import HUNDREDTHS, aligned, lines_of, study_page
from pytest_iaside.study.quantities import MEAN, SIGNED_SRC

# As Cohen's "large" (1988): below it the word is weak.
LARGE = 0.5
FEWEST_TOLD = 8
"""Recipes below which no sentence tells of an r: one study of twenty finds ±0.71 among 8 where
nothing follows, and ±0.95 among 4 (Student's t of r)."""
BEYOND = "loss beyond clean"
ERR = "err: how far the target of a recipe left out is foretold from the others, root mean square."
ALONE = "their mean alone"


def page(study: CorrelationStudy) -> Page:
    """The page of ``study``."""
    closest = study.mpe.mean[0].predictor
    return study_page(
        study,
        title="what follows robustness",
        headline=f"{_own(study)}.",
        about=(
            f"{_better(study)} {_counted(study)}, measured on the same "
            f"{len(study.models[0].profile)} images under {len(study.perturbations)} "
            "perturbations. Models of one recipe differ in their seed alone; they are averaged "
            "before correlating, for near copies are no evidence of their own. Intervals "
            f"({confidence(study.level)}, Fisher's) are for other recipes like these: they hold "
            "for this set, not for models of another kind. Which quantity follows best was chosen "
            "after looking, so its r is flattered; Holm's p-values count all quantities of the "
            "table."
        ),
        figures=[
            _ranking(study.mpe, "mean mPE", "mpe", study.level),
            *(_scatter(study, name) for name in dict.fromkeys([SIGNED_SRC, closest])),
            _by_perturbation(study, study.mpe, "mPE", "mpe-each"),
            _ranking(study.drop, "mean accuracy drop", "drop", study.level),
            _by_perturbation(study, study.drop, "accuracy drop", "drop-each"),
            *([] if study.mce is None else [_ranking(study.mce, "mCE (%)", "mce", study.level)]),
            *_beyond(study),
        ],
        settings={"perturbations": ", ".join(study.perturbations)},
    )


def lines(study: CorrelationStudy) -> list[str]:
    """The main tables for a terminal, at most 80 columns."""
    interval = confidence(study.level)
    tables = []
    shown = [(study.mpe, "mean mPE"), (study.drop, "accuracy drop")]
    if study.beyond is not None:
        shown.append((study.beyond, BEYOND))
    if study.mce is not None:
        shown.append((study.mce, "mCE (%)"))
    for table, name in shown:
        rows = [(f"r with {name}", "r", interval, "Holm p", "ρ", "r models", "err")]
        for one in table.mean:
            found = one.recipes
            r, rho, of_models = map(HUNDREDTHS, (found.pearson, found.spearman, one.models.pearson))
            p, error = p_value(found.adjusted), _error(one.left_out.error)
            rows.append((one.predictor, r, _interval(found), p, rho, of_models, error))
        of_mean = _error(table.mean[0].left_out.of_mean)
        rows.append((ALONE, NONE, NONE, NONE, NONE, NONE, of_mean))
        tables.append(aligned(rows))
    counted = f"{_counted(study)}; {len(study.perturbations)} perturbations"
    told = " ".join(filter(None, (f"{_own(study)}.", _better(study), ERR)))
    return lines_of([counted], *tables, sentence=told)


def _own(study: CorrelationStudy) -> str:
    found = study.mpe.of(SIGNED_SRC).recipes
    if found.units < FEWEST_TOLD:
        return (
            f"{found.units} recipes are too few to say what follows mean mPE: compare "
            f"{FEWEST_TOLD} or more"
        )
    if finite(found.pearson) is None:
        how = "is the same for all models and cannot follow"
    elif found.low <= 0 <= found.high:
        how = "cannot be told from unrelated to"
    elif found.pearson > 0:
        how = "goes the wrong way with"
    else:
        how = "follows" if abs(found.pearson) >= LARGE else "weakly follows"
    return f"The signed SRC {how} mean mPE: {_told(found)}"


def _better(study: CorrelationStudy) -> str:
    if study.mpe.of(SIGNED_SRC).recipes.units < FEWEST_TOLD:
        return ""
    better = study.better_than_src()
    if not better:
        return "Nothing else that was looked at follows it better."
    best = better[0].recipes
    return (
        f"{better[0].predictor} follows it better: {_told(best)}; Holm's p for "
        f"{len(study.predictors)} quantities {p_value(best.adjusted)}."
    )


def _told(found: Correlation) -> str:
    return (
        f"r = {HUNDREDTHS(found.pearson)} ({confidence(found.level)} {_interval(found)}, "
        f"{found.units} recipes)"
    )


def _counted(study: CorrelationStudy) -> str:
    return f"{len(study.models)} models of {len(study.recipes)} recipes"


def _interval(found: Correlation) -> str:
    return interval_text(found.low, found.high, HUNDREDTHS)


def _ranking(table: Correlations, target: str, ident: str, level: float) -> Figure:
    bars, rows = {}, []
    for one in table.mean:
        found, models = one.recipes, one.models
        bars[one.predictor] = [*map(finite, (found.pearson, found.low, found.high))]
        r = signed(found.pearson), _interval(found), fixed(found.image_error)
        p = p_value(found.p_value), p_value(found.adjusted)
        rank = signed(found.spearman), interval_text(found.rank_low, found.rank_high, HUNDREDTHS)
        of_models = signed(models.pearson), _interval(models), signed(models.spearman)
        errors = _error(one.left_out.error), _error(one.left_out.of_mean)
        rows.append([one.predictor, *r, *p, *rank, *errors, *of_models])
    interval = confidence(level)
    head = (
        *("quantity", "r over recipes", interval, "± from the images", "p", "Holm's p"),
        *("ρ over recipes", interval, "error, recipe left out", "of the mean alone"),
        *("r over models", interval, "ρ over models"),
    )
    return Figure(
        f"What follows {target}",
        f"Pearson's r of each quantity with {target} over recipes, the closest first, with its "
        "interval. Robust models have low values: what foretells robustness is at the left. The "
        "table's error is how far the target of a recipe left out is foretold from the others by a "
        "line, root mean square; beside it, by their mean alone.",
        Table(head, rows),
        interval_chart(ident, bars, name="Pearson's r", title=f"r with {target}"),
    )


def _scatter(study: CorrelationStudy, predictor: str) -> Figure:
    (xs, *left_x), (ys, *left_y) = study.predictors[predictor], study.mpe.targets[MEAN]
    errors = (jackknife_error(np.array(each)) for each in (left_x, left_y))
    dots, rows = [], []
    for one, x, y, x_error, y_error in zip(study.models, xs, ys, *errors, strict=True):
        across = finite(x - x_error), finite(x + x_error)
        upright = finite(y - y_error), finite(y + y_error)
        group = study.groups.index(one.model.group)
        dots.append(Dot(one.name, float(x), float(y), group, across, upright))
        rows.append([one.name, one.model.recipe, *map(fixed, (x, x_error, y, y_error))])
    title = f"{predictor} against mean mPE"
    ident = f"scatter-{int(predictor != SIGNED_SRC)}"
    about = "One mark for each model; lines are one standard error over images either way."
    table = Table(("model", "recipe", predictor, "± se", "mean mPE", "± se"), rows)
    axes = {"across": predictor, "upright": "mean mPE"}
    chart = scatter_chart(ident, dots, **axes, groups=study.groups, title=title)
    return Figure(title, about, table, chart)


def _error(value: float) -> str:
    """An error of foretelling, in the target's unit."""
    return fixed(value, 3 if not value >= 10 else 1)


def _beyond(study: CorrelationStudy) -> list[Figure]:
    if study.beyond is None:
        return []
    return [
        _ranking(
            study.beyond,
            "the accuracy lost beyond what clean accuracy explains",
            "beyond",
            study.level,
        ),
        _by_perturbation(study, study.beyond, BEYOND, "beyond-each"),
    ]


def _by_perturbation(
    study: CorrelationStudy, table: Correlations, target: str, ident: str
) -> Figure:
    names, perturbations = list(study.predictors), study.perturbations
    single = {(one.predictor, one.target): one.recipes for one in table.single}
    error = 1 - study.level
    values, rows = [], []
    for name in names:
        found = [single[name, each] for each in perturbations]
        values.append([finite(one.pearson) for one in found])
        numbers = (HUNDREDTHS(x.pearson) + ("*" if x.adjusted < error else "") for x in found)
        rows.append([name, *numbers])
    return Figure(
        f"{target} under each perturbation",
        f"Pearson's r over recipes of every quantity with the {target} under each perturbation. "
        f"In the table * marks those whose p-value, Holm's for all {len(table.single)}, is below "
        f"{error:.2g}.",
        Table(("quantity", *perturbations), rows),
        grid_chart(ident, names, perturbations, values, title=f"r with {target} by perturbation"),
    )
