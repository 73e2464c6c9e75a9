"""Gates without a baseline in pytest: where their settings come from, and what reports show."""

from __future__ import annotations

import pytest
from project import Project

import pytest_iaside.testing.equivalence
import pytest_iaside.testing.preprocessing  # noqa: F401

TEST = """
import os
import models, torch
from pytest_iaside import assert_equivalent_robustness

def original(images):
    return (images.mean(dim=(1, 2)) @ models.WAVES.T) * 2.0

def test_same():
    assert_equivalent_robustness(models.model, original{more})
"""
READ = """
import numpy as np, os, torch
import models
from pathlib import Path
from pytest_iaside import assert_preprocessing_robustness

def read(path):
    return torch.from_numpy(np.load(path))

def faint(path):
    # GAIN is how much is left of the wave of class 1, three periods in 16 pixels: band 1 of 4.
    pixels, wave = read(path), models.WAVES[1]
    part = (pixels * wave).sum(dim=-1, keepdim=True) / wave.square().sum()
    return pixels - (1 - float(os.environ["GAIN"])) * part * wave

def original(images):
    return (images.mean(dim=(1, 2)) @ models.WAVES.T) * 2.0

def test_read():
    sample = models.reference()
    for place, image in enumerate(sample.pixels()):
        np.save(f"{place:02}.npy", image.numpy())
    files = sorted(Path().glob("*.npy"))
    labels = sample.labels.tolist()
    assert_preprocessing_robustness(original, faint, read, files, labels=labels, reads="path")
"""


def test_nothing_is_stored_and_the_record_says_who_was_compared(project: Project) -> None:
    project.write(TEST.format(more=""))
    (record,) = project.records("--iaside-update=all", gain=-0.5)
    assert project.baselines == []
    assert (record["baseline"], record["accept"]) == ("original", "")
    assert record["fail_on"] == "inconclusive"
    comparison = record["comparison"]
    assert comparison["direction"] == "any"
    assert comparison["limits"]["perturbed accuracy"]["change"] == 0.1
    assert comparison["limits"]["band"]["change"] == 0.1
    assert comparison["candidate"]["settings"]["design"] == "latin"
    assert comparison["candidate"]["settings"]["bands"] == 4
    page = (project.root / "iaside-report" / "index.html").read_text(encoding="utf-8")
    assert "±0.100" in page or "±0.1" in page
    worst = comparison["image_changes"]["images"][0]["name"]
    assert worst in page


def test_what_is_not_shown_is_red_unless_the_project_says_otherwise(project: Project) -> None:
    project.write(TEST.format(more=""))
    result = project.run(gain=0.99)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: not shown to be equivalent to the original*"])
    project.ini("iaside_fail_on = drift")
    project.run("-Wdefault", gain=0.99).assert_outcomes(passed=1, warnings=1)
    project.write(TEST.format(more=", fail_on='inconclusive'"))
    project.run(gain=0.99).assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (", max_accuracy_difference=5", "max_accuracy_difference=5"),
        (", max_band_drop=0.1", "unknown setting 'max_band_drop'; did you mean"),
        (", bands=99", "99"),
    ],
)
def test_wrong_settings_are_told_with_status_4(project: Project, more: str, told: str) -> None:
    project.write(TEST.format(more=more))
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert told in result.stdout.str() + result.stderr.str()


def test_a_pipeline_that_weakens_a_wave_is_red_by_the_band_of_the_wave(project: Project) -> None:
    project.write(READ)
    project.run().assert_outcomes(passed=1)
    (record,) = project.records(gain=-1.0)
    assert record["failed"]
    assert (record["baseline"], record["kind"]) == ("read", "preprocessing")
    (loss,) = record["losses"]
    assert loss["perturbation"] == "faint"
    values = loss["candidate"]["values"]
    assert max(range(4), key=values.__getitem__) == 1
    assert loss["energy"][1] > 0.95
    assert sum(values) == pytest.approx(loss["change"], abs=1e-9)
    (note, *_) = record["comparison"]["notes"]
    assert "of it lies in band 1 (0.12–0.25 cycles/px)" in note
    page = (project.root / "iaside-report" / "index.html").read_text(encoding="utf-8")
    assert "What faint costs, band by band" in page
