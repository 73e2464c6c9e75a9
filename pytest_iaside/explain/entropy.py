"""How much noise a classifier bears before its answers tell nothing more (SPEC.md 4)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor

from pytest_iaside.checks import check_choice, check_range, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.moments import Mixing, mixed
from pytest_iaside.explain.scores import Scorer, open_scorer
from pytest_iaside.stats.arrays import Floats, as_row, random_by

NOISES = tuple(step / 10 for step in range(11))
FLAT = 0.1
"""Of the steepest rise: what counts as none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class EntropyCutoff:
    """Predictive entropies under rising noise, and where they stop rising."""

    cutoff: float
    """σmax, in standardised pixels: the noise at which they rise no further."""
    reached: bool
    """Whether they stop rising; if not, ``cutoff`` is the strongest noise that was tried."""
    noises: tuple[float, ...]
    image_entropies: Floats
    """H(E[p]), p the softmax under noise, of each image, (S, K), in nats: from 0 to ln C."""
    entropies: Floats  # Their mean over images, (S,).


def entropy_cutoff(
    classifier: Any,
    images: Any,
    *,
    noises: Sequence[float] = NOISES,
    flat: float = FLAT,
    mixing: Mixing = "convex",
    samples: int = 16,
    seed: int = 0,
    execution: Execution = Execution(),
) -> EntropyCutoff:
    """The ``noise`` for ``spectral_lens``: where more of it makes answers no vaguer (SPEC.md 4).

    At each of ``noises`` σ the network is fed what the lens feeds it, ``samples`` times for each
    image, x in standardised pixels: with ``mixing="convex"`` (1−α)·x + α·σ·ε, α spread evenly over
    [0, 1], with ``"additive"`` x + σ·(max x − min x)·ε. H is the entropy of the mean softmax. The
    cut-off is the first σ beyond the steepest rise at which the slope of H's mean over images is
    ``flat`` of the steepest one's or less, between points that were tried a straight line.

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
    check_range("flat", flat, 0, 1, "a share of the steepest rise, from 0 to 1")
    check_choice("mixing", mixing, Mixing)
    each = len(levels) * samples
    with open_scorer(classifier, images, None, variants=each, execution=execution) as scorer:
        count, classes = scorer.clean.shape
        sums = torch.zeros(count * len(levels), classes, dtype=torch.float64)
        noisy = _noisy(scorer, levels, mixing, samples, seed)
        for rows, logits in scorer.answers(noisy, each, standardised=True):
            sums.index_add_(0, rows // samples, torch.softmax(logits, dim=1))
    means = (sums / samples).view(count, len(levels), classes).numpy()
    image_entropies = special.entr(means).sum(axis=2).T
    entropies = image_entropies.mean(axis=1)
    at = stops_rising(levels, entropies, flat)
    return EntropyCutoff(
        cutoff=levels[-1] if at is None else at,
        reached=at is not None,
        noises=levels,
        entropies=entropies,
        image_entropies=image_entropies,
    )


def stops_rising(noises: Sequence[float], entropies: Floats, flat: float) -> float | None:
    """Where the slope of ``entropies`` (S,) falls to ``flat`` of the largest; None where nowhere.

    Slopes are those of steps, at their middle: finer steps find the same.
    """
    sigmas = np.asarray(noises, dtype=np.float64)
    middles = (sigmas[1:] + sigmas[:-1]) / 2
    slopes = np.diff(entropies) / np.diff(sigmas)
    steepest = int(slopes.argmax())
    if slopes[steepest] <= 0:
        return float(sigmas[0])
    enough = flat * slopes[steepest]
    below = np.flatnonzero(slopes[steepest:] <= enough)
    if not len(below):
        return None
    at = steepest + int(below[0])
    # From the largest down, as np.interp wants its points rising.
    return float(np.interp(enough, slopes[[at, at - 1]], middles[[at, at - 1]]))


def _noisy(
    scorer: Scorer, levels: tuple[float, ...], mixing: Mixing, samples: int, seed: int
) -> Iterator[Tensor]:
    sample, device = scorer.sample, scorer.runner.device
    # The middles of equal parts of [0, 1]: what a mean over p(α) needs no draws for.
    alphas = (np.arange(samples) + 0.5) / samples if mixing == "convex" else np.ones(samples)
    for image, digest in enumerate(sample.digests):
        inputs = scorer.runner.classifier.normalise(sample.pixels(image, image + 1).to(device))
        for noise in levels:
            random = random_by(f"entropy {seed} {digest} {noise!r}")
            for alpha in alphas.tolist():
                draws = random.standard_normal(inputs.shape, dtype=np.float32)
                yield mixed(mixing, inputs, alpha, noise, torch.from_numpy(draws).to(inputs))
