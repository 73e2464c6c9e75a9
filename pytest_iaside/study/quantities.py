"""The quantities of models that a correlation is taken of, on all images and without each one.

All models are measured on the same images. What leaving an image out does to every model at
once is therefore what the choice of images does to a correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.correlation import Correlation, correlate, pearson
from pytest_iaside.stats.intervals import leave_one_out
from pytest_iaside.stats.score import sid, signed_src
from pytest_iaside.study.robustness import Robustness

SIGNED_SRC, SRC, VALUE, LOW_HALF = "signed SRC", "SRC", "v(all)", "SID, lower half"
PROBABILITY, ACCURACY = "clean probability", "clean accuracy"
MEAN = "mean"


@dataclass(frozen=True, eq=False)
class Quantities:
    """Named quantities of N models: ``values`` (K+1, N, Q), of all images, then without each."""

    names: tuple[str, ...]
    values: Floats

    def __getitem__(self, name: str) -> Floats:
        """The values (K+1, N) of one quantity."""
        return np.asarray(self.values[..., self.names.index(name)])

    def of_all_images(self, name: str) -> Floats:
        """The values (N,) of one quantity."""
        return np.asarray(self[name][0])

    def standard_errors(self, name: str) -> Floats:
        """The jackknife's errors (N,) over images of one quantity."""
        return _jackknife_error(self[name][1:])


def predictors(
    profiles: Sequence[SpectralProfile], right: Sequence[Floats] | None = None
) -> Quantities:
    """What may foretell robustness: scores, ψ of the bands, and what needs no game at all.

    The lower half is the share of the SID in the ⌊M/2⌋ lowest bands. The clean probability is
    the mean Q(y|x), which mPE cannot fall further than; ``right`` (K,) are each model's hits on
    labelled images, whose share is its clean accuracy.
    """
    psi = np.stack([_whole_and_without(each.image_psi) for each in profiles], axis=1)
    shares = sid(psi)
    score = signed_src(shares)
    value = _stacked([each.image_value for each in profiles])
    bands = psi.shape[-1]
    columns = {
        SIGNED_SRC: score,
        SRC: np.abs(score),
        LOW_HALF: shares[..., : bands // 2].sum(axis=-1),
        VALUE: value,
        PROBABILITY: _stacked([np.exp(each.by_size[:, -1]) for each in profiles]),
    }
    if right is not None:
        columns[ACCURACY] = _stacked(right)
    columns |= {f"ψ of band {band}": psi[..., band] for band in range(bands)}
    return Quantities(tuple(columns), np.stack(list(columns.values()), axis=-1))


def mean_prediction_errors(names: Sequence[str], found: Sequence[Robustness]) -> Quantities:
    """mPE of each model under each perturbation of ``names``, and their mean."""
    return _targets(names, [each.errors for each in found])


def accuracy_drops(names: Sequence[str], found: Sequence[Robustness]) -> Quantities:
    """How far each model's accuracy falls under each of ``names``, and the mean fall."""
    return _targets(names, [each.drops for each in found])


def correlation(first: Floats, second: Floats, level: float) -> Correlation:
    """Of quantities (K+1, N) of N models or recipes, with the error that comes from the images."""
    found = correlate(first[0], second[0], level)
    error = _jackknife_error(pearson(first[1:], second[1:]))
    return replace(found, image_error=float(error))


def _targets(names: Sequence[str], rows: Sequence[Floats]) -> Quantities:
    values = np.stack([_whole_and_without(each.T) for each in rows], axis=1)
    mean = values.mean(axis=-1, keepdims=True)
    return Quantities((*names, MEAN), np.concatenate([values, mean], axis=-1))


def _stacked(columns: Sequence[Floats]) -> Floats:
    """Means (K+1, N) of values (K,) of N models."""
    return _whole_and_without(np.stack(columns, axis=1))


def _whole_and_without(rows: Floats) -> Floats:
    """The mean (1+K, D) of the rows (K, D), then without each of them."""
    return np.concatenate([rows.mean(axis=0, keepdims=True), leave_one_out(rows)])


def _jackknife_error(left_out: Floats) -> Floats:
    """Standard errors (…) from what is found without each of K images, (K, …)."""
    count = len(left_out)
    spread = left_out - left_out.mean(axis=0)
    return np.asarray(np.sqrt((count - 1) / count * (spread**2).sum(axis=0)))
