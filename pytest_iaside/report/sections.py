"""The part of the HTML report about one gate: warnings, checks, figures, images, settings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.figures import Cell, Table, interval_text, settings_table
from pytest_iaside.report.gate_figures import gate_figures
from pytest_iaside.report.gates import BOUNDS, Gate
from pytest_iaside.report.numbers import NONE, fixed, percent, share, signed
from pytest_iaside.report.pictures import images_of
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
    maps: bool = True  # The pictures of wings' sections.
    thumbnails: bool = True
    examples: bool = True


def section(gate: Gate, number: int, detail: Detail = Detail()) -> dict[str, Any]:
    """What gate.html.j2 shows of ``gate``; ``ident`` is unique in the page, as ``number`` is."""
    ident, drawn = f"gate-{number}", detail.charts and bool(gate.measurements)
    settings, differences = settings_table(gate.measurements) if drawn else (None, 0)
    return {
        "ident": ident,
        "gate": gate,
        "detail": detail,
        "warnings": _warnings(gate),
        "checks": _checks_table(gate) if gate.checks else None,
        "figures": gate_figures(gate, ident) if drawn else [],
        "images": images_of(gate, detail.thumbnails, detail.examples) if drawn else None,
        "sections": _sections_of_wings(gate, ident, detail.maps) if drawn else [],
        "settings": settings,
        "differences": differences,
    }


def _sections_of_wings(gate: Gate, ident: str, maps: bool) -> list[ReportSection]:
    contents = gate.record["sections"]
    pictures = gate.record.get("section_pictures", {}) if maps else {}
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
    form, plain = (percent, share) if name in SHARES else (signed, fixed)
    change = form(check["change"]) + (" of v(all)" if name in ("value", "band") else "")
    allowed = f"±{plain(abs(check['limit'] or 0.0))}" if either else form(check["limit"])
    interval = interval_text(check["low"], check["high"], form)
    return [title, *values, change, interval, allowed, verdict]
