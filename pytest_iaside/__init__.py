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
    from pytest_iaside.assertions.diagnosis import (
        assert_lens_smoothness,
        assert_reconstruction_depth,
        assert_scale_reliance,
    )
    from pytest_iaside.assertions.perturbation import assert_perturbation_robustness
    from pytest_iaside.assertions.spectral import assert_spectral_robustness
    from pytest_iaside.data.reference import ReferenceSample
    from pytest_iaside.diagnose.entropy import entropy_cutoff
    from pytest_iaside.diagnose.faithfulness import deletion, insertion, mu_fidelity
    from pytest_iaside.diagnose.fourier import FourierAttribution, fam
    from pytest_iaside.diagnose.integrated import integrated_gradients
    from pytest_iaside.diagnose.lens import Lens, spectral_lens
    from pytest_iaside.diagnose.readings import (
        measure_lens_smoothness,
        measure_reconstruction_depth,
        measure_scale_reliance,
    )
    from pytest_iaside.diagnose.reconstruction import reconstruct, reconstruction_depth
    from pytest_iaside.diagnose.removal import Removal
    from pytest_iaside.diagnose.wavelet import WaveletAttribution, wcam
    from pytest_iaside.diagnose.zoom import zoom_consistency
    from pytest_iaside.errors import (
        BaselineError,
        ModelError,
        ReferenceSampleError,
        SettingsError,
        SpectralRobustnessError,
    )
    from pytest_iaside.gate.compare import compare
    from pytest_iaside.gate.held import Limit, ReadingsComparison
    from pytest_iaside.gate.hold import compare_readings
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
    from pytest_iaside.study.models import StudyModel
    from pytest_iaside.track.callbacks import lightning_callback, transformers_callback
    from pytest_iaside.track.decline import assert_no_robustness_decline
    from pytest_iaside.track.exporters import export, to_mlflow, to_tensorboard
    from pytest_iaside.track.history import History, Point

_HOMES = {
    "CORRUPTIONS": "perturb.corruptions",
    "BandChange": "gate.verdict",
    "BandPartition": "spectrum.bands",
    "BaselineError": "errors",
    "Check": "gate.verdict",
    "Classifier": "models.classifier",
    "Comparison": "gate.verdict",
    "Estimate": "perturb.estimate",
    "FourierAttribution": "diagnose.fourier",
    "History": "track.history",
    "Lens": "diagnose.lens",
    "Limit": "gate.held",
    "ModelError": "errors",
    "Point": "track.history",
    "Readings": "readings",
    "ReadingsComparison": "gate.held",
    "ReferenceSample": "data.reference",
    "ReferenceSampleError": "errors",
    "Removal": "diagnose.removal",
    "SettingsError": "errors",
    "SpectralProfile": "profile",
    "SpectralRobustnessError": "errors",
    "StudyModel": "study.models",
    "Thresholds": "gate.thresholds",
    "WaveletAttribution": "diagnose.wavelet",
    "assert_lens_smoothness": "assertions.diagnosis",
    "assert_no_robustness_decline": "track.decline",
    "assert_perturbation_robustness": "assertions.perturbation",
    "assert_reconstruction_depth": "assertions.diagnosis",
    "assert_scale_reliance": "assertions.diagnosis",
    "assert_spectral_robustness": "assertions.spectral",
    "compare": "gate.compare",
    "compare_readings": "gate.hold",
    "corrupt": "perturb.corruptions",
    "deletion": "diagnose.faithfulness",
    "energy_spectral_density": "spectrum.density",
    "entropy_cutoff": "diagnose.entropy",
    "export": "track.exporters",
    "fam": "diagnose.fourier",
    "fgsm": "perturb.attacks",
    "insertion": "diagnose.faithfulness",
    "integrated_gradients": "diagnose.integrated",
    "lightning_callback": "track.callbacks",
    "mean_corruption_error": "perturb.metrics",
    "mean_prediction_error": "perturb.metrics",
    "measure": "measure",
    "measure_lens_smoothness": "diagnose.readings",
    "measure_perturbations": "perturb.readings",
    "measure_reconstruction_depth": "diagnose.readings",
    "measure_scale_reliance": "diagnose.readings",
    "mu_fidelity": "diagnose.faithfulness",
    "pgd": "perturb.attacks",
    "power_law_exponent": "spectrum.density",
    "reconstruct": "diagnose.reconstruction",
    "reconstruction_depth": "diagnose.reconstruction",
    "spectral_lens": "diagnose.lens",
    "spectral_snr": "spectrum.density",
    "stored_corruption": "perturb.stored",
    "to_mlflow": "track.exporters",
    "to_tensorboard": "track.exporters",
    "transformers_callback": "track.callbacks",
    "wcam": "diagnose.wavelet",
    "zoom_consistency": "diagnose.zoom",
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
    "FourierAttribution",
    "History",
    "Lens",
    "Limit",
    "ModelError",
    "Point",
    "Readings",
    "ReadingsComparison",
    "ReferenceSample",
    "ReferenceSampleError",
    "Removal",
    "SettingsError",
    "SpectralProfile",
    "SpectralRobustnessError",
    "StudyModel",
    "Thresholds",
    "WaveletAttribution",
    "assert_lens_smoothness",
    "assert_no_robustness_decline",
    "assert_perturbation_robustness",
    "assert_reconstruction_depth",
    "assert_scale_reliance",
    "assert_spectral_robustness",
    "compare",
    "compare_readings",
    "corrupt",
    "deletion",
    "energy_spectral_density",
    "entropy_cutoff",
    "export",
    "fam",
    "fgsm",
    "insertion",
    "integrated_gradients",
    "lightning_callback",
    "mean_corruption_error",
    "mean_prediction_error",
    "measure",
    "measure_lens_smoothness",
    "measure_perturbations",
    "measure_reconstruction_depth",
    "measure_scale_reliance",
    "mu_fidelity",
    "pgd",
    "power_law_exponent",
    "reconstruct",
    "reconstruction_depth",
    "spectral_lens",
    "spectral_snr",
    "stored_corruption",
    "to_mlflow",
    "to_tensorboard",
    "transformers_callback",
    "wcam",
    "zoom_consistency",
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
