"""What the pages of all studies show: their models, how they were measured, and aligned lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from pytest_iaside.compare.comparison import confidence
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.report.columns import cells, pad, shorten
from pytest_iaside.report.figures import Figure
from pytest_iaside.report.numbers import NONE, finite, fixed, printable, share, signed
from pytest_iaside.report.tables import Table, interval_text, plain_row
from pytest_iaside.study.measured import LeftOut, MeasuredModel

COLUMNS = 80
LONGEST_NAME = 24
NAME = 20  # of a model in a line of its own


def models_figure(models: Sequence[MeasuredModel], level: float) -> Figure:
    """Every model that was measured, with its scores."""
    rows = []
    for one in models:
        profile = one.profile
        score = profile.interval("signed_src", level)
        value = profile.interval("value", level)
        rows.append(
            plain_row(
                one.name,
                one.model.group or NONE,
                signed(profile.signed_src),
                interval_text(score.low, score.high, signed),
                fixed(profile.value, 2),
                interval_text(value.low, value.high, lambda bound: fixed(bound, 2)),
                NONE if one.accuracy is None else share(one.accuracy.value),
                profile.unstructured_because,
            )
        )
    interval = confidence(level)
    head = ("model", "group", "signed SRC", interval, "v(all), nats", interval, "accuracy")
    return Figure(
        "The models",
        f"Each measured on the same images; {interval} over images.",
        Markup(""),
        Table((*head, "unstructured because"), rows),
        "",
        wide=True,
    )


def facts_table(
    profile: SpectralProfile, level: float, more: Mapping[str, str] | None = None
) -> Table:
    """How the models of a study were measured, all alike; ``profile`` is one of them."""
    found = profile.as_dict(level)
    facts = dict(more or {})
    for group in ("reference", "rules", "environment"):
        facts |= {
            f"{group}: {key}": NONE if value is None else str(value)
            for key, value in found[group].items()
        }
    return Table(("", "value"), [plain_row(name, value) for name, value in facts.items()])


def warnings_of(
    left_out: Sequence[LeftOut], unstructured: Sequence[MeasuredModel]
) -> Iterator[str]:
    """What a reader must know about models that do not count."""
    for model in left_out:
        yield f"{model.name} was left out, it could not be measured: {model.reason}"
    if unstructured:
        names = ", ".join(model.name for model in unstructured)
        yield (
            f"Left out because their ψ cannot be told from noise, so that their SID and SRC mean "
            f"nothing: {names}."
        )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines: the first column at the left, the others at the right."""
    shown = [[shorten(printable(first), LONGEST_NAME), *rest] for first, *rest in rows]
    widths = [max(cells(row[column]) for row in shown) for column in range(len(shown[0]))]
    return [
        "  ".join(
            pad(cell, width, right=column > 0)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in shown
    ]


def model_line(model: MeasuredModel, more: str = "") -> str:
    """One model that is done, for a terminal."""
    profile = model.profile
    parts = [
        pad(shorten(printable(model.name), NAME), NAME),
        f"SRC {signed(profile.signed_src)}" if profile.structured else "unstructured",
        f"v(all) {fixed(profile.value, 2)}",
        "" if model.accuracy is None else f"accuracy {share(model.accuracy.value)}",
        more,
    ]
    return "  ".join(part for part in parts if part)


def bounds(low: object, high: object) -> tuple[float | None, float | None]:
    """Of an interval, those that exist."""
    return finite(low), finite(high)
