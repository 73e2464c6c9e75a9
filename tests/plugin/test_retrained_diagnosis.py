"""Gates on attributions of several trainings: all explain the same class of an image."""

from __future__ import annotations

import numpy as np
import pytest
from project import Project

import pytest_iaside.explain.gates  # noqa: F401
from pytest_iaside.measure.measurement import Measurement

WAVES = "grid=8, wavelet_levels=2, points=4"
GATES = {
    "scale reliance": f"assert_scale_reliance(trainings, {WAVES})",
    "reconstruction depth": f"assert_reconstruction_depth(trainings, {WAVES})",
    "lens smoothness": "assert_lens_smoothness(trainings, scales=[0, .5, 1], samples=6)",
}
# Trainings find each wave more or less well; the seeds from 100 on take the finest for another.
TEST = """
import models, os, torch
from pytest_iaside import Classifier
from pytest_iaside.explain import *

def training(seed):
    generator = torch.Generator().manual_seed(seed)
    gains = 2.0 + 0.3 * torch.rand(3, generator=generator)
    gains[2] *= -1 if seed >= 100 else 1
    def network(images):
        return (images.mean(dim=(1, 2)) @ models.WAVES.T) * gains + images.square().mean()
    return Classifier(network, name=f"seed {seed}", version=str(seed))

def test_robust():
    trainings = [training(int(each)) for each in os.environ["SEEDS"].split()]
    trainings = trainings if len(trainings) > 1 else trainings[0]
    GATE
"""


@pytest.fixture(params=[*GATES])
def gate(request: pytest.FixtureRequest, project: Project) -> Project:
    project.pytester.makepyfile(test_it=TEST.replace("GATE", GATES[request.param]))
    return project


def run(project: Project, seeds: str, *options: str) -> dict:  # type: ignore[type-arg]
    project.monkeypatch.setenv("SEEDS", seeds)
    (record,) = project.records(*options)
    return record  # type: ignore[no-any-return]


def test_several_trainings_are_explained_alike(gate: Project) -> None:
    run(gate, "0 1 2 3 4", "--iaside-update=new")
    baseline = Measurement.load(gate.baseline)
    assert len(baseline.trainings) == 5
    assert baseline.values == pytest.approx(
        np.mean([each.values for each in baseline.trainings], axis=0)
    )
    same = run(gate, "7")
    assert not same["failed"]
    assert any("1 training against 5" in note for note in same["comparison"]["notes"])
    added = run(gate, "8 9", "--iaside-update=add")
    assert added["status"] == "updated" and "it holds 7 trainings now" in added["summary"]


def test_trainings_that_predict_otherwise_explain_the_same_class(gate: Project) -> None:
    """The first one's; another baseline would have others, and the mean of two classes is none."""
    run(gate, "0 100 1", "--iaside-update=new")
    first, other, _ = Measurement.load(gate.baseline).trainings
    assert first.labels is not None and other.labels is not None
    assert first.labels.tolist() == other.labels.tolist()
    assert set(first.labels.tolist()) == {0, 1, 2}
