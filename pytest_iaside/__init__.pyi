from .compare.check import Check as Check
from .compare.compare import compare as compare
from .compare.comparison import Comparison as Comparison
from .errors import BaselineError as BaselineError
from .errors import ModelError as ModelError
from .errors import ReferenceSampleError as ReferenceSampleError
from .errors import SettingsError as SettingsError
from .errors import SpectralRobustnessError as SpectralRobustnessError
from .execute.execution import Execution as Execution
from .images.bands import BandPartition as BandPartition
from .images.density import energy_spectral_density as energy_spectral_density
from .images.density import power_law_exponent as power_law_exponent
from .images.density import spectral_snr as spectral_snr
from .images.reference import ReferenceSample as ReferenceSample
from .measure.measurement import Measurement as Measurement
from .measure.measurement import Quantity as Quantity
from .measure.metrics import mean_corruption_error as mean_corruption_error
from .measure.metrics import mean_prediction_error as mean_prediction_error
from .measure.perturbation import measure_perturbations as measure_perturbations
from .measure.profile import SpectralProfile as SpectralProfile
from .measure.spectral import measure as measure
from .models.classifier import Classifier as Classifier
from .perturb.attacks import fgsm as fgsm
from .perturb.attacks import pgd as pgd
from .perturb.corruptions import CORRUPTIONS as CORRUPTIONS
from .perturb.corruptions import corrupt as corrupt
from .perturb.stored import stored_corruption as stored_corruption
from .stats.estimate import Estimate as Estimate
from .testing.perturbation import (
    assert_perturbation_robustness as assert_perturbation_robustness,
)
from .testing.spectral import assert_spectral_robustness as assert_spectral_robustness
from .thresholds import Limit as Limit
from .thresholds import Thresholds as Thresholds
from .track.decline import assert_no_robustness_decline as assert_no_robustness_decline
from .track.history import History as History
