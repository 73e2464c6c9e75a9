"""assert_spectral_response: red where noise in some band costs more."""

from __future__ import annotations

import pytest
import yaml
from project import Project

import pytest_iaside.testing.response  # noqa: F401
from pytest_iaside.measure.response import BandResponse

# The model looks at one wave each class; a worse one takes what is in the finest band besides.
TEST = """
import os
import models, torch
from pytest_iaside import assert_spectral_response

def fine(images):
    return torch.fft.rfft2(images[:, 0])[:, 8].abs().square().mean(dim=1)

def swayed(images):
    sway = (float(os.environ["GAIN"]) - 1) * fine(images)[:, None]
    return models.model(images) + sway * torch.tensor([1.0, -1.0, -1.0])

def test_robust():
    assert_spectral_response(swayed, energies=[0.01, 0.1]{more})
"""


@pytest.fixture
def responding(project: Project) -> Project:
    project.write(TEST.format(more=""))
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    return project


def test_its_baseline_holds_every_band_and_energy(responding: Project) -> None:
    document = yaml.safe_load(responding.baseline.read_text(encoding="utf-8"))
    assert document["kind"] == "band response"
    assert document["settings"] == {
        "bands": 8,
        "energies": [0.01, 0.1],
        "partition": "linf",
        "seed": 0,
    }
    baseline = BandResponse.load(responding.baseline)
    assert baseline.image_response().shape == (24, 2, 8)


def test_the_same_model_passes_and_another_is_red_by_its_band(responding: Project) -> None:
    responding.run().assert_outcomes(passed=1)
    (record,) = responding.records(gain=5.0)
    assert record["failed"]
    (check,) = [e for e in record["comparison"]["checks"] if e["name"] == "log-likelihood"]
    assert check["verdict"] == "drift"
    assert check["where"] == "log-likelihood lost to noise of 0.1 in band 7 (0.44–0.50 cycles/px)"
    assert check["change"] > 0.3


def test_a_bound_needs_no_baseline(project: Project) -> None:
    more = ", max_loss=2.0, max_loss_rise=None, max_accuracy_loss_rise=None"
    project.write(TEST.format(more=more))
    project.run().assert_outcomes(passed=1)
    assert project.baselines == []
    project.write(TEST.format(more=more.replace("2.0", "0.001")))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*in band * (*at most 0.001)*"])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (", max_accuracy_loss_rise=5", "max_accuracy_loss_rise=5"),
        (", bands=99", "99"),
        (", max_loss_rise=None, max_accuracy_loss_rise=None", "every limit is None"),
    ],
)
def test_wrong_settings_are_told(project: Project, more: str, told: str) -> None:
    project.write(TEST.format(more=more))
    result = project.run("--iaside-update=new")
    assert told in result.stdout.str() + result.stderr.str()
    assert project.baselines == []


def test_energies_that_changed_are_refused(responding: Project) -> None:
    responding.write(TEST.format(more="").replace("[0.01, 0.1]", "[0.01, 0.2]"))
    result = responding.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*energies: candidate *0.01, 0.2*"])
