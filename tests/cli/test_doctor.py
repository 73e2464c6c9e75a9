"""What the doctor says of a set-up: fine where it is, and what is wrong where something is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

import pytest_iaside.cli.doctor.threads as doctor_threads
from pytest_iaside.cli.doctor import command, installed
from pytest_iaside.cli.doctor.finding import Finding
from pytest_iaside.cli.main import main
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.store.baselines import Owner, path_for

MODULE = """
import torch
from torch import nn
from pytest_iaside import Classifier, ReferenceSample
def images(): return ReferenceSample(torch.rand(12, 3, 16, 16), torch.arange(12) % 3)
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
"""
TEST = """
from pytest_iaside import assert_spectral_robustness
import patient
def test_patient(): assert_spectral_robustness(patient.model(), patient.images())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p pytest_iaside.plugin")
    monkeypatch.delitem(sys.modules, "patient", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    # Those have tests of their own, and take seconds.
    monkeypatch.setattr(command.installed, "back_ends", lambda: iter(()))
    (tmp_path / "patient.py").write_text(MODULE)
    (tmp_path / "pytest.ini").write_text("[pytest]\niaside_bands = 4\n")
    (tmp_path / "test_patient.py").write_text(TEST)
    return tmp_path


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    # The command runs once in a process: no test file of another folder has been imported there.
    sys.modules.pop("test_patient", None)
    status = main(["doctor", *arguments])
    return status, capsys.readouterr().out


def baseline(folder: Path) -> Path:
    """A baseline of the folder's test."""
    at = folder / "__iaside__" / "test_patient"
    at.mkdir(parents=True)
    made = main(["measure", "patient:model", "patient:images", "--bands=4", "--output=made.yaml"])
    assert made == 0
    owner = Owner("test_patient.py::test_patient")
    path = path_for(folder / "test_patient.py", owner)
    Measurement.load(folder / "made.yaml").save(path, test=asdict(owner))
    return path


def test_a_set_up_that_is_fine(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baseline(folder)
    status, said = doctor(capsys)
    assert "  ✓ settings: read (pytest.ini)" in said
    assert "  ✓ tests: 1 collected" in said
    assert "  ✓ baselines: 1 of 1 belong to a test and can be read" in said
    assert f"  ✓ cache: {folder / 'cache'}, " in said
    assert said.endswith("\nnothing is wrong\n") and "✗" not in said
    assert status == 0


def test_a_setting_that_is_no_number(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pytest.ini").write_text("[pytest]\niaside_bands = four\n")
    status, said = doctor(capsys)
    assert "  ✗ pytest's settings: pytest.ini: iaside_bands: " in said
    assert "expected a whole number" in said
    assert said.endswith("\n1 thing to mend\n") and status == 1


def test_baselines_that_cannot_be_read_or_belong_to_nobody(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = baseline(folder)
    path.with_suffix(".npz").unlink()
    status, said = doctor(capsys)
    assert f"  ✗ {path.relative_to(folder)}: cannot be used: " in said and status == 1
    (folder / "test_patient.py").write_text("def test_other(): pass\n")
    shutil.rmtree(folder / "__iaside__")
    baseline(folder)
    status, said = doctor(capsys)
    assert "belongs to no test (test_patient.py::test_patient is gone): pytest --ias" in said
    assert "  ✓ baselines: 0 of 1 belong" in said and status == 1


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_baselines_that_git_ignores(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = baseline(folder)
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    (folder / ".gitignore").write_text("*.npz\n")
    status, said = doctor(capsys)
    arrays = path.with_suffix(".npz").relative_to(folder)
    assert f"  ✗ {arrays}: git ignores it, so that it is never committed" in said
    assert status == 1


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_baselines_that_are_not_committed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = baseline(folder)
    note = f"  ○ {path.relative_to(folder)}: is not in git as it is here"
    assert "is not in git" not in doctor(capsys)[1]  # Where there is no git at all.
    git(folder, "init", "-q", ".")
    status, said = doctor(capsys)
    assert said.count(note) == 1 and status == 0
    git(folder, "add", ".")
    assert doctor(capsys)[1].count(note) == 1
    git(folder, "commit", "-q", "-m", "baseline")
    assert note not in doctor(capsys)[1]
    arrays = path.with_suffix(".npz")
    arrays.write_bytes(arrays.read_bytes() + b" ")
    assert doctor(capsys)[1].count(note) == 1


def test_a_library_that_logs_is_not_heard(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """torch.compile warns that there is no GPU; what comes of trying it is told anyway."""
    import logging

    with installed._hushed():
        logging.getLogger("torch").warning("no GPU")
    logging.getLogger("torch").warning("heard")
    assert [each.message for each in caplog.records] == ["heard"]


def test_a_cache_that_cannot_be_written(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(folder / "file" / "cache"))
    status, said = doctor(capsys)
    assert "cannot be written (" in said and "set IASIDE_CACHE_DIR" in said and status == 1


def test_a_reference_sample_that_is_not_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pytest.ini").write_text(
        "[pytest]\niaside_bands = 4\niaside_reference = nowhere\niaside_model = patient:model\n"
    )
    status, said = doctor(capsys)
    assert "/nowhere does not exist; give the folder" in said.split("✗ iaside_reference: ")[1]
    assert "  ✓ iaside_model: Sequential" in said and status == 1


def test_what_a_gate_costs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = doctor(capsys, "patient:model", "patient:images", "--bands=4")
    # 12 images: clean and under five perturbations; clean again, and 16 coalitions.
    assert "  ✓ first baseline: 276 forward passes, about " in said
    assert "  ✓ each run: from 72 forward passes, about " in said
    assert status == 0
    assert main(["doctor", "patient:model"]) == 2
    assert "give the reference sample after it" in capsys.readouterr().err


def test_a_folder_without_tests(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "test_patient.py").unlink()
    status, said = doctor(capsys)
    assert "  ○ tests: none here; run the doctor in the folder of your project" in said
    assert status == 0


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise RuntimeError('first\\nsecond')", "conftest.py'. RuntimeError: first second"),
        ("import nosuch", "conftest.py'. ModuleNotFoundError: No module named 'nosuch'"),
        ("import sys; sys.exit(3)", "code of the project ended pytest by sys.exit(3)"),
        (
            "def pytest_collection_modifyitems(items): raise KeyError('deep')",
            "pytest failed while it collected (KeyError: 'deep')",
        ),
    ],
)
def test_a_conftest_that_fails(
    folder: Path, capsys: pytest.CaptureFixture[str], code: str, told: str
) -> None:
    (folder / "conftest.py").write_text(code)
    status, said = doctor(capsys)
    (line,) = (line for line in said.splitlines() if line.startswith("  ✗ "))
    assert line.startswith("  ✗ pytest's settings: ") and line.endswith(told)
    assert said.endswith("\n1 thing to mend\n") and status == 1


def test_a_test_file_that_cannot_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "test_other.py").write_text("import nosuch")
    status, said = doctor(capsys)
    told = "(ModuleNotFoundError: No module named 'nosuch'); run pytest on it"
    assert f"  ✗ tests: test_other.py cannot be collected {told}" in said and status == 1


def test_a_project_that_does_not_load_the_plugin(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    (folder / "pytest.ini").write_text("[pytest]\n")
    status, said = doctor(capsys)
    assert "  ✗ plugin: pytest does not load pytest-iaside here, so no gate runs" in said
    assert status == 1


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("fails", "✗ patient:fails: RuntimeError: no weights"),
        ("leaves", "✗ patient:leaves: it called sys.exit('no licence'); it must return"),
        ("nosuch", "✗ patient:nosuch: 'patient:nosuch': patient has no 'nosuch'"),
        ("refuses", "✗ gate: "),
    ],
)
def test_a_model_that_fails_is_a_thing_to_mend(
    folder: Path, capsys: pytest.CaptureFixture[str], model: str, told: str
) -> None:
    (folder / "patient.py").write_text(
        f"{MODULE}import sys\n"
        "def fails(): raise RuntimeError('no weights')\n"
        "def leaves(): sys.exit('no licence')\n"
        "class Refuses(nn.Module):\n"
        "    def forward(self, x): raise ValueError('not these')\n"
        "def refuses(): return Refuses()\n"
    )
    status, said = doctor(capsys, f"patient:{model}", "patient:images")
    assert told in said and said.endswith("\n1 thing to mend\n") and status == 1


def test_labels_in_another_order_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "patient.py").write_text(
        f"{MODULE}"
        "class Knows(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return 9.0 * nn.functional.one_hot((x[:, 0, 0, 0] * 30).round().long() % 3, 3)\n"
        "def knows(): return Knows()\n"
        "def seen(shift=0):\n"
        "    images = torch.rand(12, 3, 16, 16)\n"
        "    images[:, 0, 0, 0] = torch.arange(12) / 30\n"
        "    return ReferenceSample(images, (torch.arange(12) + shift) % 3)\n"
        "def other(): return seen(1)\n"
    )
    arguments = ("--backend=eager", "--bands=4")
    _, said = doctor(capsys, "patient:knows", "patient:seen", *arguments)
    assert "  ✓ each run: " in said and "is answered as its label says" not in said
    _, said = doctor(capsys, "patient:knows", "patient:other", *arguments)
    assert "  ○ labels: none of 8 images is answered as its label says" in said


def told(
    monkeypatch: pytest.MonkeyPatch,
    workers: int | None = None,
    executor: str | None = None,
    *,
    omp: str | None = None,
    busy: float | None = None,
) -> list[Finding]:
    """What is said of threads on a machine of four cores."""
    import pytest_iaside.models.tuning as tuning

    monkeypatch.setattr(tuning, "usable_cores", lambda: 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(doctor_threads, "busy_cores", lambda: busy)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if omp is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    cores, *rest = doctor_threads.threads(workers, executor)
    assert cores == Finding("cores", "4")
    return rest


class TestThreads:
    @pytest.mark.parametrize("omp", [None, "1", "4", "2,2", " 3 "])
    def test_what_fits_is_left_alone(
        self, monkeypatch: pytest.MonkeyPatch, omp: str | None
    ) -> None:
        assert told(monkeypatch, omp=omp) == []

    @pytest.mark.parametrize(
        ("omp", "workers", "executor", "what", "found"),
        [
            ("absurd", None, None, "OMP_NUM_THREADS", "'absurd' is no number of threads"),
            ("0", None, None, "OMP_NUM_THREADS", "'0' is no number of threads"),
            ("-2", None, None, "OMP_NUM_THREADS", "'-2' is no number of threads"),
            ("64", None, None, "OMP_NUM_THREADS", "64 threads for 4 cores: "),
            ("1", 8, None, "pytest -n 8", "8 workers for 4 cores: they wait for each other; "),
            ("4", 2, None, "pytest -n 2", "8 threads for 4 cores: they wait for each other; set "),
            (None, None, "process:8", "iaside_executor", "8 processes of 1 thread, for 4 cores"),
            (None, None, "process:2?threads=4", "iaside_executor", "2 processes of 4 threads, for"),
            ("1", 2, "process:4", "iaside_executor", "in each of 2 workers of pytest, for 4 cores"),
        ],
    )
    def test_what_fights_for_cores_is_wrong(
        self,
        monkeypatch: pytest.MonkeyPatch,
        omp: str | None,
        workers: int | None,
        executor: str | None,
        what: str,
        found: str,
    ) -> None:
        monkeypatch.setattr(doctor_threads, "_has_gpus", lambda: False)
        (each,) = told(monkeypatch, workers, executor, omp=omp)
        assert (each.what, each.kind) == (what, "wrong") and found in each.found

    def test_workers_take_their_share(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (each,) = told(monkeypatch, 2)
        assert (each.what, each.kind) == ("pytest -n 2", "note")
        assert each.found.startswith("gates take 2 threads in each worker; your own code may take")
        assert each.found.endswith("set OMP_NUM_THREADS=2")
        assert told(monkeypatch, 2, "dask://host:1", omp="2") == []

    def test_others_that_compute_now(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert told(monkeypatch, busy=0.9) == []
        (each,) = told(monkeypatch, busy=3.04)
        assert each.found.startswith("they take about 3.0 of 4 cores now")
        assert each.kind == "note"

    def test_a_container_s_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pytest_iaside.models.tuning as tuning

        monkeypatch.setattr(tuning, "usable_cores", lambda: 2)
        monkeypatch.setattr(os, "cpu_count", lambda: 64)
        monkeypatch.setattr("torch.get_num_threads", lambda: 64)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        # What others take of the machine's cores says nothing of this container's.
        monkeypatch.setattr(doctor_threads, "busy_cores", lambda: 60.0)
        cores, each = doctor_threads.threads(None, None)
        assert cores == Finding("cores", "2 of 64 may be used here")
        assert each.found.startswith("PyTorch takes 64, and there are 2 cores")
        assert each.kind == "note"

    def test_what_is_busy_is_what_is_not_idle(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        ticks = iter(["cpu 0 0 0 100 0 0 0 0 0 0", "cpu 30 0 0 150 20 0 0 0 0 0"])
        stat = tmp_path / "stat"
        monkeypatch.setattr(doctor_threads, "STAT", stat)
        monkeypatch.setattr(os, "cpu_count", lambda: 4)

        def wait(_: float) -> None:
            stat.write_text(next(ticks))

        wait(0)
        monkeypatch.setattr(doctor_threads.time, "sleep", wait)
        assert doctor_threads.busy_cores() == pytest.approx(4 * 0.3)
        stat.unlink()
        assert doctor_threads.busy_cores() is None

    def test_the_project_s_own(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTEST_ADDOPTS", "-p pytest_iaside.plugin -p xdist -n 999")
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        (folder / "pytest.ini").write_text("[pytest]\niaside_executor = process:998\n")
        monkeypatch.setattr(doctor_threads, "_has_gpus", lambda: False)
        status, said = doctor(capsys)
        assert "  ✗ pytest -n 999: 999 workers for " in said
        assert "  ✗ iaside_executor: process:998: 998 processes of 1 thread, in each of 999" in said
        assert status == 1


def test_back_ends_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    import pytest_iaside.models.backends as backends

    monkeypatch.setattr(backends, "available_backends", lambda: ("eager", "onnx", "nonesuch"))
    eager, onnx, other = installed.back_ends()
    assert eager.kind == "fine" and eager.found.startswith("works on ")
    assert onnx == Finding("onnx", "installed; it runs .onnx files")
    assert (
        other.kind == "note" and "does not work: SettingsError: backend='nonesuch'" in other.found
    )


def test_versions_of_what_is_there_and_how_to_get_what_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(installed, "EXTRAS", {"no-such-library": "cpu", "nor-this": ""})
    found = {each.what: each for each in installed.versions()}
    assert found["pytest"] == Finding("pytest", pytest.__version__)
    assert found["no-such-library"] == Finding(
        "no-such-library", 'not installed; pip install "pytest-iaside[cpu]"', "note"
    )
    assert found["nor-this"].found == "not installed; pip install nor-this"
