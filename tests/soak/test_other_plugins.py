"""Gates beside other plugins of pytest: the same verdicts, the same records."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from faulty import SOAK
from reliability import keep

sys.path.insert(0, str(SOAK.parent / "plugin"))

from hanging import CONFTEST, MODELS, TEST
from project import OTHERS_OFF, Project

from pytest_iaside.testing.session import CI_VARIABLES

PLUGINS = Path(sys.prefix) / "soak-plugins"
BESIDE, HANGS = "sessions of others", "hangs"
FOUND: dict[str, dict[str, Counter[str]]] = {BESIDE: {}, HANGS: {}}
WRONG: dict[str, list[str]] = {BESIDE: [], HANGS: []}
GATES = """
import models, pytest
from pytest_iaside import assert_spectral_robustness as gate

def test_one(): gate(models.model)
@pytest.mark.xdist_group("g")
def test_two(): gate(models.model)
class Test:
    def test_three(self): gate(models.model)
    def test_other(self): pass
"""
DISTRIBUTED = {
    f"xdist, {mode}": ("-n2", f"--dist={mode}")
    for mode in ("load", "loadscope", "loadfile", "loadgroup", "worksteal")
} | {"xdist, each": ("--tx=2*popen", "--dist=each")}
WAYS: dict[str, tuple[str, ...]] = {
    **DISTRIBUTED,
    **{f"randomly, seed {seed}": ("-p", "randomly", f"--randomly-seed={seed}") for seed in (1, 2)},
    "rerunfailures": ("--reruns=2",),
    "rerunfailures under xdist": ("--reruns=2", "-n2"),
    "without the cache of pytest": ("-p", "no:cacheprovider"),
}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in (*CI_VARIABLES, "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    paths = [str(PLUGINS), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return Project(pytester, monkeypatch)


def told(section: str, what: str, outcome: str, expected: str) -> None:
    """Count how a session ended, and fail where it is not as ``expected``."""
    FOUND[section].setdefault(what, Counter())[outcome] += 1
    if outcome != expected:
        WRONG[section].append(f"{what}: {outcome}, expected {expected}")
    keep(section, {"outcomes": FOUND[section], "wrong": WRONG[section]})
    assert outcome == expected


@pytest.mark.parametrize("way", list(WAYS))
def test_verdicts_and_records_are_the_same(project: Project, way: str) -> None:
    if way.startswith(("randomly", "rerun")) and not PLUGINS.exists():
        pytest.skip("make soak installs these plugins")
    project.write(GATES)
    off = (*OTHERS_OFF, *(() if way.startswith("randomly") else ("-p", "no:randomly")))
    run = project.pytester.runpytest_subprocess
    project.run("--iaside-update=new").assert_outcomes(passed=4)
    for gain, color, verdict in (("1.0", "green", "pass"), ("0.3", "red", "drift")):
        project.monkeypatch.setenv("GAIN", gain)
        result = run(*off, *WAYS[way], "--iaside-json=out.json")
        gates = json.loads((project.root / "out.json").read_text())["gates"]
        found = sorted((gate["test"].rpartition("::")[2], gate["verdict"]) for gate in gates)
        names = sorted(["test_one", "test_two", "test_three"])
        expected = [(name, verdict) for name in names], (0 if color == "green" else 1)
        same = (found, int(result.ret)) == expected
        told(
            BESIDE,
            way,
            f"{color} as without" if same else f"{color}: {found}",
            f"{color} as without",
        )


@pytest.fixture
def hanging(project: Project) -> Project:
    project.ini()
    project.write(MODELS, "models")
    project.write(CONFTEST, "conftest")
    project.write(TEST)
    project.run("--iaside-update=new", "--iaside-no-cache").assert_outcomes(passed=2)
    return project


@pytest.mark.skipif(sys.platform != "linux", reason="a lock of glibc")
@pytest.mark.parametrize("how", ["sleeping", "waiting", "looping", "native", "native_alone"])
@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_a_model_that_hangs(hanging: Project, how: str, workers: tuple[str, ...]) -> None:
    hanging.monkeypatch.setenv("HANGS", how)
    run = hanging.pytester.runpytest_subprocess
    result = run(*OTHERS_OFF, *workers, "--iaside-timeout=4s", timeout=90)
    where = "a worker of xdist" if workers else "one process"
    text = result.stdout.str() + result.stderr.str()
    after = "test_after ran" if " 1 passed" in text else "the session ended"
    message = "OutOfTimeError" if "OutOfTimeError" in text else "the stacks of all threads"
    if "OutOfTimeError" not in text and "Timeout (" not in text:
        message = "nothing"
    survives = bool(workers) or not how.startswith("native")
    expected = "OutOfTimeError" if how != "native_alone" else "the stacks of all threads"
    good = f"exit 1, {expected}, {'test_after ran' if survives else 'the session ended'}"
    told(
        HANGS,
        f"--iaside-timeout, {how}, {where}",
        f"exit {int(result.ret)}, {message}, {after}",
        good,
    )


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="who is left is read from /proc")
def test_ctrl_c_leaves_no_process_of_workers(hanging: Project, cache_folder: Path) -> None:
    hanging.monkeypatch.setenv("HANGS", "slow")
    hanging.monkeypatch.setenv("SOAKING", str(hanging.root))
    command = [sys.executable, "-m", "pytest", *OTHERS_OFF, "-p", "no:cacheprovider"]
    command += ["--iaside-executor=process:2"]
    process = subprocess.Popen(command, cwd=hanging.root, stdout=subprocess.DEVNULL)
    time.sleep(12)
    process.send_signal(signal.SIGINT)
    code = process.wait(timeout=60)
    time.sleep(1)
    mark = f"SOAKING={hanging.root}".encode()
    left = []
    for each in Path("/proc").glob("[0-9]*/environ"):
        try:
            if int(each.parent.name) != os.getpid() and mark in each.read_bytes():
                left.append(each.parent.name)
        except OSError:
            continue
    told(HANGS, "Ctrl-C with two workers", f"exit {code}, {len(left)} processes left", EXPECTED)


EXPECTED = "exit 2, 0 processes left"
