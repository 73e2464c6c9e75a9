"""pytest-iaside: stop a merge when an image classifier's spectral robustness regresses.

The public names are loaded on first use (PEP 562): pytest imports this package at start-up
wherever it is installed, and must not pay for torch in sessions that never touch it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_iaside.assertions.perturbation import assert_perturbation_robustness
    from pytest_iaside.assertions.spectral import assert_spectral_robustness
    from pytest_iaside.data.reference import ReferenceSample
    from pytest_iaside.errors import (
        BaselineError,
        ModelError,
        ReferenceSampleError,
        SettingsError,
        SpectralRobustnessError,
    )
    from pytest_iaside.gate.compare import compare
    from pytest_iaside.gate.thresholds import Thresholds
    from pytest_iaside.gate.verdict import BandChange, Check, Comparison
    from pytest_iaside.measure import measure
    from pytest_iaside.models.classifier import Classifier
    from pytest_iaside.perturb.attacks import fgsm, pgd
    from pytest_iaside.perturb.corruptions import CORRUPTIONS, corrupt
    from pytest_iaside.perturb.estimate import Estimate
    from pytest_iaside.perturb.metrics import mean_corruption_error, mean_prediction_error
    from pytest_iaside.perturb.readings import measure_perturbations
    from pytest_iaside.perturb.stored import stored_corruption
    from pytest_iaside.profile import SpectralProfile
    from pytest_iaside.readings import Readings
    from pytest_iaside.spectrum.bands import BandPartition
    from pytest_iaside.spectrum.density import (
        energy_spectral_density,
        power_law_exponent,
        spectral_snr,
    )

_HOMES = {
    "CORRUPTIONS": "perturb.corruptions",
    "BandChange": "gate.verdict",
    "BandPartition": "spectrum.bands",
    "BaselineError": "errors",
    "Check": "gate.verdict",
    "Classifier": "models.classifier",
    "Comparison": "gate.verdict",
    "Estimate": "perturb.estimate",
    "ModelError": "errors",
    "Readings": "readings",
    "ReferenceSample": "data.reference",
    "ReferenceSampleError": "errors",
    "SettingsError": "errors",
    "SpectralProfile": "profile",
    "SpectralRobustnessError": "errors",
    "Thresholds": "gate.thresholds",
    "assert_perturbation_robustness": "assertions.perturbation",
    "assert_spectral_robustness": "assertions.spectral",
    "compare": "gate.compare",
    "corrupt": "perturb.corruptions",
    "energy_spectral_density": "spectrum.density",
    "fgsm": "perturb.attacks",
    "mean_corruption_error": "perturb.metrics",
    "mean_prediction_error": "perturb.metrics",
    "measure": "measure",
    "measure_perturbations": "perturb.readings",
    "pgd": "perturb.attacks",
    "power_law_exponent": "spectrum.density",
    "spectral_snr": "spectrum.density",
    "stored_corruption": "perturb.stored",
}

__all__ = [
    "CORRUPTIONS",
    "BandChange",
    "BandPartition",
    "BaselineError",
    "Check",
    "Classifier",
    "Comparison",
    "Estimate",
    "ModelError",
    "Readings",
    "ReferenceSample",
    "ReferenceSampleError",
    "SettingsError",
    "SpectralProfile",
    "SpectralRobustnessError",
    "Thresholds",
    "assert_perturbation_robustness",
    "assert_spectral_robustness",
    "compare",
    "corrupt",
    "energy_spectral_density",
    "fgsm",
    "mean_corruption_error",
    "mean_prediction_error",
    "measure",
    "measure_perturbations",
    "pgd",
    "power_law_exponent",
    "spectral_snr",
    "stored_corruption",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # Python binds an imported submodule to its name here; `measure` is to stay the function.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
