"""More label noise, flatter SID? SIDs against the share of wrong labels ([A] fig. 11)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.correlation import LEAST_MODELS, Correlation, adjust, correlate
from pytest_iaside.study.measured import LeftOut, MeasuredModel, Measuring, each
from pytest_iaside.study.models import StudyModel


@dataclass(frozen=True, eq=False, kw_only=True)
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
class LabelNoiseStudy:
    """What ``label_noise_study`` found; ``follows`` maps quantities to their ρ with the noise."""

    models: Sequence[MeasuredModel]
    unstructured: Sequence[MeasuredModel]
    left_out: Sequence[LeftOut]
    levels: Sequence[NoiseLevel]
    follows: dict[str, Correlation]
    level: float

    def as_dict(self) -> dict[str, Any]:
        """Everything that was found, in plain values; NaN and infinite ones among them."""
        return {
            "models": [
                {**one.as_dict(), "used": one in self.models, "flatness": flatness(one)}
                for one in (*self.models, *self.unstructured)
            ],
            "left_out": [asdict(one) for one in self.left_out],
            "levels": [
                {
                    "noise": one.noise,
                    "models": [model.name for model in one.models],
                    "psi": one.psi.tolist(),
                    "sid": one.sid.tolist(),
                    "flatness": one.flatness,
                    "signed_src": one.signed_src,
                    "value": one.value,
                    "accuracy": one.accuracy,
                }
                for one in self.levels
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
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return float(-(shares * logarithms).sum() / np.log(len(shares)))


QUANTITIES: dict[str, Callable[[MeasuredModel], float]] = {
    "flatness of the SID": flatness,
    "signed SRC": lambda model: model.profile.signed_src,
    "v(all)": lambda model: model.profile.value,
    "clean accuracy": lambda model: (
        float("nan") if model.accuracy is None else model.accuracy.value
    ),
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

    def work(model: StudyModel, classifier: Classifier) -> MeasuredModel:
        found = measuring.measured(model, classifier)
        told(found)
        return found

    done, left_out = each(models, work, LEAST_MODELS)
    used = [one for one in done if one.profile.structured]
    noises = sorted({_noise(one) for one in used})
    if len(used) < LEAST_MODELS or len(noises) < 2:
        raise ModelError(
            f"{len(used)} of {len(done)} models have ψ that can be told from noise, of "
            f"{len(noises)} shares of wrong labels; this study needs at least {LEAST_MODELS} of "
            "two shares: train for longer, or measure on more images"
        )
    shares = [_noise(one) for one in used]
    found = [
        correlate(shares, [quantity(one) for one in used], level)
        for quantity in QUANTITIES.values()
    ]
    return LabelNoiseStudy(
        models=used,
        unstructured=[one for one in done if not one.profile.structured],
        left_out=left_out,
        levels=[_level(noise, [one for one in used if _noise(one) == noise]) for noise in noises],
        follows=dict(zip(QUANTITIES, adjust(found), strict=True)),
        level=level,
    )


def _noise(model: MeasuredModel) -> float:
    return float(model.model.noise or 0.0)


def _level(noise: float, models: Sequence[MeasuredModel]) -> NoiseLevel:
    flat, score, value, right = (
        float(np.mean([quantity(one) for one in models])) for quantity in QUANTITIES.values()
    )
    return NoiseLevel(
        noise=noise,
        models=models,
        psi=np.mean([one.profile.psi for one in models], axis=0),
        sid=np.mean([one.profile.sid for one in models], axis=0),
        flatness=flat,
        signed_src=score,
        value=value,
        accuracy=right,
    )
