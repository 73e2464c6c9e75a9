"""The exporters to Weights & Biases and Trackio, and a history as a table."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from profiles import make_profile

from pytest_iaside.errors import SettingsError
from pytest_iaside.track import History, Point, export, to_trackio, to_wandb
from pytest_iaside.track.exporters import metrics

POINTS = [
    Point(step=step, name=f"epoch={step}", profile=make_profile(seed=step), loss=1 / (step + 1))
    for step in (0, 5, 1)
]


class Run:
    """What a run of either is asked to do."""

    def __init__(self) -> None:
        self.logged: list[Any] = []
        self.defined: set[tuple[str, str]] = set()

    def define_metric(self, name: str, step_metric: str) -> None:
        self.defined.add((name, step_metric))

    def log(self, values: dict[str, float], step: int | None = None) -> None:
        self.logged.append((values, step))


def test_wandb_gets_every_number_over_our_own_step(monkeypatch: pytest.MonkeyPatch) -> None:
    active = Run()
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=active))
    for each in POINTS:
        export(each, to_wandb())
    assert active.defined == {("iaside/*", "iaside/step")}
    expected = [
        ({name: value, "iaside/step": each.step}, None)
        for each in POINTS
        for name, value in metrics(each).items()
    ]
    assert active.logged == expected
    own = Run()
    export(POINTS[0], to_wandb(own))
    assert len(own.logged) == len(metrics(POINTS[0]))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=None))
    with pytest.raises(SettingsError, match=r"call wandb.init\(…\) first"):
        export(POINTS[0], to_wandb())


def test_trackio_gets_every_number_at_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    active = Run()
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(log=active.log))
    for each in POINTS:
        export(each, to_trackio())
    assert active.logged == [
        ({name: value}, each.step) for each in POINTS for name, value in metrics(each).items()
    ]


@pytest.mark.parametrize(("make", "name"), [(to_wandb, "wandb"), (to_trackio, "trackio")])
def test_what_is_missing_or_no_run_is_said(
    make: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    with pytest.raises(SettingsError, match=f"to_{name} was given a int; give a run, as {name}"):
        make(3)
    assert pickle.loads(pickle.dumps(make())) == make()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match=f"{name} is needed .*pip install {name}"):
        make()


def test_the_real_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=str(tmp_path), project="test") as run:
        for each in POINTS:
            export(each, to_wandb(run))
        summary = {name: run.summary[name] for name in metrics(POINTS[-1])}
    assert summary == pytest.approx(metrics(POINTS[-1]))
    assert list(tmp_path.rglob("*.wandb"))


def test_the_real_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio = pytest.importorskip("trackio")
    run = trackio.init(project="test", name="one")
    for each in POINTS:
        export(each, to_trackio(run))
    trackio.finish()
    assert any(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())


def test_a_history_as_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    history = History(tmp_path / "history.sqlite")
    for each in POINTS:
        history.add(each)
    frame = history.to_dataframe()
    assert frame["step"].tolist() == [0, 1, 5]
    assert set(frame.columns) == {"run", "step", "name"} | {
        name.removeprefix("iaside/") for name in metrics(POINTS[0])
    }
    np.testing.assert_allclose(frame["src"], [p.profile.src for p in history.points()])
    np.testing.assert_allclose(frame["loss"], [1.0, 0.5, 1 / 6])
