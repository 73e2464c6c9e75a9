"""Whether maps point at what a classifier looks at: insertion, deletion and μ-fidelity.

Insertion and deletion: Petsiuk, Das and Saenko, BMVC 2018, with the replacement and the score of
SPEC.md 4. μ-fidelity: Bhatt, Weller and Moura, IJCAI 2020.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import integrate
from torch import Tensor

from pytest_iaside.checks import check_between, check_choice, check_level, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.removal import Removal, as_removal, checked_maps, removed_parts
from pytest_iaside.explain.scores import Score, Scorer, open_scorer
from pytest_iaside.stats.arrays import Floats, random_by
from pytest_iaside.stats.estimate import Estimate

Masks = NDArray[np.bool_]
"""What is removed in each variant of an image, (n, H, W)."""
COARSE_CELLS = Removal(kind="cells", grid=9)


class CurveKeywords(TypedDict, total=False):
    """Options of insertion and deletion; ``deletion`` explains them."""

    removal: Removal | str
    score: Score
    steps: int
    level: float
    execution: Execution


def deletion(
    classifier: Any, images: Any, labels: Any, maps: Any, **options: Unpack[CurveKeywords]
) -> Estimate:
    """The area under the score while the most important parts are removed first: low is good.

    ``images`` a ReferenceSample or (K, channels, height, width) uint8 or in [0, 1]; ``labels``
    (K,) classes, one for all, distributions, or None for the predictions on the clean images;
    ``maps`` (K, height, width) any real numbers, the largest the most important. ``options``:
    ``removal`` is a kind ("pixels", the usual one, "cells", "erosion") or a Removal; ``score`` is
    of the label, top-1 "accuracy" or another Score; ``steps`` 20; ``level`` 0.95 of the interval;
    ``execution``. At share q = 0, 1/steps, …, 1 ⌊q·n⌋ of n parts are removed. At 0 the score is
    that of the clean images.

    Raises SettingsError for settings, labels or maps that do not fit; ReferenceSampleError for the
    images; ModelError where the model fails.
    """
    return _area(classifier, images, labels, maps, inserted=False, **options)


def insertion(
    classifier: Any, images: Any, labels: Any, maps: Any, **options: Unpack[CurveKeywords]
) -> Estimate:
    """The area under the score while the most important parts are shown first: high is good.

    The image starts out as all replacement. At share q it is the image of ``deletion`` at 1 − q of
    the opposite order: without ties, with pixels and cells, that of −maps. The rest as there.
    """
    return _area(classifier, images, labels, maps, inserted=True, **options)


def _area(*given: Any, inserted: bool, level: float = 0.95, **options: Any) -> Estimate:
    check_level(level)
    scores = score_curve(*given, inserted=inserted, **options)
    steps = scores.shape[1] - 1
    return Estimate.of_mean(integrate.trapezoid(scores, np.arange(steps + 1) / steps), level)


def score_curve(
    classifier: Any,
    images: Any,
    labels: Any,
    maps: Any,
    *,
    inserted: bool,
    removal: Removal | str = "pixels",
    score: Score = "accuracy",
    steps: int = 20,
    execution: Execution = Execution(),
) -> Floats:
    """Scores (K, steps + 1) at each share of the image that is removed, or that is ``inserted``."""
    how = as_removal(removal)
    check_choice("score", score, Score)
    check_whole("steps", steps, 1)
    shares = np.arange(steps + 1) / steps
    variants = steps + 1
    with open_scorer(classifier, images, labels, variants=variants, execution=execution) as scorer:
        ranks = map(how.ranks, checked_maps(maps, scorer.sample))
        if inserted:
            # What is not shown yet is what a deletion of the rest, in the opposite order, removes.
            masks = (_deleted(int(each.max()) - each, 1 - shares) for each in ranks)
        else:
            masks = (_deleted(each, shares) for each in ranks)
        return scorer.scores(_variants(scorer, how, masks), variants, score)


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
    check_choice("score", score, Score)
    how = as_removal(removal)
    check_whole("samples", samples, 3)
    check_between("subset", subset, 0.2)
    with open_scorer(classifier, images, labels, variants=samples, execution=execution) as scorer:
        sample = scorer.sample
        importance = checked_maps(maps, sample)
        parts = how.parts(*sample.shape[1:])
        count = int(parts.max()) + 1
        size = removed_parts(subset, count)
        if size == 0:
            raise SettingsError(
                f"subset={subset} of {count} parts selects no part; use at least "
                f"{1 / count:.3g}, or a finer grid"
            )
        subsets = [
            random_subsets(count, size, samples, f"{seed} {digest}") for digest in sample.digests
        ]
        masks = (chosen[:, parts] for chosen in subsets)
        found = scorer.scores(_variants(scorer, how, masks), samples, score)
    sums = [
        chosen.astype(np.float64) @ np.bincount(parts.ravel(), weights=each.ravel())
        for chosen, each in zip(subsets, importance, strict=True)
    ]
    # The drop is the clean score less what is found, and that score is the same for all subsets.
    return Estimate.of_mean(list(map(correlation, sums, -found)), level)


def random_subsets(count: int, size: int, samples: int, key: str) -> Masks:
    """``samples`` subsets of ``size`` of ``count`` parts, (samples, count), the same for a key."""
    lots = random_by(f"subsets {key}").random((samples, count))
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


def _deleted(ranks: NDArray[np.int64], shares: Floats) -> Masks:
    count = int(ranks.max()) + 1
    return np.stack([ranks < removed_parts(share, count) for share in shares])


def _variants(scorer: Scorer, how: Removal, masks: Iterable[Masks]) -> Iterator[Tensor]:
    """Each image with what its masks say removed, in pieces that fit the backend."""
    for image, each in enumerate(masks):
        pixels = scorer.runner.pixels(scorer.sample, slice(image, image + 1))
        replaced = how.replaced(pixels[0])
        for piece in torch.split(torch.from_numpy(each), scorer.runner.batch_size):
            yield torch.where(piece.to(pixels.device)[:, None], replaced, pixels)
