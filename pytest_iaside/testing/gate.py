"""One gate: what it measures and how it decides, and its state while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.execute.passes import Passes
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.report.pass_log import PassLog
from pytest_iaside.report.record import ComparisonRecord, Status
from pytest_iaside.report.recorded import gate_record, measurement_record
from pytest_iaside.testing.current_test import CurrentTest
from pytest_iaside.testing.place import Place
from pytest_iaside.thresholds import LEVEL, Direction, FailOn, Limits, Thresholds


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What one call of an assertion measures and how it decides; how it runs is ``run_gate``'s.

    ``measure(model, sample, baseline)`` measures ``model``; without labels in ``sample`` on those
    of the baseline, if there is one. ``settings`` are what a baseline must have been measured
    with. The rest has a use that suits most gates.
    """

    kind: str
    measure: Callable[[Any, Any, Measurement | None], Measurement]
    limits: Thresholds | Limits
    answers: Limits | None = None
    """Limits on how right images are answered, where ``limits`` are no Thresholds."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    level: float = LEVEL
    direction: Direction = "worse"
    fail_on: FailOn = "drift"
    timeout: str | None = None
    samples: Any = None
    whole: Callable[[], bool] = lambda: True
    """Whether all was measured that a baseline holds, or only what decided."""
    cost: Callable[[ReferenceSample], int | None] = lambda _: None
    """At most how many forward passes a first measurement takes; None where nobody knows."""
    needs_baseline: bool = True
    """Whether anything is compared with a baseline; if not, none is stored."""
    needs_reference: bool = True
    fitted: tuple[str, ...] = ()
    """Settings that are the baseline's where they are None."""
    predicts_labels: bool = False
    """Whether labels are the model's predictions, whatever the sample's are."""
    compare: Callable[[Measurement, Measurement], Comparison] | None = None
    storable: Callable[[Measurement, Told], Measurement] = lambda measured, _: measured
    """What of a measurement is stored, and what else of its model."""
    tell_more: Callable[[Gate, Told, ComparisonRecord], dict[str, Any]] = lambda *_: {}
    """What else the record holds, for reports."""
    details: Callable[[], Sequence[str]] = tuple
    """What a failure says besides its checks."""

    def compared(self, candidate: Measurement, baseline: Measurement) -> Comparison:
        if self.compare is not None:
            return self.compare(candidate, baseline)
        return compare(
            candidate,
            baseline,
            self.limits,
            answers=self.answers,
            level=self.level,
            direction=self.direction,
        )


@dataclass(kw_only=True)
class Told:
    """State of a running gate; recorded even when the gate stops early."""

    test: CurrentTest | None
    kind: str
    name: str | None
    models: tuple[Any, ...] = (None,)
    """The trainings under test; usually one."""
    place: Place = field(default_factory=Place)
    sample: ReferenceSample | None = None
    measured: Measurement | None = None
    comparison: Comparison | None = None
    overruled: Comparison | None = None
    """The comparison with the baseline that is replaced."""
    incomparable: str = ""
    """Why the baseline that is replaced could not be compared with."""
    trainings: int = 1
    """How many the baseline holds that is written."""
    proposal: str = ""
    """What became of the baseline that is proposed; empty where none was asked for."""
    lost: int = 0
    """How many the baseline held that is replaced, where that were more."""
    status: Status = "compared"
    passes: Passes = field(default_factory=Passes)
    log: PassLog | None = None
    """Tells of the passes as they come back."""
    began: float = field(default_factory=time.perf_counter)

    @property
    def model(self) -> Any:
        """The first training, which is the one that is looked into where the gate is red."""
        return self.models[0]

    def record(self, **more: Any) -> None:
        """Hand the record to the session, where there is one."""
        if self.test is not None:
            record = gate_record(
                test=self.test.node_id,
                name=self.name,
                kind=self.kind,
                status=self.status,
                baseline=self.place.shown,
                accept=self.place.accept,
                reproduce=self.test.command(),
                seconds=time.perf_counter() - self.began,
                **more,
            )
            self.test.add(record)

    def refuse(self, error: SpectralRobustnessError) -> None:
        """Record that ``error`` kept the gate from being compared."""
        self.status = "refused"
        self.record(
            failed=True,
            verdict=None,
            summary=str(error).partition("\n")[0],
            measurement=measurement_record(self.measured) if self.measured else None,
            error=type(error).__name__,
        )
