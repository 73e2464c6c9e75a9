"""A gate that takes too long is stopped, whatever its model is stuck in; so is one by Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hanging import CONFTEST, MODELS, TEST
from project import OTHERS_OFF, Project

import pytest_iaside.testing.spectral
from pytest_iaside import SpectralProfile
from pytest_iaside.testing import watch

needs_signals = pytest.mark.skipif(watch.SIGNAL is None, reason="a signal that interrupts")


@pytest.fixture
def hanging(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project with its baseline; its model hangs in a way that ``HANGS`` names."""
    project.ini()
    project.write(MODELS, "models")
    project.write(CONFTEST, "conftest")
    project.write(TEST)
    monkeypatch.setattr(watch, "GRACE", watch.GRACE)  # Which the project changes.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    project.run("--iaside-update=new", "--iaside-no-cache").assert_outcomes(passed=2)
    return project


def record(project: Project) -> dict[str, object]:
    (gate,) = json.loads((project.root / "out.json").read_text())["gates"]
    return dict(gate)


MESSAGE = (
    "*OutOfTimeError: the gate took longer than timeout=2s and was stopped, after 296 forward "
    "passes, with 1 of 24 images done*"
)


@needs_signals
@pytest.mark.parametrize("how", ["sleeping", "waiting", "looping"])
def test_one_that_hangs_in_python(hanging: Project, how: str) -> None:
    hanging.monkeypatch.setenv("HANGS", how)
    before = signal.getsignal(watch.SIGNAL)  # type: ignore[arg-type]
    others = ("-p", "no:faulthandler") if how == "waiting" else ("-o", "faulthandler_timeout=99")
    result = hanging.run("--iaside-timeout=2s", "--iaside-json=out.json", *others)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines([MESSAGE])
    result.stdout.fnmatch_lines([f"*def {how}():*"])  # where it was
    found = record(hanging)
    assert (found["status"], found["error"]) == ("refused", "OutOfTimeError")
    assert signal.getsignal(watch.SIGNAL) == before  # type: ignore[arg-type]


def test_what_was_found_before_is_not_played_again(hanging: Project) -> None:
    hanging.monkeypatch.setenv("HANGS", "sleeping")
    hanging.monkeypatch.setenv("HANGS_AFTER", "1200")
    hanging.run("--iaside-timeout=1.5s", "--iaside-json=out.json").assert_outcomes(
        failed=1, passed=1
    )
    (done,) = re.findall(r"with (\d+) of 24 images done", str(record(hanging)["summary"]))
    assert int(done) >= 8
    hanging.monkeypatch.delenv("HANGS")
    hanging.run("--iaside-json=out.json").assert_outcomes(passed=2)
    comparison: dict[str, dict[str, int]] = record(hanging)["comparison"]  # type: ignore[assignment]
    kept = comparison["candidate"]["passes_from_cache"]
    # The answers under none and five corruptions, and the game of every image that was done.
    assert kept == 24 * 6 + int(done) * 65


@pytest.mark.skipif(sys.platform != "linux", reason="a lock of glibc")
def test_one_that_is_stuck_in_native_code_ends_the_process(hanging: Project) -> None:
    hanging.monkeypatch.setenv("HANGS", "native")
    hanging.monkeypatch.setenv("GRACE", "0.2")
    exports = ("--iaside-json=out.json", "--junit-xml=junit.xml")
    result = hanging.pytester.runpytest_subprocess(*OTHERS_OFF, "--iaside-timeout=2s", *exports)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*with 1 of 24 images done; its model is stuck in native code,*"])
    result.stdout.fnmatch_lines(["*models.py*in native", "*== 1 failed in *"])
    assert record(hanging)["error"] == "OutOfTimeError"
    assert "OutOfTimeError" in (hanging.root / "junit.xml").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="a lock of glibc")
def test_under_xdist_the_remaining_tests_run(hanging: Project) -> None:
    pytest.importorskip("xdist")
    hanging.monkeypatch.setenv("HANGS", "native")
    hanging.monkeypatch.setenv("GRACE", "0.2")
    result = hanging.pytester.runpytest_subprocess(
        *OTHERS_OFF, "-n1", "--iaside-timeout=2s", "--iaside-json=out.json"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    # Once because of the time, once because its worker is gone.
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(["the gate took longer than timeout=2s and was stopped, *"])
    result.stdout.fnmatch_lines(["worker 'gw0' crashed while running 'test_it.py::test_hangs'"])
    assert record(hanging)["error"] == "OutOfTimeError"


def test_a_verdict_stays_where_explaining_it_takes_too_long(gated: Project) -> None:
    spectral = pytest_iaside.testing.spectral
    gated.monkeypatch.setattr(spectral, "told_by_wings", lambda *_: time.sleep(600))
    result = gated.run("--iaside-timeout=2s", "--iaside-json=out.json", gain=0.3)
    result.assert_outcomes(failed=1)
    found = record(gated)
    assert found["verdict"] == "drift" and found["error"] is None
    notes: list[str] = found["comparison"]["notes"]  # type: ignore[index]
    assert "what else is told of a gate was left out: timeout=2s was over" in notes


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("option", "--iaside-timeout: '30'"),
        ("ini", "tox.ini: iaside_timeout: 'soon'"),
        ("marker", "timeout=0 cannot be used"),
        ("keyword", "assert_spectral_robustness: timeout=-1 cannot be used"),
    ],
)
def test_a_time_that_is_none_is_a_usage_error(project: Project, where: str, told: str) -> None:
    options = ["--iaside-timeout=30"] if where == "option" else []
    if where == "ini":
        project.ini("iaside_timeout = soon")
    if where == "keyword":
        project.call("models.model, timeout=-1")
    if where == "marker":
        project.write("import pytest\n@pytest.mark.iaside(timeout=0)\ndef test_it(): pass\n")
    result = project.run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = result.errlines + result.outlines
    assert any(told in line and "a time (30s, 5min) or none" in line for line in lines)


def rows_kept(cache: Path) -> int:
    with suppress(sqlite3.Error):
        place = f"{(cache / 'results.sqlite').as_uri()}?mode=ro"
        with closing(sqlite3.connect(place, uri=True)) as database:
            return int(database.execute("SELECT COUNT(*) FROM found").fetchone()[0])
    return 0


def wait_for_rows(cache: Path, more_than: int) -> None:
    end = time.monotonic() + 60
    while rows_kept(cache) <= more_than:
        assert time.monotonic() < end, "nothing was kept within a minute"
        time.sleep(0.05)


def started(project: Project) -> subprocess.Popen[str]:
    """The project's tests, in a process of their own that makes the baseline."""
    command = [sys.executable, "-m", "pytest", *OTHERS_OFF, "-p", "no:cacheprovider"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    if os.name == "posix":
        # A shell that starts tests in the background has them ignore Ctrl-C, and what they start.
        pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [*command, "--iaside-update=new"], cwd=project.root, start_new_session=True, **pipes
    )


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent by a signal")
def test_ctrl_c_leaves_nothing_behind_and_the_next_run_goes_on(
    hanging: Project, cache_folder: Path
) -> None:
    for file in hanging.root.rglob("__iaside__/*/*"):
        file.unlink()
    hanging.monkeypatch.setenv("HANGS", "slow")
    process = started(hanging)
    wait_for_rows(cache_folder, more_than=30)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, told
    with pytest.raises(ProcessLookupError):  # Nobody of its group is left.
        os.killpg(process.pid, 0)
    left = [each.name for each in (*cache_folder.iterdir(), *hanging.root.rglob("__iaside__/*/*"))]
    assert [name for name in left if not name.startswith("backends")] == ["results.sqlite"]
    hanging.monkeypatch.delenv("HANGS")
    hanging.run("--iaside-update=new", "--iaside-json=out.json").assert_outcomes(passed=2)
    comparison: dict[str, dict[str, int]] = record(hanging)["comparison"]  # type: ignore[assignment]
    assert comparison["candidate"]["passes_from_cache"] >= 24 * 6 + 7 * 65


@pytest.mark.skipif(os.name != "posix", reason="a signal that nobody can catch")
def test_a_run_that_is_killed_among_the_answers_goes_on_there(
    hanging: Project, cache_folder: Path
) -> None:
    alone = SpectralProfile.load(hanging.baseline).values
    for file in hanging.root.rglob("__iaside__/*/*"):
        file.unlink()
    few_at_once = "from pytest_iaside.measure.asked import Asked\nAsked._at_a_time = 4\n"
    hanging.write(few_at_once + CONFTEST, "conftest")
    hanging.monkeypatch.setenv("HANGS", "slow")
    hanging.monkeypatch.setenv("HANGS_AFTER", "0")
    process = started(hanging)
    wait_for_rows(cache_folder, more_than=7)
    process.kill()
    process.communicate()
    kept = rows_kept(cache_folder)
    assert 8 <= kept < 24  # Images that are answered; no game was played yet.
    hanging.monkeypatch.delenv("HANGS")
    hanging.run("--iaside-update=new", "--iaside-json=out.json").assert_outcomes(passed=2)
    comparison: dict[str, dict[str, int]] = record(hanging)["comparison"]  # type: ignore[assignment]
    assert comparison["candidate"]["passes_from_cache"] == 6 * kept
    np.testing.assert_array_equal(SpectralProfile.load(hanging.baseline).values, alone)
