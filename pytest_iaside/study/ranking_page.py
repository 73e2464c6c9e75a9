"""A ranking of models for an environment, as lines and as a page."""

from __future__ import annotations

from functools import partial

from pytest_iaside.compare.words import confidence, points
from pytest_iaside.report.columns import aligned, shorten
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import fixed, printable, share
from pytest_iaside.report.pages import Page
from pytest_iaside.study.effective import EffectiveRobustness
from pytest_iaside.study.pages import COLUMNS, HUNDREDTHS, lines_of
from pytest_iaside.study.ranking import Order, RankedModel, Ranking

NAME = 22
NARROW = 16  # beside one column more
WHAT = {
    "accuracy": "accuracy",
    "log-likelihood": "log-likelihood (nats)",
    "probability": "probability of the label",
}

FEWEST = 5
"""Models from which on a correlation is told: of fewer it says nothing."""


def lines(found: Ranking) -> list[str]:
    """The table for a terminal, at most 80 columns."""
    other: Order = "lost" if found.order == "left" else "left"
    head = ["rank", "model", found.order, confidence(found.level), other]
    beyond = found.effective
    head += ["measured", "rank"] if found.measured else []
    table = [head + (["beyond"] if beyond else [])]
    for at, model in enumerate(found.models):
        row = [_ranks(found.ranks[at]), shorten(printable(model.name), NARROW if beyond else NAME)]
        row += _bounds(found, model, found.order)
        row.append(_shown(found, found.foretold(model, other).value))
        if (measured := found.found(model, found.order)) is not None:
            row += [_shown(found, measured.value), _ranks(found.measured_ranks[at])]
        if beyond is not None:
            row.append(points(float(beyond.values[at])))
        table.append(row)
    # Two columns at the left: the names are the second.
    room = max(len(row[1]) for row in table)
    texts = aligned([[f"{row[0]:<5}  {row[1]:<{room}}", *row[2:]] for row in table])
    return lines_of([shorten(_title(found), COLUMNS)], texts, sentence=_told(found))


def page(found: Ranking) -> Page:
    """The page of the ranking."""
    interval, show = confidence(found.level), partial(_shown, found)
    other: Order = "lost" if found.order == "left" else "left"
    head = ["rank", "model", "clean accuracy", f"{found.order}, foretold", interval]
    head += [f"{found.order}, measured", interval, "rank as measured"] if found.measured else []
    head += ["beyond clean accuracy, points", interval] if found.effective else []
    head += [f"{other}, foretold", interval]
    head += [f"{found.order} in {name}, foretold" for name in found.environments]
    rows = []
    for at, model in enumerate(found.models):
        row = [_ranks(found.ranks[at]), model.name, share(model.accuracy)]
        row += _bounds(found, model, found.order)
        if (measured := found.found(model, found.order)) is not None:
            row += [show(measured.value), interval_text(measured.low, measured.high, show)]
            row.append(_ranks(found.measured_ranks[at]))
        if (beyond := found.effective) is not None:
            row += _beyond(beyond, at)
        row += _bounds(found, model, other)
        outcome = model.foretold.left if found.order == "left" else model.foretold.lost
        rows.append([*row, *map(show, outcome.mean(axis=1))])
    best = "most is foretold to be left of" if found.order == "left" else "least is lost by"
    tied = sum(low == 1 for low, _ in found.ranks) - 1
    others = f" and {tied} that cannot be told from it" if tied else ""
    return Page(
        title="models for an environment",
        headline=f"In {', '.join(found.environments)}, {best} {found.models[0].name}{others}.",
        about=_told(found),
        figures=[Figure("The models", f"{_title(found)}.", Table(head, rows), wide=True)],
    )


def _title(found: Ranking) -> str:
    return printable(f"{WHAT[found.score]} {found.order} in {', '.join(found.environments)}")


def _told(found: Ranking) -> str:
    """What the ranks mean, and how far what was foretold and measured agree."""
    ranked = zip(found.models, found.ranks, strict=True)
    first = [each.name for each, rank in ranked if rank[0] == 1]
    told = [
        f"Models with several ranks cannot be told apart ({confidence(found.level)}, Holm's, all "
        "pairs on the same images).",
        f"Among the first: {', '.join(first)}." if len(first) > 1 else f"First: {first[0]}.",
        "Foretold from the environment's mean gains and noise in each band alone.",
    ]
    if found.order == "lost":
        told.append("A model that is seldom right has little to lose: see what is left.")
    if (beyond := found.effective) is not None:
        best = int(beyond.values.argmax())
        value, interval = _beyond(beyond, best)
        told.append(
            f"Beyond what clean accuracy explains, {found.models[best].name} keeps the most: "
            f"{value} points ({confidence(found.level)} {interval}) above the line of log-odds "
            "through all models, as measured."
        )
    if (r := found.agreement) is not None and r.units >= FEWEST:
        bounds = interval_text(r.low, r.high, HUNDREDTHS)
        told.append(
            f"Foretold against measured: r = {HUNDREDTHS(r.pearson)} ({bounds}) over {r.units} "
            "models."
        )
    elif not found.measured:
        told.append("Intervals are over images; how far the surrogate is off, --measure shows.")
    return " ".join([*told, *(f"Note: {note}." for note in found.notes)])


def _bounds(found: Ranking, model: RankedModel, order: Order) -> list[str]:
    estimate, show = found.foretold(model, order), partial(_shown, found)
    return [show(estimate.value), interval_text(estimate.low, estimate.high, show)]


def _beyond(found: EffectiveRobustness, at: int) -> list[str]:
    """The accuracy of a model above the line, in points, and its interval."""
    value, low, high = (float(each[at]) for each in (found.values, found.low, found.high))
    return [points(value), interval_text(low, high, points)]


def _shown(found: Ranking, value: float) -> str:
    return fixed(value) if found.score == "log-likelihood" else share(value)


def _ranks(rank: tuple[int, int]) -> str:
    best, worst = rank
    return str(best) if best == worst else f"{best}–{worst}"
