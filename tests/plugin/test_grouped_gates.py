"""Gates of images that come in groups: baselines, messages, reports, and samples='auto'."""

from __future__ import annotations

import pytest
from project import Project

GROUPED = """
import models, torch
import pytest
from pytest_iaside import ReferenceSample, assert_spectral_robustness

def sample(groups):
    plain = models.reference()
    return ReferenceSample(plain.images, plain.labels, groups=groups)

def test_robust():
    assert_spectral_robustness(models.model, sample({groups}){more})
"""
SIX = "[at // 4 for at in range(24)]"


def write(project: Project, groups: str, more: str = "") -> None:
    project.write(GROUPED.format(groups=groups, more=more))


@pytest.fixture
def grouped(project: Project) -> Project:
    write(project, SIX)
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    return project


def test_reports_say_how_many_groups_there_are(grouped: Project) -> None:
    assert "  groups: 6\n" in grouped.baseline.read_text()
    (record,) = grouped.records("--iaside-report=report.html", gain=0.5)
    assert record["failed"] and record["comparison"]["groups"] == 6
    assert record["comparison"]["candidate"]["groups"] == 6
    page = (grouped.root / "report.html").read_text("utf-8")
    assert "24 images in 6 groups" in page
    told = grouped.run("--iaside-markdown=told.md", gain=0.5).stdout
    told.fnmatch_lines(["*(24 images in 6 groups)*", "*= spectral robustness =*"])
    assert "24 images in 6 groups" in told.str().partition("spectral robustness ==")[2]
    assert "(24 images in 6 groups)" in (grouped.root / "told.md").read_text("utf-8")
    # Green ones, too.
    green = " ".join(grouped.run().stdout.str().split())
    assert "the others were not played; 24 images in 6 groups" in green


def test_an_unchanged_model_passes(grouped: Project) -> None:
    (record,) = grouped.records()
    assert record["verdict"] == "pass" and record["comparison"]["notes"][1:] == []


def test_without_groups_the_record_says_so(project: Project) -> None:
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    assert "groups" not in project.baseline.read_text()
    (record,) = project.records()
    assert record["comparison"]["groups"] is None
    assert all(check["groups_to_pass"] is None for check in record["comparison"]["checks"])


def test_other_groups_than_the_baselines_are_named(grouped: Project) -> None:
    write(grouped, "[at // 2 for at in range(24)]")
    (record,) = grouped.records()
    assert record["comparison"]["groups"] == 6
    assert any("others than the baseline's" in note for note in record["comparison"]["notes"])
    write(grouped, "None")
    (record,) = grouped.records()
    assert record["comparison"]["groups"] == 6
    assert any("those of the baseline count" in note for note in record["comparison"]["notes"])


def test_fewer_than_four_groups_make_no_baseline(project: Project) -> None:
    write(project, "[at % 3 for at in range(24)]")
    (record,) = project.records("--iaside-update=new")
    assert record["error"] == "BaselineError" and not project.baselines
    assert "come in 3 groups" in record["summary"]


def test_auto_draws_whole_groups(grouped: Project) -> None:
    write(grouped, SIX, ", samples='auto'")
    (record,) = grouped.records(gain=0.5)
    assert record["verdict"] == "drift"
    # Six groups are fewer than the sixteen of the first look: all are measured.
    assert (record["comparison"]["images"], record["comparison"]["groups"]) == (24, 6)


def test_near_copies_are_named_when_a_baseline_is_made(project: Project) -> None:
    project.write(
        """
        import models, torch
        from pytest_iaside import ReferenceSample, assert_spectral_robustness
        def test_robust():
            plain = models.reference()
            images = torch.cat([plain.images, plain.images * 0.98])
            sample = ReferenceSample(images, torch.cat([plain.labels] * 2))
            assert_spectral_robustness(models.model, sample)
        """
    )
    (record,) = project.records("--iaside-update=new")
    assert record["status"] == "created"
    assert "near copies: 48 images look alike and count as independent" in record["summary"]
    (record,) = project.records()
    (note,) = [each for each in record["comparison"]["notes"] if each.startswith("near copies")]
    assert note.endswith("give ReferenceSample groups=")
