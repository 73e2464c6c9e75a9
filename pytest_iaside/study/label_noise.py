"""More label noise, flatter SID? SIDs against the share of wrong labels ([A] fig. 11)."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.correlation import LEAST_MODELS, Correlation, adjust, correlate
from pytest_iaside.study.models import MeasuredModel, MeasuredModels, Measuring, StudyModel

FLATNESS = "flatness of the SID"


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """The structured models whose labels were wrong in the share ``noise``, on average.

    ``sid`` and ``psi`` (M,) are the means over the models, ``flatness`` that of theirs.
    """

    noise: float
    models: Sequence[MeasuredModel]
    psi: Floats
    sid: Floats
    flatness: float
    signed_src: float
    value: float
    accuracy: float


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelNoiseStudy(MeasuredModels[MeasuredModel]):
    """What ``label_noise_study`` found; ``follows`` maps quantities to their ρ with the noise."""

    levels: Sequence[NoiseLevel]
    follows: dict[str, Correlation]

    def as_dict(self) -> dict[str, Any]:
        found = super().as_dict()
        for one, model in zip(found["models"], self.measured, strict=True):
            one["flatness"] = flatness(model)
        return {
            **found,
            "levels": [
                {**vars(one), "models": [model.name for model in one.models]} for one in self.levels
            ],
            "follows_noise": {name: asdict(one) for name, one in self.follows.items()},
            "level": self.level,
        }


def flatness(model: MeasuredModel) -> float:
    """The entropy of the SID over that of equal shares: 0 for a single band, 1 for equal ones.

    The least band's share is 0 by definition (SPEC.md 1.5), so the most that is attained is
    ln(M−1)/ln M, 0.936 at eight bands.
    """
    shares = model.profile.sid
    return float(special.entr(shares).sum() / np.log(len(shares)))


# In the order of the fields of NoiseLevel.
QUANTITIES: dict[str, Callable[[MeasuredModel], float]] = {
    FLATNESS: flatness,
    "signed SRC": lambda model: model.profile.signed_src,
    "v(all)": lambda model: model.profile.value,
    "clean accuracy": lambda model: float("nan") if model.accuracy is None else model.accuracy,
}


def label_noise_study(
    models: Sequence[StudyModel],
    measuring: Measuring,
    *,
    level: float = 0.95,
    told: Callable[[MeasuredModel], None] = lambda _: None,
) -> LabelNoiseStudy:
    """Measure ``models`` and see what becomes of their SIDs with the share of wrong labels.

    Raises SettingsError where a model does not say its share, or all say the same; ModelError
    where fewer than three structured models of two shares are left.
    """
    silent = [model.name for model in models if model.noise is None]
    if silent:
        raise SettingsError(
            f"{silent[0]} and {len(silent) - 1} more models do not say what share of their labels "
            "was wrong; give StudyModel(model, noise=0.2)"
        )
    if len({model.noise for model in models}) < 2:
        raise SettingsError(
            f"all {len(models)} models were trained with a share {models[0].noise:g} of wrong "
            "labels; this study compares at least two shares"
        )
    found = measuring.each(models, measuring.measured, told, level)
    shares = [float(one.model.noise or 0.0) for one in found.models]
    noises = sorted(set(shares))
    if len(found.models) < LEAST_MODELS or len(noises) < 2:
        raise ModelError(
            f"{found.counted}, of {len(noises)} shares of wrong labels; this study needs at least "
            f"{LEAST_MODELS} of two shares: train for longer, or measure on more images"
        )
    correlations = [
        correlate(shares, [quantity(one) for one in found.models], level)
        for quantity in QUANTITIES.values()
    ]
    return LabelNoiseStudy(
        **vars(found),
        levels=[
            _level(noise, [one for one in found.models if one.model.noise == noise])
            for noise in noises
        ],
        follows=dict(zip(QUANTITIES, adjust(correlations), strict=True)),
    )


def _level(noise: float, models: Sequence[MeasuredModel]) -> NoiseLevel:
    psi = np.mean([one.profile.psi for one in models], axis=0)
    sid = np.mean([one.profile.sid for one in models], axis=0)
    means = [float(np.mean([quantity(one) for one in models])) for quantity in QUANTITIES.values()]
    return NoiseLevel(noise, models, psi, sid, *means)
