"""Measurements of what a change of images costs, in each band and by three scores."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from pytest_iaside.checks import check_level
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution, check_execution
from pytest_iaside.images.bands import BandPartition, Norm
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import (
    Labelled,
    check_reference,
    first_images,
    notes_on,
    on_labels_of,
)
from pytest_iaside.measure.answers import labels_of
from pytest_iaside.measure.game.changes import ScoreRows
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import rated, rightness
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo, environment
from pytest_iaside.measure.quantities import ANSWERS, Quantity, Unit, answer_quantities
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.models.tasks import SCORE, SOFTMAX, Task
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.estimate import Estimate

UNITS: Mapping[str, Unit] = {
    "log-likelihood": "nats",
    "probability": "share",
    "accuracy": "share",
    SCORE: "score",
}


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class BandLosses(Measurement):
    """A measurement whose quantities are losses: by three scores, each in the same places.

    ``values`` (K, Q): first all losses of log-likelihood, then of probability, then of accuracy.
    ``energy`` (K, M): what changed each image in each band, ‖·‖² over channels, in squared pixels.
    """

    energy: Floats

    NEEDED = ("energy",)
    PER_IMAGE = (*Measurement.PER_IMAGE, "energy")

    @property
    def bands(self) -> int:
        return int(self.settings["bands"])

    @property
    def partition(self) -> BandPartition:
        return BandPartition(
            self.reference.height, self.reference.width, self.bands, self.settings["partition"]
        )

    def losses(self, score: str | None = None) -> Floats:
        """The loss of ``score`` of each image in each place, (K, n); SettingsError for others.

        None: of what v is made of, log-likelihood or a score of the user's own.
        """
        families = list(dict.fromkeys(each.family for each in self.quantities))
        score = families[0] if score is None else score
        if score not in families:
            raise SettingsError(
                f"score={score!r} is unknown here; use {' or '.join(map(repr, families))}"
            )
        columns = [at for at, each in enumerate(self.quantities) if each.family == score]
        return self.values[:, columns]

    def estimate(self, rows: Floats, level: float = 0.95) -> Estimate:
        """The mean of ``rows`` (K,), one a measured image, with its interval over images.

        Exact copies of an image count as one; where images come in groups, one group is left out
        at a time (SPEC.md 10).
        """
        check_level(level)
        return Estimate.of_mean(self.distinct(rows), level, self.group_numbers)

    @property
    def places(self) -> int:
        """How many losses of each score an image has."""
        return self.bands

    def widths(self) -> dict[str, int]:
        scores = len({each.family for each in self.quantities})
        expected = scores * self.places
        if len(self.quantities) != expected:
            raise ValueError(f"there are {len(self.quantities)} quantities, not {expected}")
        return {"values": expected, "energy": self.bands}


def loss_quantities(places: Sequence[str], task: Task = SOFTMAX) -> tuple[Quantity, ...]:
    """The losses of every score of ``task`` in each of ``places``, one family a score."""
    return tuple(
        Quantity(name=f"{score} lost {place}", family=score, better="lower", unit=UNITS[score])
        for score in task.rated
        for place in places
    )


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier and the images to measure, checked, and when that began."""

    classifier: Classifier
    reference: ReferenceSample
    sample: ReferenceSample
    notes: tuple[str, ...]
    partition: BandPartition
    began: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(
        cls,
        model: Any,
        reference: ReferenceSample,
        *,
        bands: int,
        partition: Norm,
        samples: int | Literal["auto"] | None,
        execution: Execution,
        labels_from: Labelled | None,
    ) -> Subject:
        """Raises as ``measure``."""
        check_execution(execution)
        check_reference(reference)
        classifier = as_classifier(model)
        channels, height, width = reference.shape
        classifier.check_channels(channels)
        taken = first_images(reference, samples)
        return cls(
            classifier,
            reference,
            on_labels_of(taken, labels_from),
            notes_on(taken),
            BandPartition(height, width, bands, partition),
        )

    def labels(self, rows: ScoreRows) -> np.ndarray[Any, Any]:
        """The sample's labels, or the predictions on the clean images where it has none."""
        return labels_of(self.sample, rows.log_probabilities, self.classifier.task)

    def fields(self, rows: ScoreRows) -> dict[str, Any]:
        """Those of a Measurement that are the same whatever was measured."""
        labels = self.labels(rows)
        common: dict[str, Any] = {
            "digests": self.sample.digests,
            "names": self.sample.names,
            "groups": self.sample.groups,
            "labels": labels,
            "reference": ReferenceInfo.of(self.reference),
            "model": ModelInfo.of(self.classifier, rows.log_probabilities.shape[1]),
        }
        answers = Measurement(
            kind=ANSWERS,
            quantities=answer_quantities((), self.classifier.task.kind),
            values=rightness([rows.log_probabilities], labels, self.classifier.task),
            settings={"panel": []},
            forward_passes=len(self.sample),
            **common,
        )
        return common | {
            "answers": answers,
            "forward_passes": rows.forward_passes,
            "environment": environment() | dict(rows.environment),
            "seconds": time.perf_counter() - self.began,
        }


def clean_scores(answers: Floats, labels: Any, task: Task = SOFTMAX) -> Floats:
    """Every score of clean images, (K, F), by their answers (K, C)."""
    return np.stack([rated(answers, labels, each) for each in task.rated.values()], axis=1)
