"""What another preprocessing changes: of images in each band, and of the answers through it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pytest_iaside.compare.check import Check
from pytest_iaside.compare.equivalence import Equivalence, compare_equivalence
from pytest_iaside.compare.losses import LossChange
from pytest_iaside.compare.margins import Margins
from pytest_iaside.compare.words import confidence, share
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.perturbation_game import PerturbationSpectrum
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.estimate import Estimate
from pytest_iaside.thresholds import LEVEL, Limit, Limits

NAMED = 0.5
"""Of the difference's energy: the fewest bands that hold as much are named."""
NOTHING = 1e-6
"""Of the images' contrast; less is rounding."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageDifference:
    """How far two pipelines' images differ, (M,) by band; energies are means over images.

    ``energy`` is ‖x* − x‖² of each band, and ``own`` ‖x‖² of the original's images there.
    ``relative`` (K,) is the root of ‖x* − x‖² over that of ‖x − mean‖² of each image.
    """

    energy: Floats
    own: Floats
    relative: Floats
    labels: tuple[str, ...]
    identical: int
    """How many images are the same in both."""

    @property
    def shares(self) -> Floats:
        """Which part of the difference lies in each band, (M,); zeros where there is none."""
        total = self.energy.sum()
        return self.energy / total if total > 0 else np.zeros_like(self.energy)

    @property
    def changed(self) -> Floats:
        """‖x* − x‖/‖x‖ in each band, (M,): how far what lies there was changed."""
        nothing = np.zeros_like(self.energy)
        ratio = np.divide(self.energy, self.own, out=nothing, where=self.own > 0)
        return np.sqrt(ratio)

    @property
    def main_bands(self) -> list[int]:
        """The fewest bands that hold half of the difference's energy, the lowest first."""
        order = np.argsort(-self.shares)
        count = int(np.searchsorted(np.cumsum(self.shares[order]), NAMED)) + 1
        return sorted(order[:count].tolist())

    @property
    def most_changed(self) -> int:
        """The band of which the largest part was changed."""
        return int(self.changed.argmax())

    @property
    def sentence(self) -> str:
        """How far the images differ, and in which bands."""
        if float(self.relative.max(initial=0.0)) <= NOTHING:
            return "both pipelines make the same images of all files"
        bands = self.main_bands
        held = share(float(self.shares[bands].sum()))
        named = ", ".join(f"{band} ({self.labels[band]})" for band in bands)
        most = self.most_changed
        return (
            f"the images differ by {float(self.relative.mean()):.2%} of their contrast (at most "
            f"{float(self.relative.max()):.2%}); {held} of it lies in band{'s' * (len(bands) > 1)} "
            f"{named}; the largest part of what was there is changed in band {most} "
            f"({self.labels[most]}): {share(float(self.changed[most]))}"
        )


def compare_preprocessing(
    spectrum: PerturbationSpectrum,
    changed: Measurement,
    original: Measurement,
    difference: ImageDifference,
    margins: Margins,
    *,
    max_band_loss: float | None,
    max_image_difference: float | None = None,
    level: float = LEVEL,
    roles: tuple[str, str],
) -> Equivalence:
    """Whether the answers after both pipelines are equivalent, and through which bands not.

    ``spectrum`` divides the loss of log-likelihood from the ``original`` answers to the
    ``changed`` ones among bands; each may move by ``max_band_loss`` nats, either way. Bands are
    those of what pipelines return. ``max_image_difference`` is how far the images themselves may
    differ in the mean, as a share of their contrast.
    """
    now = replace(spectrum, answers=changed)
    before = replace(spectrum, values=np.zeros_like(spectrum.values), answers=original)
    bands: Limits = {} if max_band_loss is None else {"log-likelihood": Limit(change=max_band_loss)}
    others = []
    if max_image_difference is not None:
        estimate = Estimate.of_mean(spectrum.distinct(difference.relative), level)
        others.append(_image_check(difference, estimate, max_image_difference, level))
    found = compare_equivalence(
        now, before, bands, margins.answers, level=level, roles=roles, others=others
    )
    return replace(found, notes=(difference.sentence, *found.notes))


def _image_check(
    difference: ImageDifference, estimate: Estimate, margin: float, level: float
) -> Check:
    low, high = estimate.low, estimate.high
    if (difference.relative <= NOTHING).all():
        low = high = estimate.value
    verdict = "drift" if low > margin else "pass" if high <= margin else "inconclusive"
    most = difference.most_changed
    where = f"difference of the images, most changed in band {most} ({difference.labels[most]})"
    return Check(
        name="images",
        where=where,
        better="lower",
        baseline=0.0,
        candidate=estimate.value,
        change=estimate.value,
        low=low,
        high=high,
        limit=margin,
        verdict=verdict,  # type: ignore[arg-type]  # mypy takes the conditional for a str.
        changed=low > 0,
        sentence=(
            f"{where}: {estimate.value:.2%} of their contrast ({confidence(level)} "
            f"{low:.2%}…{high:.2%}, allowed {margin:.2%})"
        ),
    )


def loss_of(
    spectrum: PerturbationSpectrum, difference: ImageDifference, name: str, level: float
) -> LossChange:
    """The loss through each band as reports draw it, beside a baseline that loses nothing."""
    zero = Estimate(value=0.0, low=0.0, high=0.0, standard_error=0.0, level=level)
    nothing = (zero,) * len(difference.labels)
    together = 1 - (1 - level) / len(difference.labels)
    bands = spectrum.phi("log-likelihood", together)
    return LossChange(
        perturbation=name,
        level=level,
        images=len(spectrum),
        change=spectrum.loss("log-likelihood", level),
        baseline=nothing,
        candidate=bands,
        bands=bands,
        energy=difference.shares,
        labels=difference.labels,
        edges=tuple(spectrum.partition.edges.tolist()),
    )
