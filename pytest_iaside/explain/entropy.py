"""How much noise a classifier bears before its answers tell nothing more (SPEC.md 4)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor

from pytest_iaside.checks import check_range, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.scores import Scorer, open_scorer
from pytest_iaside.stats.arrays import Floats, as_row, random_by

NOISES = tuple(step / 10 for step in range(11))


@dataclass(frozen=True, eq=False, kw_only=True)
class EntropyCutoff:
    """Predictive entropies under rising noise, and where they stop rising."""

    cutoff: float
    """σmax, in standardised pixels: the noise at the end of the first step without a rise."""
    reached: bool
    """Whether there is such a step; if not, ``cutoff`` is the strongest noise that was tried."""
    plateau: float | None
    """The same of the steps after the first that does rise: of models that weak noise leaves
    certain, the cut-off is where they have not begun to doubt. None where nothing is flat there."""
    noises: tuple[float, ...]
    image_entropies: Floats
    """H(E[p]), p the softmax under noise, of each image, (S, K), in nats: from 0 to ln C."""
    entropies: Floats  # Their mean over images, (S,).


def entropy_cutoff(
    classifier: Any,
    images: Any,
    *,
    noises: Sequence[float] = NOISES,
    rise: float = 0.15,
    samples: int = 16,
    seed: int = 0,
    execution: Execution = Execution(),
) -> EntropyCutoff:
    """The ``noise`` for ``spectral_lens``: where more of it makes answers no vaguer (SPEC.md 4).

    At each of ``noises`` σ the network is fed x + σ·ε, ``samples`` times for each image, x in
    standardised pixels. H is the entropy of the mean softmax. The cut-off is the end of the first
    step on which the mean of H over images rises by less than ``rise`` nats.

    Raises SettingsError for settings out of range; ReferenceSampleError for the images; ModelError
    where the model fails.
    """
    found = as_row(noises)
    # Written so that NaN, which fails every comparison, counts as wrong.
    if len(found) < 2 or not (
        found[0] >= 0 and (np.diff(found) > 0).all() and found[-1] < math.inf
    ):
        raise SettingsError(
            f"noises={noises!r}; expected at least two finite numbers from 0 upwards, each greater "
            "than the one before, in units of standardised pixels"
        )
    levels = tuple(found.tolist())
    check_whole("samples", samples, 1)
    check_range("rise", rise, 0, math.inf, "a finite number of nats, 0 or above")
    each = len(levels) * samples
    with open_scorer(classifier, images, None, variants=each, execution=execution) as scorer:
        count, classes = scorer.clean.shape
        sums = torch.zeros(count * len(levels), classes, dtype=torch.float64)
        noisy = _noisy(scorer, levels, samples, seed)
        for rows, logits in scorer.answers(noisy, each, standardised=True):
            sums.index_add_(0, rows // samples, torch.softmax(logits, dim=1))
    means = (sums / samples).view(count, len(levels), classes).numpy()
    image_entropies = special.entr(means).sum(axis=2).T
    entropies = image_entropies.mean(axis=1)
    at = first_flat_step(entropies, rise)
    later = first_flat_step(entropies, rise, after_a_rise=True)
    return EntropyCutoff(
        cutoff=levels[-1 if at is None else at],
        reached=at is not None,
        plateau=None if later is None else levels[later],
        noises=levels,
        entropies=entropies,
        image_entropies=image_entropies,
    )


def first_flat_step(entropies: Floats, rise: float, *, after_a_rise: bool = False) -> int | None:
    """The end of the first step that rises by less than ``rise``, or not at all; None if all do."""
    steps = np.diff(entropies)
    flat = (steps < rise) | (steps <= 0)
    if after_a_rise:
        flat &= np.logical_or.accumulate(~flat)
    found = np.flatnonzero(flat)
    return int(found[0]) + 1 if len(found) else None


def _noisy(scorer: Scorer, levels: tuple[float, ...], samples: int, seed: int) -> Iterator[Tensor]:
    sample, device = scorer.sample, scorer.runner.device
    for image, digest in enumerate(sample.digests):
        inputs = scorer.runner.classifier.normalise(sample.pixels(image, image + 1).to(device))
        for noise in levels:
            random = random_by(f"entropy {seed} {digest} {noise!r}")
            for _ in range(samples):
                draws = random.standard_normal(inputs.shape, dtype=np.float32)
                yield inputs + noise * torch.from_numpy(draws).to(inputs)
