"""Whether maps point at what a classifier looks at: insertion, deletion and μ-fidelity.

Insertion and deletion: Petsiuk, Das and Saenko, BMVC 2018, with the replacement and the score of
SPEC.md 4. μ-fidelity: Bhatt, Weller and Moura, IJCAI 2020.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import integrate, ndimage
from torch import Tensor
from torch.nn import functional
from typing_extensions import Unpack

from pytest_iaside.checks import check_between, check_choice, check_level, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.scores import Score, Scorer, open_scorer
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.stats.arrays import Floats, random_by
from pytest_iaside.stats.correlation import pearson
from pytest_iaside.stats.estimate import Estimate

Masks = NDArray[np.bool_]  # What is removed in each variant of an image, (n, H, W).
Kind = Literal["pixels", "cells", "erosion"]
Replacement = Literal["blur", "black"]
# The paper blurs images of 224 pixels by 100; smaller ones are blurred in proportion.
BLUR, BLURRED_SIDE = 100, 224
# A share of n parts that is a whole number but for rounding is that number.
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Removal:
    """How an image is taken apart.

    ``kind="pixels"``: single pixels, by their value in the map. ``"cells"``: the cells of a
    ``grid`` × ``grid`` over the image, by the mean of the map in them. ``"erosion"``: pixels, by
    the largest value within ``window`` pixels around them and then by their own, so that what is
    kept is eroded around the most important pixels, in patches instead of grains.

    What is removed is replaced by the mean over the ``blur`` × ``blur`` pixels around it (of
    them those inside the image), or with ``replacement="black"`` by 0. ``blur=None`` is 100 pixels
    for images of 224 and more along their shorter side, and for smaller ones as large a part.
    ``window=None`` is a 25th of the shorter side, at least 3; it is odd.

    Raises SettingsError for anything else.
    """

    kind: Kind = "pixels"
    replacement: Replacement = "blur"
    blur: int | None = None
    grid: int = 16
    window: int | None = None

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, Kind)
        check_choice("replacement", self.replacement, Replacement)
        for what, size in (("blur", self.blur), ("grid", self.grid), ("window", self.window)):
            if size is not None:
                check_whole(what, size, 1)
        if self.window is not None and self.window % 2 == 0:
            raise SettingsError(
                f"window={self.window} must be odd, so that it has a pixel in its middle; use "
                f"{self.window + 1}"
            )

    def parts(self, height: int, width: int) -> NDArray[np.int64]:
        """The part of each pixel, (H, W), by rows; raises SettingsError for too fine a grid."""
        cells = self.kind == "cells"
        if cells and self.grid > min(height, width):
            raise SettingsError(
                f"grid={self.grid} is too fine for images of {height}×{width} pixels; use at "
                f"most {min(height, width)}, or kind='pixels'"
            )
        rows, columns = (self.grid, self.grid) if cells else (height, width)
        down, right = np.arange(height) * rows // height, np.arange(width) * columns // width
        return np.asarray(down[:, None] * columns + right)

    def ranks(self, importance: Floats) -> NDArray[np.int64]:
        """The rank of each pixel's part for a map (H, W): 0 for the most important, (H, W).

        Of equally important parts the one further up, then further left, comes first.
        """
        parts = self.parts(*importance.shape)
        sums = np.bincount(parts.ravel(), weights=importance.ravel())
        values = sums / np.bincount(parts.ravel())
        keys = [-values]
        if self.kind == "erosion":
            window = self.window or max(3, min(importance.shape) // 25 | 1)
            around = ndimage.maximum_filter(importance, window, mode="constant", cval=-np.inf)
            keys.append(-around.ravel())
        ranks = np.empty(len(values), dtype=np.int64)
        ranks[np.lexsort(keys)] = np.arange(len(values))
        return np.asarray(ranks[parts])

    def replaced(self, image: Tensor) -> Tensor:
        """What stands in place of an image (C, H, W) once all of it is removed."""
        if self.replacement == "black":
            return torch.zeros_like(image)
        return box_blur(image, self.blur or usual_blur(*image.shape[-2:]))


def as_removal(removal: Removal | str) -> Removal:
    """``removal`` itself, or the usual one of that kind; raises SettingsError for others."""
    return removal if isinstance(removal, Removal) else Removal(kind=removal)  # type: ignore[arg-type]


def usual_blur(height: int, width: int) -> int:
    """How many pixels wide the mean is that replaces pixels, if nothing else is asked for."""
    return min(BLUR, max(1, min(height, width) * BLUR // BLURRED_SIDE))


def box_blur(image: Tensor, width: int) -> Tensor:
    """The mean over the ``width`` × ``width`` pixels around each, of them those in the image.

    ``image`` (C, H, W). An even width reaches one pixel further up and left than down and right.
    """
    means, (height, side) = image.to(torch.float64), image.shape[-2:]
    for rows, columns in ((width, 1), (1, width)):
        means = functional.avg_pool2d(
            means, (rows, columns), 1, (rows // 2, columns // 2), count_include_pad=False
        )
    return means[..., :height, :side].to(image.dtype)


def removed_parts(share: float, parts: int) -> int:
    """⌊share · parts⌋: how many parts a deletion of that share removes."""
    return math.floor(share * parts + ROUNDING * parts)


def checked_maps(maps: Any, sample: ReferenceSample) -> Floats:
    """``maps`` as finite (K, H, W) float64, one an image of ``sample``; raises SettingsError."""
    _, height, width = sample.shape
    wanted = (len(sample), height, width)
    found = np.asarray(maps.detach().cpu() if isinstance(maps, Tensor) else maps)
    if found.dtype.kind not in "iuf":
        raise SettingsError(f"maps are {found.dtype}; expected numbers of shape {wanted}")
    if found.shape == wanted[1:] and len(sample) == 1:
        found = found[None]
    if found.shape != wanted:
        raise SettingsError(
            f"maps have shape {found.shape}, expected {wanted}: one for each image, of its height "
            "and width"
        )
    values = found.astype(np.float64)
    finite = np.isfinite(values).all(axis=(1, 2))
    if not finite.all():
        raise SettingsError(
            f"the map of {sample.names[int(finite.argmin())]} holds NaN or infinite values; give "
            "finite ones, which can be put in an order"
        )
    return values


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
    areas = integrate.trapezoid(scores, np.arange(steps + 1) / steps)
    groups = given[1].group_numbers if isinstance(given[1], ReferenceSample) else None
    return Estimate.of_mean(areas, level, groups)


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
        ranks = (how.ranks(each) for each in checked_maps(maps, scorer.sample))
        if inserted:
            # What is not shown yet is what a deletion of the rest, in the opposite order, removes.
            ranks, shares = (each.max() - each for each in ranks), 1 - shares
        masks = (
            np.stack([each < removed_parts(share, int(each.max()) + 1) for share in shares])
            for each in ranks
        )
        return scorer.scores(_variants(scorer, how, masks), variants, score)


def mu_fidelity(
    classifier: Any,
    images: Any,
    labels: Any,
    maps: Any,
    *,
    removal: Removal | str = Removal(kind="cells", grid=9),
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
    follows = np.nan_to_num(pearson(np.stack(sums), -found))
    return Estimate.of_mean(follows, level, sample.group_numbers)


def random_subsets(count: int, size: int, samples: int, key: str) -> Masks:
    """``samples`` subsets of ``size`` of ``count`` parts, (samples, count), the same for a key."""
    lots = random_by(f"subsets {key}").random((samples, count))
    chosen = np.zeros((samples, count), dtype=np.bool_)
    np.put_along_axis(chosen, np.argpartition(lots, size - 1, axis=1)[:, :size], True, axis=1)
    return chosen


def _variants(scorer: Scorer, how: Removal, masks: Iterable[Masks]) -> Iterator[Tensor]:
    """Each image with what its masks say removed, in pieces that fit the backend."""
    for image, each in enumerate(masks):
        pixels = scorer.runner.pixels(scorer.sample, slice(image, image + 1))
        replaced = how.replaced(pixels[0])
        for piece in torch.split(torch.from_numpy(each), scorer.runner.batch_size):
            yield torch.where(piece.to(pixels.device)[:, None], replaced, pixels)
