"""Parts of every study's page: its models, how they were measured, and aligned lines."""

import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pytest_iaside.compare.words import confidence
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.report import columns
from pytest_iaside.report.charts.groups import Line, curves_by_band
from pytest_iaside.report.columns import pad, shorten
from pytest_iaside.report.figures import Figure, Table, interval_text, settings_of
from pytest_iaside.report.numbers import NONE, fixed, printable, share, signed
from pytest_iaside.report.pages import Page
from pytest_iaside.report.recorded import measurement_record
from pytest_iaside.study.charts import convergence_curves
from pytest_iaside.study.models import MeasuredModel, MeasuredModels, information_of

COLUMNS = 80
LONGEST_NAME = 24
NAME = 20  # of a model in a line of its own
SHOWN = 40  # points of a convergence curve
HUNDREDTHS = partial(signed, digits=2)


def study_page(
    study: MeasuredModels[Any],
    *,
    title: str,
    headline: str,
    about: str,
    figures: Sequence[Figure],
    settings: Mapping[str, str] | None = None,
    marked: bool = False,
) -> Page:
    """The page of a study of models, with figures of them all and how they were measured.

    Unstructured models are left out, or ``marked``.
    """
    warnings = [
        f"{name} was left out, it could not be measured: {reason}"
        for name, reason in study.left_out
    ]
    if study.unstructured:
        names = ", ".join(model.name for model in study.unstructured)
        what = "Marked, and left out of what is read off SIDs," if marked else "Left out"
        warnings.append(
            f"{what} because their ψ cannot be told from noise, so that their SID and SRC mean "
            f"nothing: {names}."
        )
    return Page(
        title=title,
        headline=headline,
        about=about,
        warnings=warnings,
        figures=[
            *figures,
            _models_figure(study),
            information_figure({one.name: one.profile for one in study.measured}),
        ],
        settings=study_settings(study.measured[0].profile, settings),
    )


def _models_figure(study: MeasuredModels[Any]) -> Figure:
    rows = []
    for one in study.measured:
        profile = one.profile
        score = profile.interval("signed_src", study.level)
        value = profile.interval("value", study.level)
        src = signed(profile.signed_src), interval_text(score.low, score.high, signed)
        bounds = interval_text(value.low, value.high, partial(fixed, digits=2))
        numbers = *src, fixed(profile.value, 2), bounds, share(one.accuracy)
        rows.append([one.name, one.model.group or NONE, *numbers, profile.unstructured_because])
    interval = confidence(study.level)
    head = ("model", "group", "signed SRC", interval, "v(all), nats", interval, "accuracy")
    about = f"Each measured on the same images; {interval} over images."
    return Figure("The models", about, Table((*head, "unstructured because"), rows), wide=True)


def information_figure(profiles: Mapping[str, SpectralProfile], first: str = "model") -> Figure:
    """What each of ``profiles``, by name, finds of the labels, and how certain its ψ is."""
    rows, curves = [], {}
    for name, profile in profiles.items():
        told = information_of(profile)
        steps = profile.convergence()
        shown = np.unique(np.linspace(1, len(steps), SHOWN).round().astype(int))
        curves[name] = [(int(at), float(steps[at - 1])) for at in shown if len(steps)]
        numbers = (told[each] for each in ("label_entropy", "information_bound"))
        bounds = (told[each] for each in ("error_bound", "tight_error_bound"))
        found = [*map(fixed, numbers), share(told["information_share"])]
        last = fixed(float(steps[-1]) if len(steps) else None, 4)
        rows.append([name, *found, last, *map(fixed, bounds)])
    head = (
        *(first, "H(Y), nats", "found of it", "share"),
        *("last step", "bound (paper)", "bound that suffices"),
    )
    return Figure(
        "Information and convergence",
        "The entropy of the labels H(Y), and H(Y) + v + C, what a model finds of it at least, "
        "which is below 0 where it is more sure than right. The curves are how far ψ moved with "
        "the next image, the mean over bands, in nats: what still falls has not settled. Bounds "
        "are on the error of ψ, the paper's and the one that suffices.",
        Table(head, rows),
        convergence_curves("convergence", curves),
    )


def curves_figure(
    title: str,
    about: str,
    profile: SpectralProfile,
    lines: Sequence[Line],
    *,
    ordered: bool,
    head: Sequence[str] = ("group",),
    counts: Sequence[int] = (),
) -> Figure:
    """SIDs as curves over the bands of ``profile``; ``counts`` are the table's second column."""
    partition = profile.partition
    rows = [[line.name or NONE, *map(fixed, line.values)] for line in lines]
    for row, count in zip(rows, counts, strict=False):
        row.insert(1, str(count))
    table = Table((*head, *(f"band {band}" for band in range(partition.bands))), rows)
    chart = curves_by_band("sid", partition.edges.tolist(), lines, ordered=ordered, title=title)
    return Figure(title, about, table, chart)


def study_settings(profile: SpectralProfile, more: Mapping[str, str] | None = None) -> Table:
    """How the models of a study were measured, all alike; ``profile`` is of one of them."""
    found = settings_of(measurement_record(profile))
    own = {name: text for name, text in found.items() if not name.startswith(("model", "cost"))}
    return Table(("", "value"), [*(more or {}).items(), *own.items()])


def lines_of(*blocks: Sequence[str], sentence: str) -> list[str]:
    """``blocks`` of lines, then ``sentence``, an empty line before each but the first."""
    wrapped = textwrap.wrap(sentence, COLUMNS)
    return [line for block in (*blocks, wrapped) for line in ("", *block)][1:]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines, the names in the first column in no more than they may take."""
    names = (shorten(printable(first), LONGEST_NAME) for first, *_ in rows)
    return columns.aligned([[name, *row[1:]] for name, row in zip(names, rows, strict=True)])


def model_line(model: MeasuredModel, more: str = "") -> str:
    """One model that is done, for a terminal."""
    profile = model.profile
    parts = [
        pad(shorten(printable(model.name), NAME), NAME),
        f"SRC {signed(profile.signed_src)}" if profile.structured else "unstructured",
        f"v(all) {fixed(profile.value, 2)}",
        "" if model.accuracy is None else f"accuracy {share(model.accuracy)}",
        more,
    ]
    return "  ".join(part for part in parts if part)
