"""The part of the HTML report about one gate: warnings, checks, figures, images, settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.figures import Cell, Figure, Table, interval_text, settings_table
from pytest_iaside.report.gate_figures import gate_figures
from pytest_iaside.report.gates import BOUNDS, Gate
from pytest_iaside.report.images import Images, images_of
from pytest_iaside.report.numbers import NONE, fixed, percent, share, signed
from pytest_iaside.report.record import CheckRecord
from pytest_iaside.report.spectrum import spectrum_sentence
from pytest_iaside.report.wings import ReportSection, wings

# Checks whose changes are shares, in percent.
SHARES = ("sid", "value", "band")
ROLES: tuple[Literal["baseline"], Literal["candidate"]] = ("baseline", "candidate")


@dataclass(frozen=True)
class Detail:
    """How much is shown of a gate besides its verdict and its checks."""

    charts: bool = True
    maps: bool = True
    """The pictures of wings' sections."""
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
    sections: list[ReportSection]
    settings: Table | None
    differences: int


def section(gate: Gate, number: int, detail: Detail = Detail()) -> Section:
    """What the report says of ``gate``, the ``number``-th in the page."""
    ident = f"gate-{number}"
    figures: list[Figure] = []
    images, sections, settings, differences = None, [], None, 0
    if detail.charts and (measurements := gate.measurements):
        figures = gate_figures(gate, ident)
        images = images_of(gate, thumbnails=detail.thumbnails, examples=detail.examples)
        sections = _sections_of_wings(gate, ident, detail)
        settings, differences = settings_table(measurements)
    return Section(
        ident=ident,
        gate=gate,
        detail=detail,
        warnings=_warnings(gate),
        checks=_checks_table(gate) if gate.checks else None,
        figures=figures,
        images=images,
        sections=sections,
        settings=settings,
        differences=differences,
    )


def _sections_of_wings(gate: Gate, ident: str, detail: Detail) -> list[ReportSection]:
    contents = gate.record["sections"]
    pictures = gate.record.get("section_pictures", {}) if detail.maps else {}
    found = [
        wing.draw(contents[wing.name], pictures.get(wing.name), f"{ident}-{wing.name}")
        for wing in wings()
        if wing.draw is not None and wing.name in contents
    ]
    return [each for each in found if each is not None]


def _warnings(gate: Gate) -> list[str]:
    notes = list(gate.notes)
    profile, spectrum = gate.profiles.get("candidate"), gate.record["spectrum"]
    # A comparison has a check for it, and a failed gate says it in its sentence.
    if profile and not gate.comparison and not gate.failed and not profile["structured"]:
        notes.insert(0, f"The profile is unstructured: {profile['unstructured_because']}")
    # Only the score takes a natural spectrum for granted.
    if profile and spectrum and not spectrum["natural"]:
        notes.append(spectrum_sentence(spectrum))
    return notes


def _checks_table(gate: Gate) -> Table:
    either = gate.comparison is not None and gate.comparison["direction"] == "any"
    level = confidence(gate.level or 0.95)
    head = ("check", "baseline", "candidate", "change", level, "allowed", "verdict")
    return Table(head, [_check_row(check, either) for check in gate.checks])


def _check_row(check: CheckRecord, either: bool) -> list[str | Cell]:
    """``either``: whether changes for the better count too."""
    name, verdict = check["name"], Cell(check["verdict"], check["verdict"])
    if name == "structured":
        words = ["structured" if check[role] else "unstructured" for role in ROLES]
        return ["ψ told from noise", *words, NONE, NONE, "structured", verdict]
    title = {
        "min_src": "signed SRC, least",
        "src": "signed SRC",
        "sid": f"importance below {check['where']}",
        "value": "v(all), nats",
        "band": f"ψ of {check['where']}, nats",
    }.get(name, check["where"])
    value: Callable[[Any], str] = share if name == "sid" else fixed
    values = [value(check[role]) for role in ROLES]
    if name in BOUNDS:
        sign = "≤" if check["better"] == "lower" else "≥"
        interval = interval_text(check["low"], check["high"])
        return [title, *values, NONE, interval, f"{sign} {fixed(check['limit'])}", verdict]
    form: Callable[[Any], str] = percent if name in SHARES else signed
    change = form(check["change"]) + (" of v(all)" if name in ("value", "band") else "")
    allowed = form(check["limit"])
    if either:
        allowed = f"±{(share if name in SHARES else fixed)(abs(check['limit'] or 0.0))}"
    interval = interval_text(check["low"], check["high"], form)
    return [title, *values, change, interval, allowed, verdict]
