"""The command iaside equivalence: 0 equivalent, 1 not shown to be, 2 could not be done."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pytest_iaside.cli.main import main

MODULE = """
import torch
from pytest_iaside import ReferenceSample
GRID = torch.arange(16) / 16
WAVES = torch.stack([torch.cos(2 * torch.pi * k * GRID) for k in (1, 3, 7)])
def images():
    labels = torch.arange(24) % 3
    images = 0.5 + 0.2 * WAVES[labels][:, None, None, :].expand(24, 1, 16, 16)
    noise = 0.05 * torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return ReferenceSample((images + noise).clamp(0, 1), labels)
def network(weights):
    return lambda images: (images.mean(dim=(1, 2)) @ WAVES.T) * torch.tensor(weights)
def good(): return network([2.0, 2.0, 2.0])
def copied(): return network([2.0, 2.0, 2.0])
def worse(): return network([2.0, -0.5, 2.0])
def close(): return network([2.0, 1.99, 2.0])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lab.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "lab", raising=False)
    return tmp_path


def equivalence(name: str, *more: str) -> int:
    given = ["equivalence", f"lab:{name}", "lab:good", "--reference", "lab:images", "--bands=4"]
    return main([*given, *more])


def test_a_copy_is_equivalent_and_a_worse_model_is_different(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert equivalence("copied", "--max-accuracy-difference=0.001") == 0
    told = capsys.readouterr().out
    assert told.startswith("pass: equivalent to the original")
    assert "allowed ±0.0010" in told
    assert equivalence("worse", "--json=out.json", "--html=out.html") == 1
    told = capsys.readouterr().out
    assert told.startswith("drift: different from the original")
    (record,) = json.loads((folder / "out.json").read_text())["gates"]
    assert (record["kind"], record["test"], record["baseline"]) == (
        "equivalence",
        "lab:worse",
        "lab:good",
    )
    assert record["verdict"] == "drift"
    assert record["comparison"]["limits"]["clean accuracy"]["change"] == 0.05
    assert "different from the original" in (folder / "out.html").read_text()


def test_what_is_not_shown_fails_unless_only_drift_is_to(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert equivalence("close") == 1
    assert capsys.readouterr().out.startswith("inconclusive: not shown to be equivalent")
    assert equivalence("close", "--fail-on=drift") == 0
    capsys.readouterr()
    assert equivalence("close", "--max-accuracy-difference=none") == 0
    assert "accuracy, clean" not in capsys.readouterr().out


def test_what_cannot_be_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert equivalence("missing") == 2
    assert "lab has no 'missing'" in capsys.readouterr().err
    assert equivalence("good", "--max-band-difference=wide") == 2
    assert "--max-band-difference='wide' must be a finite number" in capsys.readouterr().err
    assert equivalence("good", "--max-accuracy-difference=5") == 2
    assert "max_accuracy_difference=5" in capsys.readouterr().err
