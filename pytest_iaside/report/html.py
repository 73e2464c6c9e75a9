"""The report of a session: one HTML file that needs nothing else, neither network nor scripts.

It shows every verdict and check, and as many charts and pictures as fit into its size.
"""

import base64
import hashlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, cast

from markupsafe import Markup

from pytest_iaside.compare.glossary import glossary
from pytest_iaside.compare.words import NATS, confidence, in_unit
from pytest_iaside.report.figures import Cell, Table, interval_text, settings_table
from pytest_iaside.report.gate_figures import gate_figures, leading
from pytest_iaside.report.gates import (
    BOUNDS,
    Gate,
    gates,
    headline,
    interval_name,
    score_name,
    tally,
)
from pytest_iaside.report.numbers import NONE, fixed, percent, share, signed
from pytest_iaside.report.pictures import images_of
from pytest_iaside.report.record import CheckRecord, GateRecord, MetaRecord
from pytest_iaside.report.spectrum import spectrum_sentence
from pytest_iaside.report.wings import ReportSection, wings
from pytest_iaside.report.writing import templates, write_text

LIMIT_MB = 3.0
# Checks whose changes are shares, in percent.
SHARES = ("sid", "value", "band", "upper")
# What is shown of a gate besides verdict and checks, and how it is called; the last go first.
PARTS = {
    "charts": "the charts",
    "maps": "the maps",
    "thumbnails": "the small pictures",
    "examples": "the example pictures",
}


def write_html(
    records: Sequence[GateRecord], path: str | Path, *, meta: MetaRecord, limit: float = LIMIT_MB
) -> Path:
    """Write the report of ``records`` to ``path`` as ``write_text`` does, and raise as it does."""
    content = render(records, meta=meta, limit=limit)
    return write_text(content, path, "choose another path with --iaside-report")


def render(records: Sequence[GateRecord], *, meta: MetaRecord, limit: float = LIMIT_MB) -> str:
    """The report of ``records`` as HTML.

    What would make it larger than ``limit`` megabytes is left out, example pictures first; the
    report says what.
    """
    environment = templates()
    script = environment.get_template("report.js.j2").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = gates(records)
    page = environment.get_template("report.html.j2")
    body = environment.get_template("gate.html.j2")

    def draw(number: int, parts: Collection[str]) -> str:
        return body.render(section=_section(found[number], number + 1, parts))

    def bind(articles: Sequence[str], left_out: Sequence[str]) -> str:
        return page.render(
            headline=headline(found),
            failed=any(gate.failed for gate in found),
            tally=tally(found),
            meta=meta,
            gates=list(enumerate(found, 1)),
            articles=[Markup(article) for article in articles],
            left_out=left_out,
            interval=interval_name(found),
            score_name=score_name(found),
            # The page's policy lets only this very script run, whatever a test is called.
            script=Markup(script),
            script_digest=digest,
        )

    # With the longest that may have to be said of what is left out.
    said = [f"{words} of {len(found)} gates" for words in PARTS.values()]
    room = int(limit * 1e6) - len(bind([""] * len(found), said).encode())
    return bind(*_fitted(found, room, draw))


def _fitted(
    gates: Sequence[Gate], room: int, draw: Callable[[int, Collection[str]], str]
) -> tuple[list[str], list[str]]:
    """The article of each of ``gates``, drawn with as many parts as fit into ``room`` bytes.

    Failed gates go before others, worse ones before better. Returns what was left out, in words,
    beside the articles.
    """
    parts = list(PARTS)
    given = [0] * len(gates)  # how many of the parts each has
    articles = [draw(number, ()) for number in range(len(gates))]
    room -= sum(len(article.encode()) for article in articles)
    failed = [number for number, gate in enumerate(gates) if gate.failed]
    others = [number for number, gate in enumerate(gates) if not gate.failed]
    stages = ((failed, 1), (failed, 2), (failed, 3), (others, 1), (others, 3), (failed + others, 4))
    for number, count in ((number, count) for some, count in stages for number in some):
        if not _has(gates[number], parts[count - 1]):
            continue
        article = draw(number, parts[:count])
        room -= len(article.encode()) - len(articles[number].encode())
        if room < 0:
            # The next one might fit, but the order is by how much a gate matters.
            break
        articles[number], given[number] = article, count
    left_out = []
    for at, (part, words) in enumerate(PARTS.items()):
        missing = [
            count <= at and _has(gate, part) for gate, count in zip(gates, given, strict=True)
        ]
        if count := sum(missing):
            left_out.append(f"{words} of {count} gate{'' if count == 1 else 's'}")
    return articles, left_out


def _has(gate: Gate, part: str) -> bool:
    if part == "charts":
        return bool(gate.measurements)
    return bool(gate.record.get("section_pictures" if part == "maps" else "pictures"))


def _section(gate: Gate, number: int, parts: Collection[str]) -> dict[str, Any]:
    """What gate.html.j2 shows of ``gate``; ``ident`` is unique in the page, as ``number`` is."""
    ident, drawn = f"gate-{number}", "charts" in parts and bool(gate.measurements)
    figures = gate_figures(gate, ident) if drawn else []
    lead = leading(gate, figures)
    settings, differences = settings_table(gate.measurements) if drawn else (None, 0)
    return {
        "ident": ident,
        "gate": gate,
        "charts": "charts" in parts,
        "warnings": _warnings(gate),
        "checks": _checks_table(gate),
        "lead": lead,
        "figures": [each for each in figures if each is not lead],
        "words": glossary(" ".join([gate.sentence, *gate.notes, *gate.causes])),
        "images": images_of(gate, "thumbnails" in parts, "examples" in parts) if drawn else None,
        "sections": _sections_of_wings(gate, ident, "maps" in parts) if drawn else [],
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


def _checks_table(gate: Gate) -> Table | None:
    if gate.comparison is None:
        return None
    either = gate.comparison["direction"] == "any"
    level, answers = gate.comparison["level"], gate.comparison["answers_level"]
    interval = confidence(level)
    if answers != level:
        interval += f" (answers: {confidence(answers)})"
    # The verdict stands where a phone shows it without scrolling.
    head = ("check", "verdict", "baseline", "candidate", "change", interval, "allowed")
    spectral = gate.candidate["spectral"] if gate.candidate else None
    unit = spectral["unit"] if spectral else NATS
    return Table(head, [_in_unit(_check_row(check, either), unit) for check in gate.checks])


def _in_unit(row: list[str | Cell], unit: str) -> list[str | Cell]:
    """A row of checks whose name, written for nats, is of what is in ``unit``."""
    name, *values = row
    return [in_unit(name, unit) if isinstance(name, str) else name, *values]


def _check_row(check: CheckRecord, either: bool) -> list[str | Cell]:
    """``either``: whether changes for the better count too."""
    name, verdict = check["name"], Cell(check["verdict"], check["verdict"])
    if name == "structured":
        both = check["baseline"], check["candidate"]
        words = ["structured" if each else "unstructured" for each in both]
        return ["told from noise", verdict, *words, NONE, NONE, "structured"]
    title = {
        "min_src": "signed SRC, least",
        "src": "signed SRC",
        "sid": f"importance above {check['where']}",
        "value": "v(all), nats",
        "band": f"ψ of {check['where']}, nats",
        "upper": f"upper half: ψ of {check['where']}, nats",
    }.get(name, check["where"])
    if name == "sid":
        check = _moved_upwards(check)
    show: Callable[[Any], str] = share if name == "sid" else fixed
    values = show(check["baseline"]), show(check["candidate"])
    if name in BOUNDS:
        sign = "≤" if check["better"] == "lower" else "≥"
        interval = interval_text(check["low"], check["high"])
        return [title, verdict, *values, NONE, interval, f"{sign} {fixed(check['limit'])}"]
    form, plain = (percent, share) if name in SHARES else (signed, fixed)
    change = form(check["change"]) + (" of v(all)" if name in ("value", "band", "upper") else "")
    two_sided = either or name == "upper"
    allowed = f"±{plain(abs(check['limit'] or 0.0))}" if two_sided else form(check["limit"])
    interval = interval_text(check["low"], check["high"], form)
    return [title, verdict, *values, change, interval, allowed]


def _moved_upwards(check: CheckRecord) -> CheckRecord:
    """The check of the SID as its sentence tells it: what moved upwards, not what is left below."""

    def turned(value: Any, start: float = 0.0) -> float | None:
        return None if value is None else start - value

    numbers = {key: turned(check[key]) for key in ("change", "limit")}
    ends = {"low": turned(check["high"]), "high": turned(check["low"])}
    values = {key: turned(check[key], 1.0) for key in ("baseline", "candidate")}
    return cast(CheckRecord, {**check, **numbers, **ends, **values})
