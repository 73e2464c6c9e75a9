"""The exporter to TensorBoard, read back by TensorBoard's own reader."""

from __future__ import annotations

import pickle

import pytest
from profiles import make_profile

from pytest_iaside.track.exporters import export, metrics, to_tensorboard
from pytest_iaside.track.history import Point

accumulators = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="needs TensorBoard"
)

POINTS = [
    Point(step=step, name=f"epoch={step}", profile=make_profile(seed=step), loss=1 / (step + 1))
    for step in (0, 1, 5)
]


def logged(folder):
    reader = accumulators.EventAccumulator(str(folder))
    reader.Reload()
    return {
        tag: [(event.step, event.value) for event in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
    }


def expected():
    return {
        name: [(each.step, pytest.approx(metrics(each)[name], rel=1e-6)) for each in POINTS]
        for name in metrics(POINTS[0])
    }


def test_a_folder(tmp_path):
    exporter = to_tensorboard(tmp_path / "logs")
    for each in POINTS:
        export(each, exporter)
    # Nothing was closed: what a killed training exported is there.
    assert logged(tmp_path / "logs") == expected()


def test_a_writer_of_the_users(tmp_path):
    writers = pytest.importorskip("torch.utils.tensorboard")
    with writers.SummaryWriter(str(tmp_path)) as writer:
        for each in POINTS:
            export(each, to_tensorboard(writer))
        assert logged(tmp_path) == expected()


def test_one_that_has_written_can_still_be_pickled(tmp_path):
    exporter = to_tensorboard(tmp_path)
    export(POINTS[0], exporter)
    assert pickle.loads(pickle.dumps(exporter)) == exporter


def test_nothing_is_made_before_something_is_exported(tmp_path):
    to_tensorboard(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
