"""Predictors of robustness that a study measures on request, since they cost passes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.explanation import fitting
from pytest_iaside.explain.measurements import (
    COARSE,
    measure_lens_smoothness,
    measure_reconstruction_depth,
    measure_scale_reliance,
)
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import answers
from pytest_iaside.measure.interactions import interactions_of, pairs
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.study.kept import Kept
from pytest_iaside.study.models import OWN_COVARIATES

MEASURES: Mapping[str, Callable[..., Measurement]] = {
    "levels": measure_scale_reliance,
    "depth": measure_reconstruction_depth,
    "arglens": measure_lens_smoothness,
}
"""Those that need passes: shares of wavelet levels, reconstruction depth, mean ArgLens."""
OF_WAVELETS = ("levels", "depth")
"""With as many levels, up to three, and cells as fit the images."""
INTERACTIONS = "interactions"
"""Of pairs of bands, read off the game that was played anyway."""
CHOICES = (*MEASURES, INTERACTIONS, *OWN_COVARIATES)


def chosen_predictors(text: str | None) -> tuple[str, ...]:
    """The groups of predictors in ``text``, commas between them; raises SettingsError."""
    names = [] if text is None else [part.strip() for part in text.split(",")]
    for name in names:
        if name not in CHOICES:
            raise SettingsError(f"there is no predictor {name!r}; choose from {', '.join(CHOICES)}")
        if names.count(name) > 1:
            raise SettingsError(f"the predictor {name} is named twice; name it once")
    return tuple(names)


def more_predictors(
    names: Sequence[str],
    classifier: Classifier,
    reference: ReferenceSample,
    profile: SpectralProfile,
    *,
    seed: int,
    execution: Execution,
    folder: Path | None,
) -> dict[str, Floats]:
    """What the groups ``names`` say of each image, (K,) each, by the predictor's name.

    What needs passes is kept in ``folder`` as robustness is. Raises as the measurements do;
    SettingsError for interactions of a profile that did not play all coalitions.
    """
    found: dict[str, Floats] = {}
    for name, measure in MEASURES.items():
        if name in names:
            found |= _measured(name, measure, classifier, reference, seed, execution, folder)
    if INTERACTIONS in names:
        found |= _interactions(profile)
    return found


def _measured(
    name: str,
    measure: Callable[..., Measurement],
    classifier: Classifier,
    reference: ReferenceSample,
    seed: int,
    execution: Execution,
    folder: Path | None,
) -> dict[str, Floats]:
    def clean() -> Floats:
        return answers(classifier, reference, [None], seed=seed, execution=execution)[0]

    options = {}
    if name in OF_WAVELETS:
        levels, grid = fitting(reference, None, None, most=COARSE)
        options = {"wavelet_levels": levels, "grid": grid}
    facts = {"predictor": name, "seed": seed, **options}
    kept = Kept(folder, classifier, reference, execution, facts)
    if (known := kept.read(clean)) is not None:
        return _named(name, known["values"])
    measured = measure(classifier, reference, seed=seed, execution=execution, **options)
    if kept.path is not None:
        kept.write({"values": measured.values}, clean())
    return _named(name, measured.values)


def _named(name: str, values: Floats) -> dict[str, Floats]:
    """The columns of ``values`` (K, Q) that count, by what they are called in tables."""
    if name == "levels":
        # The last column is the finest level once more.
        return {f"share of level {at}": values[:, at] for at in range(values.shape[1] - 1)}
    return {{"depth": "reconstruction depth", "arglens": "mean ArgLens"}[name]: values[:, 0]}


def _interactions(profile: SpectralProfile) -> dict[str, Floats]:
    """Means over pairs of bands: all, neighbours, and one of each half of the bands."""
    measured = interactions_of(profile)
    if measured is None:
        raise SettingsError(
            "interactions need the log-likelihoods of all coalitions of two bands or more; "
            "measure with --design exact, or leave interactions out of --predictors"
        )
    chosen = np.array(pairs(profile.rules.bands))
    middle = profile.rules.bands // 2
    some = {
        "interaction, all bands": np.ones(len(chosen), dtype=bool),
        "interaction, neighbours": chosen[:, 1] - chosen[:, 0] == 1,
        "interaction, low with high": (chosen[:, 0] < middle) & (chosen[:, 1] >= middle),
    }
    return {name: measured.values[:, which].mean(axis=1) for name, which in some.items()}
