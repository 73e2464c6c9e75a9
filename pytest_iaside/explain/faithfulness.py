"""Whether maps point at what a classifier looks at: insertion, deletion and μ-fidelity.

Insertion and deletion: Petsiuk, Das and Saenko, BMVC 2018, with the replacement and the score of
SPEC.md 4. μ-fidelity: Bhatt, Weller and Moura, IJCAI 2020.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.removal import Removal, as_removal, checked_maps, removed_parts
from pytest_iaside.explain.scores import Score, Scorer, check_score, open_scorer
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.estimate import Estimate
from pytest_iaside.thresholds import check_level

Masks = Callable[[int], NDArray[np.bool_]]
"""Of the index of an image: what is removed in each of its variants, (n, H, W)."""
PIXELS = Removal()
COARSE_CELLS = Removal(kind="cells", grid=9)


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoreCurve:
    """Scores while images are taken apart, or put together."""

    shares: Floats
    """Of the image that is removed (deletion) or shown (insertion), (Q,) from 0 to 1."""
    scores: Floats
    """Of each image at each share, (K, Q)."""

    @property
    def areas(self) -> Floats:
        """The area under the curve of each image by the trapezoid rule, (K,)."""
        heights = (self.scores[:, 1:] + self.scores[:, :-1]) / 2
        return np.asarray(heights @ np.diff(self.shares))


def deletion(
    classifier: Any,
    images: Any,
    labels: Any,
    maps: Any,
    *,
    removal: Removal | str = PIXELS,
    score: Score = "accuracy",
    steps: int = 20,
    level: float = 0.95,
    execution: Execution = Execution(),
) -> Estimate:
    """The area under the score while the most important parts are removed first: low is good.

    ``images`` a ReferenceSample or (K, channels, height, width) uint8 or in [0, 1]; ``labels``
    (K,) classes, one for all, distributions, or None for the predictions on the clean images;
    ``maps`` (K, height, width) any real numbers, the largest the most important. ``removal`` is a
    kind ("pixels", "cells", "erosion") or a Removal. ``score`` is of the label: top-1 accuracy,
    or its probability. At share q = 0, 1/steps, …, 1 ⌊q·n⌋ of n parts are removed. At 0 the score
    is that of the clean images.

    Raises SettingsError for settings, labels or maps that do not fit; ReferenceSampleError for the
    images; ModelError where the model fails.
    """
    check_level(level)
    curve = deletion_curve(
        classifier,
        images,
        labels,
        maps,
        removal=removal,
        score=score,
        steps=steps,
        execution=execution,
    )
    return Estimate.of_mean(curve.areas, level)


def insertion(
    classifier: Any,
    images: Any,
    labels: Any,
    maps: Any,
    *,
    removal: Removal | str = PIXELS,
    score: Score = "accuracy",
    steps: int = 20,
    level: float = 0.95,
    execution: Execution = Execution(),
) -> Estimate:
    """The area under the score while the most important parts are shown first: high is good.

    The image starts out as all replacement. At share q it is the image of ``deletion`` at 1 − q of
    the opposite order: without ties, with pixels and cells, that of −maps. The rest as there.
    """
    check_level(level)
    curve = insertion_curve(
        classifier,
        images,
        labels,
        maps,
        removal=removal,
        score=score,
        steps=steps,
        execution=execution,
    )
    return Estimate.of_mean(curve.areas, level)


def deletion_curve(
    classifier: Any, images: Any, labels: Any, maps: Any, **settings: Any
) -> ScoreCurve:
    """The curve whose area ``deletion`` is; its arguments but ``level``."""
    return _curve(classifier, images, labels, maps, _deleted, **settings)


def insertion_curve(
    classifier: Any, images: Any, labels: Any, maps: Any, **settings: Any
) -> ScoreCurve:
    """The curve whose area ``insertion`` is; its arguments but ``level``."""
    return _curve(classifier, images, labels, maps, _not_yet_inserted, **settings)


def mu_fidelity(
    classifier: Any,
    images: Any,
    labels: Any,
    maps: Any,
    *,
    removal: Removal | str = COARSE_CELLS,
    subset: float = 0.2,
    samples: int = 200,
    score: Score = "probability",
    seed: int = 0,
    level: float = 0.95,
    execution: Execution = Execution(),
) -> Estimate:
    """How well sums of a map over random subsets predict what removing them costs: −1 to 1.

    Pearson's correlation, over ``samples`` random subsets of a share ``subset`` of the parts, of
    the sum of the map over them with the drop of the score when they are replaced. Subsets depend
    on the image and ``seed``. Where one of the two does not vary (a map of one value over equal
    parts, an answer that nothing moves) there is no correlation, and 0 counts. The rest as in
    ``deletion``; here kinds "pixels" and "erosion" are the same.
    """
    check_level(level)
    check_score(score)
    how = as_removal(removal)
    _check_count("samples", samples, 3)
    if isinstance(subset, bool) or not isinstance(subset, (int, float)) or not 0 < subset < 1:
        raise SettingsError(f"subset={subset!r} must lie between 0 and 1, as 0.2 does")
    with open_scorer(
        classifier,
        images,
        labels,
        variants=samples,
        execution=execution,
    ) as scorer:
        sample = scorer.sample
        importance = checked_maps(maps, sample)
        parts = how.parts(*sample.shape[1:])
        count = int(parts.max()) + 1
        size = removed_parts(subset, count)
        if size == 0:
            raise SettingsError(
                f"subset={subset} of {count} parts is none; use at least {1 / count:.3g}, or a "
                "finer grid"
            )
        subsets = [
            random_subsets(count, size, samples, f"{seed} {digest}") for digest in sample.digests
        ]

        def masks(image: int) -> NDArray[np.bool_]:
            return np.asarray(subsets[image][:, parts])

        found = scorer.scores(_variants(scorer, how, masks), samples, score)
    sums = [
        chosen.astype(np.float64) @ np.bincount(parts.ravel(), weights=each.ravel())
        for chosen, each in zip(subsets, importance, strict=True)
    ]
    # The drop is the clean score less what is found, and that score is the same for all subsets.
    pairs = zip(sums, -found, strict=True)
    return Estimate.of_mean([correlation(total, drop) for total, drop in pairs], level)


def random_subsets(count: int, size: int, samples: int, key: str) -> NDArray[np.bool_]:
    """``samples`` subsets of ``size`` of ``count`` parts, (samples, count), the same for a key."""
    stream = hashlib.sha256(f"subsets {key}".encode()).digest()
    lots = np.random.default_rng(int.from_bytes(stream, "little")).random((samples, count))
    chosen = np.zeros((samples, count), dtype=np.bool_)
    np.put_along_axis(chosen, np.argpartition(lots, size - 1, axis=1)[:, :size], True, axis=1)
    return chosen


def correlation(first: Floats, second: Floats) -> float:
    """Pearson's, of two (n,); 0 where one of them does not vary but for rounding."""
    deviations = [each - each.mean() for each in (first, second)]
    lengths = [float(np.linalg.norm(each)) for each in deviations]
    sizes = [float(np.abs(each).max()) * math.sqrt(len(each)) for each in (first, second)]
    if any(length <= 1e-12 * size for length, size in zip(lengths, sizes, strict=True)):
        return 0.0
    cosine = float(deviations[0] @ deviations[1]) / lengths[0] / lengths[1]
    return min(max(cosine, -1.0), 1.0)


def _curve(
    classifier: Any,
    images: Any,
    labels: Any,
    maps: Any,
    removed: Callable[[NDArray[np.int64], Floats], NDArray[np.bool_]],
    *,
    removal: Removal | str = PIXELS,
    score: Score = "accuracy",
    steps: int = 20,
    execution: Execution = Execution(),
) -> ScoreCurve:
    how = as_removal(removal)
    check_score(score)
    _check_count("steps", steps, 1)
    shares = np.arange(steps + 1) / steps
    with open_scorer(
        classifier,
        images,
        labels,
        variants=len(shares),
        execution=execution,
    ) as scorer:
        importance = checked_maps(maps, scorer.sample)

        def masks(image: int) -> NDArray[np.bool_]:
            return removed(how.ranks(importance[image]), shares)

        variants = _variants(scorer, how, masks)
        return ScoreCurve(shares=shares, scores=scorer.scores(variants, len(shares), score))


def _deleted(ranks: NDArray[np.int64], shares: Floats) -> NDArray[np.bool_]:
    count = int(ranks.max()) + 1
    return np.stack([ranks < removed_parts(share, count) for share in shares])


def _not_yet_inserted(ranks: NDArray[np.int64], shares: Floats) -> NDArray[np.bool_]:
    # What a deletion of the rest, in the opposite order, removes.
    return _deleted(int(ranks.max()) - ranks, 1 - shares)


def _variants(scorer: Scorer, how: Removal, masks: Masks) -> Iterator[Tensor]:
    """Each image with what its masks (n, H, W) say removed, in pieces that fit the backend."""
    sample, device = scorer.sample, scorer.runner.device
    for image in range(len(sample)):
        pixels = sample.pixels(image, image + 1).to(device)
        replaced = how.replaced(pixels[0])
        for piece in torch.split(torch.from_numpy(masks(image)), scorer.runner.batch_size):
            yield torch.where(piece.to(device)[:, None], replaced, pixels)


def _check_count(what: str, value: int, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingsError(f"{what}={value!r} must be a whole number of at least {least}")
