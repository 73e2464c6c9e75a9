"""Workers that differ from the process that asks, or that end: said, and nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from workers_models import Net, sample

from pytest_iaside import Classifier, Execution, SpectralProfile, measure
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.execute import spreading
from pytest_iaside.execute.engines import close_engines, engine_of
from pytest_iaside.execute.engines.base import Engine, WorkersLost
from pytest_iaside.execute.engines.connected import _local_listener
from pytest_iaside.execute.engines.process import ProcessEngine
from pytest_iaside.execute.kept_open import KeptBackends
from pytest_iaside.execute.parcel import packed, unpacked
from pytest_iaside.execute.runner import open_runner
from pytest_iaside.execute.witness import Witness, witness_of
from pytest_iaside.explain import wcam

HERE = Execution(device="cpu", backend="eager", batch_size=8)


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "UNIT_SECONDS", 1e-6)


@pytest.fixture(scope="module")
def one_process() -> Iterator[Engine]:
    yield engine_of("process:1")
    close_engines()


def played(executor: Any, model: Any, **more: Any) -> SpectralProfile:
    execution = Execution(executor=executor, device="cpu", batch_size=8, backend="eager")
    return measure(model, sample(), execution=execution, bands=4, cache=False, **more)


def test_other_code_on_a_worker_is_told(
    one_process: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time, not once; and the same worker serves again when the code is the same again."""
    before = played(one_process, Net())
    forward = Net.forward
    monkeypatch.setattr(Net, "forward", lambda self, images: 3 * forward(self, images))
    for _ in range(2):
        with pytest.raises(ModelError, match=r"Net answers image 0 otherwise on a worker .*anew"):
            played(one_process, Net())
    monkeypatch.setattr(Net, "forward", forward)
    after = played(one_process, Net())
    assert after.log_likelihood.tobytes() == before.log_likelihood.tobytes()


def test_a_witness_is_heard_once_for_each_network() -> None:
    network = Counting()
    witness = witness_of(Classifier(Net()), HERE, sample())
    assert isinstance(witness, Witness)
    kept = KeptBackends(1)
    classifier = Classifier(network)
    inputs = sample().pixels(0, 1)
    asked = []
    with kept.in_use():
        for _ in range(3):
            with open_runner(classifier, HERE, inputs=inputs, passes=1) as runner:
                witness.check(runner)
            asked.append(network.asked)
    assert asked[0] > 0
    assert asked == asked[:1] * 3
    kept.close()


class Counting(Net):
    asked = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        return super().forward(images)


def test_what_travels_whole_needs_no_witness() -> None:
    assert witness_of(Classifier(torch.jit.script(Net())), HERE, sample()) is None


def test_who_cannot_run_a_network_asks_for_no_witness() -> None:
    assert witness_of(Classifier(nn.Linear(7, 2)), HERE, sample()) is None


def test_workers_that_died_are_not_held_against_the_next_measurement() -> None:
    engine = ProcessEngine(1)
    try:
        engine._started = 4  # As many as may die in one.
        os.kill(engine.pids[0], signal.SIGKILL)
        assert engine.told() == "its process ended with signal 9"
        with pytest.raises(WorkersLost, match="4 processes ended"):
            engine.mend()
        engine.begin()
        (new,) = engine.pids
        os.kill(new, signal.SIGKILL)
    finally:
        engine.close()


def test_a_model_that_exits_is_told_and_ends_no_worker(one_process: Engine) -> None:
    pids = one_process.pids  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"ended with SystemExit on a worker \(bye\)"):
        played(one_process, Exiting())
    assert one_process.pids == pids  # type: ignore[attr-defined]


class Exiting(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 4:  # Not where it is only tried.
            sys.exit("bye")
        return super().forward(images)


def onnx_file(folder: Path) -> Path:
    """Means of each channel, as a network."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)]
    inputs = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3, 16, 16])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 3])
    model = helper.make_model(
        helper.make_graph(nodes, "means", [inputs], [output]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    path = folder / "means.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_no_file_of_a_model_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    path = onnx_file(tmp_path)
    engine = ProcessEngine(1)
    try:
        execution = Execution(executor=engine, batch_size=8)
        measure(path, sample().take([0, 1, 2]), bands=3, cache=False, execution=execution)
        assert len(list(folder.glob("iaside-*/means.onnx"))) == 1
    finally:
        engine.close()
    assert not list(folder.glob("iaside-*"))


def test_a_model_of_a_thread_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = unpacked(packed(Classifier(onnx_file(tmp_path))).content)
    assert isinstance(found.network, Path)
    assert found.network.is_file()
    folder = found.network.parent
    del found
    assert not folder.exists()


def test_an_engine_that_was_closed_says_so() -> None:
    engine = ProcessEngine(1)
    os.kill(engine.pids[0], signal.SIGKILL)
    engine.close()
    with pytest.raises(ModelError, match=r"no worker left \(WorkersLost: the engine was closed\)"):
        played(engine, Net())


def test_an_executor_that_was_shut_down() -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(ModelError, match=r"no worker left \(WorkersLost: it was shut down\)"):
        played(executor, Net())


def test_an_executor_that_would_wait_for_itself() -> None:
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(SettingsError, match=r"would wait for itself; expected another executor"),
    ):
        executor.submit(played, executor, Net()).result(timeout=20)


def test_a_measurement_that_is_left_takes_its_calls_back() -> None:
    """What no worker began yet is not done any more."""
    gate, began = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(gate.wait, 20)
        engine = engine_of(executor)
        parcel = packed(Classifier(Net()))
        asked = engine.submit(spreading.Crew(engine, Classifier(Net())).home, b"no call", parcel)
        assert asked.cancel()
        executor.submit(began.set)
        gate.set()
        assert began.wait(20)
        assert executor._work_queue.empty()
    assert asked.cancelled()


@pytest.mark.parametrize("given", [ThreadPoolExecutor, "process:2?threads=0", "ray?threads=x"])
def test_executors_that_are_none(given: Any) -> None:
    with pytest.raises(SettingsError, match=r"executor=.*(expected process|expected a whole)"):
        Execution(executor=given)


def test_a_temporary_folder_with_a_long_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket's name has room for some 100 letters."""
    from multiprocessing import process

    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setitem(process.current_process()._config, "tempdir", str(folder))  # type: ignore[attr-defined]
    with _local_listener() as listener:
        assert listener.address[0] == "127.0.0.1"


def test_a_script_is_explained_by_workers(one_process: Engine) -> None:
    """What is asked does not hold the classifier, which travels by itself."""
    model = torch.jit.script(Net())
    shared, alone = (
        wcam(
            model,
            sample(2),
            grid=4,
            wavelet_levels=2,
            points=8,
            execution=Execution(executor=each, device="cpu"),
        )
        for each in (one_process, None)
    )
    np.testing.assert_array_equal(shared.map, alone.map)
