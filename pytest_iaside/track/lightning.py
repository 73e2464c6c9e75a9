"""The callback for Lightning's trainer; see callbacks.py."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any

from pytest_iaside.errors import SettingsError
from pytest_iaside.models.classifier import Channels, Classifier
from pytest_iaside.track.exporters import metrics
from pytest_iaside.track.watcher import Watch

# The same library under its two names, whose classes are not the same.
PACKAGES = ("lightning.pytorch", "pytorch_lightning")
# Strategies under which no process holds the whole network.
SHARDED = {"FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy"}


class LightningHooks:
    """What the callback does, apart from the class that Lightning wants it to be of."""

    def __init__(
        self,
        package: str,
        watch: Watch,
        every_n_epochs: int,
        network: str | Callable[[Any], Any] | None,
        mean: Channels | None,
        std: Channels | None,
    ) -> None:
        self._made_of = (package, watch, every_n_epochs, network, mean, std)
        self._watch, self._every = watch, every_n_epochs
        self._network, self._mean, self._std = network, mean, std

    def __reduce__(self) -> tuple[Any, ...]:
        # Its class has no name to be found by; strategies that start processes pickle it.
        return lightning_hooks, self._made_of

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        kinds = {kind.__name__ for kind in type(trainer.strategy).__mro__}
        if kinds & SHARDED:
            raise SettingsError(
                f"{type(trainer.strategy).__name__} spreads the network over processes, and only "
                "one of them would measure it; leave this callback out and run `iaside track` on "
                "the checkpoints"
            )
        if trainer.is_global_zero:
            self._watch.begin(self._classifier(pl_module))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        epoch = trainer.current_epoch
        if not trainer.is_global_zero or (epoch + 1) % self._every:
            return
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        point = self._watch.measure(
            self._classifier(pl_module), step=epoch, name=f"epoch={epoch}", logged=logged
        )
        if point is not None:
            pl_module.log_dict(metrics(point), rank_zero_only=True)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self._watch.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._watch.end()

    def _classifier(self, pl_module: Any) -> Classifier:
        network = self._network
        if network is None:
            found = pl_module
        elif isinstance(network, str):
            try:
                found = attrgetter(network)(pl_module)
            except AttributeError as error:
                raise SettingsError(
                    f"network={network!r}: {type(pl_module).__name__} has no such attribute; give "
                    "the name of the one that holds the network, or a function of the module"
                ) from error
        else:
            found = network(pl_module)
        if not isinstance(found, Classifier):
            return Classifier(found, mean=self._mean, std=self._std)
        if self._mean is not None or self._std is not None:
            raise SettingsError(
                "mean and std were given, but network= returns a Classifier, which has its own; "
                "leave them out"
            )
        return found


def lightning_hooks(package: str, *made_of: Any) -> Any:
    """A callback for the Lightning that is called ``package``."""
    return _kind(package)(package, *made_of)


def installed_package() -> str:
    """The name that Lightning goes by here: the one that is imported, else any installed.

    Raises SettingsError where there is none.
    """
    loaded = [name for name in PACKAGES if name in sys.modules]
    for name in (*loaded, *PACKAGES):
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        return name
    raise SettingsError(
        "lightning is needed for this callback and cannot be imported; pip install lightning"
    )


@cache
def _kind(package: str) -> type:
    base = importlib.import_module(package).Callback
    return type("SpectralRobustness", (LightningHooks, base), {"__module__": __name__})
