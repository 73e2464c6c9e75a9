"""Red means that it got worse, green that it did not: what bands alone do not see."""

from __future__ import annotations

import pytest
from project import Project

from pytest_iaside.stats.power import detectable_share

GATE = """
import models, torch
from pytest_iaside import assert_spectral_robustness
def other(images):
    return {of}
def test_robust():
    assert_spectral_robustness(other{arguments})
"""
KINDS = {
    "scale reliance": "assert_scale_reliance(other, grid=8, wavelet_levels=2, points=4{})",
    "reconstruction depth": (
        "assert_reconstruction_depth(other, grid=8, wavelet_levels=2, points=4{})"
    ),
    "perturbations": "assert_perturbation_robustness(other{})",
}
KIND = """
import models, torch
from pytest_iaside import assert_perturbation_robustness
from pytest_iaside.explain import assert_reconstruction_depth, assert_scale_reliance
def other(images):
    return {of}
def test_robust():
    {call}
"""
BETTER = "better than the baseline"


def now(project: Project, of: str, arguments: str = "") -> None:
    """The test gates a model that answers ``of``, with its baseline's name."""
    project.write(GATE.format(of=of, arguments=arguments))


def test_a_constant_on_one_logit_is_red_and_never_called_better(gated: Project) -> None:
    """v(S) − v(∅) does not move, so that bands see nothing of it (SPEC.md 12)."""
    now(gated, "models.model(images) + 90 * torch.eye(3)[2]")
    (record,) = gated.records()
    assert record["verdict"] == "drift" and record["failed"]
    comparison = record["comparison"]
    assert not any(BETTER in note for note in comparison["notes"])
    assert any(note.startswith("L(∅), the log-likelihood") for note in comparison["notes"])
    drifted = [check["name"] for check in comparison["checks"] if check["verdict"] == "drift"]
    assert "clean accuracy" in drifted and "mean accuracy" in drifted
    (accuracy,) = [c for c in comparison["checks"] if c["name"] == "clean accuracy"]
    assert (accuracy["baseline"], accuracy["candidate"]) == (1.0, pytest.approx(1 / 3))


def test_the_first_line_says_what_decides(gated: Project) -> None:
    now(gated, "models.model(images) + torch.tensor([0.0, 2.5, 0.0])")
    result = gated.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: the model finds the right class much less often under contrast*",
            "E*drift: accuracy, clean and perturbed 0.986 → 0.*",
            "*0.986 → 0.* ✗ drift*",
        ]
    )


@pytest.mark.parametrize("times", [0.5, 2.0])
def test_another_temperature_is_named_and_green(gated: Project, times: float) -> None:
    now(gated, f"models.model(images) * {times}")
    (record,) = gated.records()
    assert (record["verdict"], record["failed"]) == ("pass", False)
    notes = record["comparison"]["notes"]
    assert any(note.startswith("the answers differ by their temperature alone") for note in notes)
    psi = record["comparison"]["candidate"]["spectral"]["psi"]
    assert psi == pytest.approx(record["comparison"]["baseline"]["spectral"]["psi"], abs=2e-3)


def test_what_could_have_been_seen_stands_beside_nothing_found(gated: Project) -> None:
    now(gated, "models.model(images) + 0.1 * images[:, 0, 3] @ models.WAVES.T")
    (record,) = gated.records()
    assert (record["verdict"], record["failed"]) == ("nothing found", False)
    (accuracy,) = [
        check for check in record["comparison"]["checks"] if check["name"] == "clean accuracy"
    ]
    # Agresti and Min's interval of 24 pairs of which none changed sides.
    assert accuracy["detectable"] == pytest.approx(detectable_share(24, 0.02, 0.95))
    assert accuracy["images_to_pass"] == pytest.approx(24 * (0.0754 / 0.02) ** 2, rel=0.01)
    # A check that passed says what it would have found; where nothing moved, nothing.
    for check in record["comparison"]["checks"]:
        if check["verdict"] == "pass":
            told = "would have found" in check["sentence"]
            assert told == (check["low"] < check["high"] and check["detectable"] is not None)
    result = gated.run()
    result.stdout.fnmatch_lines(["*○ nothing found*", "* would be found, a pass takes about 350*"])


def test_inconclusive_is_a_warning_in_pytests_own_summary(gated: Project) -> None:
    gated.ini("iaside_max_band_drop = none", "iaside_max_value_drop = 0.05")
    result = gated.run("-W", "default", gain=0.5)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*test_it.py:5: UndecidedWarning: cannot decide at 24 images: v(all) *would be found*"]
    )
    # What nobody could decide can be looked at, and the way out is told.
    assert (gated.root / "iaside-report" / "index.html").exists()
    said = " ".join(line.strip() for line in result.outlines)
    assert "an undecided gate fails only with fail_on=inconclusive" in said
    assert f'iaside plan "{gated.baseline.relative_to(gated.root)}"' in said
    gated.run("-W", "error", gain=0.5).assert_outcomes(failed=1)
    gated.run("--iaside-fail-on=inconclusive", gain=0.5).assert_outcomes(failed=1)


def test_a_baseline_without_answers_is_compared_without_and_says_so(gated: Project) -> None:
    import numpy as np
    import yaml

    path = gated.baseline
    document = yaml.safe_load(path.read_text())
    del document["answers"]
    from pytest_iaside.store import archive

    arrays = {k: v for k, v in np.load(path.with_suffix(".npz")).items() if "answers" not in k}
    archive.write(path, {k: v for k, v in document.items() if k != "checksum"}, arrays)
    (record,) = gated.records()
    assert record["verdict"] == "pass"
    assert record["comparison"]["answers"] == []
    assert any("kept no accuracy" in note for note in record["comparison"]["notes"])


def test_the_panel_is_a_setting(project: Project) -> None:
    project.ini("iaside_panel = white_noise 2, contrast 1")
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    (record,) = project.records()
    names = [each["name"] for each in record["comparison"]["answers"]]
    assert "accuracy under white_noise 2" in names and "accuracy under contrast 1" in names
    assert "accuracy under brightness 3" not in names
    project.ini("iaside_panel = contrast 1, white_noise 2")  # The same in another order.
    (record,) = project.records()
    assert record["verdict"] == "pass"
    project.ini("iaside_panel = none")
    result = project.run()
    result.stdout.fnmatch_lines(["E*panel: candidate none, baseline white_noise 2, contrast 1*"])
    project.run("--iaside-update=all").assert_outcomes(passed=1)
    (record,) = project.records()  # The clean answers are compared all the same.
    assert "accuracy, clean" in [each["name"] for each in record["comparison"]["answers"]]
    project.ini()
    (record,) = project.records()
    assert any("without a panel" in note for note in record["comparison"]["notes"])
    project.ini("iaside_panel = white_noise")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*iaside_panel: 'white_noise' cannot be used; expected auto, *"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_stopped_classifying_passes_no_gate(project: Project, kind: str) -> None:
    same = "models.model(images)"
    project.write(KIND.format(of=same, call=KINDS[kind].format("")))
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    # One class for every image, and every class wrong: mPE even falls.
    for of in (f"0.001 * {same} + torch.eye(3)[0]", f"{same}.roll(1, 1)"):
        project.write(KIND.format(of=of, call=KINDS[kind].format("")))
        (record,) = project.records()
        assert (record["verdict"], record["failed"]) == ("drift", True), of


@pytest.mark.parametrize("kind", KINDS)
def test_no_gate_passes_on_three_images(project: Project, kind: str) -> None:
    project.write(KIND.format(of="models.model(images)", call=KINDS[kind].format(", samples=3")))
    result = project.run("--iaside-update=new")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*3 images cannot tell a change from noise; measure at least 4*"])
    assert not project.baselines


def test_a_bound_alone_is_guarded_too(project: Project) -> None:
    call = KINDS["scale reliance"].format(", max_fine_share=1.0")
    project.write(KIND.format(of="images[:, 0, 0, :3] + torch.eye(3)[0]", call=call))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the candidate is unstructured: an image tells the model *"])


def test_a_baseline_of_few_images_says_what_it_cannot_show(project: Project) -> None:
    result = project.run("--iaside-update=new")
    said = " ".join(line.strip() for line in result.outlines)
    assert "a single one is 4.2 points of accuracy, and 2 may be lost" in said
    project.ini("iaside_max_accuracy_drop = 0.05")
    result = project.run("--iaside-update=all")
    result.stdout.no_fnmatch_line("*a single one*")
