"""assert_perturbation_robustness: the gate on the classical metrics, mPE, accuracy and mCE."""

from pathlib import Path
from typing import Any, Unpack

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.perturbation import (
    KIND,
    USUAL,
    Normaliser,
    Perturbations,
    measure_perturbations,
    perturbation_settings,
    without_model,
)
from pytest_iaside.settings import GateKeywords
from pytest_iaside.testing.gate import Gate, Told
from pytest_iaside.testing.kinds import GateKind, LimitOption, assert_kind
from pytest_iaside.testing.red import surviving


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
    **settings: Unpack[GateKeywords],
) -> Comparison:
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
    limits = {
        "max_error_rise": max_error_rise,
        "max_accuracy_drop": max_accuracy_drop,
        "max_mce_rise": max_mce_rise,
    }
    options = {
        "perturbations": perturbations,
        "temperature": temperature,
        # The 75 corrupted versions are measured for a limit on them only.
        "normaliser": None if max_mce_rise is None else normaliser,
    }
    return assert_kind(
        PERTURBATIONS,
        model,
        reference,
        limits=limits,
        options=options,
        keywords=settings,
        baseline=baseline,
        name=name,
    )


def _spectra(gate: Gate, told: Told, notes: list[str], **options: Any) -> dict[str, Any]:
    """The spectra of the images and of what perturbs them, for reports."""
    test, sample, comparison = told.test, told.sample, told.comparison
    if test is None or sample is None or comparison is None:
        return {}
    if test.exported(comparison.fails(gate.fail_on), "report", "json"):
        with surviving("spectra", notes):
            from pytest_iaside.report.spectrum import spectrum_record

            applied = without_model(options["perturbations"], sample, options["seed"])
            return {"spectrum": spectrum_record(sample, applied)}
    return {}


PERTURBATIONS = GateKind(
    kind=KIND,
    function="assert_perturbation_robustness",
    limits=(
        LimitOption(
            family="mpe", change="max_error_rise", share="a part of the mPE, which is 1 at most"
        ),
        LimitOption(family="accuracy", change="max_accuracy_drop", share="a share of the images"),
        LimitOption(family="mce", change="max_mce_rise"),
    ),
    measure=measure_perturbations,
    settings=perturbation_settings,
    tell_more=_spectra,
)
