"""Watch: a network measured while it is trained, without the training noticing."""

import random
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pytest_iaside.errors import SettingsError, one_line, printable
from pytest_iaside.execute.execution import Execution, gathered
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import check_reference, first_images
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.spectral import MEASURE_SETTINGS, measure
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.track.checkpoints import Checkpoint
from pytest_iaside.track.exporters import Exporter, warn_of_missing
from pytest_iaside.track.history import History, Point, metrics
from pytest_iaside.track.tracker import measured_point

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
        if unknown := sorted(set(settings) - set(VALID)):
            raise SettingsError(
                f"unknown setting {', '.join(unknown)}; those of measure are {', '.join(VALID)}"
            )
        self._settings = gathered(settings)
        check_reference(reference)
        rules = Rules.of(self._settings)
        BandPartition(*reference.shape[1:], rules.bands, rules.partition)
        self._reference = reference
        self._sample = first_images(reference, settings.get("samples"))
        if not isinstance(run, str) or not run:
            raise SettingsError(f"run={run!r} cannot be used; expected text")
        self._run = run
        self._history = History(history) if isinstance(history, (str, Path)) else history
        if self._history is not None and not isinstance(self._history, History):
            raise SettingsError(
                f"history={history!r} is not a history; give a path, a History, or None"
            )
        if not isinstance(exporters, (list, tuple)) or not all(map(callable, exporters)):
            raise SettingsError(
                f"exporters={exporters!r} cannot be used; give a list of functions of (name, "
                "value, step), such as to_tensorboard and to_mlflow return"
            )
        kept = [] if self._history is None else [self._history]
        self._points = [Outbox(each.add, f"the history {each.path}") for each in kept]
        self._numbers = [
            Outbox(each, f"the exporter {getattr(each, '__name__', each)}") for each in exporters
        ]

    def begin(self, classifier: Classifier) -> None:
        """Measure one image, before a training, so that what cannot work says so now.

        Raises as ``measure``, and BaselineError where the history cannot be used.
        """
        if self._history is not None:
            self._history.runs()
        classifier.normalise(self._sample.pixels(0, 1))  # Says what is wrong with mean and std.
        with undisturbed():
            settings = {**self._settings_of(classifier), "samples": 1}
            one = measure(classifier, self._reference, **settings)
        self._sample.check_classes(one.model.classes)

    def measure(
        self, classifier: Classifier, *, step: int, name: str, logged: Mapping[str, float]
    ) -> Point | None:
        """Measure, and hand the point to the history and the exporters.

        ``logged`` is what the trainer knows at that step. A failure is a warning, and None: it is
        no reason to end a training.
        """
        # The numbers that `iaside track` would find in a checkpoint of this step.
        checkpoint = Checkpoint(path=Path(name), step=step, numbers=logged)
        try:
            with undisturbed():
                settings = self._settings_of(classifier)
                point = measured_point(
                    classifier, self._reference, checkpoint, run=self._run, settings=settings
                )
        except Exception as error:  # Out of memory, weights that are NaN: whatever it is.
            warnings.warn(
                f"{printable(name)} was not measured, and training goes on ({one_line(error)})",
                stacklevel=2,
            )
            return None
        warn_of_missing(point)
        for outbox in self._points:
            outbox.send([(point,)])
        for outbox in self._numbers:
            outbox.send((metric, value, step) for metric, value in metrics(point).items())
        return point

    def end(self) -> None:
        """Try a last time to hand on what did not get through."""
        for outbox in (*self._points, *self._numbers):
            outbox.close()

    def _settings_of(self, classifier: Classifier) -> dict[str, Any]:
        """The settings of ``measure``; by default it runs where the network is trained."""
        network, execution = classifier.network, self._settings["execution"]
        if isinstance(network, nn.Module) and execution.device == "auto":
            state = next(chain(network.parameters(), network.buffers()), None)
            if state is not None:
                execution = replace(execution, device=str(state.device))
        return {**self._settings, "execution": execution}


class Outbox:
    """Calls ``receiver`` once with each item that is sent, in that order.

    Items that fail are kept and sent again when more is sent, but less and less often: a call may
    take minutes to fail. ``what`` names it in the warning, which is given once.
    """

    def __init__(self, receiver: Callable[..., Any], what: str) -> None:
        self._receiver, self._what = receiver, what
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._failures = 0  # In a row.
        self._pause = 0
        self._warned = False

    def send(self, items: Iterable[tuple[Any, ...]]) -> None:
        """Hand over what waits, then ``items``, the arguments of one call each."""
        self._waiting.extend(items)
        if self._pause:
            self._pause -= 1
            return
        if not (error := self._attempt()):
            return
        self._pause = 2**self._failures - 1
        self._failures += 1
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{self._what} failed ({one_line(error)}); training goes on, and what did not "
                "reach it will be sent again",
                stacklevel=2,
            )

    def close(self) -> None:
        """Try a last time, and warn of what never got there."""
        if error := self._attempt():
            warnings.warn(
                f"{self._what}: {len(self._waiting)} of what was to reach it did not "
                f"({one_line(error)})",
                stacklevel=2,
            )

    def _attempt(self) -> Exception | None:
        try:
            while self._waiting:
                self._receiver(*self._waiting[0])
                self._waiting.popleft()
                self._failures = 0
        except Exception as error:  # Whatever the user's function, a server or a disk raises.
            return error
        return None


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
