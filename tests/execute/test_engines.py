"""Workers that share a measurement: whoever they are, however many, what is found is the same."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import AuthenticationError, get_context
from multiprocessing.connection import Client, answer_challenge
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from workers_models import Failing, Hanging, Modes, Mortal, Net, Slow, sample

from pytest_iaside import Classifier, Execution, SpectralProfile, measure
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.execute import crew as crews
from pytest_iaside.execute import spreading
from pytest_iaside.execute.crew import Crew
from pytest_iaside.execute.engines import close_engines, dask, engine_of, process
from pytest_iaside.execute.engines.connected import ConnectedEngine
from pytest_iaside.execute.engines.process import ProcessEngine
from pytest_iaside.execute.parcel import packed, unpacked
from pytest_iaside.execute.passes import Passes, counted
from pytest_iaside.explain import reconstruct, wcam
from pytest_iaside.measure.answers import answers
from pytest_iaside.measure.game.parts import Coalitions, WholeGame
from pytest_iaside.measure.game.play import shards
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.perturb.attacks import fgsm

BANDS = 6


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Units of a batch each, so that small measurements have many."""
    monkeypatch.setattr(spreading, "UNIT_SECONDS", 1e-6)
    monkeypatch.setattr(crews, "TRIES", 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    close_engines()


def played(executor: Any = None, model: Any = None, count: int = 6, **more: Any) -> SpectralProfile:
    execution = Execution(executor=executor, device="cpu", batch_size=8, backend="eager")
    given = {"bands": BANDS, "cache": False, **more}
    return measure(model or Net(), sample(count), execution=execution, **given)


def same(one: SpectralProfile, other: SpectralProfile) -> bool:
    """Whether two profiles are the same to the last bit."""
    names = ("values", "by_size", "log_likelihood", "information")
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return all(
        np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs if a is not None
    ) and (one.forward_passes == other.forward_passes)


@pytest.mark.parametrize("executor", ["process:1", "process:2"])
@pytest.mark.parametrize("design", ["exact", "latin"])
def test_as_many_workers_give_the_same_bits(executor: str, design: str) -> None:
    assert same(played(executor, design=design), played(design=design))


def test_large_units_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    small = played("process:2")
    monkeypatch.setattr(spreading, "UNIT_SECONDS", 1e6)
    assert same(played("process:2"), small)


@pytest.mark.parametrize("count", [1, 3])
def test_threads_have_copies_of_their_own(count: int) -> None:
    """Shared, one would switch the other's mode while it runs."""
    model = Modes().train()
    with ThreadPoolExecutor(count) as executor:
        found = played(executor, model)
    assert same(found, played(None, Net()))
    assert model.training
    assert torch.get_num_threads() == 1


def test_passes_of_workers_are_counted_where_they_were_asked_for() -> None:
    passes = Passes()
    with counted(passes):
        found = played("process:1")
    assert passes.done >= found.forward_passes == 6 * (2**BANDS + 1)


def test_an_executor_of_processes() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        assert same(played(executor), played())


def test_the_model_travels_once_and_is_opened_once() -> None:
    with ThreadPoolExecutor(1):
        engine = ProcessEngine(2)
    try:
        model = Classifier(Net())
        crew = Crew(engine, model)
        found = list(crew.map(_where, Execution(), ((i,) for i in range(24))))
    finally:
        engine.close()
    assert [number for number, _ in found] == list(range(24))
    tally, size = crew.tally, len(crew.parcel.content)
    assert len({pid for _, pid in found}) == len(tally.opened) == 2
    assert list(tally.opened.values()) == [1, 1]
    for received in tally.received.values():
        assert size < received < size + 24 * 20_000
    assert tally.calls == 24
    assert tally.retries == 0


def _where(classifier: Classifier, execution: Execution, number: int) -> tuple[int, int]:
    time.sleep(0.02)
    return number, os.getpid()


def test_a_network_is_begun_once_for_all_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is the same to workers before and after it was measured."""
    asked: list[str] = []
    ask = Crew.ask

    def told(self: Crew, function: Any, *rest: Any) -> Any:
        asked.append(function.__name__)
        return ask(self, function, *rest)

    monkeypatch.setattr(Crew, "ask", told)
    monkeypatch.setattr(spreading, "_STARTS", {})
    model, execution = Classifier(Net()), Execution(executor="process:1")
    key = packed(model).key
    first = measure(model, sample(3), bands=4, cache=False, execution=execution)
    begun = asked.count("_begin")
    assert 1 <= begun <= 2  # The answers first, and once more for the longer game.
    again = measure(model, sample(3), bands=4, cache=False, execution=execution)
    assert asked.count("_begin") == begun
    assert packed(model).key == key
    np.testing.assert_array_equal(first.values, again.values)
    # Whether it answers the same each time is asked of every measurement.
    assert asked.count("_steady") >= 1


def test_another_engine_of_the_same_kind_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have other machines: what was chosen for the first one may not run there."""
    asked: list[str] = []
    ask = Crew.ask

    def told(self: Crew, function: Any, *rest: Any) -> Any:
        asked.append(function.__name__)
        return ask(self, function, *rest)

    monkeypatch.setattr(Crew, "ask", told)
    model, begun = Classifier(Net()), []
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for pool in (one, other, one):
            asked.clear()
            answers(model, sample(3), [None], execution=Execution(executor=pool))
            begun.append(asked.count("_begin"))
    assert begun == [1, 1, 0]


def test_answers_are_shared_too() -> None:
    asked = [None, ("white_noise", 3), _attack, _darker]
    alone, shared = (
        answers(Net(), sample(20), asked, execution=Execution(executor=each, batch_size=8))
        for each in (None, "process:2")
    )
    for one, other in zip(alone, shared, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("executor", ["process:2"])
def test_explanations_are_shared_too(executor: str) -> None:
    shared, alone = (
        wcam(Net(), sample(5), grid=4, wavelet_levels=2, execution=Execution(executor=each))
        for each in (executor, None)
    )
    np.testing.assert_array_equal(shared.map, alone.map)
    np.testing.assert_array_equal(shared.classes, alone.classes)
    both = (
        reconstruct(Net(), sample(5), alone, execution=Execution(executor=each))
        for each in (executor, None)
    )
    one, other = both
    np.testing.assert_array_equal(one.depth, other.depth)
    assert torch.equal(one.images, other.images)


def _attack(model: Any, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return fgsm(model, images, labels, eps=0.02)


def _darker(images: torch.Tensor) -> torch.Tensor:
    return images * 0.5


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    count = tmp_path / "left"
    count.write_text("1")
    found = played("process:2", Mortal(count))
    assert count.read_text() == "0"
    count.write_text("0")
    assert same(found, played(None, Mortal(count)))


def test_what_kills_every_worker_is_told(tmp_path: Path) -> None:
    count = tmp_path / "left"
    count.write_text("1000")
    engine = ProcessEngine(1)
    try:
        with pytest.raises(ModelError, match=r"died over the same images|has no worker left"):
            played(engine, Mortal(count))
    finally:
        engine.close()


def test_a_worker_that_is_killed_from_outside(tmp_path: Path) -> None:
    engine = ProcessEngine(2)
    killed: list[int] = []

    def progress(at: Any) -> None:
        if at.images_done == 2:
            killed.append(engine.pids[0])
            os.kill(killed[0], signal.SIGKILL)

    try:
        found = played(engine, Slow(tmp_path, 0.01), progress=progress)
    finally:
        engine.close()
    assert same(found, played())
    # This process notes its own answer to one image, too.
    noted = {int(each.name) for each in tmp_path.iterdir()} - {os.getpid()}
    assert len(noted - set(killed)) >= 1


def test_a_worker_that_hangs_is_replaced_when_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE", 0.2)
    (tmp_path / "hang").touch()
    engine = ProcessEngine(1)
    crew = Crew(engine, Classifier(Hanging(tmp_path / "hang")))
    try:
        before = engine.pids
        asked = crew.map(_forward, Execution(), [(1,), (8,)])
        assert next(asked) == 1
        time.sleep(0.2)
        asked.close()
        assert list(crew.map(_forward, Execution(), [(2,)])) == [2]
        assert set(engine.pids).isdisjoint(before)
    finally:
        engine.close()


def _forward(classifier: Classifier, execution: Execution, count: int) -> int:
    return len(classifier.network(torch.zeros(count, 3, 16, 16)))  # type: ignore[operator]


def test_gpus_go_to_processes_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that are left to this process."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    engine = ProcessEngine.__new__(ProcessEngine)
    engine._gpus, engine.threads = process._visible_gpus(), 1
    found = [engine._environment(place)["CUDA_VISIBLE_DEVICES"] for place in range(3)]
    assert found == ["2", "5", "2"]


def test_no_worker_outlives_who_started_it(tmp_path: Path) -> None:
    program = (
        "from pytest_iaside.execute.engines.process import ProcessEngine\n"
        "import time\n"
        "engine = ProcessEngine(2)\n"
        "print(*engine.pids, flush=True)\n"
        "time.sleep(60)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pids = [int(each) for each in starter.stdout.readline().split()]
    starter.kill()
    starter.wait()
    starter.stdout.close()
    deadline = time.monotonic() + 30
    while any(_lives(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_lives(pid) for pid in pids)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_what_the_model_raises_is_raised_here() -> None:
    with pytest.raises(ModelError, match="too dark"):
        played("process:2", Failing())


def test_a_model_that_answers_at_random_is_refused_on_workers() -> None:
    with pytest.raises(ModelError, match="differently when it was asked again"):
        played("process:1", nn.Sequential(Net(), Always()))


class Always(nn.Module):
    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits + torch.rand_like(logits)


def test_a_model_that_cannot_be_sent() -> None:
    model = Net()
    model.handle = threading.Lock()
    with pytest.raises(ModelError, match=r"Net cannot be sent to workers .*install cloudpickle"):
        played("process:1", model)


def test_what_was_found_before_all_workers_were_lost_is_kept(tmp_path: Path) -> None:
    """The next run goes on from there."""
    count = tmp_path / "left"
    count.write_text("0")
    engine = ProcessEngine(1)
    done = []

    def progress(at: Any) -> None:
        done.append(at.images_done)
        if at.images_done == 3:
            count.write_text("1000")

    try:
        with pytest.raises(ModelError):
            played(engine, Mortal(count), progress=progress, cache=True)
    finally:
        engine.close()
    count.write_text("0")
    found = played("process:1", Mortal(count), cache=True)
    assert found.passes_from_cache == done[-1] * (2**BANDS + 1)
    assert same(found, played(None, Mortal(count)))


@pytest.mark.parametrize("name", ["process", "process:3", "ray", "slurm:2?gpus=1", "dask://a:1"])
def test_names(name: str) -> None:
    assert Execution(executor=name).executor == name


@pytest.mark.parametrize(
    "name", ["", "processes", "process:0", "process:two", "dask", "dask:8786", "slurm", "ray:x", 3]
)
def test_wrong_names(name: Any) -> None:
    with pytest.raises(SettingsError, match=r"executor=.*expected process, process:4, dask://"):
        Execution(executor=name)


def test_unknown_options_are_told() -> None:
    with pytest.raises(SettingsError, match=r"option that process does not take .*cores"):
        engine_of("process:1?cores=4")


def test_nobody_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "PATIENCE", 0.5)
    with pytest.raises(SettingsError, match="no Dask scheduler answered"):
        engine_of("dask://127.0.0.1:9")


def test_parcels() -> None:
    model = Classifier(Net(3), mean=[0.1, 0.2, 0.3], std=0.5, name="mine")
    parcel = packed(model)
    found = unpacked(parcel.content)
    assert found.name == "mine"
    assert found.fingerprint() == model.fingerprint()
    scripted = Classifier(torch.jit.script(Net(3)))
    assert unpacked(packed(scripted).content).fingerprint() == scripted.fingerprint()


@settings(max_examples=60, deadline=None)
@given(
    images=st.integers(1, 9),
    bands=st.integers(2, 7),
    batch=st.integers(1, 200),
    passes=st.integers(1, 2000),
)
def test_parts_are_whole_batches(images: int, bands: int, batch: int, passes: int) -> None:
    """Each coalition of each image once, and cut only where batches end anyway."""
    (shard,) = shards(sample(images, 8), Rules(bands=bands), sample(images, 8), images)
    seen = np.zeros((images, 2**bands), dtype=int)
    clean = torch.zeros(images, 5)
    played = 2**bands
    for some, parts in WholeGame(shard).parts([clean], batch, passes):
        at = 0
        for part in parts:
            assert isinstance(part, Coalitions)
            count = len(part.coalitions[0])
            assert len(part.sample) == some.stop - some.start
            seen[some, at : at + count] += 1
            if batch < played:
                assert at % batch == 0
                assert count >= min(bands, played)
            at += count
        if batch >= played:
            assert some.start % (batch // played) == 0
        assert at == played
    assert (seen == 1).all()


class Evil:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("secret", [None, b"another one"])
def test_only_who_knows_the_secret_is_heard(tmp_path: Path, secret: bytes | None) -> None:
    """Nothing is unpickled that comes from anybody else, and nothing is sent to them."""
    engine = ConnectedEngine("x")
    made = tmp_path / "made"
    stranger = Client(engine.address)
    try:
        challenge = stranger.recv_bytes()
        assert b"CHALLENGE" in challenge
        if secret is not None:
            with pytest.raises(AuthenticationError):
                # As a worker that was given another secret.
                answer = Client(engine.address)
                answer_challenge(answer, secret)
        with suppress(OSError):
            for _ in range(3):
                stranger.send_bytes(pickle.dumps(Evil(made)))
        with suppress(EOFError, OSError):
            while stranger.poll(10):
                assert stranger.recv_bytes() in (b"#FAILURE#",)
    finally:
        stranger.close()
        engine.close()
    assert not made.exists()
    assert engine.connected == 0
