"""Callbacks that measure a network while it is trained, for the trainers of two libraries.

Neither library is imported before its callback is asked for. A training with a callback ends in
the same weights, bit for bit, as one without: random generators, modes and gradients are as they
were after every measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from pytest_iaside.errors import SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.models.classifier import Channels
from pytest_iaside.track.exporters import Exporter
from pytest_iaside.track.history import RUN, History
from pytest_iaside.track.lightning import installed_package, lightning_hooks
from pytest_iaside.track.transformers import When, transformers_hooks
from pytest_iaside.track.watcher import Watch


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
    epoch from 0, is logged by the module as ``iaside/…`` (``exporters.metrics``), so that other
    callbacks can monitor it, and goes to ``history`` and ``exporters``. Only the first process of
    several measures. Before the training one image is measured.

    A later failure, of a measurement, the history or an exporter, is a warning: training goes on,
    and what could not be handed on is sent again.

    Raises SettingsError and ReferenceSampleError at once for what is out of range, or where
    Lightning is missing; at the start of the training as ``measure``, BaselineError where the
    history cannot be used, and SettingsError under a strategy that shards the network.
    """
    _check_every("every_n_epochs", every_n_epochs)
    watch = Watch(reference, history=history, exporters=exporters, run=run, settings=settings)
    return lightning_hooks(installed_package(), watch, every_n_epochs, network, mean, std)


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
    _check_every("every", every)
    if when not in get_args(When):
        raise SettingsError(f"when={when!r} is unknown; use one of {', '.join(get_args(When))}")
    watch = Watch(reference, history=history, exporters=exporters, run=run, settings=settings)
    return transformers_hooks(watch, when, every, processor, network)


def _check_every(what: str, every: Any) -> None:
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise SettingsError(f"{what}={every!r} must be a whole number above 0")
