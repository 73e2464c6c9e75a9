"""What every report says of a gate, read off its record: its name, its place, its words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_iaside.compare.comparison import confidence
from pytest_iaside.report.numbers import finite, printable

# One assertion of one test, in plain JSON types, as session.py and cli.py collect them.
Record = Mapping[str, Any]

MARKS = {
    "drift": "✗",
    "refused": "!",
    "changed": "≠",
    "inconclusive": "?",
    "updated": "↻",
    "created": "+",
    "pass": "✓",
}
WORST_FIRST = tuple(MARKS)


@dataclass(frozen=True, kw_only=True)
class Score:
    """The one quantity that overviews show of a gate, with the paired interval of its change.

    Signed SRC, or the ``quantity`` that decides a gate of another kind. ``harm`` is the change
    with a sign that makes what is worse the less. What there is not is None.
    """

    quantity: str = ""
    before: float | None = None
    after: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    harm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate as reports show it.

    ``word`` is its verdict, or what was done where nothing was compared; a gate that passes
    its checks and fails all the same, under fail_on='any-change', is ``changed``. ``profile`` is
    of the model under test; ``comparison`` None where it was compared with itself only, as a
    new baseline is; ``readings`` is a comparison of another kind. What a record does not hold is
    None.
    """

    record: Record
    comparison: Mapping[str, Any] | None
    readings: Mapping[str, Any] | None
    profile: Mapping[str, Any] | None
    label: str
    word: str
    failed: bool
    sentence: str
    score: Score
    level: float | None
    forward_passes: int | None
    seconds: float | None

    @property
    def mark(self) -> str:
        return MARKS[self.word]

    @property
    def baseline(self) -> Mapping[str, Any] | None:
        return self.comparison["baseline"] if self.comparison else None

    @property
    def checks(self) -> Sequence[Mapping[str, Any]]:
        compared = self.comparison or self.readings
        return compared["checks"] if compared else ()

    @property
    def notes(self) -> Sequence[str]:
        compared = self.comparison or self.readings
        return compared["notes"] if compared else ()


def gates(records: Sequence[Record]) -> list[Gate]:
    """One Gate for each record, worst first: failed before not, then by verdict and change."""
    short = [_short_label(record) for record in records]
    taken = Counter(short)
    found = [
        _gate(record, label if taken[label] == 1 else _label(record, record["test"]))
        for record, label in zip(records, short, strict=True)
    ]
    return sorted(
        found,
        key=lambda gate: (not gate.failed, WORST_FIRST.index(gate.word), gate.score.harm or 0.0),
    )


def headline(found: Sequence[Gate]) -> str:
    """The session in a few words: ``1 of 3 gates failed``."""
    if not found:
        return "no gate ran"
    plural = "gate" if len(found) == 1 else "gates"
    failed = sum(gate.failed for gate in found)
    if failed:
        return f"{failed} of {len(found)} {plural} failed"
    return f"{len(found)} {plural}, none failed"


def tally(found: Sequence[Gate]) -> dict[str, int]:
    """How many gates there are of each word that occurs, worst first."""
    counts = Counter(gate.word for gate in found)
    return {word: counts[word] for word in WORST_FIRST if counts[word]}


def interval_name(found: Sequence[Gate]) -> str:
    """``95% CI`` where the gates' intervals are all of one level."""
    levels = {gate.level for gate in found if gate.level is not None}
    return confidence(levels.pop()) if len(levels) == 1 else "CI"


def score_name(found: Sequence[Gate]) -> str:
    """What overviews call their scores: only one kind of gate has signed SRC."""
    return "score" if any(gate.score.quantity for gate in found) else "signed SRC"


def _gate(record: Record, label: str) -> Gate:
    comparison, readings = record["comparison"], record["readings"]
    measured = readings["candidate"] if readings else None
    profile = comparison["candidate"] if comparison else record["profile"]
    if record["status"] != "compared":
        comparison = readings = None
    score = _read_score(readings) if readings else _spectral_score(comparison, profile)
    failed = bool(record["failed"])
    word = _word(record)
    sentence = printable(record["summary"])
    if failed and word in ("changed", "inconclusive") and record["fail_on"] != "drift":
        sentence += f" (fails under fail_on={printable(record['fail_on'])})"
    if failed and comparison is None and profile and not profile["structured"]:
        because = printable(profile["unstructured_because"])
        # A baseline that is refused for it says so itself.
        sentence += "" if because in sentence else f"; unstructured: {because}"
    return Gate(
        record=record,
        comparison=comparison,
        readings=readings,
        profile=profile,
        label=label,
        word=word,
        failed=failed,
        sentence=sentence,
        score=score,
        level=(comparison or readings or {}).get("level"),
        forward_passes=measured["forward_passes"] if measured else _run_now(profile),
        seconds=finite(record["seconds"]),
    )


def _spectral_score(
    comparison: Mapping[str, Any] | None, profile: Mapping[str, Any] | None
) -> Score:
    after = finite(profile["signed_src"]) if profile else None
    if comparison is None:
        return Score(after=after)
    before = finite(comparison["baseline"]["signed_src"])
    checks = comparison["checks"]
    paired: Mapping[str, Any] = next((check for check in checks if check["name"] == "src"), {})
    change = finite(paired.get("change"))
    if change is None and after is not None and before is not None:
        change = after - before  # no limit on the drop: a difference without interval
    low, high = finite(paired.get("low")), finite(paired.get("high"))
    return Score(before=before, after=after, change=change, low=low, high=high, harm=change)


def _read_score(readings: Mapping[str, Any]) -> Score:
    order = ("drift", "inconclusive", "pass")
    check = min(readings["checks"], key=lambda check: order.index(check["verdict"]))
    after = finite(check["candidate"])
    if check["name"] == "bound":
        # Held against no baseline: what stands for one is the candidate itself.
        return Score(quantity=check["where"], after=after)
    change = finite(check["change"])
    return Score(
        quantity=check["where"],
        before=finite(check["baseline"]),
        after=after,
        change=change,
        low=finite(check["low"]),
        high=finite(check["high"]),
        harm=change if change is None or check["better"] == "higher" else -change,
    )


def _run_now(profile: Mapping[str, Any] | None) -> int | None:
    if profile is None:
        return None
    return int(profile["forward_passes"] - profile["passes_from_cache"])


def _word(record: Record) -> str:
    if record["status"] != "compared":
        return str(record["status"])
    verdict = str(record["verdict"])
    return "changed" if verdict == "pass" and record["failed"] else verdict


def _short_label(record: Record) -> str:
    # A parametrised id may hold "::" of its own: only what stands before the "[" is a path.
    head, bracket, parameters = str(record["test"]).partition("[")
    return _label(record, head.rsplit("::", 1)[-1] + bracket + parameters)


def _label(record: Record, test: str) -> str:
    name = record.get("name")
    return printable(f"{test} · {name}" if name else test)
