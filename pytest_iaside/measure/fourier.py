"""The Fourier heat map: how much a model loses to a wave of each frequency (Yin et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.checks import check_positive, check_whole
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.jobs import AT_A_TIME
from pytest_iaside.execute.runner import pieces
from pytest_iaside.execute.running import run_jobs
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import Labelled
from pytest_iaside.measure.band_losses import Subject, clean_scores
from pytest_iaside.measure.game.changes import ChangedImages, joined_rows
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats, averaged, random_by
from pytest_iaside.stats.groups import joined
from pytest_iaside.stats.intervals import jackknife_error

DEVIATION = 0.1
"""Of the usual wave, over the pixels of an image."""
Frequency = tuple[int, int]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class FourierHeatMap:
    """What a wave of each frequency costs, on a grid with frequency 0 in its middle.

    Rows are ``u`` (H',), columns ``v`` (W',), whole cycles an image down and across; all arrays
    are (H', W'). The standard errors are over images, or groups of them.
    """

    u: NDArray[np.int64]
    v: NDArray[np.int64]
    error_rate: Floats
    """The share of images that are answered wrong."""
    error_rate_error: Floats
    loss: Floats
    """How far the log-likelihood falls, in nats."""
    loss_error: Floats
    clean_error_rate: float
    norm: float
    """‖·‖₂ of the wave in each channel, in units of pixels."""
    forward_passes: int

    def __repr__(self) -> str:
        rows, columns = self.loss.shape
        row, column = np.unravel_index(int(self.loss.argmax()), self.loss.shape)
        return (
            f"FourierHeatMap({rows}×{columns} frequencies, norm {self.norm:.3g}: most is lost at "
            f"u={self.u[row]}, v={self.v[column]} ({self.loss.max():.3g} nats, "
            f"{self.error_rate[row, column]:.1%} wrong, {self.clean_error_rate:.1%} clean))"
        )


def fourier_heat_map(
    model: Any,
    reference: ReferenceSample,
    *,
    norm: float | None = None,
    radius: int | None = None,
    passes: int = 512,
    samples: int | Literal["auto"] | None = None,
    seed: int = 0,
    execution: Execution = Execution(),
    labels_from: Labelled | None = None,
) -> FourierHeatMap:
    """The error rate and the fall of log Q under ±norm·U_{u,v}, for frequencies (u, v) on a grid.

    U_{u,v} is the cosine of u cycles down and v across an image, of length 1; its sign is drawn for
    each image and channel by ``seed`` and the image's digest. ``norm`` is the length of the wave in
    a channel, by default 0.1·√(H·W). The grid reaches to ``radius`` in both directions, by default
    to Nyquist, and is as fine as ``passes`` an image allow: every frequency where they suffice,
    else every second, and so on. (u, v) and (−u, −v) are one wave and take one pass. Nothing is
    clipped. Labels and settings as in ``perturbation_spectrum``. SPEC.md 8; Yin, Gontijo Lopes,
    Shlens, Cubuk and Gilmer, NeurIPS 2019.

    Raises as ``measure``; SettingsError for a norm, radius or number of passes out of range.
    """
    check_whole("seed", seed)
    check_whole("passes", passes, 2)
    subject = Subject.of(
        model,
        reference,
        bands=1,
        partition="linf",
        samples=samples,
        execution=execution,
        labels_from=labels_from,
    )
    if subject.classifier.task.scored:
        raise ModelError(
            f"{subject.classifier.name} is measured by a score of your own, of which no share is "
            "wrong; give a classifier of logits, or take spectral_response"
        )
    sample = subject.sample
    _, height, width = sample.shape
    norm = DEVIATION * (height * width) ** 0.5 if norm is None else norm
    check_positive("norm", norm, ", in units of pixels")
    u, v = _grid(height, width, radius, passes)
    grid = product(u.tolist(), v.tolist())
    distinct = dict.fromkeys(_one_of_two(wave, height, width) for wave in grid)
    waves = {wave: place for place, wave in enumerate(distinct)}
    jobs = (
        WavedImages(
            sample.take(range(some.start, some.stop)),
            len(sample) * (len(waves) + 1),
            tuple(waves),
            norm,
            seed,
        )
        for some in pieces(len(sample), AT_A_TIME)
    )
    rows = joined_rows(list(run_jobs(subject.classifier, execution, jobs)))
    clean = clean_scores(rows.log_probabilities, subject.labels(rows), subject.classifier.task)
    groups = None if sample.groups is None else joined(sample.digests, sample.groups)
    places = np.array([[waves[_one_of_two((a, b), height, width)] for b in v] for a in u])
    maps = []
    for values in (1 - rows.values[:, 2], clean[:, :1] - rows.values[:, 0]):
        images = averaged(values, sample.digests)
        error = jackknife_error(images, np.asarray, groups)
        maps += [images.mean(axis=0)[places], error[places]]
    return FourierHeatMap(
        u=u,
        v=v,
        error_rate=maps[0],
        error_rate_error=maps[1],
        loss=maps[2],
        loss_error=maps[3],
        clean_error_rate=float(1 - averaged(clean[:, 2], sample.digests).mean()),
        norm=float(norm),
        forward_passes=rows.forward_passes,
    )


@dataclass(frozen=True, eq=False)
class Waves:
    """Images (K, C, H, W), as the network is fed, to which a wave is added.

    ``signs`` (K, C) are as long as a wave is to be. A mixture is a frequency (u, v).
    """

    inputs: Tensor
    signs: Tensor
    channels_last: bool = False

    def of(self, images: slice) -> Waves:
        return replace(self, inputs=self.inputs[images], signs=self.signs[images])

    def combine(self, coalitions: Tensor) -> Tensor:
        height, width = self.inputs.shape[-2:]
        waves = cosines(coalitions.to(torch.float64), height, width)
        scaled = self.signs[:, None, :, None, None] * waves[:, :, None]
        mixed = (self.inputs[:, None] + scaled.to(self.inputs)).flatten(0, 1)
        return mixed.to(memory_format=torch.channels_last) if self.channels_last else mixed


def cosines(frequencies: Tensor, height: int, width: int) -> Tensor:
    """Cosines (…, H, W) of length 1 of ``frequencies`` (…, 2): cycles down and across."""
    down = torch.arange(height).to(frequencies) / height
    across = torch.arange(width).to(frequencies) / width
    rows, columns = frequencies[..., :1] * down, frequencies[..., 1:] * across
    waves = torch.cos(2 * torch.pi * (rows[..., :, None] + columns[..., None, :]))
    lengths: Tensor = torch.linalg.vector_norm(waves, dim=(-2, -1), keepdim=True)
    return waves / lengths


@dataclass(frozen=True, eq=False)
class WavedImages(ChangedImages):
    """Images under each of ``waves``."""

    waves: tuple[Frequency, ...]
    norm: float
    seed: int

    def mixtures(self) -> Sequence[NDArray[Any]]:
        return [np.array(self.waves, dtype=np.float64)] * len(self.sample)

    def pictures(
        self, classifier: Classifier, some: slice, pixels: Tensor, *, channels_last: bool = True
    ) -> Waves:
        drawn = [
            random_by(f"wave {self.seed} {digest}").choice([-1.0, 1.0], size=self.sample.shape[0])
            for digest in self.sample.digests[some]
        ]
        signs = self.norm * torch.from_numpy(np.stack(drawn)).to(pixels.device)
        if classifier.std is not None:
            signs = signs / classifier.std.to(signs)
        return Waves(classifier.normalise(pixels), signs, channels_last)

    def shown(self, mixture: NDArray[Any]) -> str:
        return f"under the wave of frequency ({mixture[0]:.0f}, {mixture[1]:.0f})"


def _grid(
    height: int, width: int, radius: int | None, passes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The frequencies (H',) and (W',) of the grid, symmetric around 0."""
    nyquist = max(height, width) // 2
    check_whole("radius", radius, 1, or_none=True)
    if radius is not None and radius > nyquist:
        raise SettingsError(
            f"radius={radius} is beyond the Nyquist frequency of {height}×{width} images; use at "
            f"most {nyquist}, or None for all"
        )
    reach = [min(nyquist if radius is None else radius, side // 2) for side in (height, width)]
    step = 1
    while True:
        u, v = (np.arange(-(most // step), most // step + 1) * step for most in reach)
        if (len(u) * len(v) + 1) // 2 <= passes:
            return u, v
        step += 1


def _one_of_two(wave: Frequency, height: int, width: int) -> Frequency:
    """The one of (u, v), (−u, −v) and what else is the same wave that stands for all of them."""
    u, v = wave
    u, v = min(((u % height, v % width), (-u % height, -v % width)))
    return (u - height if u > height // 2 else u, v - width if v > width // 2 else v)
