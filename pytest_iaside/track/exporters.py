"""The trackers of experiments, which take the numbers of a point of the history."""

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_iaside.checks import library
from pytest_iaside.errors import SettingsError
from pytest_iaside.track.history import Point, metrics

STEP = "iaside/step"
Exporter = Callable[[str, float, int], Any]
"""Takes a metric's name, its value and the step; raises where it cannot."""


def export(point: Point, exporter: Exporter) -> None:
    """Send ``metrics(point)`` to ``exporter``, and warn where SRC and SID are not among them.

    Raises whatever ``exporter`` raises.
    """
    warn_of_missing(point)
    for name, value in metrics(point).items():
        exporter(name, value, point.step)


def warn_of_missing(point: Point) -> None:
    """Warn of a degenerate profile, of which there is no SRC and no SID to export."""
    if point.profile.degenerate:
        warnings.warn(
            f"{point.name}: all bands have the same ψ, so SRC and SID do not exist and were not "
            "exported",
            stacklevel=3,
        )


def to_tensorboard(where: Any) -> Exporter:
    """An exporter to TensorBoard: to a SummaryWriter, or to a new one in the folder ``where``.

    Raises SettingsError where ``where`` is neither, or TensorBoard is missing.
    """
    if hasattr(where, "add_scalar"):
        return TensorBoardExporter(where)
    if not isinstance(where, (str, Path)):
        raise SettingsError(
            f"to_tensorboard was given a {type(where).__name__}; give the folder to log to, or a "
            "SummaryWriter"
        )
    module, package = "torch.utils.tensorboard", "tensorboard"
    library(module, "for this exporter", error=SettingsError, package=package)
    return TensorBoardExporter(str(where))


def to_mlflow(run_id: str | None = None, *, tracking_uri: str | None = None) -> Exporter:
    """An exporter to the MLflow run ``run_id``; without it to the active one.

    MLflow starts a run where none is active, which is what its own autologging and the callbacks
    of trainers use, too. ``tracking_uri`` (MLflow's own setting by default) needs a ``run_id``.
    MLflow tries for minutes to reach a server that is gone: MLFLOW_HTTP_REQUEST_MAX_RETRIES.

    Raises SettingsError where ``run_id`` is missing, or MLflow is.
    """
    if tracking_uri is not None and run_id is None:
        raise SettingsError(
            f"tracking_uri={tracking_uri!r} was given without run_id; give the run on that "
            "server, or call mlflow.set_tracking_uri and leave it out here"
        )
    library("mlflow", "for this exporter", error=SettingsError)
    return MlflowExporter(run_id, tracking_uri)


def to_wandb(run: Any = None) -> Exporter:
    """An exporter to a run of Weights & Biases; without it to the active one.

    Values stand over ``iaside/step``, so that a point that comes late is not dropped. Raises
    SettingsError where wandb is missing, or ``run`` is none.
    """
    library("wandb", "for this exporter", error=SettingsError)
    _check_run(run, "to_wandb", "wandb.init(…)")
    return WandbExporter(run)


def to_trackio(run: Any = None) -> Exporter:
    """An exporter to a run of Trackio; without it to the one that ``trackio.init`` began.

    Raises SettingsError where trackio is missing, or ``run`` is none.
    """
    library("trackio", "for this exporter", error=SettingsError)
    _check_run(run, "to_trackio", "trackio.init(…)")
    return TrackioExporter(run)


def _check_run(run: Any, function: str, made_by: str) -> None:
    if run is not None and not callable(getattr(run, "log", None)):
        raise SettingsError(
            f"{function} was given a {type(run).__name__}; give a run, as {made_by} returns it, or "
            "nothing for the active one"
        )


# Classes, not closures: trainers that start processes pickle what they are given.


@dataclass(frozen=True)
class TensorBoardExporter:
    """See ``to_tensorboard``; ``where`` is a SummaryWriter or a folder."""

    where: Any

    def __call__(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)
        # A training that is killed is the one whose last values are wanted.
        self._writer.flush()

    def __getstate__(self) -> dict[str, Any]:
        return {"where": self.where}

    @cached_property
    def _writer(self) -> Any:
        if not isinstance(self.where, str):
            return self.where
        return importlib.import_module("torch.utils.tensorboard").SummaryWriter(self.where)


@dataclass(frozen=True)
class MlflowExporter:
    """See ``to_mlflow``."""

    run_id: str | None
    tracking_uri: str | None

    def __call__(self, name: str, value: float, step: int) -> None:
        mlflow = importlib.import_module("mlflow")
        if self.run_id is None:
            mlflow.log_metric(name, value, step=step)
        else:
            client = mlflow.MlflowClient(self.tracking_uri)
            client.log_metric(self.run_id, name, value, step=step)


@dataclass(frozen=True)
class WandbExporter:
    """See ``to_wandb``."""

    run: Any

    def __call__(self, name: str, value: float, step: int) -> None:
        wandb = importlib.import_module("wandb")
        run = wandb.run if self.run is None else self.run
        if run is None:
            raise SettingsError("no run of wandb is active; call wandb.init(…) first")
        # Its own step only rises, and is the trainer's.
        run.define_metric("iaside/*", step_metric=STEP)
        run.log({name: value, STEP: step})


@dataclass(frozen=True)
class TrackioExporter:
    """See ``to_trackio``."""

    run: Any

    def __call__(self, name: str, value: float, step: int) -> None:
        where = importlib.import_module("trackio") if self.run is None else self.run
        where.log({name: value}, step=step)
