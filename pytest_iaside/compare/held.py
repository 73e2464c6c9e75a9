"""What came of holding readings against a baseline's and against limits: checks, verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pytest_iaside.compare.comparison import Verdict, confidence, fails
from pytest_iaside.compare.evidence import worst
from pytest_iaside.measure.measurement import Readings
from pytest_iaside.thresholds import FailOn


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How far the quantities of a family may move; None leaves a check out.

    ``change`` is how far their means may get worse than the baseline's, ``bound`` what no mean
    may be worse than.
    """

    change: float | None = None
    bound: float | None = None


@dataclass(frozen=True, kw_only=True)
class QuantityChange:
    """One quantity's mean in both readings and its paired change.

    ``low``…``high`` is simultaneous over the quantities of its family; ``p_value`` is Holm's
    over all; ``moved`` says whether the change can be told from none.
    """

    name: str
    family: str
    better: str
    baseline: float
    candidate: float
    change: float
    low: float
    high: float
    p_value: float
    moved: bool


@dataclass(frozen=True, kw_only=True)
class ReadingCheck:
    """One family of quantities held against a limit, at the quantity that decides.

    Of a ``bound`` (name "bound") ``change`` and its interval are the candidate's mean itself.
    """

    name: str
    where: str
    better: str
    baseline: float
    candidate: float
    change: float
    low: float
    high: float
    limit: float
    verdict: Verdict

    def sentence(self, level: float) -> str:
        interval = f"{confidence(level)} {_number(self.low)}…{_number(self.high)}"
        if self.name == "bound":
            word = "at most" if self.better == "lower" else "at least"
            return f"{self.where} {_number(self.candidate)} ({interval}, {word} {self.limit:g})"
        interval = f"{confidence(level)} {_signed(self.low)}…{_signed(self.high)}"
        return (
            f"{self.where} {_number(self.baseline)} → {_number(self.candidate)} "
            f"({_signed(self.change)}, {interval}, allowed {_signed(self.limit)})"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadingsComparison:
    """Readings of a candidate held against a baseline's, immutable."""

    candidate: Readings
    baseline: Readings
    limits: Mapping[str, Limit]
    level: float
    images: int
    checks: tuple[ReadingCheck, ...]
    quantities: tuple[QuantityChange, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the checks: one drift makes drift, else one inconclusive inconclusive."""
        return worst([check.verdict for check in self.checks])

    @property
    def changed(self) -> bool:
        """Whether anything changed at all, allowed or not."""
        return any(quantity.moved for quantity in self.quantities)

    def fails(self, fail_on: FailOn = "drift") -> bool:
        """Whether the gate is red under ``fail_on``."""
        return fails(self.verdict, self.changed, fail_on)

    def summary(self) -> str:
        """The verdict in one line, the line that CI annotations show: what decides, first."""
        order = {"drift": 0, "inconclusive": 1, "pass": 2}
        first = sorted(self.checks, key=lambda check: order[check.verdict])
        shown = [check for check in first if check.verdict != "pass"] or first[:1]
        return "; ".join(check.sentence(self.level) for check in shown)

    def as_dict(self) -> dict[str, Any]:
        """The comparison in plain values, for reports and for the way through xdist."""
        return {
            "kind": self.candidate.kind,
            "verdict": self.verdict,
            "changed": self.changed,
            "summary": self.summary(),
            "level": self.level,
            "images": self.images,
            "limits": {family: asdict(limit) for family, limit in self.limits.items()},
            "checks": [
                {**asdict(check), "sentence": check.sentence(self.level)} for check in self.checks
            ],
            "quantities": [asdict(quantity) for quantity in self.quantities],
            "notes": list(self.notes),
            "candidate": self.candidate.as_dict(),
            "baseline": self.baseline.as_dict(),
        }


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _signed(value: float) -> str:
    digits = 3 if abs(value) < 10 else 1
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−").replace("inf", "∞")
