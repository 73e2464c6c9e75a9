"""The callback for the trainer of transformers; see callbacks.py."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

from pytest_iaside.errors import SettingsError
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.track.watcher import Watch

When = Literal["evaluate", "epoch_end"]
EVALUATED = "eval_"


class TransformersHooks:
    """What the callback does, apart from the class that transformers wants it to be of."""

    def __init__(
        self,
        watch: Watch,
        when: When,
        every: int,
        processor: Any,
        network: Callable[[Any], Any] | None,
    ) -> None:
        self._made_of = (watch, when, every, processor, network)
        self._watch, self._when, self._every = watch, when, every
        self._processor, self._network = processor, network
        self._training = False
        self._measured: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Its class has no name to be found by; launchers that start processes pickle it.
        return transformers_hooks, self._made_of

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for how in ("fsdp", "deepspeed"):
            if getattr(args, how, None):
                raise SettingsError(
                    f"{how} spreads the network over processes, and only one of them would "
                    "measure it; leave this callback out and run `iaside track` on the checkpoints"
                )
        self._training, self._measured = True, None
        if state.is_world_process_zero:
            self._watch.begin(self._classifier(kwargs))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # What stands in the log then is of an earlier evaluation: this epoch's comes after.
        if self._when == "epoch_end" and round(state.epoch) % self._every == 0:
            self._measure(state, kwargs, {})

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Each of several validation sets is an evaluation of its own, and so is what is asked for
        # after a training, maybe of other weights (load_best_model_at_end) at the same step.
        if self._when != "evaluate" or not self._training or state.global_step == self._measured:
            return
        if len(_evaluations(state)) % self._every == 0:
            self._measure(state, kwargs, kwargs.get("metrics") or {})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._training = False
        if state.is_world_process_zero:
            self._watch.end()

    def _measure(self, state: Any, kwargs: Mapping[str, Any], evaluated: Mapping[str, Any]) -> None:
        if not state.is_world_process_zero:
            return
        step = self._measured = state.global_step
        self._watch.measure(
            self._classifier(kwargs),
            step=step,
            name=f"checkpoint-{step}",
            logged={
                name.removeprefix(EVALUATED): float(value)
                for name, value in evaluated.items()
                if isinstance(value, (int, float))
            },
        )

    def _classifier(self, kwargs: Mapping[str, Any]) -> Classifier:
        model = kwargs["model"]
        if self._network is not None:
            return as_classifier(self._network(model))
        processor = self._processor or kwargs.get("processing_class")
        if processor is None:
            raise SettingsError(
                "how images are normalised for the model is unknown; give the callback the "
                "model's image processor, or the trainer (processing_class), or network="
            )
        return Classifier.from_transformers(model, processor)


def _evaluations(state: Any) -> set[int]:
    """The steps at which there was an evaluation, also before the training was resumed."""
    return {
        entry["step"]
        for entry in state.log_history
        if any(name.startswith(EVALUATED) for name in entry)
    }


def transformers_hooks(*made_of: Any) -> Any:
    """A callback for the trainer of transformers; raises SettingsError where that is missing."""
    return _kind()(*made_of)


@cache
def _kind() -> type:
    try:
        base = importlib.import_module("transformers").TrainerCallback
    except ImportError as error:
        raise SettingsError(
            f"transformers is needed for this callback and cannot be imported ({error}); "
            "pip install transformers"
        ) from error
    return type("SpectralRobustness", (TransformersHooks, base), {"__module__": __name__})
