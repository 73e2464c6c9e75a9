"""What the doctor says of a set-up: fine where it is, and what is wrong where something is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

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


def test_workers_that_fight_for_cores_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p pytest_iaside.plugin -p xdist -n 2")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    _, said = doctor(capsys)
    told = f"set OMP_NUM_THREADS={max(1, (os.cpu_count() or 1) // 2)}"
    assert "  ✗ pytest -n 2: each worker takes up to " in said and told in said


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
