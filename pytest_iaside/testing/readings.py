"""Gates on readings: quantities that every image has, compared in pairs with a baseline's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from pytest_iaside.compare.held import Limit, ReadingsComparison
from pytest_iaside.compare.hold import compare_readings
from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import first_images
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.settings import Layer, Settings, unknown
from pytest_iaside.testing.gate import Gate, Status, wrapped
from pytest_iaside.thresholds import Direction, FailOn

MOST = 6  # quantities that moved, of those a failure names


class CommonKeywords(TypedDict, total=False):
    """Settings that all gates share; what is left out is decided by the next source."""

    samples: int | Literal["auto"] | None
    seed: int
    device: str
    backend: str
    batch_size: int | Literal["auto"]
    direction: Direction
    level: float
    fail_on: FailOn


RUNNING = ("samples", "seed", "device", "backend", "batch_size")


class ReadingsGate(Gate[Measurement, ReadingsComparison]):
    """A gate whose kind says what is read off a model, and what it may be."""

    def __init__(self, name: str | None, keywords: CommonKeywords) -> None:
        super().__init__(name)
        self._keywords = keywords

    @abstractmethod
    def limits(self) -> dict[str, Limit]:
        """The limits of each family; raises SettingsError where they are none."""

    @abstractmethod
    def read(
        self,
        model: Any,
        sample: ReferenceSample,
        labels_from: Measurement | None,
        running: Mapping[str, Any],
    ) -> Measurement:
        """Measure ``model``; ``running`` are the settings named in RUNNING that some source set."""

    @abstractmethod
    def described(self, running: Mapping[str, Any]) -> Mapping[str, Any]:
        """The settings that a baseline must have been measured with."""

    def _prepare(self) -> None:
        for name in self._keywords:
            if name not in CommonKeywords.__annotations__:
                valid = CommonKeywords.__annotations__
                raise SettingsError(f"{self.function}: {unknown('setting', name, valid)}")
        layers = self.test.layers if self.test else []
        settings = Settings.of([Layer(self.function, dict(self._keywords)), *layers])
        self.level, self.fail_on = settings.level, settings.fail_on
        self.direction = settings.thresholds.direction
        self.running = {k: v for k, v in settings.measure.items() if k in RUNNING}
        self._limits = self.limits()

    def _load(self, path: Path) -> Measurement:
        return Measurement.load(path)

    def _given(self, baseline: Any) -> Measurement | None:
        if not isinstance(baseline, Measurement):
            return None
        self.shown = f"the given readings of {baseline.model.name}"
        return baseline

    def _require_fit(self, sample: ReferenceSample, old: Measurement) -> None:
        here, there = self.described(self.running), old.settings
        differences = [] if old.kind == self.kind else [f"kind: {self.kind} here, {old.kind} there"]
        differences += [
            f"{name}: {here.get(name)!r} here, {there.get(name)!r} there"
            for name in sorted({*here, *there})
            if here.get(name) != there.get(name)
        ]
        if sample.digest != old.reference.digest:
            differences.append(
                f"reference sample: {len(sample)} images ({sample.digest[:8]}) here, "
                f"{old.reference.images} ({old.reference.digest[:8]}) there"
            )
        some = first_images(sample, self.running.get("samples"))
        if missing := len(set(some.digests) - set(old.digests)):
            differences.append(f"images: {missing} of the {len(some)} here are not there")
        if differences:
            raise BaselineError(
                "the baseline was made for something else, so nothing was compared: "
                + "; ".join(differences)
                + ". Restore the setting, or make a new baseline"
            )

    def _measure(
        self, model: Any, sample: ReferenceSample, labels_from: Measurement | None = None
    ) -> Measurement:
        with self._holding_to(labels_from, sample):
            return self.read(model, sample, labels_from, self.running)

    def _hold(self, model: Any, sample: ReferenceSample, old: Measurement) -> ReadingsComparison:
        self.measured = self._measure(model, sample, labels_from=old)
        return self._compare(self.measured, old)

    def _compare(self, candidate: Measurement, old: Measurement) -> ReadingsComparison:
        return compare_readings(
            candidate, old, self._limits, level=self.level, direction=self.direction
        )

    def _facts(self, comparison: ReadingsComparison, status: Status) -> dict[str, Any]:
        return {"readings": comparison.as_dict()}

    def _details(self, facts: Mapping[str, Any]) -> list[str]:
        lines = ["", "what did not pass, or changed:"]
        for check in facts["checks"]:
            if check["verdict"] != "pass":
                lines += wrapped(f"{check['verdict']}: {check['sentence']}")
        told = {check["where"] for check in facts["checks"] if check["verdict"] != "pass"}
        moved = [each for each in facts["quantities"] if each["moved"] and each["name"] not in told]
        moved.sort(key=lambda each: each["p_value"])
        for each in moved[:MOST]:
            lines += wrapped(
                f"changed: {each['name']} {each['baseline']:.3f} → {each['candidate']:.3f}"
            )
        if len(moved) > MOST:
            lines.append(f"  and {len(moved) - MOST} more")
        for note in facts["notes"]:
            lines += wrapped(f"note: {note}")
        return lines


def limit(name: str, value: Any) -> float | None:
    """``value`` if it can limit a change; raises SettingsError otherwise."""
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < float("inf"):
        raise SettingsError(f"{name}={value!r} must be a finite number, not negative, or None")
    return float(value)
