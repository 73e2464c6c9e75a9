"""The real engines: a Dask cluster, Ray and submitit's local executor, on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from workers_models import Net, Slow, sample

from pytest_iaside import Execution, SpectralProfile, measure
from pytest_iaside.errors import ModelError
from pytest_iaside.execute import spreading
from pytest_iaside.execute.engines import close_engines, dask, engine_of

BANDS = 5


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(spreading, "UNIT_SECONDS", 1e-6)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    close_engines()
    torch.set_num_threads(before)


def played(executor: Any = None, model: Any = None, **more: Any) -> SpectralProfile:
    execution = Execution(executor=executor, device="cpu", batch_size=8, backend="eager")
    options = {"bands": BANDS, "cache": False, **more}
    return measure(model or Net(), sample(6), execution=execution, **options)


def bits(found: SpectralProfile) -> bytes:
    assert found.log_likelihood is not None
    return found.log_likelihood.tobytes() + found.values.tobytes()


class Cluster:
    """A scheduler and workers of Dask, a process each."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.scheduler = self._run("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        address = f"tcp://127.0.0.1:{self.port}"
        self.workers = [
            self._run("worker", address, "--nthreads", "1", "--no-nanny") for _ in range(workers)
        ]

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=self.folder, **quiet)

    @property
    def address(self) -> str:
        return f"dask://127.0.0.1:{self.port}"

    def close(self) -> None:
        for each in (*self.workers, self.scheduler):
            each.kill()
            each.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    found = Cluster(tmp_path)
    yield found
    close_engines()
    found.close()


def test_dask(cluster: Cluster, tmp_path: Path) -> None:
    """A worker is killed in the middle: the other makes what it had."""
    folder = tmp_path / "noted"
    folder.mkdir()
    dead: list[int] = []

    def progress(at: Any) -> None:
        if at.images_done == 2:
            cluster.workers[0].send_signal(signal.SIGKILL)
            dead.append(cluster.workers[0].pid)

    found = played(cluster.address, Slow(folder, 0.005), progress=progress)
    assert bits(found) == bits(played())
    assert dead
    from distributed import Client

    with Client(cluster.address.replace("dask", "tcp"), set_as_default=False) as client:
        assert bits(played(client.get_executor())) == bits(played())


def test_a_scheduler_that_is_killed(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found until then is kept, and the next run goes on."""
    engine_of(cluster.address)  # Its processes may take long to begin.
    monkeypatch.setattr(dask, "PATIENCE", 3.0)
    folder = tmp_path / "noted"
    folder.mkdir()

    def progress(at: Any) -> None:
        cluster.close()

    with pytest.raises(ModelError, match=r"has no worker left .*what was found so far is kept"):
        played(cluster.address, Slow(folder, 0.1), progress=progress, cache=True)
    found = played(None, Slow(folder, 0.0), cache=True)
    assert found.passes_from_cache >= 2**BANDS + 1
    assert bits(found) == bits(played())


ON_RAY = """
import test_clusters
from pytest_iaside.execute import spreading
from pytest_iaside.execute.engines import close_engines
spreading.UNIT_SECONDS = 1e-6
found = test_clusters.bits(test_clusters.played("ray:2"))
close_engines()
print(found == test_clusters.bits(test_clusters.played()))
"""


def test_ray() -> None:
    """In a process of its own, for Ray waits for ever where it cannot start."""
    pytest.importorskip("ray")
    paths = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", ON_RAY],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("Ray did not start within four minutes")
    assert done.stdout.split()[-1:] == ["True"], done.stderr[-2000:]


def test_slurm(tmp_path: Path) -> None:
    """Its jobs, as submitit runs them where there is no Slurm."""
    pytest.importorskip("submitit")
    found = played(f"slurm:2?cluster=local&folder={tmp_path / 'logs'}")
    assert bits(found) == bits(played())
    assert oct((tmp_path / "logs").stat().st_mode)[-3:] == "700"
