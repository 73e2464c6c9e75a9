"""Gates as every report shows them: label, verdict, score and their order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_iaside.compare.words import confidence
from pytest_iaside.report.figures import interval_text
from pytest_iaside.report.numbers import NONE, compact, duration, finite, fixed, printable, signed
from pytest_iaside.report.record import (
    CheckRecord,
    ComparisonRecord,
    GateRecord,
    Number,
    SpectralRecord,
)

MARKS = {
    "drift": "✗",
    "refused": "!",
    "changed": "≠",
    "inconclusive": "?",
    "updated": "↻",
    "created": "+",
    "nothing found": "○",
    "pass": "✓",
}
WORST_FIRST = tuple(MARKS)
VERDICTS = ("drift", "inconclusive", "nothing found", "pass")
# A green gate says one of two things: that a change was shown to be small, or that none was seen.
MEANINGS = {
    "pass": "shown to be within what is allowed",
    "nothing found": "not shown to be within what is allowed, but a harmful change would have "
    "been found",
}
# The checks of a spectral gate that are of no answers.
NOT_ANSWERS = ("structured", "src", "min_src", "sid", "value", "band", "upper")
BOUNDS = ("min_src", "bound")  # checks of the candidate itself, whatever the baseline is


@dataclass(frozen=True, kw_only=True)
class Score:
    """The quantity that an overview shows of a gate, with the paired interval of its change.

    ``quantity`` is empty for signed SRC. A number is None where the gate has no such number, and
    NaN where it does not exist.
    """

    quantity: str = ""
    before: Number = None
    after: Number = None
    change: Number = None
    low: Number = None
    high: Number = None
    lower_is_better: bool = False

    @property
    def harm(self) -> float | None:
        """The change, with a sign that makes it negative where it is for the worse."""
        change = finite(self.change)
        return -change if change is not None and self.lower_is_better else change

    @property
    def values(self) -> str:
        """``0.346 → 0.357``; of a gate without a baseline ``→ 0.357``."""
        if self.after is None:
            return ""
        before = "" if self.before is None else f"{fixed(self.before)} "
        return f"{before}→ {fixed(self.after)}"

    @property
    def changed_by(self) -> str:
        """``+0.011 (−0.002…+0.024)``."""
        interval = interval_text(self.low, self.high, signed)
        after = "" if interval == NONE else f" ({interval})"
        return "" if self.change is None else f"{signed(self.change)}{after}"


class Gate:
    """One gate as reports show it, called ``label``.

    ``word`` is its verdict, or what was done where nothing was compared; a gate that passes its
    checks and fails all the same, under fail_on='any-change', is ``changed``. ``comparison`` is
    None where nothing was compared, or a new baseline with itself. ``measurements`` are by role:
    baseline, where there is one, and candidate; so are ``profiles``, empty for other kinds of
    gates than spectral ones. ``forward_passes`` are those that this run needed. ``size`` says how
    many images, and groups of them, there were; it is empty where no groups were given.
    """

    def __init__(self, record: GateRecord, label: str) -> None:
        self.record, self.label, self.failed = record, label, record["failed"]
        compared, done = record["comparison"], record["status"]
        # A new baseline is compared with itself, unless it overrules a verdict.
        self.comparison: ComparisonRecord | None = compared if record["verdict"] else None
        self.candidate = compared["candidate"] if compared else record["measurement"]
        self.checks: Sequence[CheckRecord] = self.comparison["checks"] if self.comparison else ()
        self.notes: Sequence[str] = self.comparison["notes"] if self.comparison else ()
        baseline = self.comparison["baseline"] if self.comparison else None
        both = (("baseline", baseline), ("candidate", self.candidate))
        self.measurements = {role: one for role, one in both if one}
        self.profiles = {
            role: spectral
            for role, one in self.measurements.items()
            if (spectral := one["spectral"]) is not None
        }
        counted = compared or self.candidate
        groups = counted["groups"] if counted else None
        several = "s" * (groups != 1)
        self.size = (
            f"{counted['images']} images in {groups} group{several}" if counted and groups else ""
        )
        self.score = _score(self.comparison, self.profiles.get("candidate"))
        self.word = str(record["verdict"]) if done == "compared" else done
        if self.word in ("pass", "nothing found") and self.failed:
            self.word = "changed"
        self.mark = MARKS[self.word]
        self.meaning = MEANINGS.get(self.word, "")
        self.sentence = self._sentence()
        self.headline = self._headline()
        self.causes: Sequence[str] = self.comparison["causes"] if self.comparison else ()
        self.forward_passes: int | None = None
        if cost := self.candidate:
            known = cost["passes_from_cache"] - cost["passes_replayed"]
            self.forward_passes = cost["forward_passes"] - known

    def _sentence(self) -> str:
        """What came of it, and where it failed what made it fail."""
        told, fail_on = printable(self.record["summary"]), self.record["fail_on"]
        if not self.failed:
            return told
        if self.word in ("changed", "inconclusive") and fail_on != "drift":
            told += f" (fails under fail_on={printable(fail_on)})"
        spectral = self.profiles.get("candidate")
        if self.comparison is None and spectral and not spectral["structured"]:
            because = printable(spectral["unstructured_because"])
            # A baseline that is refused for this reason already says so.
            told += "" if because in told else f"; unstructured: {because}"
        return told

    def _headline(self) -> str:
        """What got worse in words, where it failed; else the whole sentence."""
        told = self.comparison["headline"] if self.comparison and self.failed else ""
        return printable(told[:1].upper() + told[1:]) if told else self.sentence

    @property
    def full_label(self) -> str:
        """The label, and the quantity of the score where it is not signed SRC."""
        quantity = self.quantity
        return f"{self.label}: {quantity}" if quantity else self.label

    @property
    def quantity(self) -> str:
        """What the score is of; empty of signed SRC, and where the label says it already."""
        quantity = printable(self.score.quantity)
        return "" if self.label.endswith(quantity) else quantity

    @property
    def row(self) -> tuple[str, str, str, str, str]:
        """Score, change, verdict, forward passes and seconds in words, as tables show them."""
        return (
            self.score.values,
            self.score.changed_by,
            f"{self.mark} {self.word}",
            compact(self.forward_passes),
            duration(self.record["seconds"]),
        )


def gates(records: Sequence[GateRecord]) -> list[Gate]:
    """One Gate for each record, worst first: failed before not, then by verdict and change."""
    # A parametrised id may hold "::" of its own: only what stands before the "[" is a path.
    tests = [record["test"].partition("[") for record in records]
    names = [head.rpartition("::")[2] + bracket + rest for head, bracket, rest in tests]
    short = [_label(record, name) for record, name in zip(records, names, strict=True)]
    taken = Counter(short)
    found = [
        Gate(record, label if taken[label] == 1 else _label(record, record["test"]))
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
    failed = sum(gate.failed for gate in found)
    every = f"{len(found)} gate{'' if len(found) == 1 else 's'}"
    return f"{failed} of {every} failed" if failed else f"{every}, none failed"


def tally(found: Sequence[Gate]) -> dict[str, int]:
    """How many gates there are of each word that occurs, worst first."""
    counts = Counter(gate.word for gate in found)
    return {word: counts[word] for word in WORST_FIRST if counts[word]}


def interval_name(found: Sequence[Gate]) -> str:
    """``95% CI`` where the gates' intervals are all of one level."""
    levels = {gate.comparison["level"] for gate in found if gate.comparison}
    return confidence(levels.pop()) if len(levels) == 1 else "CI"


def score_name(found: Sequence[Gate]) -> str:
    """The title of the column of scores: spectral gates alone have signed SRC."""
    return "score" if any(gate.score.quantity for gate in found) else "signed SRC"


def _score(comparison: ComparisonRecord | None, spectral: SpectralRecord | None) -> Score:
    """The quantity of the first check with the worst verdict; of spectral gates signed SRC.

    Where the answers of a spectral gate drifted, what drifted goes before its score.
    """
    if comparison is None or spectral:
        answers = () if comparison is None else comparison["checks"]
        fallen = [c for c in answers if c["verdict"] == "drift" and c["name"] not in NOT_ANSWERS]
        return _of_check(fallen[0]) if fallen else signed_src_score(comparison, spectral)
    checks = comparison["checks"]
    told = [each for each in checks if each["name"] != "structured"] or checks
    check = min(told, key=lambda each: VERDICTS.index(each["verdict"]))
    if check["name"] in BOUNDS:
        return Score(quantity=check["where"], after=check["candidate"])
    return _of_check(check)


def signed_src_score(comparison: ComparisonRecord | None, spectral: SpectralRecord | None) -> Score:
    """Signed SRC of a spectral gate; with the interval of its change where that is checked."""
    if comparison is None or spectral is None:
        return Score(after=spectral["signed_src"] if spectral else None)
    check = next((each for each in comparison["checks"] if each["name"] == "src"), None)
    if check is not None:
        return replace(_of_check(check), quantity="")
    baseline, nan = comparison["baseline"]["spectral"], float("nan")
    before, after = baseline["signed_src"] if baseline else None, spectral["signed_src"]
    change = (nan if after is None else after) - (nan if before is None else before)
    return Score(before=before, after=after, change=change)


def _of_check(check: CheckRecord) -> Score:
    return Score(
        quantity=check["where"],
        before=check["baseline"],
        after=check["candidate"],
        change=check["change"],
        low=check["low"],
        high=check["high"],
        lower_is_better=check["better"] == "lower",
    )


def _label(record: GateRecord, test: str) -> str:
    name = record["name"]
    return printable(f"{test} · {name}" if name else test)
