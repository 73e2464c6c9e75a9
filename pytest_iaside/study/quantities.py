"""Quantities of many models on the same images: predictors of robustness, and its targets.

Each is found of all images, and without each of them, of all models at once.
"""

from collections.abc import Sequence

import numpy as np

from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import Groups
from pytest_iaside.stats.intervals import leave_one_out
from pytest_iaside.stats.score import sid, signed_src
from pytest_iaside.study.compared import ComparedModel
from pytest_iaside.study.effective import above_the_line
from pytest_iaside.study.models import OWN_COVARIATES
from pytest_iaside.study.robustness import Robustness

SIGNED_SRC, MEAN = "signed SRC", "mean"
Quantities = dict[str, Floats]
"""Quantities (K+1, N) of N models by name: of all images, then without each image or group."""


def predictors_of(
    models: Sequence[ComparedModel],
    labelled: bool,
    groups: Groups = None,
    betas: Sequence[float] = (),
) -> Quantities:
    """What may foretell robustness: scores, ψ of the bands, and what needs no game at all.

    The band response is the mean of what noise in each band changes (``Robustness``).

    mPE cannot fall further than the clean probability, the mean Q(y|x).
    """
    profiles = [one.profile for one in models]
    psi = _stacked([each.image_psi for each in profiles], groups)
    shares = sid(psi)
    score = signed_src(shares)
    bands = psi.shape[-1]

    def means(columns: Sequence[Floats]) -> Floats:
        return _whole_and_without(np.stack(columns, axis=1), groups)

    found: Quantities = {
        SIGNED_SRC: score,
        "SRC": np.abs(score),
        **{f"{SIGNED_SRC}, β = {beta:g}": signed_src(shares, beta) for beta in betas},
        "SID, lower half": shares[..., : bands // 2].sum(axis=-1),
        "v(all)": means([each.image_value for each in profiles]),
        "clean probability": means([np.exp(each.by_size[:, -1]) for each in profiles]),
    }
    if labelled:
        found["clean accuracy"] = means([one.robustness.right for one in models])
    response = _stacked([one.robustness.response for one in models], groups)
    found["band response"] = response.mean(axis=-1)
    for name, values in (("ψ of", psi), ("response in", response)):
        found |= {f"{name} band {band}": values[..., band] for band in range(bands)}
    return found | {name: means([one.more[name] for one in models]) for name in models[0].more}


def covariates_of(models: Sequence[ComparedModel], rows: int, own: Sequence[str]) -> Quantities:
    """The numbers that all models give and in which they differ, the same without any image.

    Of those that a study knows by itself the ones named in ``own``.
    """
    known = [one.covariates for one in models]
    names = [name for name in known[0] if all(name in each for each in known)]
    names = [name for name in names if name in own or name not in OWN_COVARIATES]
    names = [name for name in names if len({each[name] for each in known}) > 1]
    every = {name: np.array([each[name] for each in known]) for name in names}
    return {name: np.broadcast_to(values, (rows, len(models))) for name, values in every.items()}


def targets_of(names: Sequence[str], rows: Sequence[Floats], groups: Groups = None) -> Quantities:
    """The means of ``rows`` (P, K), one of each model, under each perturbation, and over all."""
    values = _stacked([each.T for each in rows], groups)
    found = {name: values[..., at] for at, name in enumerate(names)}
    return found | {MEAN: values.mean(axis=-1)}


def beyond_of(
    names: Sequence[str], answered: Sequence[Robustness], recipes: Sequence[str], groups: Groups
) -> Quantities:
    """The accuracy lost beyond the line of log-odds over the models, and its mean over all."""
    clean = _stacked([each.right[:, None] for each in answered], groups)[..., 0]
    perturbed = _stacked([each.right_perturbed.T for each in answered], groups)
    images = len(answered[0].right)
    found = {
        name: -above_the_line(clean, perturbed[..., at], recipes, images)
        for at, name in enumerate(names)
    }
    return found | {MEAN: np.mean(list(found.values()), axis=0)}


def _stacked(rows: Sequence[Floats], groups: Groups) -> Floats:
    """``_whole_and_without`` of the rows (K, D) of each of N models, (1+K, N, D)."""
    return np.stack([_whole_and_without(each, groups) for each in rows], axis=1)


def _whole_and_without(rows: Floats, groups: Groups = None) -> Floats:
    """The mean (1+K, D) of the rows (K, D), then without each of them, or (1+G, D) each group."""
    return np.concatenate([rows.mean(axis=0, keepdims=True), leave_one_out(rows, groups)])
