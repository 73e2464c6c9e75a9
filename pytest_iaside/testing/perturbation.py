"""assert_perturbation_robustness: the gate on the classical metrics, mPE, accuracy and mCE."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Unpack

from pytest_iaside.compare.held import Limit, ReadingsComparison
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.perturbation import (
    KIND,
    USUAL,
    Normaliser,
    Perturbations,
    described,
    measure_perturbations,
    without_model,
)
from pytest_iaside.testing.gate import Status
from pytest_iaside.testing.readings import CommonKeywords, ReadingsGate, limit


def assert_perturbation_robustness(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    perturbations: Perturbations = USUAL,
    max_error_rise: float | None = 0.02,
    max_accuracy_drop: float | None = 0.05,
    max_mce_rise: float | None = None,
    temperature: float = 1.0,
    normaliser: Normaliser = "alexnet",
    baseline: str | Path | Measurement | None = None,
    name: str | None = None,
    **settings: Unpack[CommonKeywords],
) -> ReadingsComparison:
    """Raise AssertionError where perturbations cost ``model`` more than they cost its baseline.

    ``perturbations`` as ``measure_perturbations`` takes them. ``max_error_rise`` is how far the
    mPE under any of them may rise (eq. 12, between 0 and 1), ``max_accuracy_drop`` how far the
    accuracy under any, or on the clean images, may fall; ``max_mce_rise`` how far the mCE may
    rise, in points of percent, for which the 75 corrupted versions of each image are measured
    and divided by the ``normaliser``'s errors. None leaves a check out. Everything else as in
    ``assert_spectral_robustness``, beside which a test may use it.

    Raises SettingsError, ReferenceSampleError, ModelError, or BaselineError where there is no
    baseline, or none that this model can be compared with.
    """
    __tracebackhide__ = True
    gate = _PerturbationGate(name, settings)
    gate.perturbations, gate.temperature, gate.normaliser = perturbations, temperature, normaliser
    gate.allowed = {"mpe": max_error_rise, "accuracy": max_accuracy_drop, "mce": max_mce_rise}
    return gate.check(model, reference, baseline)


class _PerturbationGate(ReadingsGate):
    function = "assert_perturbation_robustness"
    kind = KIND
    perturbations: Perturbations
    temperature: float
    normaliser: Normaliser
    allowed: Mapping[str, float | None]

    def limits(self) -> dict[str, Limit]:
        names = {"mpe": "max_error_rise", "accuracy": "max_accuracy_drop", "mce": "max_mce_rise"}
        changes = {family: limit(names[family], value) for family, value in self.allowed.items()}
        if all(change is None for change in changes.values()):
            raise SettingsError(
                f"{self.function}: every limit is None, so nothing would be checked; give "
                f"{', '.join(names.values())}, or some of them"
            )
        return {
            family: Limit(change=change) for family, change in changes.items() if change is not None
        }

    def described(self, running: Mapping[str, Any]) -> Mapping[str, Any]:
        return described(
            self.perturbations, self.temperature, self._used_normaliser(), running.get("seed", 0)
        )

    def read(
        self,
        model: Any,
        sample: ReferenceSample,
        labels_from: Measurement | None,
        running: Mapping[str, Any],
    ) -> Measurement:
        return measure_perturbations(
            model,
            sample,
            self.perturbations,
            temperature=self.temperature,
            normaliser=self._used_normaliser(),
            labels_from=labels_from,
            **running,
        )

    def _used_normaliser(self) -> Normaliser | None:
        return None if self.allowed["mce"] is None else self.normaliser

    def _facts(self, comparison: ReadingsComparison, status: Status) -> dict[str, Any]:
        facts = super()._facts(comparison, status)
        failed = comparison.fails(self.fail_on)
        if self.sample is not None and self.exported(failed, "report", "json"):
            from pytest_iaside.report.spectrum import spectrum_facts

            # Whatever fails here must not cost the gate its verdict.
            with suppress(Exception):
                seed = self.running.get("seed", 0)
                perturbations = without_model(self.perturbations, self.sample, seed)
                facts["spectrum"] = spectrum_facts(self.sample, perturbations)
        return facts
