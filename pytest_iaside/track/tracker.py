"""Checkpoints measured one after another, each kept in the history as soon as it is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.metrics import accuracy
from pytest_iaside.measure.provenance import ReferenceInfo
from pytest_iaside.measure.spectral import Progress, measure
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.identity import identity
from pytest_iaside.track.checkpoints import Checkpoint, read_checkpoint
from pytest_iaside.track.history import RUN, History, Point, key_of
from pytest_iaside.track.weights import load_weights

Status = Literal["measured", "known", "same weights", "skipped"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """What became of a checkpoint; ``why`` says of a skipped one what is wrong with it.

    "known" is what the history held for its step, "same weights" what it held elsewhere.
    """

    checkpoint: Checkpoint
    status: Status
    point: Point | None = None
    why: str = ""


class Tracker:
    """Measures checkpoints of one architecture on one reference sample into ``history``.

    ``classifier`` is made once and gets the weights of every checkpoint in turn. ``settings`` are
    those of ``measure``. What the history holds already, the same weights by the same rules on
    the same images, is not measured again, unless ``anew``.

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
        settings: Mapping[str, Any] | None = None,
        anew: bool = False,
    ) -> None:
        if not isinstance(classifier.network, nn.Module):
            raise ModelError(
                f"{classifier.name} is no nn.Module, so no checkpoint can be loaded into it; give "
                "a factory that returns the network whose state_dict was saved"
            )
        self._classifier, self._network = classifier, classifier.network
        self._reference, self._history = reference, history
        self._run, self._anew = run, anew
        self._settings = dict(settings or {})
        self._rules = Rules.of(self._settings)
        samples: Any = self._settings.get("samples")
        # What is out of range is for measure() to say.
        some = isinstance(samples, int) and 0 < samples < len(reference)
        self._sample = reference.take(range(samples)) if some else reference

    def track(
        self, checkpoint: Checkpoint, progress: Callable[[Progress], None] | None = None
    ) -> Outcome:
        """Measure ``checkpoint`` unless it is known, and add it to the history.

        One that cannot be read, does not fit, or makes the model fail is skipped; so is one whose
        step another checkpoint of the run has.
        """
        try:
            return self._track(checkpoint, progress)
        except ModelError as error:
            why, path = str(error), str(checkpoint.path)
            why = why if why.startswith(path) else f"{path}: {why}"
            return Outcome(checkpoint=checkpoint, status="skipped", why=why)

    def _track(
        self, checkpoint: Checkpoint, progress: Callable[[Progress], None] | None
    ) -> Outcome:
        if checkpoint.unreadable:
            raise ModelError(checkpoint.unreadable)
        load_weights(self._network, read_checkpoint(checkpoint.path))
        key = self._key()
        same = self._history.find(key)
        here = [p for p in same if (p.run, p.step) == (self._run, checkpoint.step)]
        if here and not self._anew:
            return Outcome(checkpoint=checkpoint, status="known", point=here[0])
        if not here:
            self._check_step(checkpoint)
        if same and not self._anew:
            point = self._again(checkpoint, same[0])
            status: Status = "same weights"
        else:
            point = self._measured(checkpoint, progress)
            status = "measured"
        self._history.add(point, key=key)
        return Outcome(checkpoint=checkpoint, status=status, point=point)

    def _key(self) -> str:
        # Where it cannot be told what the code computes, the weights alone say which it is.
        model = identity(self._classifier) or str(self._classifier.fingerprint())
        facts = ReferenceInfo.of(self._reference)
        return key_of(model, self._rules, facts, self._sample.digests)

    def _check_step(self, checkpoint: Checkpoint) -> None:
        other = self._history.at(self._run, checkpoint.step)
        if other is not None and other.name != checkpoint.path.as_posix():
            raise ModelError(
                f"{checkpoint.path} has step {checkpoint.step}, as {other.name} has in run "
                f"{self._run!r} of {self._history.path}; tell runs apart with --run, or leave one "
                "of the two out"
            )

    def _measured(
        self, checkpoint: Checkpoint, progress: Callable[[Progress], None] | None
    ) -> Point:
        profile = measure(
            self._classifier,
            self._reference,
            **self._settings,
            progress=progress,
            cache=not self._anew,
        )
        found = checkpoint.accuracy
        if self._reference.labels is not None:
            # A few passes: not worth the choice of a backend.
            where = replace(self._settings.get("execution", Execution()), backend="auto")
            found = accuracy(self._classifier, self._sample, execution=where).value
        return Point(
            run=self._run,
            step=checkpoint.step,
            name=checkpoint.path.as_posix(),
            profile=profile,
            accuracy=found,
            loss=checkpoint.loss,
        )

    def _again(self, checkpoint: Checkpoint, known: Point) -> Point:
        """``known``, found at another step or in another run, as a point of this checkpoint."""
        return replace(
            known,
            run=self._run,
            step=checkpoint.step,
            name=checkpoint.path.as_posix(),
            accuracy=checkpoint.accuracy if self._reference.labels is None else known.accuracy,
            loss=checkpoint.loss,
        )
