"""The tables of a gate: cells of text, some of them marked for a reader's eye."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_iaside.compare.comparison import confidence
from pytest_iaside.report.gates import Gate
from pytest_iaside.report.numbers import (
    NONE,
    count,
    duration,
    finite,
    fixed,
    percent,
    share,
    signed,
)

Profile = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One cell of a table; ``mark`` names what is special about it, for its style."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first of each row is its name."""

    head: tuple[str, ...]
    rows: list[list[Cell]]


def plain_row(*texts: str) -> list[Cell]:
    return [Cell(text) for text in texts]


def filled(rows: list[list[Cell]], columns: int) -> list[list[Cell]]:
    return [row + [Cell("")] * (columns - len(row)) for row in rows]


def interval_text(low: Any, high: Any, form: Callable[[Any], str] = fixed) -> str:
    if finite(low) is None or finite(high) is None:
        return NONE
    return f"{form(low)}…{form(high)}"


def checks_table(gate: Gate) -> Table:
    if gate.comparison is None:
        return _reading_checks_table(gate)
    head = (
        "check",
        "baseline",
        "candidate",
        "change",
        confidence(gate.comparison["level"]),
        "allowed",
        "verdict",
    )
    return Table(head, [_check_row(check, gate.comparison) for check in gate.checks])


def _check_row(check: Mapping[str, Any], comparison: Mapping[str, Any]) -> list[Cell]:
    baseline, candidate, change = check["baseline"], check["candidate"], check["change"]
    low, high, limit = check["low"], check["high"], check["limit"]
    both = "±" if comparison["thresholds"]["direction"] == "any" else ""
    texts: tuple[str, ...]
    match check["name"]:
        case "structured":
            words = ["structured" if value else "unstructured" for value in (baseline, candidate)]
            texts = ("ψ told from noise", *words, NONE, NONE, "structured")
        case "min_src":
            texts = (
                "signed SRC, least",
                fixed(baseline),
                fixed(candidate),
                NONE,
                interval_text(low, high),
                f"≥ {fixed(limit)}",
            )
        case "src":
            texts = (
                "signed SRC",
                fixed(baseline),
                fixed(candidate),
                signed(change),
                interval_text(low, high, signed),
                f"±{fixed(-limit)}" if both else signed(limit),
            )
        case "sid":
            texts = (
                f"importance below {check['where']}",
                share(baseline),
                share(candidate),
                percent(change),
                interval_text(low, high, percent),
                f"±{share(-limit)}" if both else percent(limit),
            )
        case _:
            name = "v(all), nats" if check["name"] == "value" else f"ψ of {check['where']}, nats"
            texts = (
                name,
                fixed(baseline),
                fixed(candidate),
                f"{percent(change)} of v(all)",
                interval_text(low, high, percent),
                f"±{share(-limit)}" if both else percent(limit),
            )
    return [*plain_row(*texts), Cell(check["verdict"], check["verdict"])]


def _reading_checks_table(gate: Gate) -> Table:
    level = confidence(gate.level or 0.95)
    head = ("check", "baseline", "candidate", "change", level, "allowed", "verdict")
    rows = []
    for check in gate.checks:
        bound = check["name"] == "bound"
        form = fixed if bound else signed
        sign = "≤" if check["better"] == "lower" else "≥"
        texts = (
            check["where"],
            fixed(check["baseline"]),
            fixed(check["candidate"]),
            NONE if bound else signed(check["change"]),
            interval_text(check["low"], check["high"], form),
            f"{sign} {fixed(check['limit'])}" if bound else signed(check["limit"]),
        )
        rows.append([*plain_row(*texts), Cell(check["verdict"], check["verdict"])])
    return Table(head, rows)


def settings_table(profiles: Mapping[str, Profile]) -> tuple[Table, int]:
    """Settings and environments side by side, and how many of the latter's rows differ."""
    facts = {role: _facts(profile) for role, profile in profiles.items()}
    names = list(dict.fromkeys(name for one in facts.values() for name in one))
    rows, differences = [], 0
    for name in names:
        texts = [one.get(name, NONE) for one in facts.values()]
        differ = len(set(texts)) > 1 and not name.startswith("cost: ")
        differences += differ
        cells = [Cell(text, "differs" if differ else "") for text in texts]
        if len(texts) > 1:
            cells.append(Cell("≠ differs" if differ else "", "differs" if differ else ""))
        rows.append([Cell(name), *cells])
    return Table(("", *profiles, *([""] if len(profiles) > 1 else [])), rows), differences


def _facts(profile: Profile) -> dict[str, str]:
    facts: dict[str, str] = {}
    for group, values in (
        ("model", profile["model"]),
        ("reference", profile["reference"]),
        ("rules", profile.get("rules", profile.get("settings", {}))),
        ("environment", dict(sorted(profile["environment"].items()))),
    ):
        facts |= {
            f"{group}: {key}": NONE if value is None else str(value)
            for key, value in values.items()
        }
    facts["cost: forward passes"] = count(profile["forward_passes"])
    if kept := profile.get("passes_from_cache"):
        facts["cost: of them from the cache"] = count(kept)
    if why := profile.get("not_cached_because"):
        facts["cost: not kept for the next run"] = why
    # A baseline that was read from its file does not tell how long it took.
    facts["cost: time"] = duration(profile["seconds"] or None)
    return facts
