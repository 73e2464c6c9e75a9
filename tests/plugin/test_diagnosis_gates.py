"""The gates on diagnoses: bounds of their own, and changes against a baseline."""

from __future__ import annotations

import pytest
from project import Project

TEST = """
import models
from pytest_iaside.explain import (
    assert_lens_smoothness,
    assert_reconstruction_depth,
    assert_scale_reliance,
)
def test_robust():
    {call}
"""
WAVES = "grid=8, wavelet_levels=2, points=4, samples=6"
CALLS = {
    "scale reliance": f"assert_scale_reliance(models.model, {WAVES}{{}})",
    "reconstruction depth": f"assert_reconstruction_depth(models.model, {WAVES}{{}})",
    "lens smoothness": "assert_lens_smoothness(models.model, scales=[0, .5, 1], samples=6{})",
}


@pytest.mark.parametrize("kind", CALLS)
def test_an_unchanged_model_passes_against_its_baseline(project: Project, kind: str) -> None:
    project.write(TEST.format(call=CALLS[kind].format("")))
    project.run().assert_outcomes(failed=1)
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    (record,) = project.records()
    assert (record["kind"], record["verdict"]) == (kind, "pass")
    assert record["name"] == kind
    assert record["comparison"]["images"] == 6


@pytest.mark.parametrize(
    ("kind", "bound", "holds"),
    [
        ("scale reliance", "max_fine_share=0.99", True),
        ("scale reliance", "max_fine_share=0, fail_on='inconclusive'", False),
        ("reconstruction depth", "max_depth=64", True),
        ("reconstruction depth", "max_depth=0", False),
        ("lens smoothness", "min_arglens=0", True),
        ("lens smoothness", "min_arglens=1, fail_on='inconclusive'", False),
    ],
)
def test_a_bound_needs_no_baseline(project: Project, kind: str, bound: str, holds: bool) -> None:
    project.write(TEST.format(call=CALLS[kind].format(f", {bound}")))
    result = project.run()
    result.assert_outcomes(**{"passed" if holds else "failed": 1})
    assert not project.baselines
    if not holds:
        result.stdout.fnmatch_lines(["*measured on its own (6 images)"])


def test_both_limits_can_be_held_at_once(project: Project) -> None:
    limits = ", max_fine_share=1.0, max_fine_rise=0.2"
    project.write(TEST.format(call=CALLS["scale reliance"].format(limits)))
    project.run().assert_outcomes(failed=1)  # there is no baseline
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    (record,) = project.records()
    checks = record["comparison"]["checks"]
    assert [(check["name"], check["limit"]) for check in checks] == [
        ("fine", 0.2),
        ("bound", 1.0),
        ("clean accuracy", -0.02),
        ("clean log-likelihood", -0.1),
        ("clean probability", -0.02),
    ]


def test_a_change_of_a_setting_needs_another_baseline(project: Project) -> None:
    project.write(TEST.format(call=CALLS["scale reliance"].format("")))
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    project.write(TEST.format(call=CALLS["scale reliance"].format(", wavelet='db2'")))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*wavelet: candidate 'db2', baseline 'haar'*"])


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("scale reliance", "max_fine_rise=-0.1", "max_fine_rise=-0.1 must be"),
        ("scale reliance", "max_fine_share=-1", "max_fine_share=-1 must be"),
        ("scale reliance", "max_fine_share=40", "*a share of the answer: write 0.4 for 40 %"),
        ("scale reliance", "max_fine_rise=5", "*a share of the answer: write 0.05 for 5 %"),
        ("lens smoothness", "min_arglens=50", "*, which is 1 at most: write 0.5 for 50 %"),
        ("lens smoothness", "max_arglens_drop=5", "*, which is 1 at most: write 0.05 for 5 %"),
        ("reconstruction depth", "max_depth='all'", "max_depth='all' must be"),
        ("lens smoothness", "min_arglens=float('nan')", "min_arglens=nan must be"),
        ("lens smoothness", "noise=0", "noise=0 must be a finite number above 0"),
    ],
)
def test_wrong_settings_are_usage_errors(
    project: Project, kind: str, more: str, message: str
) -> None:
    project.write(TEST.format(call=CALLS[kind].format(f", {more}")))
    result = project.run("--iaside-update=new")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines([f"*{message}*"])


def test_all_of_them_stand_in_one_test(project: Project) -> None:
    calls = "\n    ".join(call.format("") for call in CALLS.values())
    project.write(TEST.format(call=calls))
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    assert len(project.baselines) == 3
    assert {record["kind"] for record in project.records("-n2")} == set(CALLS)


def test_a_grid_that_nobody_gave_is_the_baselines(project: Project) -> None:
    def written(settings: str) -> None:
        project.write(
            "import models\nfrom pytest_iaside.explain import assert_scale_reliance\n"
            f"def test_robust():\n    assert_scale_reliance(models.model, samples=6{settings})\n"
        )

    written(", points=4, grid=4, wavelet_levels=1")
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    written(", points=4")
    (record,) = project.records()
    assert record["verdict"] == "pass"
    assert record["comparison"]["candidate"]["settings"]["grid"] == 4
    written(", points=4, grid=8")
    (record,) = project.records()
    assert "grid: candidate 8, baseline 4" in record["summary"]
