"""Watch: a network measured while it is trained, without the training noticing."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pytest_iaside.errors import ReferenceSampleError, SettingsError, one_line
from pytest_iaside.execute.execution import Execution, gathered
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import first_images
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.metrics import accuracy
from pytest_iaside.measure.spectral import MEASURE_SETTINGS, measure
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.track.checkpoints import Checkpoint
from pytest_iaside.track.exporters import Exporter, metrics, warn_of_missing
from pytest_iaside.track.history import History, Point
from pytest_iaside.track.outbox import Delivery

VALID = (*MEASURE_SETTINGS, *(each.name for each in fields(Execution) if each.name != "executor"))


class Watch:
    """Measures a network at steps of its training, and hands the points on.

    Raises SettingsError and ReferenceSampleError when it is made, for all that can be told
    without the network.
    """

    def __init__(
        self,
        reference: ReferenceSample,
        *,
        history: History | str | Path | None,
        exporters: Sequence[Exporter],
        run: str,
        settings: Mapping[str, Any],
    ) -> None:
        self._settings = _checked_settings(settings)
        self._sample = _checked_sample(reference, self._settings)
        self._reference = reference
        if not isinstance(run, str) or not run:
            raise SettingsError(f"run={run!r} cannot be used; expected text")
        self._run = run
        self._history = History(history) if isinstance(history, (str, Path)) else history
        self._keeping = _keeping(self._history)
        self._exporting = _exporting(exporters)

    def begin(self, classifier: Classifier) -> None:
        """Measure one image, before a training, so that what cannot work says so now.

        Raises as ``measure``, and BaselineError where the history cannot be used.
        """
        if self._history is not None:
            self._history.runs()
        classifier.normalise(self._sample.pixels(0, 1))  # Says what is wrong with mean and std.
        with undisturbed():
            one = measure(classifier, self._reference, **self._where(classifier) | {"samples": 1})
        self._sample.check_classes(one.model.classes)

    def measure(
        self, classifier: Classifier, *, step: int, name: str, logged: Mapping[str, float]
    ) -> Point | None:
        """Measure, and hand the point to the history and the exporters.

        ``logged`` is what the trainer knows at that step. A failure is a warning, and None: it is
        no reason to end a training.
        """
        try:
            with undisturbed():
                point = self._point(classifier, step, name, logged)
        except Exception as error:  # Out of memory, weights that are NaN: whatever it is.
            warnings.warn(
                f"{name} was not measured, and training goes on ({one_line(error)})", stacklevel=2
            )
            return None
        warn_of_missing(point)
        if self._keeping is not None:
            self._keeping.send([(point,)])
        for delivery in self._exporting:
            delivery.send((metric, value, step) for metric, value in metrics(point).items())
        return point

    def end(self) -> None:
        """Try a last time to hand on what did not get through."""
        for delivery in (self._keeping, *self._exporting):
            if delivery is not None:
                delivery.close()

    def _point(
        self, classifier: Classifier, step: int, name: str, logged: Mapping[str, float]
    ) -> Point:
        settings = self._where(classifier)
        profile = measure(classifier, self._reference, **settings)
        # The numbers that `iaside track` would find in a checkpoint of this step.
        beside = Checkpoint(path=Path(name), step=step, numbers=logged)
        found = beside.accuracy
        if self._sample.labels is not None:
            found = accuracy(classifier, self._sample, execution=settings["execution"]).value
        return Point(
            run=self._run,
            step=step,
            name=name,
            profile=profile,
            accuracy=found,
            loss=beside.loss,
        )

    def _where(self, classifier: Classifier) -> dict[str, Any]:
        """The settings of ``measure``; by default it runs where the network is trained."""
        network, execution = classifier.network, self._settings["execution"]
        if isinstance(network, nn.Module) and execution.device == "auto":
            state = next(chain(network.parameters(), network.buffers()), None)
            if state is not None:
                execution = replace(execution, device=str(state.device))
        return {**self._settings, "execution": execution}


@contextmanager
def undisturbed() -> Iterator[None]:
    """The generators that a training draws from, afterwards as they were."""
    python, arrays = random.getstate(), np.random.get_state()
    # Asking for a generator would start CUDA, also for a training on the CPU.
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # PyTorch lacks its type
    devices = list(range(torch.cuda.device_count())) if started else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)


def _checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(settings) - set(VALID))
    if unknown:
        raise SettingsError(
            f"unknown setting {', '.join(unknown)}; those of measure are {', '.join(VALID)}"
        )
    return gathered(settings)


def _checked_sample(reference: Any, settings: Mapping[str, Any]) -> ReferenceSample:
    """The images that will be measured."""
    if not isinstance(reference, ReferenceSample):
        raise ReferenceSampleError(
            f"the reference is a {type(reference).__name__}, expected a ReferenceSample; wrap "
            "images with ReferenceSample(images) or read them with ReferenceSample.from_folder"
        )
    rules = Rules.of(settings)
    _, height, width = reference.shape
    BandPartition(height, width, rules.bands, rules.partition)
    return first_images(reference, settings.get("samples"))


def _keeping(history: Any) -> Delivery | None:
    if history is None:
        return None
    if not isinstance(history, History):
        raise SettingsError(f"history={history!r} is none; give a path, a History, or None")
    return Delivery(history.add, f"the history {history.path}")


def _exporting(exporters: Any) -> list[Delivery]:
    if not isinstance(exporters, (list, tuple)) or not all(map(callable, exporters)):
        raise SettingsError(
            f"exporters={exporters!r} cannot be used; give a list of functions of (name, value, "
            "step), such as to_tensorboard and to_mlflow return"
        )
    return [Delivery(each, f"the exporter {getattr(each, '__name__', each)}") for each in exporters]
