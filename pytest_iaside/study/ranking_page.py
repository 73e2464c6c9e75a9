"""A ranking of models for an environment, as lines and as a page."""

from __future__ import annotations

from collections.abc import Callable

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.columns import aligned, shorten
from pytest_iaside.report.figures import Figure, Table, interval_text
from pytest_iaside.report.numbers import NONE, fixed, printable, share
from pytest_iaside.report.pages import Page
from pytest_iaside.study.pages import COLUMNS, HUNDREDTHS, lines_of
from pytest_iaside.study.ranking import RankedModel, Ranking

NAME = 22
LOST = {"accuracy": "accuracy lost", "log-likelihood": "nats lost", "probability": "change of Q"}
LEFT = {
    "accuracy": "accuracy",
    "log-likelihood": "log-likelihood",
    "probability": "probability of the label",
}


def lines(found: Ranking) -> list[str]:
    """The table for a terminal, at most 80 columns."""
    interval = confidence(found.level)
    head = ["rank", "model", "clean", "foretold", interval]
    if found.measured:
        head += ["measured", "rank"]
    table = [head]
    for at, model in enumerate(found.models):
        row = [_ranks(found.ranks[at]), *_row(found, model)]
        if found.measured:
            row = [*row[:4], row[4], row[5], _ranks(found.measured_ranks[at])]
        table.append(row[: len(head)])
    # The second column is of names, and so at the left.
    room = max(len(row[1]) for row in table)
    texts = aligned([[f"{row[0]:<4}  {row[1]:<{room}}", *row[2:]] for row in table])
    title = f"{LOST[found.score]} in {', '.join(found.environments)}"
    return lines_of([shorten(printable(title), COLUMNS)], texts, sentence=_told(found))


def page(found: Ranking) -> Page:
    """The page of the ranking."""
    interval = confidence(found.level)
    head = ["rank", "model", "clean accuracy", "foretold", interval, "left"]
    head += ["measured", interval, "rank as measured"] if found.measured else []
    head += [f"foretold in {name}" for name in found.environments]
    show = _form(found)
    rows = []
    for at, model in enumerate(found.models):
        row = [_ranks(found.ranks[at]), model.name, share(model.accuracy)]
        row += [*_with_interval(found, model, measured=False), show(model.left.mean())]
        if found.measured:
            row += [*_with_interval(found, model, measured=True), _ranks(found.measured_ranks[at])]
        rows.append([*row, *map(show, model.foretold.mean(axis=1))])
    return Page(
        title="models for an environment",
        headline=f"{found.models[0].name} is foretold to "
        f"{'lose least' if found.order == 'loss' else 'do best'} in "
        f"{', '.join(found.environments)}.",
        about=_told(found),
        figures=[Figure("The models", f"{LOST[found.score]}.", Table(head, rows), wide=True)],
    )


def _told(found: Ranking) -> str:
    """What the ranks mean, and how far foretold and measured losses agree."""
    first = [
        each.name for each, rank in zip(found.models, found.ranks, strict=True) if rank[0] == 1
    ]
    told = [
        f"Models with several ranks cannot be told apart ({confidence(found.level)}, Holm's, all "
        "pairs on the same images).",
        f"Among the first: {', '.join(first)}." if len(first) > 1 else f"First: {first[0]}.",
        f"Most {LEFT[found.score]} is left of {found.most_left.name} "
        f"({_form(found)(found.most_left.left.mean())}).",
        "Foretold from the environment's mean gains and noise in each band alone.",
    ]
    if (r := found.agreement) is not None:
        bounds = interval_text(r.low, r.high, HUNDREDTHS)
        told.append(
            f"Foretold against measured: r = {HUNDREDTHS(r.pearson)} ({bounds}) over {r.units} "
            "models."
        )
    return " ".join([*told, *(f"Note: {note}." for note in found.notes)])


def _row(found: Ranking, model: RankedModel) -> list[str]:
    show = _form(found)
    measured = found.found(model)
    return [
        shorten(printable(model.name), NAME),
        share(model.accuracy),
        *_with_interval(found, model, measured=False),
        NONE if measured is None else show(measured.value),
    ]


def _with_interval(found: Ranking, model: RankedModel, *, measured: bool) -> list[str]:
    estimate = found.found(model) if measured else found.foretold(model)
    if estimate is None:
        return [NONE, NONE]
    show = _form(found)
    return [show(estimate.value), interval_text(estimate.low, estimate.high, show)]


def _form(found: Ranking) -> Callable[[float], str]:
    return fixed if found.score == "log-likelihood" else share


def _ranks(rank: tuple[int, int]) -> str:
    best, worst = rank
    return str(best) if best == worst else f"{best}–{worst}"
