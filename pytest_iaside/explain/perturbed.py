"""Clean against perturbed: how a perturbation changes where an answer comes from (SPEC.md 3.2)."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.checks import check_whole
from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.explanation import FOR_LOOKING, POINTS, fitting
from pytest_iaside.explain.lens import Lens, spectral_lens
from pytest_iaside.explain.measurements import level_title
from pytest_iaside.explain.sobol import shares
from pytest_iaside.explain.wcam import WaveletAttribution, wcam
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import sample_of
from pytest_iaside.measure.answers import Perturbation, perturbed_sample
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.report.numbers import share
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.estimate import Estimate

REPEATS = 5
"""WCAMs of each image and of its perturbed version: 126 ways to deal them out at random."""
GATE_REPEATS, GATE_CELLS = 4, 8
"""The same for the image behind a red gate, where it must not take long: 35 ways."""
CLEAR = 0.05
"""A p-value below which a place is said to have moved."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PerturbedExplanation:
    """WCAMs of K images as they are and perturbed, R of each, all of the same class.

    The first of each are ``clean[0]`` and ``perturbed[0]``; others differ in their masks alone,
    which are the same for both.
    """

    perturbation: str
    changed: ReferenceSample = field(repr=False)
    """The images under the perturbation."""
    clean: tuple[WaveletAttribution, ...] = field(repr=False)
    perturbed: tuple[WaveletAttribution, ...] = field(repr=False)
    lenses: tuple[Lens, Lens] | None = field(repr=False)
    """The SpectralLens of both; None of models without gradients."""

    @property
    def names(self) -> tuple[str, ...]:
        return self.clean[0].names

    def level_change(self, image: int, level: float = 0.95) -> tuple[Estimate, ...]:
        """The change of each level's share, coarsest first, with its interval over masks."""
        before, after = (
            np.array([each.levels[image] for each in side]) for side in (self.clean, self.perturbed)
        )
        return tuple(Estimate.of_mean(column, level) for column in (after - before).T)

    @cached_property
    def distances(self) -> Floats:
        """How far the place moved, (K,): ½·Σ|difference| of the mean maps in place, 0 to 1."""
        return np.array([_distance(*self._maps(image)) for image in range(len(self.names))])

    def null(self, image: int) -> Floats:
        """The same where the image's maps are dealt out at random, every way once.

        If the perturbation moved nothing, the distance that was found is one of these.
        """
        first, second = self._maps(image)
        both, count = np.concatenate([first, second]), len(first)
        # Which side is called the first makes no difference: the first map stays on its own.
        splits = [(0, *some) for some in combinations(range(1, 2 * count), count - 1)]
        every = set(range(2 * count))
        return np.array(
            [_distance(both[[*some]], both[sorted(every - set(some))]) for some in splits]
        )

    def p_value(self, image: int) -> float:
        """The share of such distances that are at least as large as the one found."""
        return float((self.null(image) >= self.distances[image] - 1e-12).mean())

    def sentence(self, image: int) -> str:
        """What changed, in words."""
        changes, depth = self.level_change(image), self.clean[0].depth
        known = [each.low > 0 or each.high < 0 for each in changes]
        told = []
        for sign, word in ((-1, "less"), (1, "more")):
            some = [n for n, each in enumerate(changes) if known[n] and each.value * sign > 0]
            if some:
                at = max(some, key=lambda n: abs(changes[n].value))
                moved = (
                    f"{word} from {level_title(at, depth)} "
                    f"({'+' if sign > 0 else '−'}{share(abs(changes[at].value))} of it)"
                )
                told.append(moved)
        what = " and ".join(told) or "from the same scales, as far as can be told"
        distance, p = self.distances[image], self.p_value(image)
        null = float(np.median(self.null(image)))
        place = "its place moved" if p < CLEAR else "that its place moved cannot be told"
        return (
            f"under {self.perturbation} the answer comes {what}; {place} (distance {distance:.2g}, "
            f"{null:.2g} by chance, p = {p:.3f})"
        )

    def _maps(self, image: int) -> tuple[Floats, Floats]:
        """Maps in place that sum to 1, (R, H·W) of both sides."""
        sides = (
            np.array([each.spatial[image].ravel() for each in side])
            for side in (self.clean, self.perturbed)
        )
        first, second = (shares(np.maximum(side, 0)) for side in sides)
        return first, second


def explain_perturbed(
    model: Any,
    images: Any,
    perturbation: Perturbation,
    labels: Any = None,
    *,
    grid: int | None = None,
    wavelet_levels: int | None = None,
    points: int = POINTS,
    wavelet: str = "haar",
    repeats: int = REPEATS,
    seed: int = 0,
    execution: Execution = Execution(),
) -> PerturbedExplanation:
    """WCAMs and lenses of ``images`` and of what ``perturbation`` makes of them.

    The class explained in both is the one predicted for the clean image, or ``labels``.
    ``perturbation`` as ``mean_prediction_error`` takes it. It takes 2·``repeats`` WCAMs an image.

    Raises as ``wcam`` and ``mean_prediction_error``.
    """
    check_whole("repeats", repeats, 2)
    classifier, sample = as_classifier(model), sample_of(images)
    name, changed = perturbed_sample(classifier, sample, perturbation, seed, execution)
    wavelet_levels, grid = fitting(sample, wavelet_levels, grid)
    how: dict[str, Any] = {"grid": grid, "wavelet_levels": wavelet_levels, "wavelet": wavelet}
    classes: NDArray[np.int64] | Any = labels
    sides: tuple[list[WaveletAttribution], list[WaveletAttribution]] = ([], [])
    for repeat in range(repeats):
        for side, pictures in zip(sides, (sample, changed), strict=True):
            # Masks are drawn by an image's digest: the changed one gets those of the image.
            found = wcam(
                classifier,
                pictures,
                classes,
                points=points,
                seed=seed + repeat,
                keys=sample.digests,
                execution=execution,
                **how,
            )
            side.append(found)
            classes = found.classes
    lenses = None
    try:
        first, second = (
            spectral_lens(classifier, each, classes, **FOR_LOOKING, seed=seed, execution=execution)
            for each in (sample, changed)
        )
        lenses = (first, second)
    except ModelError:
        pass  # A model without gradients; wcam would have failed of any other reason.
    return PerturbedExplanation(
        perturbation=name,
        changed=changed,
        clean=tuple(sides[0]),
        perturbed=tuple(sides[1]),
        lenses=lenses,
    )


def _distance(first: Floats, second: Floats) -> float:
    """½·Σ|a − b| of the means of maps (R, N) that each sum to 1."""
    return float(np.abs(first.mean(axis=0) - second.mean(axis=0)).sum() / 2)
