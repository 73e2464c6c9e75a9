"""What a gate decides on, and the decision: checks, verdicts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_iaside.thresholds import FailOn, Thresholds

if TYPE_CHECKING:
    from pytest_iaside.compare.drivers import ImageChanges
    from pytest_iaside.measure.profile import SpectralProfile

Verdict = Literal["pass", "drift", "inconclusive"]
CheckName = Literal["structured", "min_src", "src", "sid", "value", "band"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One quantity held against its limit.

    ``change`` is candidate − baseline (for ``min_src`` the candidate's value itself), with its
    interval ``low``…``high``; ``limit`` is the bound on that change. ``changed`` says whether
    the interval leaves out no change at all. ``where`` names the band or frequency concerned.
    """

    name: CheckName
    baseline: float
    candidate: float
    change: float
    low: float
    high: float
    limit: float
    verdict: Verdict
    changed: bool = False
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class BandChange:
    """One band's ψ in both profiles, in nats, and its paired change.

    ``low``…``high`` is simultaneous over all bands; ``p_value`` is Holm's; ``moved`` says
    whether the change can be told from none at the comparison's level.
    """

    index: int
    label: str
    baseline: float
    candidate: float
    change: float
    low: float
    high: float
    p_value: float
    moved: bool

    @property
    def name(self) -> str:
        """``band 5 (0.31–0.38 cycles/px)``."""
        return f"band {self.index} ({self.label})"


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """A candidate held against its baseline, immutable.

    ``verdict`` is the worst of its checks: one drift makes drift, else one inconclusive
    makes inconclusive. ``images`` is how many pairs decided it.
    """

    candidate: SpectralProfile
    baseline: SpectralProfile
    thresholds: Thresholds
    level: float
    images: int
    checks: tuple[Check, ...]
    bands: tuple[BandChange, ...]
    notes: tuple[str, ...] = ()
    image_changes: ImageChanges | None = None
    """What each image adds to the change that decides; None unless images are paired."""

    @property
    def verdict(self) -> Verdict:
        verdicts = {check.verdict for check in self.checks}
        if "drift" in verdicts:
            return "drift"
        return "inconclusive" if "inconclusive" in verdicts else "pass"

    @property
    def changed(self) -> bool:
        """Whether anything changed at all, allowed or not."""
        return any(check.changed for check in self.checks) or any(b.moved for b in self.bands)

    def fails(self, fail_on: FailOn = "drift") -> bool:
        """Whether the gate is red under ``fail_on``; an unstructured profile never passes."""
        unstructured = any(c.name == "structured" and c.verdict != "pass" for c in self.checks)
        return unstructured or fails(self.verdict, self.changed, fail_on)

    def summary(self) -> str:
        """The verdict in one line, the line that CI annotations show."""
        parts = [self._score()]
        band = self._band()
        if band:
            parts.append(band)
        for check in self.checks:
            if check.verdict != "pass" and check.name not in ("src", "band"):
                parts.append(_sentence(check, self.level))
        return "; ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The comparison in plain values, for reports and for the way through xdist."""
        return {
            "verdict": self.verdict,
            "changed": self.changed,
            "summary": self.summary(),
            "level": self.level,
            "images": self.images,
            "thresholds": asdict(self.thresholds),
            "checks": [
                {**asdict(check), "sentence": _sentence(check, self.level)} for check in self.checks
            ],
            "bands": [asdict(band) for band in self.bands],
            "notes": list(self.notes),
            "image_changes": self.image_changes.as_dict() if self.image_changes else None,
            "candidate": self.candidate.as_dict(self.level),
            "baseline": self.baseline.as_dict(self.level),
        }

    def _score(self) -> str:
        candidate, baseline = self.candidate, self.baseline
        negative = candidate.signed_src < 0 or baseline.signed_src < 0
        line = (
            f"signed SRC {_signed(baseline.signed_src)} → {_signed(candidate.signed_src)}"
            if negative
            else f"SRC {baseline.src:.3f} → {candidate.src:.3f}"
        )
        for check in self.checks:
            if check.name == "src":
                interval = f"{_signed(check.low)}…{_signed(check.high)}"
                allowed = f"allowed {_signed(check.limit)}"
                ci = confidence(self.level)
                return f"{line} ({_signed(check.change)}, {ci} {interval}, {allowed})"
        return line

    def _band(self) -> str:
        """The band that decides, or else the one that moved the most, and by how much."""
        for check in self.checks:
            if check.name == "band" and check.verdict != "pass":
                nats = next(band.change for band in self.bands if check.where.startswith(band.name))
                return (
                    f"{check.where} {_signed(nats, 2)} nats ({_percent(check.change)} of v(all), "
                    f"{confidence(self.level)} {_percent(check.low)}…{_percent(check.high)}, "
                    f"allowed {_percent(check.limit)})"
                )
        moved = [band for band in self.bands if band.moved]
        fallen = [band for band in moved if band.change < 0]
        worst = min(fallen or moved, key=lambda band: -abs(band.change), default=None)
        return f"{worst.name} {_signed(worst.change, 2)} nats" if worst else ""


def fails(verdict: Verdict, changed: bool, fail_on: FailOn) -> bool:
    """Whether a gate with ``verdict`` is red under ``fail_on``."""
    return (
        verdict == "drift"
        or (fail_on != "drift" and verdict == "inconclusive")
        or (fail_on == "any-change" and changed)
    )


def confidence(level: float) -> str:
    """``95% CI``, ``97.5% CI``."""
    return f"{100 * level:g}% CI"


def _sentence(check: Check, level: float) -> str:
    interval = confidence(level)
    match check.name:
        case "structured":
            return check.where
        case "min_src":
            return (
                f"signed SRC {_signed(check.candidate)} ({interval} "
                f"{_signed(check.low)}…{_signed(check.high)}, at least {_signed(check.limit)})"
            )
        case "src":
            return (
                f"signed SRC {_signed(check.change)} ({interval} "
                f"{_signed(check.low)}…{_signed(check.high)}, allowed {_signed(check.limit)})"
            )
        case "sid":
            return (
                f"{_share(-check.change)} of the importance moved above {check.where} "
                f"({interval} {_share(-check.high)}…{_share(-check.low)}, "
                f"allowed {_share(-check.limit)})"
            )
        case "value":
            return (
                f"v(all) {_nats(check.baseline)} → {_nats(check.candidate)} nats "
                f"({_percent(check.change)}, {interval} "
                f"{_percent(check.low)}…{_percent(check.high)}, allowed {_percent(check.limit)})"
            )
        case "band":
            return (
                f"{check.where} {_percent(check.change)} of v(all) ({interval} "
                f"{_percent(check.low)}…{_percent(check.high)}, allowed {_percent(check.limit)})"
            )


def _signed(value: float, digits: int = 3) -> str:
    return _known(f"{round(value, digits) + 0.0:+.{digits}f}")


def _nats(value: float) -> str:
    return _known(f"{value:.2f}")


def _percent(value: float) -> str:
    # Adding 0 takes the sign off a zero: "−0.0%" of nothing reads like a loss.
    return _known(f"{round(100 * value, 1) + 0.0:+.1f}%")


def _known(text: str) -> str:
    # Of a degenerate profile, or of one image, some numbers do not exist.
    return "n/a" if "nan" in text else text.replace("-", "−").replace("inf", "∞")


def _share(value: float) -> str:
    return _percent(value).removeprefix("+")
