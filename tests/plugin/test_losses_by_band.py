"""A red perturbation gate says through which band the loss came."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from project import Project

import pytest_iaside.explain.perturbed  # noqa: F401
from pytest_iaside.measure.perturbation import PerturbedAnswers
from pytest_iaside.report.html import render
from pytest_iaside.report.recorded import written_by

# The model looks at one wave each class; a worse one takes what is left of the finest band besides.
TEST = """
import os
import models, torch
from pytest_iaside import assert_perturbation_robustness

def fine(images):
    spectrum = torch.fft.rfft2(images[:, 0])
    return spectrum[:, 8].abs().square().mean(dim=1)

def swayed(images):
    sway = (float(os.environ["GAIN"]) - 1) * fine(images)[:, None]
    return models.model(images) + sway * torch.tensor([1.0, -1.0, -1.0])

def test_robust():
    assert_perturbation_robustness(swayed, perturbations=[("white_noise", 3), ("contrast", 1)])
"""


@pytest.fixture
def perturbing(project: Project) -> Project:
    project.write(TEST)
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    return project


def test_the_baseline_holds_the_losses_of_each_band(perturbing: Project) -> None:
    baseline = PerturbedAnswers.load(perturbing.baseline)
    assert baseline.phi is not None and baseline.change is not None
    assert baseline.phi.shape == baseline.change.shape == (24, 16)
    assert np.isfinite(baseline.phi).all() and (baseline.change >= 0).all()


def test_a_red_gate_names_the_band(perturbing: Project) -> None:
    result = perturbing.run("--iaside-json=out.json", gain=1.5)
    told = re.sub(r"\nE\s+", " ", result.stdout.str())
    found = re.search(
        r"white_noise 3 costs (\S+) nats more than the baseline \(95% CI (\S+)…\S+\): "
        r"(\S+) of it through band (\d) \(0\.44–0\.50 cycles/px\)",
        told,
    )
    assert found is not None, told
    whole, low, part, band = found.groups()
    assert float(whole) > float(low) > 0
    assert (float(part) / float(whole) > 0.7, band) == (True, "7")
    (record,) = perturbing.records(gain=1.5)
    (loss,) = [each for each in record["losses"] if each["perturbation"] == "white_noise 3"]
    assert loss["images"] == 24
    assert sum(loss["bands"]["values"]) == pytest.approx(loss["change"])
    assert sum(loss["energy"]) == pytest.approx(1)
    page = render([record], meta=written_by("pytest"))
    assert "What white_noise 3 costs, band by band" in page
    assert "Where white_noise 3 lies" in page


def test_the_image_that_lost_the_most_is_explained(perturbing: Project) -> None:
    (record,) = perturbing.records(gain=1.5)
    notes = record["comparison"]["notes"]
    (told,) = [note for note in notes if "whose loss rose the most" in note]
    assert "under white_noise 3 the answer comes" in told and "by chance, p = " in told
    (record,) = perturbing.records("--iaside-diagnose=0", gain=1.5)
    assert not any("whose loss rose" in note for note in record["comparison"]["notes"])


def test_a_green_gate_divides_nothing(perturbing: Project) -> None:
    (record,) = perturbing.records()
    assert record["losses"] is None
    assert (
        record["comparison"]["candidate"]["forward_passes"] == 24 * 4
    )  # Clean twice, and two perturbations.


def test_a_baseline_without_bands_is_compared_as_before(perturbing: Project) -> None:
    """Those of earlier versions."""
    baseline = PerturbedAnswers.load(perturbing.baseline)
    from dataclasses import replace

    document = yaml.safe_load(perturbing.baseline.read_text())
    replace(baseline, phi=None, change=None).save(perturbing.baseline, test=document["test"])
    (record,) = perturbing.records(gain=1.5)
    assert record["failed"] and record["losses"] == []
    assert not any("costs" in note for note in record["comparison"]["notes"])


def test_an_accepted_drift_is_divided_as_well(perturbing: Project) -> None:
    before = PerturbedAnswers.load(perturbing.baseline)
    perturbing.run("--iaside-accept-drift", gain=1.5).assert_outcomes(passed=1)
    after = PerturbedAnswers.load(perturbing.baseline)
    assert before.phi is not None and after.phi is not None
    assert after.phi[:, 7].mean() > before.phi[:, 7].mean() + 0.1


TRAININGS = TEST.replace(
    "def test_robust():\n    assert_perturbation_robustness(swayed, ",
    """class Training(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        drawn = torch.rand(3, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("gains", 1 + 0.02 * drawn)

    def forward(self, images):
        return swayed(images) * self.gains

def test_robust():
    trainings = [Training(int(seed)) for seed in os.environ["SEEDS"].split()]
    assert_perturbation_robustness(trainings if len(trainings) > 1 else trainings[0], """,
)


def test_of_several_trainings_the_means_are_told(project: Project) -> None:
    project.write(TRAININGS)
    project.monkeypatch.setenv("SEEDS", "0 1 2 3")
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    baseline = PerturbedAnswers.load(project.baseline)
    each = [one.phi for one in baseline.trainings]
    assert len(each) == 4 and baseline.phi is not None
    np.testing.assert_allclose(baseline.phi, np.mean([one for one in each], axis=0))  # type: ignore[arg-type]
    project.monkeypatch.setenv("SEEDS", "7 8")
    (record,) = project.records(gain=1.5)
    assert record["failed"]
    notes = record["comparison"]["notes"]
    assert "white_noise 3 costs" in notes[0] and "through band 7" in notes[0]
    assert "they know of the trainings' means alone" in notes[1]
