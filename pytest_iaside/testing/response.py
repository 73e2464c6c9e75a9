"""assert_spectral_response: the gate on what noise in each band costs a model (SPEC.md 8)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.images.bands import Norm
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.response import ENERGIES, KIND, response_settings, spectral_response
from pytest_iaside.settings import GateKeywords
from pytest_iaside.testing.kinds import GateKind, LimitOption, assert_kind


def assert_spectral_response(
    model: Any,
    reference: ReferenceSample | None = None,
    *,
    energies: Sequence[float] = ENERGIES,
    bands: int = 8,
    partition: Norm = "linf",
    max_loss_rise: float | None = 0.3,
    max_accuracy_loss_rise: float | None = 0.1,
    max_loss: float | None = None,
    max_score_loss_rise: float | None = None,
    baseline: str | Path | Measurement | None = None,
    name: str | None = None,
    **settings: Unpack[GateKeywords],
) -> Comparison:
    """Raise AssertionError where noise in some band costs ``model`` more than its baseline.

    White noise is put into one frequency band at a time, of each of ``energies`` as shares of an
    image's own around its mean (``spectral_response``); bands × energies + 1 passes an image.
    ``max_loss_rise`` is how much more log-likelihood, in nats, may be lost to noise in any band at
    any energy, ``max_accuracy_loss_rise`` how much more accuracy. ``max_loss`` (nats) is the most
    that may be lost at all; with it alone no baseline is needed. Of a score of your own
    ``max_score_loss_rise`` is how much more of it may be lost. None leaves a check out. The rest as
    in ``assert_perturbation_robustness``.

    Raises SettingsError, ReferenceSampleError, ModelError, or BaselineError where there is no
    baseline, or none that this model can be compared with.
    """
    __tracebackhide__ = True
    limits = {
        "max_loss_rise": max_loss_rise,
        "max_accuracy_loss_rise": max_accuracy_loss_rise,
        "max_loss": max_loss,
        "max_score_loss_rise": max_score_loss_rise,
    }
    options = {"energies": energies, "bands": bands, "partition": partition}
    return assert_kind(
        RESPONSE,
        model,
        reference,
        limits=limits,
        options=options,
        keywords=settings,
        baseline=baseline,
        name=name,
    )


RESPONSE = GateKind(
    kind=KIND,
    function="assert_spectral_response",
    limits=(
        LimitOption(family="log-likelihood", change="max_loss_rise", bound="max_loss"),
        LimitOption(
            family="accuracy", change="max_accuracy_loss_rise", share="a share of the images"
        ),
        LimitOption(family="score", change="max_score_loss_rise"),
    ),
    measure=spectral_response,
    settings=response_settings,
)
