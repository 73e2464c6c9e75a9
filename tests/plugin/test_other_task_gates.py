"""Gates of models that answer several labels, or are measured by a score of the user's own."""

from __future__ import annotations

import pytest
from project import Project

import pytest_iaside.report.html
import pytest_iaside.report.terminal
import pytest_iaside.testing.spectral  # noqa: F401

TEST = """
import os
import models, torch
from pytest_iaside import (
    Classifier, ReferenceSample, assert_perturbation_robustness, assert_spectral_response,
    assert_spectral_robustness,
)

GAIN = float(os.environ["GAIN"])

class Several(torch.nn.Module):
    def forward(self, images):
        found = models.model(images) * min(GAIN, 1.0) - 2
        # What noise in the finest band adds, of a gain above 1.
        fine = torch.fft.rfft2(images[:, 0])[:, 8].abs().square().mean(dim=1)
        return {{"logits": found + max(GAIN - 1, 0.0) * fine[:, None], "other": images}}

def closeness(outputs, targets):
    return -(torch.sigmoid(outputs) - targets).abs().mean(dim=1)

SETTINGS = {settings}
MODEL = Classifier(Several(), **SETTINGS)

def sample(reference):
    return reference.with_targets(torch.eye(3)[reference.labels])

def test_robust(spectral_reference):
    {asserted}(MODEL, sample(spectral_reference){more})
"""
LABELS = '{"task": "multilabel", "output": "logits"}'
SCORE = '{"score": closeness, "output": "logits", "unit": "points"}'
GATES = [
    ("assert_spectral_robustness", LABELS, ""),
    ("assert_spectral_robustness", SCORE, ", max_score_drop=0.02"),
    ("assert_perturbation_robustness", LABELS, ""),
    ("assert_perturbation_robustness", SCORE, ", max_score_loss_rise=0.02, max_score_drop=0.02"),
    ("assert_spectral_response", LABELS, ", energies=[0.1, 1.0]"),
    ("assert_spectral_response", SCORE, ", energies=[0.1, 1.0], max_score_loss_rise=0.02"),
]


@pytest.mark.parametrize(("asserted", "settings", "more"), GATES)
def test_green_where_nothing_changed_and_red_where_it_got_worse(
    project: Project, asserted: str, settings: str, more: str
) -> None:
    project.write(TEST.format(asserted=asserted, settings=settings, more=more))
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    project.run("--iaside-report").assert_outcomes(passed=1)
    worse = 6.0 if "response" in asserted else -1.0
    broken = project.run("--iaside-report", gain=worse)
    broken.assert_outcomes(failed=1)
    (record,) = project.records(gain=worse)
    assert record["comparison"]["verdict"] == "drift"
    if "score" in settings and "response" not in asserted:
        broken.stdout.fnmatch_lines(["*score, clean*" if "spectral" in asserted else "*score*"])
    if settings == SCORE:
        told = broken.stdout.str()
        assert " nats" not in told
        page = (project.root / "iaside-report" / "index.html").read_text(encoding="utf-8")
        page = page.partition("<main")[2].replace("Natsu", "")
        # What a score has not: nats, a temperature, an entropy, a class.
        for word in (
            "nats",
            "own temperature",
            "log-likelihood in",
            "entropy",
            ">label<",
            "ModelError",
        ):
            assert word not in page
        if asserted == "assert_spectral_robustness":
            assert " points (" in told
            assert "Raw ψ, in points" in page
            assert "score in points" in page
            assert "Not explained: a score of your own names no class" in page


def test_a_score_needs_a_limit(project: Project) -> None:
    project.write(TEST.format(asserted="assert_spectral_robustness", settings=SCORE, more=""))
    found = project.run("--iaside-update=new")
    found.stdout.fnmatch_lines(["*say how far its mean may fall: max_score_drop=*"])


def test_one_for_a_whole_project_is_no_mistake_for_its_classifiers(project: Project) -> None:
    project.ini("iaside_max_score_drop = 0.02")
    project.run("--iaside-update=new").assert_outcomes(passed=1)


def test_it_is_drift_where_answers_are_those_of_any_image(project: Project) -> None:
    project.write(
        TEST.format(
            asserted="assert_spectral_robustness", settings=SCORE, more=", max_score_drop=1.0"
        )
    )
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    (record,) = project.records(gain=0.0)
    assert record["failed"]


def test_a_score_that_was_edited_under_its_name_is_told(project: Project) -> None:
    text = TEST.format(
        asserted="assert_spectral_robustness", settings=SCORE, more=", max_score_drop=0.5"
    )
    project.write(text)
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    told = "the score's code changed since the baseline: closeness is not what it was"
    tidied = text.replace("def sample", "# Of the fixture.\ndef sample")
    for edited, expected in ((tidied, False), (text.replace("return -(", "return -0.5 * ("), True)):
        project.write(edited)
        (record,) = project.records()
        assert any(each.startswith(told) for each in record["comparison"]["notes"]) is expected
