"""The band response: how much a model loses to noise in each band (SPEC.md 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.checks import check_positive, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.jobs import AT_A_TIME
from pytest_iaside.execute.runner import pieces
from pytest_iaside.execute.running import run_jobs
from pytest_iaside.images.bands import BandPartition, Norm
from pytest_iaside.images.filters import Components, changed, split
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import Labelled
from pytest_iaside.measure.band_losses import BandLosses, Subject, clean_scores, loss_quantities
from pytest_iaside.measure.game.changes import ChangedImages, joined_rows
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats, random_by
from pytest_iaside.stats.estimate import Estimate

KIND = "band response"
# Corruptions of photographs and digits put 0.003 to 0.5 into a band; EfficientNet-Lite0 on 12
# photographs loses half of its accuracy at 0.06 (the lowest band) to 0.3 (the highest).
ENERGIES = (0.01, 0.1, 1.0)
"""The usual ladder, in units of an image's own energy around its mean."""


@dataclass(frozen=True, eq=False)
class Tolerance:
    """The energy of noise in one band at which half of the clean accuracy is lost (SPEC.md 8).

    ``energy`` is in units of an image's own, and NaN where the ladder does not reach it; ``least``
    and ``most`` are the rungs that it lies between, 0 or infinity beyond the ladder. Nothing is
    known of a model that answers no clean image right.
    """

    energy: float
    least: float
    most: float

    def __str__(self) -> str:
        if not np.isnan(self.energy):
            return f"{self.energy:.3g}"
        if self.least:
            return f"above {self.least:g}"
        return "unknown" if np.isinf(self.most) else f"below {self.most:g}"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class BandResponse(BandLosses, kind=KIND):
    """What noise in each of M bands, of each of R energies, costs every image (SPEC.md 8).

    Its quantities are the losses R_b(e) for three scores: of log-likelihood in nats, of probability
    as |Q − Q*|, of accuracy. ``energy`` (K, M) is that of noise of e = 1, in squared pixels.
    """

    kind: str = field(default=KIND)

    def __repr__(self) -> str:
        told = ", ".join(map(str, self.tolerance))
        return f"BandResponse({self.model.name}: tolerance {told}; {self.size})"

    @property
    def energies(self) -> tuple[float, ...]:
        """The ladder (R,), in units of ‖x − mean x‖²."""
        return tuple(float(each) for each in self.settings["energies"])

    @property
    def places(self) -> int:
        return self.bands * len(self.energies)

    def image_response(self, score: str | None = None) -> Floats:
        """The loss of every image, (K, R, M)."""
        return self.losses(score).reshape(len(self), len(self.energies), self.bands)

    def response(
        self, score: str | None = None, level: float = 0.95
    ) -> tuple[tuple[Estimate, ...], ...]:
        """The mean loss at each energy (R) in each band (M), with its interval over images."""
        rows = self.image_response(score)
        return tuple(
            tuple(self.estimate(rows[:, rung, band], level) for band in range(self.bands))
            for rung in range(len(self.energies))
        )

    @property
    def clean_accuracy(self) -> float:
        """The share of the measured images that are answered right without noise."""
        assert self.answers is not None  # As measured; and files hold them.
        if self.model.task == "score":
            return float("nan")  # Nothing is right or wrong.
        hits = self.answers["accuracy, clean"].tolist()
        known = dict(zip(self.answers.digests, hits, strict=True))
        # The answers may be to more images.
        return float(np.mean([known[digest] for digest in dict.fromkeys(self.digests)]))

    @property
    def tolerance(self) -> tuple[Tolerance, ...]:
        """The tolerance of each band (M); interpolated in the logarithm of the energy.

        Where accuracy rises again further up, the lowest energy counts.
        """
        if self.model.task == "score":
            return (Tolerance(float("nan"), 0.0, float("inf")),) * self.bands
        lost = self.distinct(self.image_response("accuracy")).mean(axis=0)
        return tuple(_tolerance(self.energies, each, self.clean_accuracy / 2) for each in lost.T)


def spectral_response(
    model: Any,
    reference: ReferenceSample,
    *,
    energies: Sequence[float] = ENERGIES,
    bands: int = 8,
    partition: Norm = "linf",
    samples: int | Literal["auto"] | None = None,
    seed: int = 0,
    execution: Execution = Execution(),
    labels_from: Labelled | None = None,
) -> BandResponse:
    """What a model loses to noise in each frequency band, at each of ``energies``.

    White Gaussian noise, drawn by ``seed`` and the image's digest, is projected on band b and
    scaled so that ‖n_b‖² = e·‖x − mean x‖², the mean of each channel, for every e of ``energies``,
    which rise; R_b(e) = log Q(y|x) − log Q(y|x + n_b), |Q(y|x) − Q(y|x + n_b)| (of a distribution
    of labels that of the expectation), and the same of accuracy. It takes M·R + 1 passes an image.
    Noise is added to pixels, before mean and std, and not clipped. An image of one colour gets
    none. Labels and settings as in ``perturbation_spectrum``. SPEC.md 8.

    Raises as ``measure``; SettingsError for energies that do not rise from above 0.
    """
    rungs = _checked(energies)
    check_whole("seed", seed)
    subject = Subject.of(
        model,
        reference,
        bands=bands,
        partition=partition,
        samples=samples,
        execution=execution,
        labels_from=labels_from,
    )
    sample = subject.sample
    passes = len(sample) * (len(rungs) * bands + 1)
    jobs = (
        NoisyImages(
            sample.take(range(some.start, some.stop)), passes, subject.partition, rungs, seed
        )
        for some in pieces(len(sample), AT_A_TIME)
    )
    rows = joined_rows(list(run_jobs(subject.classifier, execution, jobs)))
    strengths = np.array([float(contrast(sample.pixels(i, i + 1))) for i in range(len(sample))])
    task = subject.classifier.task
    clean = clean_scores(rows.log_probabilities, subject.labels(rows), task)
    lost = clean[:, :, None] - rows.values
    if not task.scored:
        lost[:, 1] = np.abs(lost[:, 1])
    even = int((strengths == 0).sum())
    places = [
        f"to noise of {energy:g} in band {band} ({label})"
        for energy in rungs
        for band, label in enumerate(subject.partition.labels)
    ]
    notes = [f"{even} of {len(sample)} images are of one colour and got no noise"] if even else []
    return BandResponse(
        quantities=loss_quantities(places, task),
        values=lost.reshape(len(sample), -1),
        energy=np.repeat(strengths[:, None], bands, axis=1),
        settings={**response_settings(rungs, bands, partition, seed), **execution.settings},
        notes=(*notes, *subject.notes),
        **subject.fields(rows),
    )


def response_settings(
    energies: Sequence[float], bands: int, partition: Norm, seed: int
) -> dict[str, Any]:
    """What must be the same for measurements to be compared, in plain values."""
    rungs = list(_checked(energies))
    return {"energies": rungs, "bands": bands, "partition": partition, "seed": seed}


def contrast(pixels: Tensor) -> Tensor:
    """‖x − mean x‖² of images (K, C, H, W), the mean of each channel, (K,) float64."""
    values = pixels.to(torch.float64)
    centred = values - values.mean(dim=(2, 3), keepdim=True)
    # What rounding leaves of an even image is no contrast.
    even = (values.amax(dim=(2, 3)) == values.amin(dim=(2, 3))).all(dim=1)
    return torch.where(even, 0.0, centred.square().sum(dim=(1, 2, 3)))


def band_noise(
    digests: Sequence[str], pixels: Tensor, partition: BandPartition, seed: int
) -> Tensor:
    """Noise (K, M, C, H, W) float32 for images of ``pixels`` (K, C, H, W) and ``digests`` (K).

    In band b alone, of the energy ‖x − mean x‖²; of an image it depends on its digest and ``seed``
    only.
    """
    shape = tuple(pixels.shape[1:])
    drawn = [random_by(f"band {seed} {digest}").normal(size=shape) for digest in digests]
    white = torch.from_numpy(np.stack(drawn)).to(pixels.device)
    # Of few passes an image they are a notable part: half the time of float64.
    noise = split(white, partition, dtype=torch.float32)
    lengths = torch.linalg.vector_norm(noise.flatten(2), dim=2, dtype=torch.float64)
    wanted = contrast(pixels)[:, None].sqrt() / lengths
    return noise.mul_(wanted.to(noise)[:, :, None, None, None])


@dataclass(frozen=True, eq=False)
class NoisyImages(ChangedImages):
    """Images with noise in each band."""

    partition: BandPartition
    energies: tuple[float, ...]
    seed: int

    def mixtures(self) -> Sequence[NDArray[Any]]:
        amplitudes = np.sqrt(self.energies)
        one = np.kron(amplitudes[:, None], np.eye(self.partition.bands))
        return [one] * len(self.sample)

    def pictures(
        self, classifier: Classifier, some: slice, pixels: Tensor, *, channels_last: bool = True
    ) -> Components:
        noise = band_noise(self.sample.digests[some], pixels, self.partition, self.seed)
        return changed(pixels, noise, classifier.mean, classifier.std, channels_last=channels_last)

    def shown(self, mixture: NDArray[Any]) -> str:
        return f"with noise in band {int(mixture.argmax())}"


def _checked(energies: Any) -> tuple[float, ...]:
    found = tuple(energies) if isinstance(energies, (Sequence, np.ndarray)) else ()
    for each in found:
        check_positive("energies", float(each) if isinstance(each, np.floating) else each)
    if not found or any(low >= high for low, high in pairwise(found)):
        raise SettingsError(
            f"energies={energies!r} must rise from above 0, such as {ENERGIES}: shares of an "
            "image's own energy around its mean"
        )
    return tuple(float(each) for each in found)


def _tolerance(energies: Sequence[float], lost: Floats, half: float) -> Tolerance:
    """Where the accuracy ``lost`` (R,) reaches ``half`` of the clean one."""
    reached = np.flatnonzero(lost >= half)
    if not half or not len(reached):
        return Tolerance(float("nan"), energies[-1] if half else 0.0, float("inf"))
    above = int(reached[0])
    if above == 0 and lost[0] > half:
        return Tolerance(float("nan"), 0.0, energies[0])
    below = max(above - 1, 0)
    span = lost[above] - lost[below]
    share = 1.0 if not span else (half - lost[below]) / span
    low, high = np.log([energies[below], energies[above]])
    return Tolerance(float(np.exp(low + share * (high - low))), energies[below], energies[above])
