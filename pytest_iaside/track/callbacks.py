"""Callbacks that measure a network while it is trained, for the trainers of two libraries.

Neither library is imported before its callback is asked for. A training with a callback ends in
the same weights, bit for bit, as one without: random generators, modes and gradients are as they
were after every measurement.
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, Literal

from pytest_iaside.checks import check_choice, check_whole, library
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.models.classifier import Channels, Classifier, as_classifier
from pytest_iaside.track.exporters import Exporter
from pytest_iaside.track.history import RUN, History, metrics
from pytest_iaside.track.watcher import Watch

# The same library under its two names, whose classes are not the same.
LIGHTNING = ("lightning.pytorch", "pytorch_lightning")
# Strategies under which no process holds the whole network.
SHARDED = ("FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy")
EVALUATED = "eval_"
When = Literal["evaluate", "epoch_end"]


def lightning_callback(
    reference: ReferenceSample,
    *,
    every_n_epochs: int = 1,
    network: str | Callable[[Any], Any] | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    history: History | str | Path | None = None,
    exporters: Sequence[Exporter] = (),
    run: str = RUN,
    **settings: Any,
) -> Any:
    """A callback for Lightning's Trainer that measures at the end of every nth training epoch.

    ``network`` is the name of the attribute of the LightningModule that holds the network, or a
    function of the module that returns it or a Classifier; by default the module itself. ``mean``
    and ``std`` are a Classifier's, ``settings`` those of ``measure``. Each point, whose step is the
    epoch from 0, is logged by the module as ``iaside/…`` (``history.metrics``), so that other
    callbacks can monitor it, and goes to ``history`` and ``exporters``. Only the first process of
    several measures. Before the training one image is measured.

    A later failure, of a measurement, the history or an exporter, is a warning: training goes on,
    and what could not be handed on is sent again.

    Raises SettingsError and ReferenceSampleError at once for what is out of range, or where
    Lightning is missing; at the start of the training as ``measure``, BaselineError where the
    history cannot be used, and SettingsError under a strategy that shards the network.
    """
    check_whole("every_n_epochs", every_n_epochs, 1)
    watch = Watch(reference, history=history, exporters=exporters, run=run, settings=settings)
    # The one that is imported, else any that is installed.
    for name in (*(name for name in LIGHTNING if name in sys.modules), *LIGHTNING):
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        kind = _kind(LightningHooks, name, "Callback")
        return kind(watch, every_n_epochs, network, mean, std)
    raise SettingsError(
        "lightning is needed for this callback and cannot be imported; pip install lightning"
    )


def transformers_callback(
    reference: ReferenceSample,
    processor: Any = None,
    *,
    when: When = "evaluate",
    every: int = 1,
    network: Callable[[Any], Any] | None = None,
    history: History | str | Path | None = None,
    exporters: Sequence[Exporter] = (),
    run: str = RUN,
    **settings: Any,
) -> Any:
    """A callback for the Trainer of transformers that measures at every nth evaluation or epoch.

    ``processor`` is the model's image processor, by default the trainer's ``processing_class``;
    ``network``, a function of the model that returns a network or a Classifier, goes before it.
    A point's step is the trainer's global step. Its callbacks cannot add to the trainer's own
    log: ``exporters`` are how the numbers get to a tracker. Evaluations outside a training are
    not measured. The rest as in ``lightning_callback``; fsdp and deepspeed are what shards.
    """
    check_whole("every", every, 1)
    check_choice("when", when, When)
    watch = Watch(reference, history=history, exporters=exporters, run=run, settings=settings)
    library("transformers", "for this callback", error=SettingsError)
    kind = _kind(TransformersHooks, "transformers", "TrainerCallback")
    return kind(watch, when, every, processor, network)


class Hooks:
    """What a callback does, apart from the class that its library wants it to be of."""

    kind: ClassVar[tuple[Any, ...]]
    """What ``_kind`` made its class of."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Its class has no name to be found by; what starts processes pickles it.
        given = [getattr(self, each.name) for each in fields(self.kind[0]) if each.init]
        return _callback, (self.kind, *given)


@dataclass(eq=False)
class LightningHooks(Hooks):
    """See ``lightning_callback``."""

    watch: Watch
    every: int
    network: str | Callable[[Any], Any] | None
    mean: Channels | None
    std: Channels | None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if any(kind.__name__ in SHARDED for kind in type(trainer.strategy).__mro__):
            raise _sharded(type(trainer.strategy).__name__)
        if trainer.is_global_zero:
            self.watch.begin(self._classifier(pl_module))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        epoch = trainer.current_epoch
        if not trainer.is_global_zero or (epoch + 1) % self.every:
            return
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        classifier, name = self._classifier(pl_module), f"epoch={epoch}"
        if point := self.watch.measure(classifier, step=epoch, name=name, logged=logged):
            pl_module.log_dict(metrics(point), rank_zero_only=True)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self.watch.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.watch.end()

    def _classifier(self, pl_module: Any) -> Classifier:
        found, network = pl_module, self.network
        if isinstance(network, str):
            try:
                found = attrgetter(network)(pl_module)
            except AttributeError as error:
                raise SettingsError(
                    f"network={network!r}: {type(pl_module).__name__} has no such attribute; give "
                    "the name of the one that holds the network, or a function of the module"
                ) from error
        elif network is not None:
            found = network(pl_module)
        if not isinstance(found, Classifier):
            return Classifier(found, mean=self.mean, std=self.std)
        if self.mean is not None or self.std is not None:
            raise SettingsError(
                "mean and std were given, but network= returns a Classifier, which has its own; "
                "leave them out"
            )
        return found


@dataclass(eq=False)
class TransformersHooks(Hooks):
    """See ``transformers_callback``."""

    watch: Watch
    when: When
    every: int
    processor: Any
    network: Callable[[Any], Any] | None
    training: bool = field(default=False, init=False)
    measured: int | None = field(default=None, init=False)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for how in ("fsdp", "deepspeed"):
            if getattr(args, how, None):
                raise _sharded(how)
        self.training, self.measured = True, None
        if state.is_world_process_zero:
            self.watch.begin(self._classifier(kwargs))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # What stands in the log then is of an earlier evaluation: this epoch's comes after.
        if self.when == "epoch_end" and round(state.epoch) % self.every == 0:
            self._measure(state, kwargs, {})

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Each of several validation sets is an evaluation of its own, and so is what is asked for
        # after a training, maybe of other weights (load_best_model_at_end) at the same step.
        if self.when != "evaluate" or not self.training or state.global_step == self.measured:
            return
        # The steps at which there was an evaluation, also before the training was resumed.
        logs = state.log_history
        steps = {log["step"] for log in logs if any(name.startswith(EVALUATED) for name in log)}
        if len(steps) % self.every == 0:
            self._measure(state, kwargs, kwargs.get("metrics") or {})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.training = False
        if state.is_world_process_zero:
            self.watch.end()

    def _measure(self, state: Any, kwargs: Mapping[str, Any], evaluated: Mapping[str, Any]) -> None:
        if not state.is_world_process_zero:
            return
        step = self.measured = state.global_step
        logged = {
            name.removeprefix(EVALUATED): float(value)
            for name, value in evaluated.items()
            if isinstance(value, (int, float))
        }
        classifier, name = self._classifier(kwargs), f"checkpoint-{step}"
        self.watch.measure(classifier, step=step, name=name, logged=logged)

    def _classifier(self, kwargs: Mapping[str, Any]) -> Classifier:
        model = kwargs["model"]
        if self.network is not None:
            return as_classifier(self.network(model))
        processor = self.processor or kwargs.get("processing_class")
        if processor is None:
            raise SettingsError(
                "how images are normalised for the model is unknown; give the callback the "
                "model's image processor, or the trainer (processing_class), or network="
            )
        return Classifier.from_transformers(model, processor)


def _sharded(how: str) -> SettingsError:
    return SettingsError(
        f"{how} spreads the network over processes, and only one of them would measure it; leave "
        "this callback out and run `iaside track` on the checkpoints"
    )


@cache
def _kind(hooks: Any, package: str, base: str) -> type:
    """A class that does what ``hooks`` do, of the kind ``base`` of the library."""
    bases = (hooks, getattr(importlib.import_module(package), base))
    members = {"kind": (hooks, package, base), "__module__": __name__}
    return type("SpectralRobustness", bases, members)


def _callback(kind: tuple[Any, ...], *given: Any) -> Any:
    return _kind(*kind)(*given)
