"""What goes along with how models were made? SIDs and robustness against any number (fig. 11).

The number may be a share of wrong labels, the size of a training set, or how many parameters a
network has. Models whose ψ cannot be told from noise are kept in and marked: they have no SID, but
v(all), accuracy and robustness.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.correlation import LEAST_MODELS, Correlation, adjust, correlate
from pytest_iaside.stats.score import signed_src
from pytest_iaside.study.compared import ComparedModel
from pytest_iaside.study.models import (
    NOISE,
    PARAMETERS,
    MeasuredModel,
    MeasuredModels,
    Measuring,
    StudyModel,
    information_of,
)
from pytest_iaside.study.quantities import SIGNED_SRC

FLATNESS = "flatness of the SID"
NAN = float("nan")
Read = Callable[[MeasuredModel], float]


@dataclass(frozen=True, eq=False)
class Level:
    """The models of one ``value`` of the covariate, unstructured ones among them.

    ``psi`` (M,) is the mean over all of them, ``sid`` (M,) over the structured ones, as are those
    of ``means`` that are read off the SID; NaN where there is none.
    """

    value: float
    models: Sequence[MeasuredModel]
    psi: Floats
    sid: Floats
    means: Mapping[str, float]

    @property
    def unstructured(self) -> int:
        return sum(not one.profile.structured for one in self.models)


@dataclass(frozen=True, eq=False, kw_only=True)
class CovariateStudy(MeasuredModels[MeasuredModel]):
    """What ``covariate_study`` found of ``covariate``; ``follows`` are correlations with it.

    With ``logarithm`` Pearson's r is with its logarithm. ``values`` are what was read off each of
    ``measured``, by quantity; NaN of an unstructured model where it is read off the SID.
    """

    covariate: str
    logarithm: bool
    levels: Sequence[Level]
    follows: Mapping[str, Correlation]
    values: Mapping[str, Sequence[float]]

    @property
    def what(self) -> str:
        """The covariate in words."""
        return "label noise" if self.covariate == NOISE else self.covariate

    @property
    def places(self) -> list[float]:
        """Where each of ``measured`` lies on the axis that Pearson's r is along."""
        return [place(one.covariates[self.covariate], self.logarithm) for one in self.measured]

    def as_dict(self) -> dict[str, Any]:
        found = super().as_dict()
        for at, one in enumerate(found["models"]):
            one["quantities"] = {name: each[at] for name, each in self.values.items()}
        return {
            **found,
            "covariate": self.covariate,
            "logarithm": self.logarithm,
            "levels": [
                {
                    "value": one.value,
                    "models": [model.name for model in one.models],
                    "unstructured": one.unstructured,
                    "psi": one.psi,
                    "sid": one.sid,
                    **one.means,
                }
                for one in self.levels
            ],
            "follows": {name: asdict(one) for name, one in self.follows.items()},
            "level": self.level,
        }


def place(value: float, logarithm: bool) -> float:
    """``value`` on the axis of the study."""
    return float(np.log10(value)) if logarithm else value


def flatness(model: MeasuredModel) -> float:
    """The entropy of the SID over that of equal shares: 0 for a single band, 1 for equal ones.

    As the least band's share is 0 (SPEC.md 1.5), ln(M−1)/ln M is the most, 0.936 at eight bands.
    """
    shares = model.profile.sid
    return float(special.entr(shares).sum() / np.log(len(shares)))


def of_sid(betas: Sequence[float] = ()) -> dict[str, Read]:
    """What is read off the SID, which structured models alone have."""
    more = {
        f"{SIGNED_SRC}, β = {beta:g}": lambda model, beta=beta: float(
            signed_src(model.profile.sid, beta)
        )
        for beta in betas
    }
    return {FLATNESS: flatness, SIGNED_SRC: lambda model: model.profile.signed_src, **more}


OF_ALL: dict[str, Read] = {
    "v(all)": lambda model: model.profile.value,
    "information share": lambda model: information_of(model.profile)["information_share"],
    "clean accuracy": lambda model: NAN if model.accuracy is None else model.accuracy,
}
OF_ANSWERS: dict[str, Callable[[ComparedModel], float]] = {
    "mean mPE": lambda model: float(model.robustness.errors.mean()),
    "accuracy drop": lambda model: float(model.robustness.drops.mean()),
    "band response": lambda model: float(model.robustness.response.mean()),
}
"""What is known where perturbations were measured."""


def covariate_study(
    models: Sequence[StudyModel],
    measuring: Measuring,
    covariate: str,
    *,
    measured: Callable[[StudyModel, Classifier], MeasuredModel] | None = None,
    betas: Sequence[float] = (),
    logarithm: bool = False,
    level: float = 0.95,
    told: Callable[[MeasuredModel], None] = lambda _: None,
) -> CovariateStudy:
    """Measure ``models`` and see what goes along with their ``covariate``.

    That is ``noise``, ``parameters``, or one that each model gives. ``measured`` measures one
    model, by default its profile alone; ``compared.comparing`` adds its robustness.

    Raises SettingsError where a model does not give it, or all give the same; ModelError where
    fewer than three models of two values are left.
    """
    if covariate != PARAMETERS:
        _check(models, [_given(model, covariate) for model in models], covariate, logarithm)
    found = measuring.each(models, measured or measuring.measured, told, level)
    every: list[Any] = found.measured
    given = [one.covariates.get(covariate) for one in every]
    _check([one.model for one in every], given, covariate, logarithm)
    values = [float(x) for x in given if x is not None]
    if len(every) < LEAST_MODELS or len(set(values)) < 2:
        raise ModelError(
            f"{len(every)} models were measured, of {len(set(values))} values of {covariate}; this "
            f"study needs at least {LEAST_MODELS} of two values"
        )
    quantities: dict[str, Callable[[Any], float]] = {
        name: _where_structured(read) for name, read in of_sid(betas).items()
    }
    quantities |= OF_ALL
    if all(isinstance(one, ComparedModel) for one in every):
        quantities |= OF_ANSWERS
    read = {name: [quantity(one) for one in every] for name, quantity in quantities.items()}
    places = np.array([place(each, logarithm) for each in values])
    correlations = [_correlated(places, np.array(each), level) for each in read.values()]
    return CovariateStudy(
        **vars(found),
        covariate=covariate,
        logarithm=logarithm,
        levels=[_level(each, values, every, read) for each in sorted(set(values))],
        follows=dict(zip(read, adjust(correlations), strict=True)),
        values=read,
    )


def _given(model: StudyModel, covariate: str) -> float | None:
    return model.noise if covariate == NOISE else model.covariates.get(covariate)


def _check(
    models: Sequence[StudyModel], values: Sequence[float | None], covariate: str, logarithm: bool
) -> None:
    """Raise SettingsError unless every model gives a value, and not all the same."""
    silent = [one.name for one, value in zip(models, values, strict=True) if value is None]
    if silent:
        count = f"{silent[0]} and {len(silent) - 1} more models do not say"
        if covariate == PARAMETERS:
            raise SettingsError(f"{count} how many parameters they have; give PyTorch modules")
        if covariate == NOISE:
            raise SettingsError(
                f"{count} what share of their labels was wrong; give StudyModel(model, noise=0.2)"
            )
        known = sorted({name for one in models for name in one.covariates})
        raise SettingsError(
            f"{count} their {covariate}; give StudyModel(model, covariates={{{covariate!r}: 1000}})"
            f" (given are {', '.join(known) or 'no covariates'})"
        )
    found = [float(value) for value in values if value is not None]
    if len(set(found)) < 2:
        raise SettingsError(
            f"all {len(models)} models have {covariate} {found[0]:g}; this study compares at least "
            "two values"
        )
    if logarithm and min(found) <= 0:
        raise SettingsError(
            f"{covariate} {min(found):g} has no logarithm; leave out --log, or give values above 0"
        )


def _where_structured(read: Read) -> Read:
    return lambda model: read(model) if model.profile.structured else NAN


def _correlated(places: Floats, values: Floats, level: float) -> Correlation:
    """Over the models that have the quantity."""
    known = np.isfinite(values)
    if not known.any():
        return replace(correlate([0.0], [0.0], level), units=0)
    return correlate(places[known], values[known], level)


def _level(
    value: float,
    values: Sequence[float],
    models: Sequence[MeasuredModel],
    read: Mapping[str, Sequence[float]],
) -> Level:
    rows = [at for at, each in enumerate(values) if each == value]
    some = [models[at] for at in rows]
    sids = [one.profile.sid for one in some if one.profile.structured]
    psi = np.mean([one.profile.psi for one in some], axis=0)
    return Level(
        value=value,
        models=some,
        psi=psi,
        sid=np.mean(sids, axis=0) if sids else np.full_like(psi, np.nan),
        means={name: _mean([each[at] for at in rows]) for name, each in read.items()},
    )


def _mean(values: Sequence[float]) -> float:
    """The mean of those that are known; NaN where none is."""
    known = [each for each in values if np.isfinite(each)]
    return float(np.mean(known)) if known else NAN
