"""The exporter to MLflow, against a real server on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from profiles import make_profile

from pytest_iaside.track.exporters import export, metrics, to_mlflow
from pytest_iaside.track.history import Point
from pytest_iaside.track.watcher import Outbox

mlflow = pytest.importorskip("mlflow", reason="needs MLflow")
pytest.importorskip("flask", reason="needs MLflow with its server (mlflow, not mlflow-skinny)")

pytestmark = [
    # Of MLflow and what it is made of, about their own code.
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"),
]

STARTING = 90.0  # Seconds: the server imports for several of them.
POINTS = [
    Point(step=step, name=f"epoch={step}", profile=make_profile(seed=step), accuracy=0.5)
    for step in (0, 3)
]


NOBODY = "http://127.0.0.1:9"  # The port of the discard protocol, which nobody serves any more.


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server with a database of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    # Without jobs, which are not what is tested: seven processes more, and twice the time.
    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=os.environ | environment,
            start_new_session=True,  # Its worker is ended with it.
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        if not answers(uri, process):
            pytest.fail(f"no server: {(folder / 'server.log').read_text()[-2000:]}")
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(uri, process):
    """Whether the server answers before it ends, or has had time enough."""
    until = time.monotonic() + STARTING
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=1):
                return True
        except OSError:
            time.sleep(0.1)
    return False


@pytest.fixture(autouse=True)
def surroundings(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    # Whether a server is gone is known at once then.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri(server)
    yield
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


def logged(server, run_id):
    """Every metric of the run as the server has it, by step."""
    client = mlflow.MlflowClient(server)
    return {
        name: [(each.step, each.value) for each in client.get_metric_history(run_id, name)]
        for name in client.get_run(run_id).data.metrics
    }


def expected(points):
    return {
        name: [(each.step, pytest.approx(metrics(each)[name])) for each in points]
        for name in metrics(points[0])
    }


def test_the_active_run(server):
    with mlflow.start_run() as active:
        for each in POINTS:
            export(each, to_mlflow())
    found = logged(server, active.info.run_id)
    assert found == expected(POINTS)
    # Names with slashes are taken as they are.
    assert {"iaside/src", "iaside/sid/0", "iaside/sid/7", "iaside/accuracy"} <= set(found)


def test_a_run_by_its_id_whatever_is_active(server):
    run = mlflow.MlflowClient().create_run("0").info.run_id
    mlflow.set_tracking_uri(NOBODY)
    for each in POINTS:
        export(each, to_mlflow(run, tracking_uri=server))
    assert logged(server, run) == expected(POINTS)


def test_a_server_that_cannot_be_reached_gets_everything_once_it_can(server):
    run = mlflow.MlflowClient().create_run("0").info.run_id
    outbox = Outbox(to_mlflow(run), "MLflow")
    mlflow.set_tracking_uri(NOBODY)
    with pytest.warns(UserWarning, match="MLflow failed .*training goes on"):
        outbox.send((name, value, 0) for name, value in metrics(POINTS[0]).items())
    mlflow.set_tracking_uri(server)
    outbox.send((name, value, 3) for name, value in metrics(POINTS[1]).items())
    outbox.close()
    assert logged(server, run) == expected(POINTS)
