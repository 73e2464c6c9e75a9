"""The perturbation game: through which bands a perturbation hurts (SPEC.md 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.jobs import AT_A_TIME
from pytest_iaside.execute.runner import pieces
from pytest_iaside.execute.running import run_jobs
from pytest_iaside.images.bands import BandPartition, Norm
from pytest_iaside.images.filters import Components, band_energies, changed, split
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import Labelled
from pytest_iaside.measure.answers import Perturbation, attacked_pixels, kind_of, perturbed_pixels
from pytest_iaside.measure.band_losses import BandLosses, Subject, loss_quantities
from pytest_iaside.measure.game.changes import ChangedImages, joined_rows
from pytest_iaside.measure.game.coalitions import Design, members, plan
from pytest_iaside.measure.game.play import plans_of
from pytest_iaside.measure.game.rounds import to_device
from pytest_iaside.measure.game.rules import DType, Rules
from pytest_iaside.measure.game.shapley import plan_weights
from pytest_iaside.measure.perturbation import made_of, named_perturbations, perturbation_settings
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.perturb.attacks import Attack
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.estimate import Estimate

KIND = "perturbation spectrum"
WHOSE = "whose change"
"""The setting that says whether two models are given the same change of an image."""
SAME, OWN = "the same for every model", "each model's own"
ROUNDING = 1e-12
"""Of a loss: the same answers in another row of a batch differ by so much."""


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class PerturbationSpectrum(BandLosses, kind=KIND):
    """A perturbation's loss, image by image, divided among the bands of δ = x* − x (SPEC.md 7).

    Its quantities are the Shapley values φ of M bands, for three scores. ``energy`` (K, M) is
    ‖δ_b‖² of each image, in squared pixels.
    """

    kind: str = field(default=KIND)

    def __repr__(self) -> str:
        phi = self.distinct(self.image_phi()).mean(axis=0)
        most = int(phi.argmax())
        # Of what gains in every band no band lost the most.
        lost = phi[most] > ROUNDING
        where = f", most in band {most} of {self.bands} ({phi[most]:.3g})" if lost else ""
        return (
            f"PerturbationSpectrum({self.perturbation} on {self.model.name}: {phi.sum():.3g} "
            f"{self.model.unit} lost{where}; {self.size})"
        )

    @property
    def perturbation(self) -> str:
        """Its name."""
        return str(self.settings["perturbations"][0])

    def image_phi(self, score: str | None = None) -> Floats:
        """φ of every image, (K, M): nats, or shares of 1."""
        return self.losses(score)

    def image_loss(self, score: str | None = None) -> Floats:
        """score(x) − score(x*) of every image, (K,): the sum of its φ."""
        return np.asarray(self.losses(score).sum(axis=1))

    def phi(self, score: str | None = None, level: float = 0.95) -> tuple[Estimate, ...]:
        """The mean φ of each band (M), with its interval over images."""
        return tuple(self.estimate(column, level) for column in self.losses(score).T)

    def loss(self, score: str | None = None, level: float = 0.95) -> Estimate:
        """The mean loss, with its interval over images."""
        return self.estimate(self.image_loss(score), level)

    @property
    def energy_shares(self) -> Floats:
        """How much of δ's energy lies in each band, (M,): the mean over images that it changes.

        NaN where it changes none.
        """
        rows = self.distinct(self.energy)
        total = rows.sum(axis=1, keepdims=True)
        if not total.any():
            return np.full(self.bands, np.nan)
        return np.asarray((rows / np.where(total > 0, total, np.nan))[total[:, 0] > 0].mean(axis=0))


def perturbation_spectrum(
    model: Any,
    reference: ReferenceSample,
    perturbation: Perturbation,
    *,
    bands: int = 8,
    partition: Norm = "linf",
    design: Design = "auto",
    samples: int | Literal["auto"] | None = None,
    seed: int = 0,
    execution: Execution = Execution(),
    labels_from: Labelled | None = None,
) -> PerturbationSpectrum:
    """The loss under ``perturbation``, divided among the frequency bands that it came through.

    x* is an image as the perturbation made it, and δ_b the part of x* − x in band b. Bands are
    players, u(S) is the score of x + Σ_{b∈S} δ_b, and φ the Shapley value of u(∅) − u(S): of every
    image Σ_b φ_b = score(x) − score(x*), in nats (log Q), in probability (Q) and in accuracy (0 or
    1; of a distribution its likeliest class is the label), all from the same 2^M + 1 passes, or
    those of a ``design``. What lies between x and x* is not clipped: it may leave [0, 1] a little.
    Bands are those of pixels, before mean and std.

    ``perturbation`` is what ``mean_prediction_error`` takes; that of an attack is each model's own,
    and the attacked images are kept until all are played. Without labels the predictions on the
    clean images count, or those of ``labels_from``. Other settings as in ``measure``. SPEC.md 7.

    Raises as ``measure``; SettingsError for what is no perturbation, fails, or returns no images.
    """
    rules = Rules(
        bands=bands,
        partition=partition,
        space="pixel",
        design=design,
        dtype=cast(DType, execution.dtype) if isinstance(execution, Execution) else "float32",
        seed=seed,
    )
    subject = Subject.of(
        model,
        reference,
        bands=bands,
        partition=partition,
        samples=samples,
        execution=execution,
        labels_from=labels_from,
    )
    named = named_perturbations([perturbation])
    kind, sample = kind_of(perturbation, reference), subject.sample
    if kind == "attack":
        attack = cast(Attack, perturbation)
        pixels, classes = attacked_pixels(subject.classifier, sample, attack, execution)
        if sample.labels is None:  # So that what was attacked is what is scored.
            subject = replace(subject, sample=sample.with_labels(classes))

    def perturbed(some: slice) -> Tensor:
        if kind == "attack":
            return pixels[some]
        return perturbed_pixels(perturbation, kind, sample, some, seed)

    energy: list[Tensor] = []
    jobs = _jobs(subject, rules, perturbed, energy)
    rows = joined_rows(list(run_jobs(subject.classifier, execution, jobs)))
    energies = torch.cat(energy).numpy()
    labels = [f"in band {band} ({label})" for band, label in enumerate(subject.partition.labels)]
    return PerturbationSpectrum(
        quantities=loss_quantities(labels, subject.classifier.task),
        values=rows.values.reshape(len(sample), -1),
        energy=energies,
        settings={
            **perturbation_settings([perturbation], 1.0, None, seed),
            **made_of(named, reference),
            "bands": bands,
            "partition": partition,
            "design": rules.design,
            WHOSE: OWN if kind == "attack" else SAME,
            **execution.settings,
        },
        notes=(*_notes(next(iter(named)), kind, energies), *subject.notes),
        **subject.fields(rows),
    )


@dataclass(frozen=True, eq=False)
class PerturbedImages(ChangedImages):
    """Images with what they became, played by ``rules``."""

    perturbed: Tensor
    rules: Rules

    def mixtures(self) -> Sequence[NDArray[Any]]:
        return [each.coalitions for each in plans_of(self.sample, self.rules)]

    def pictures(
        self, classifier: Classifier, some: slice, pixels: Tensor, *, channels_last: bool = True
    ) -> Components:
        became = to_device(pixels.device, self.perturbed[some]).to(torch.float64)
        changes = split(became - pixels, _partition(self.sample, self.rules))
        return changed(
            pixels, changes, classifier.mean, classifier.std, channels_last=channels_last
        )

    def shown(self, mixture: NDArray[Any]) -> str:
        bands = members(mixture.astype(bool))
        return f"changed in the bands {bands}" if mixture.any() else "as it is"

    def reduced(self, some: slice, scores: Floats) -> Floats:
        plans = plans_of(self.sample, self.rules)[some]
        return np.stack(
            [
                (row[:, :1] - row) @ plan_weights(each)
                for row, each in zip(scores, plans, strict=True)
            ]
        )


def _jobs(
    subject: Subject, rules: Rules, perturbed: Callable[[slice], Tensor], energy: list[Tensor]
) -> Iterator[PerturbedImages]:
    """All images, a few at a time; ``energy`` (k, M) of what changed them is added to the list."""
    sample = subject.sample
    passes = len(sample) * (len(plan(rules.design, rules.bands, "").coalitions) + 1)
    for some in pieces(len(sample), AT_A_TIME):
        part, became = sample.take(range(some.start, some.stop)), perturbed(some)
        change = became.to(torch.float64) - part.pixels()
        energy.append(band_energies(change, subject.partition))
        yield PerturbedImages(part, passes, became, rules)


def _partition(sample: ReferenceSample, rules: Rules) -> BandPartition:
    _, height, width = sample.shape
    return BandPartition(height, width, rules.bands, rules.partition)


def _notes(name: str, kind: str, energy: Floats) -> list[str]:
    notes = []
    if kind == "attack":
        notes.append(
            f"{name} attacks the model that is measured, so every model is given a change of its "
            "own: two are compared with what each was given"
        )
    unchanged = int((energy.sum(axis=1) == 0).sum())
    if unchanged:
        notes.append(f"{name} leaves {unchanged} of {len(energy)} images as they are: all φ are 0")
    return notes
