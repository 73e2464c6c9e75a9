"""What a record tells of the checkpoints behind a trend, in plain JSON types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from pytest_iaside.report.record import Number
from pytest_iaside.report.recorded import record_of

if TYPE_CHECKING:
    from pytest_iaside.track.history import Point


class PointRecord(TypedDict):
    """One checkpoint, with the interval of its signed SRC."""

    step: int  # Of the training.
    name: str  # Of the checkpoint.
    signed_src: Number
    low: Number  # Of the signed SRC's interval at the gate's level.
    high: Number
    value: Number  # v(all), in nats.
    accuracy: Number  # As the training logged it; None where it did not.
    loss: Number  # As the training logged it; None where it did not.
    sid: list[Number]  # Of each band.


class TrendRecord(TypedDict):
    """The checkpoints of a run that a trend is fitted to."""

    run: str  # The name of the training run.
    points: list[PointRecord]  # By ascending step.


def unit_of(names: Sequence[str]) -> str:
    """What the steps of checkpoints of such ``names`` count: epochs where all names say so."""
    return "epoch" if names and all("epoch" in name.lower() for name in names) else "step"


def trend_record(points: Sequence[Point], level: float) -> TrendRecord:
    """``points``, of one run, in plain values with intervals at ``level``."""
    found = []
    for point in points:
        profile, interval = point.profile, point.profile.interval("signed_src", level)
        of_profile = {
            "signed_src": profile.signed_src,
            "low": float(interval.low),
            "high": float(interval.high),
            "value": profile.value,
            "sid": profile.sid.tolist(),
        }
        found.append(record_of(PointRecord, point, **of_profile))
    return {"run": points[0].run, "points": found}
