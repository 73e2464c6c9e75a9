"""One gate as the HTML report shows it: its numbers as charts and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pytest_iaside.compare.comparison import confidence
from pytest_iaside.explain.section import Diagnosis, diagnosis_of
from pytest_iaside.report.charts import gate as charts
from pytest_iaside.report.charts.gate import Change, Series
from pytest_iaside.report.charts.spectra import spectrum_figure
from pytest_iaside.report.figures import Figure
from pytest_iaside.report.gates import Gate
from pytest_iaside.report.images import Images, images_of
from pytest_iaside.report.numbers import finite, finite_list, fixed, p_value, signed
from pytest_iaside.report.readings import readings_figures
from pytest_iaside.report.spectrum import spectrum_sentence
from pytest_iaside.report.tables import (
    Cell,
    Profile,
    Table,
    checks_table,
    filled,
    interval_text,
    plain_row,
    settings_table,
)
from pytest_iaside.stats.score import src_range


@dataclass(frozen=True)
class Detail:
    """How much is shown of a gate besides its verdict and its checks."""

    charts: bool = True
    diagnosis: bool = True
    thumbnails: bool = True
    examples: bool = True


@dataclass(frozen=True)
class Section:
    """Everything that is shown of one gate; ``ident`` is unique in the page."""

    ident: str
    gate: Gate
    detail: Detail
    warnings: list[str]
    checks: Table | None
    figures: list[Figure]
    images: Images | None
    diagnosis: Diagnosis | None
    settings: Table | None
    differences: int


def section(gate: Gate, number: int, detail: Detail = Detail()) -> Section:
    """What the report says of ``gate``, the ``number``-th in the page."""
    ident = f"gate-{number}"
    profiles = _profiles(gate) if detail.charts else {}
    images = None
    if detail.charts:
        images = images_of(gate, thumbnails=detail.thumbnails, examples=detail.examples)
    figures = _figures(gate, ident, profiles) if profiles else []
    measured: Mapping[str, Profile] = profiles
    if gate.readings and detail.charts:
        figures = readings_figures(gate, ident)
        measured = {role: gate.readings[role] for role in ("baseline", "candidate")}
    settings, differences = settings_table(measured) if measured else (None, 0)
    return Section(
        ident=ident,
        gate=gate,
        detail=detail,
        warnings=_warnings(gate),
        checks=checks_table(gate) if gate.checks else None,
        figures=figures,
        images=images,
        diagnosis=diagnosis_of(gate, pictures=detail.diagnosis),
        settings=settings,
        differences=differences,
    )


def _profiles(gate: Gate) -> dict[str, Profile]:
    known = {"baseline": gate.baseline, "candidate": gate.profile}
    return {role: profile for role, profile in known.items() if profile is not None}


def _warnings(gate: Gate) -> list[str]:
    notes = list(gate.notes)
    profile = gate.profile
    # A comparison says it in its check "structured", a failed gate in its sentence.
    if profile and not gate.comparison and not gate.failed and not profile["structured"]:
        notes.insert(0, f"The profile is unstructured: {profile['unstructured_because']}")
    if not gate.readings and (facts := gate.record["spectrum"]) and not facts["natural"]:
        notes.append(spectrum_sentence(facts))
    return notes


def _figures(gate: Gate, ident: str, profiles: Mapping[str, Profile]) -> list[Figure]:
    found = [
        _score_figure(gate, f"{ident}-src", profiles),
        _sid_figure(f"{ident}-sid", profiles),
        _psi_figure(gate, f"{ident}-psi", profiles),
        _size_figure(f"{ident}-size", profiles),
    ]
    if facts := gate.record["spectrum"]:
        found.append(spectrum_figure(f"{ident}-spectrum", facts))
    return found


def _score_figure(gate: Gate, ident: str, profiles: Mapping[str, Profile]) -> Figure:
    points = {
        role: (
            finite(profile["signed_src"]),
            finite(profile["intervals"]["signed_src"]["low"]),
            finite(profile["intervals"]["signed_src"]["high"]),
        )
        for role, profile in profiles.items()
    }
    rows = [
        plain_row(role, fixed(value), interval_text(low, high), fixed(profiles[role]["src"]))
        for role, (value, low, high) in points.items()
    ]
    about = "The score on the range that any SID can attain, with its interval over images."
    score, allowed = gate.score, gate.comparison or {}
    base, change, low, high = score.before, score.change, score.low, score.high
    if base is not None and change is not None and low is not None and high is not None:
        points["paired"] = (base + change, base + low, base + high)
        rows.append(plain_row("paired change", signed(change), interval_text(low, high, signed)))
        about += (
            " The row “paired” decides: the change image by image, drawn from the baseline's score."
        )
    thresholds, most = {}, None
    if allowed:
        limits = allowed["thresholds"]
        if base is not None and limits["max_src_drop"] is not None:
            thresholds["allowed down to"] = base - limits["max_src_drop"]
            if limits["direction"] == "any":
                most = base + limits["max_src_drop"]
        if limits["min_src"] is not None:
            thresholds["min_src"] = limits["min_src"]
    rows += [plain_row(name, fixed(limit)) for name, limit in thresholds.items()]
    attainable = src_range(len(_any(profiles)["psi"]))
    rows.append(plain_row("attainable", f"{fixed(attainable[0])}…{fixed(attainable[1])}"))
    chart = charts.score_chart(ident, points, thresholds, attainable, most=most)
    head = ("", "signed SRC", _level(profiles), "SRC (the paper's)")
    return Figure("Spectral robustness score", about, Markup(chart), Table(head, filled(rows, 4)))


def _sid_figure(ident: str, profiles: Mapping[str, Profile]) -> Figure:
    series = [_series(role, profile, "sid") for role, profile in profiles.items()]
    return Figure(
        "Spectral importance distribution (SID)",
        "How importance is shared among bands; the least important one counts as 0. The more lies "
        "on the left, the higher the score.",
        Markup(charts.sid_chart(ident, _any(profiles)["band_edges"], series)),
        _band_table(profiles, series),
        marks="bar",
    )


def _psi_figure(gate: Gate, ident: str, profiles: Mapping[str, Profile]) -> Figure:
    series = [_series(role, profile, "psi") for role, profile in profiles.items()]
    table = _band_table(profiles, series)
    about = "What each band adds to the log-likelihood of the label; below 0 it harms."
    change = None
    if gate.comparison:
        bands, level = gate.comparison["bands"], gate.comparison["level"]
        change = Change(
            finite_list([band["change"] for band in bands]),
            finite_list([band["low"] for band in bands]),
            finite_list([band["high"] for band in bands]),
            [band["moved"] for band in bands],
            _allowed_band_change(gate.comparison),
        )
        table = Table(
            (*table.head, "change", f"{confidence(level)}, all bands", "p (Holm)", "moved"),
            [
                [*row, *_band_change_cells(band)]
                for row, band in zip(table.rows, bands, strict=True)
            ],
        )
        about += (
            " Below, the paired change on a larger scale: a triangle marks a band whose change "
            "noise does not explain, pointing down where its ψ fell."
        )
    chart = charts.psi_chart(ident, _any(profiles)["band_edges"], series, change)
    return Figure("Raw ψ, in nats", about, Markup(chart), table)


def _band_change_cells(band: Mapping[str, Any]) -> list[Cell]:
    moved = "" if not band["moved"] else "▼ fell" if band["change"] < 0 else "▲ rose"
    return [
        Cell(signed(band["change"])),
        Cell(interval_text(band["low"], band["high"], signed)),
        Cell(p_value(band["p_value"])),
        Cell(moved, "differs" if moved else ""),
    ]


def _allowed_band_change(comparison: Mapping[str, Any]) -> float | None:
    most, value = comparison["thresholds"]["max_band_drop"], finite(comparison["baseline"]["value"])
    return -most * value if most is not None and value is not None and value > 0 else None


def _size_figure(ident: str, profiles: Mapping[str, Profile]) -> Figure:
    series = [Series(role, finite_list(profile["by_size"])) for role, profile in profiles.items()]
    chart = charts.size_chart(ident, series)
    rows = [
        plain_row(str(size), *(fixed(one.values[size]) for one in series))
        for size in range(len(series[0].values))
    ]
    return Figure(
        "v(S) by coalition size",
        "Mean log-likelihood of the label over the coalitions of so many bands, in nats; from left "
        "to right it rises by v(all).",
        Markup(chart),
        Table(("bands", *profiles), rows),
    )


def _series(role: str, profile: Profile, what: str) -> Series:
    interval = profile["intervals"][what]
    return Series(
        role,
        finite_list(profile[what]),
        finite_list(interval["low"]),
        finite_list(interval["high"]),
    )


def _band_table(profiles: Mapping[str, Profile], series: Sequence[Series]) -> Table:
    head = ["band", "cycles/pixel"]
    for role in profiles:
        head += [role, _level(profiles)]
    rows = []
    for band, label in enumerate(_any(profiles)["band_labels"]):
        texts = [label.removesuffix(" cycles/px")]
        for one in series:
            texts += [fixed(one.values[band]), interval_text(*one.interval(band))]
        rows.append(plain_row(str(band), *texts))
    return Table(tuple(head), rows)


def _level(profiles: Mapping[str, Profile]) -> str:
    return confidence(_any(profiles).get("level", 0.95))


def _any(profiles: Mapping[str, Profile]) -> Profile:
    return next(iter(profiles.values()))
