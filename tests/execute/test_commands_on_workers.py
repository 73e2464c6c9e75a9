"""Commands that share their work: a track, a rank and an explanation say the same with workers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from workers_models import Net

from pytest_iaside.cli.main import main
from pytest_iaside.execute.engines import close_engines
from pytest_iaside.track.history import History

LAB = """
import torch
from workers_models import Net, sample
def images(): return sample(8)
def one(): return Net(0)
def two(): return Net(1)
"""
ON_WORKERS = "--executor=process:1"


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    close_engines()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lab.py").write_text(LAB)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "lab", raising=False)
    return tmp_path


def test_track(folder: Path) -> None:
    for epoch in range(3):
        torch.save(Net(epoch).state_dict(), folder / f"epoch{epoch}.pt")
    given = ["track", "epoch*.pt", "--model=lab:one", "--reference=lab:images", "--bands=4"]
    points = []
    for name, how in (("alone", []), ("shared", [ON_WORKERS])):
        history = f"--history={name}.sqlite"
        assert main([*given, "--no-cache", history, *how]) == 0
        points.append(History(folder / f"{name}.sqlite").points())
    for one, other in zip(*points, strict=True):
        assert one.step == other.step
        np.testing.assert_array_equal(one.profile.values, other.profile.values)


def test_rank(folder: Path) -> None:
    found = []
    for how in ([], [ON_WORKERS]):
        given = ["rank", "lab:one", "lab:two", "lab:images", "--json=rank.json"]
        given += ["--environment=contrast:3,white_noise:2"]
        assert main([*given, *how]) in (0, 1)
        document = json.loads((folder / "rank.json").read_text())
        document.pop("meta")
        found.append(document)
    assert found[0] == found[1]


def test_explain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "picture.png")
    said = []
    for how in ([], [ON_WORKERS]):
        given = ["explain", "lab:one", "picture.png", "--grid=4", "--levels=2", "--points=4"]
        assert main([*given, "--resize=16", "--crop=16", *how]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
