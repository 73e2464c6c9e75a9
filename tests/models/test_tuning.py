"""How many threads a measurement may take."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

import pytest
import torch

from pytest_iaside.models import tuning
from pytest_iaside.models.tuning import limited_threads, no_trace_in_logs, usable_threads


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Sixteen cores, nothing that limits them."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    monkeypatch.setattr(tuning, "_cgroup_cores", lambda: math.inf)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    return monkeypatch


def test_all_cores_where_nothing_limits_them(machine: pytest.MonkeyPatch) -> None:
    assert usable_threads() == 16


def test_never_more_than_pytorch_was_told(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch, "get_num_threads", lambda: 3)
    assert usable_threads() == 3


def test_the_cores_the_process_may_run_on(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(os, "sched_getaffinity", lambda pid: {4, 5}, raising=False)
    assert usable_threads() == 2


@pytest.mark.parametrize(("quota", "threads"), [(0.5, 1), (1.5, 2), (4.0, 4), (64.0, 16)])
def test_the_share_of_a_container(machine: pytest.MonkeyPatch, quota: float, threads: int) -> None:
    machine.setattr(tuning, "_cgroup_cores", lambda: quota)
    assert usable_threads() == threads


@pytest.mark.parametrize(("workers", "threads"), [("1", 16), ("3", 5), ("16", 1), ("40", 1)])
def test_the_share_of_a_worker(machine: pytest.MonkeyPatch, workers: str, threads: int) -> None:
    machine.setenv("PYTEST_XDIST_WORKER_COUNT", workers)
    assert usable_threads() == threads
    machine.setenv("OMP_NUM_THREADS", "16")
    assert usable_threads() == 16


def test_threads_are_given_back(machine: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    machine.setattr(torch, "set_num_threads", calls.append)
    machine.setattr(tuning, "usable_threads", lambda: 4)
    with pytest.raises(KeyError), limited_threads():
        raise KeyError
    assert calls == [4, 16]


def _group(root: Path, name: str, content: str) -> None:
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / "cpu.max").write_text(content)


def test_limits_of_control_groups(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    assert tuning._cgroup_cores(root, own) == math.inf
    own.write_text("0::/ci/job\n")
    _group(root, "ci", "250000 100000\n")
    _group(root, "ci/job", "max 100000\n")
    assert tuning._cgroup_cores(root, own) == 2.5
    _group(root, "ci/job", "150000 100000\n")
    assert tuning._cgroup_cores(root, own) == 1.5
    # Inside a container the group is the root of what can be seen.
    own.write_text("0::/\n")
    _group(root, ".", "50000 100000\n")
    assert tuning._cgroup_cores(root, own) == 0.5


@pytest.mark.parametrize(("quota", "cores"), [("-1", math.inf), ("300000", 3.0)])
def test_limits_of_older_control_groups(tmp_path: Path, quota: str, cores: float) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("4:cpu:/job\n")
    (root / "cpu").mkdir(parents=True)
    (root / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (root / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert tuning._cgroup_cores(root, own) == cores


@pytest.mark.parametrize("asked", [False, True])
def test_pytorchs_trace_is_in_nobodys_log_unless_asked_for(
    asked: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if asked:
        monkeypatch.setenv("TORCH_TRACE", "folder")
    else:
        monkeypatch.delenv("TORCH_TRACE", raising=False)
    logger = logging.getLogger("torch.__trace")
    with caplog.at_level(logging.DEBUG, "torch.__trace"), no_trace_in_logs():
        logger.debug("")
    assert len(caplog.records) == asked and not logger.disabled


def test_who_is_done_first_does_not_decide_for_the_others() -> None:
    logger = logging.getLogger("torch.__trace")
    first, second = no_trace_in_logs(), no_trace_in_logs()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert logger.disabled
    second.__exit__(None, None, None)
    assert not logger.disabled
