"""Several trainings on the command line: measured, added, and what limits they would keep."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_iaside.cli.main import main
from pytest_iaside.measure.profile import SpectralProfile

MODULE = """
import torch
from pytest_iaside import Classifier, ReferenceSample
WAVES = torch.stack([torch.cos(2 * torch.pi * k * torch.arange(16) / 16) for k in (1, 3, 7)])
def images():
    labels = torch.arange(24) % 3
    images = 0.5 + 0.2 * WAVES[labels][:, None, None, :].expand(24, 1, 16, 16)
    noise = 0.05 * torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return ReferenceSample((images + noise).clamp(0, 1), labels)
def training(seed, gain=1.0):
    gains = 2 + 0.3 * torch.rand(3, generator=torch.Generator().manual_seed(seed))
    return Classifier(
        lambda x: gain * (x.mean(dim=(1, 2)) @ WAVES.T) * gains, name=f"seed {seed}"
    )
def zero(): return training(0)
def one(): return training(1)
def two(): return training(2)
def more(): return [training(3), training(4)]
def bent():
    gains = torch.tensor([2.0, 2.0, 0.1])
    return Classifier(lambda x: (x.mean(dim=(1, 2)) @ WAVES.T) * gains, name="bent")
def blind():
    return Classifier(lambda x: -3 * (x.mean(dim=(1, 2)) @ WAVES.T), name="blind")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "runs.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "runs", raising=False)
    return tmp_path


def measured(*more: str) -> int:
    options = ["--output", "all.yaml", "--bands=4", "--no-cache"]
    return main(["measure", "runs:zero", "runs:images", *options, *more])


def test_seeds_are_measured_with_the_first(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measured("--seeds", "runs:one", "runs:more") == 0
    assert "4: numbers are of their mean" in capsys.readouterr().out
    profile = SpectralProfile.load("all.yaml")
    assert [each.model.name for each in profile.trainings] == [f"seed {n}" for n in (0, 1, 3, 4)]


def test_a_bad_one_among_the_measured_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measured("--seeds", "runs:one", "runs:more", "runs:bent") == 0
    told = capsys.readouterr().out
    assert "training 5 of 5 (bent) answers worse than the others" in told
    assert measured("--seeds", "runs:one", "runs:more") == 0
    assert "answers worse" not in capsys.readouterr().out


def test_trainings_are_added_to_a_baseline(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured()
    adding = ["baseline", "add", "all.yaml", "runs:one", "runs:more", "--reference", "runs:images"]
    assert main([*adding, "--no-cache"]) == 0
    assert "holds 4 trainings now" in capsys.readouterr().out
    profile = SpectralProfile.load("all.yaml")
    assert len(profile.trainings) == 4
    assert profile.rules.bands == 4
    assert profile.answers is not None
    assert len(profile.answers.settings["panel"]) > 0


def test_a_bad_training_among_good_ones_is_not_added(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured("--seeds", "runs:one", "runs:two")
    before = Path("all.yaml").read_bytes()
    adding = ["baseline", "add", "all.yaml", "runs:more", "runs:bent"]
    assert main([*adding, "--reference", "runs:images", "--no-cache"]) == 2
    told = capsys.readouterr()
    assert "training 3 of 3 (bent) was compared alone: drift" in told.out
    assert "nothing was written" in told.err
    assert Path("all.yaml").read_bytes() == before


def test_one_that_answers_worse_is_not_added(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured()
    before = Path("all.yaml").read_bytes()
    adding = ["baseline", "add", "all.yaml", "runs:blind", "--reference", "runs:images"]
    assert main([*adding, "--no-cache"]) == 2
    assert "nothing was written" in capsys.readouterr().err
    assert Path("all.yaml").read_bytes() == before


def test_limits_are_proposed_and_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured("--seeds", "runs:one", "runs:two", "runs:more")
    capsys.readouterr()
    Path("pytest.ini").write_text("[pytest]\n")
    assert main(["calibrate", "all.yaml", "--write", "pytest.ini"]) == 0
    told = capsys.readouterr().out
    assert "5 trainings of one recipe" in told
    assert max(map(len, told.splitlines())) <= 80
    lines = Path("pytest.ini").read_text().splitlines()
    assert sum(line.startswith("iaside_max_") for line in lines) == 8


def test_too_few_trainings_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured()
    assert main(["calibrate", "all.yaml"]) == 2
    assert "holds 1 training, but it takes 3" in capsys.readouterr().err
