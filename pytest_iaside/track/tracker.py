"""Checkpoints measured one after another, each kept in the history as soon as it is known."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.steady import agree
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import first_images
from pytest_iaside.measure.answers import answers
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.metrics import accuracy
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.provenance import ReferenceInfo
from pytest_iaside.measure.spectral import Progress, measure
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.identity import identity
from pytest_iaside.models.tasks import log_likelihood
from pytest_iaside.track.checkpoints import Checkpoint, read_checkpoint
from pytest_iaside.track.history import RUN, History, Point, key_of, storable
from pytest_iaside.track.weights import load_weights

Status = Literal["measured", "known", "same weights"]
"""How a point came about: "known" is what the history held for its step, else for its weights."""


class Tracker:
    """Measures checkpoints of one architecture on one reference sample into ``history``.

    ``classifier`` is made once and gets the weights of every checkpoint in turn. ``settings`` are
    those of ``measure``. What the history holds already, the same weights by the same rules on
    the same images, is not measured again, unless ``anew`` or where the model answers these images
    otherwise by now.

    Raises ModelError for a classifier that has no weights to load, and SettingsError and
    ReferenceSampleError as ``measure`` does.
    """

    def __init__(
        self,
        classifier: Classifier,
        reference: ReferenceSample,
        history: History,
        *,
        run: str = RUN,
        settings: Mapping[str, Any],
        anew: bool = False,
    ) -> None:
        if not isinstance(classifier.network, nn.Module):
            raise ModelError(
                f"{classifier.name} is no nn.Module, so no checkpoint can be loaded into it; give "
                "a factory that returns the network whose state_dict was saved"
            )
        self._classifier, self._network = classifier, classifier.network
        self._reference, self._history = reference, history
        self._run, self._anew, self._settings = storable(run), anew, settings
        self._rules = Rules.of(settings)
        self._sample = first_images(reference, settings.get("samples"))
        # A few passes: not worth the choice of a backend.
        self._execution = replace(settings.get("execution", Execution()), backend="auto")

    def track(
        self, checkpoint: Checkpoint, progress: Callable[[Progress], None] | None = None
    ) -> tuple[Point, Status]:
        """Measure ``checkpoint`` unless it is known, and add it to the history.

        Raises ModelError for one that cannot be read, does not fit, or makes the model fail, and
        for one whose step another checkpoint of the run has.
        """
        if checkpoint.unreadable:
            raise ModelError(checkpoint.unreadable)
        load_weights(self._network, read_checkpoint(checkpoint.path))
        model, reference = str(identity(self._classifier)), ReferenceInfo.of(self._reference)
        key = key_of(model, self._rules, reference, self._sample.digests)
        same = [] if self._anew else self._history.find(key)
        # Weights do not say what is computed with them.
        if same and not self._answers_as(same[0].profile):
            same = []
        name, own = storable(checkpoint.path.as_posix()), (self._run, checkpoint.step)
        known = next((point for point in same if (point.run, point.step) == own), None)
        if known is None:
            other = self._history.at(*own)
            # Asked for anew, one that is there no longer gives way to where it was moved.
            moved = self._anew and other is not None and not Path(other.name).exists()
            if other is not None and other.name != name and not moved:
                raise ModelError(
                    f"{name} has step {checkpoint.step}, as {other.name} has in run "
                    f"{self._run!r} of {self._history.path}; tell runs apart with --run, or leave "
                    "one of the two out"
                )
        else:
            return known, "known"
        status: Status = "measured"
        if same:
            status = "same weights"
            point = replace(
                same[0],
                run=self._run,
                step=checkpoint.step,
                name=name,
                accuracy=checkpoint.accuracy if self._sample.labels is None else same[0].accuracy,
                loss=checkpoint.loss,
            )
        else:
            settings = {**self._settings, "progress": progress, "cache": not self._anew}
            point = measured_point(
                self._classifier, self._reference, checkpoint, run=self._run, settings=settings
            )
        self._history.add(point, key=key)
        return point, status

    def _answers_as(self, profile: SpectralProfile) -> bool:
        """Whether the images as they are, are answered as ``profile`` says."""
        (logits,) = answers(self._classifier, self._sample, [None], execution=self._execution)
        labels = torch.from_numpy(profile.labels)
        found = log_likelihood(torch.from_numpy(logits), labels).numpy()
        return agree(found, profile.by_size[:, -1], profile.rules.dtype)


def measured_point(
    classifier: Classifier,
    reference: ReferenceSample,
    checkpoint: Checkpoint,
    *,
    run: str,
    settings: Mapping[str, Any],
) -> Point:
    """``classifier`` measured at the step of ``checkpoint``; raises as ``measure``.

    The accuracy is that on ``reference`` where it is labelled, else what the trainer logged.
    """
    profile = measure(classifier, reference, **settings)
    found = checkpoint.accuracy
    if reference.labels is not None:
        sample = first_images(reference, settings.get("samples"))
        # A few passes: not worth the choice of a backend.
        execution = replace(settings.get("execution", Execution()), backend="auto")
        found = accuracy(classifier, sample, execution=execution).value
    return Point(
        run=run,
        step=checkpoint.step,
        name=checkpoint.path.as_posix(),
        profile=profile,
        accuracy=found,
        loss=checkpoint.loss,
    )
