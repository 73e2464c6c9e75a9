"""assert_perturbation_robustness: red where perturbations cost more, beside the spectral gate."""

from __future__ import annotations

import json
from math import exp, log

import pytest
import yaml
from project import Project

TEST = """
import os
import models, pytest, torch
from pytest_iaside import assert_perturbation_robustness, assert_spectral_robustness

def swayed(images):
    # Takes noise for the first class, unless GAIN is 1.
    sway = (float(os.environ["GAIN"]) - 1) * images.var(dim=(1, 2, 3))[:, None]
    return models.model(images) + sway * torch.tensor([1.0, -1.0, 0.0])

def test_robust():
    assert_perturbation_robustness(
        swayed, perturbations=[("white_noise", 5), ("contrast", 5)]{more}
    )
"""


@pytest.fixture
def perturbing(project: Project) -> Project:
    project.write(TEST.format(more=""))
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    return project


def test_without_a_baseline_it_says_how_to_make_one(project: Project) -> None:
    project.write(TEST.format(more=""))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*there is no baseline for this test yet*"])
    result.stdout.fnmatch_lines(['*pytest "test_it.py::test_robust" --iaside-update=new'])


def test_its_baseline_is_for_people_to_read(perturbing: Project) -> None:
    document = yaml.safe_load(perturbing.baseline.read_text(encoding="utf-8"))
    assert document["kind"] == "perturbations"
    assert document["settings"] == {
        "perturbations": ["white_noise 5", "contrast 5"],
        "definitions": {"white_noise 5": "white_noise 5", "contrast 5": "contrast 5"},
        "seed": 0,
        "temperature": 1.0,
    }
    assert set(document["summary"]["means"]) == {
        "clean accuracy",
        *(
            f"{what} under {p} 5"
            for what in ("mPE", "accuracy")
            for p in ("white_noise", "contrast")
        ),
    }
    assert document["test"] == {"name": "perturbations", "node_id": "test_it.py::test_robust"}


NAMED = """
import models
from pytest_iaside import assert_perturbation_robustness

def test_robust():
    assert_perturbation_robustness(
        models.model, perturbations={{"noise": ("white_noise", {severity})}}
    )
"""


def test_a_name_must_stand_for_what_it_stood_for(project: Project) -> None:
    project.write(NAMED.format(severity=5))
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    project.write(NAMED.format(severity=1))
    result = project.run()
    result.assert_outcomes(failed=1)
    output = result.stdout.str().replace("\nE  ", "")
    assert "noise: candidate 'white_noise 1'" in output
    assert "baseline 'white_noise 5'" in output


def test_a_baseline_that_does_not_say_what_a_name_stood_for_gets_a_note(project: Project) -> None:
    project.write(NAMED.format(severity=5))
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    document = yaml.safe_load(project.baseline.read_text(encoding="utf-8"))
    del document["settings"]["definitions"]
    project.baseline.write_text(yaml.safe_dump(document), encoding="utf-8")
    (record,) = project.records()
    assert record["verdict"] == "pass"
    assert record["comparison"]["notes"][0].startswith(
        "the baseline was made by version 0.1, which kept only the names of perturbations"
    )


def test_another_precision_is_refused(project: Project) -> None:
    project.write(TEST.format(more=""))
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    execution = ", execution=__import__('pytest_iaside').Execution(dtype='bfloat16')"
    project.write(TEST.format(more=execution))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*dtype: candidate 'bfloat16', baseline 'float32'*"])


def test_an_unchanged_model_passes(perturbing: Project) -> None:
    (record,) = perturbing.records()
    assert record["kind"] == "perturbations"
    assert record["verdict"] == "pass" and not record["failed"]
    assert record["comparison"]["notes"] == ["both models give the same answers to every image"]
    assert record["comparison"]["candidate"]["spectral"] is None
    assert [each["perturbation"] for each in record["spectrum"]["snr"]] == [
        "white_noise 5",
        "contrast 5",
    ]


def test_a_model_that_became_worse_is_red_and_says_under_what(perturbing: Project) -> None:
    result = perturbing.run(gain=60)
    result.assert_outcomes(failed=1)
    found = (
        r"E +AssertionError: .*under (contrast|white_noise) 5 [\d.]+ → [\d.]+ .*95% CI .*allowed"
    )
    result.stdout.re_match_lines([found])
    result.stdout.fnmatch_lines(["*baseline: __iaside__/test_it/*(24 images)"])
    result.stdout.fnmatch_lines(['*pytest "test_it.py::test_robust" --iaside-accept-drift'])
    page = (perturbing.root / "iaside-report" / "index.html").read_text(encoding="utf-8")
    assert "Change of mPE" in page and "Where the perturbations lie" in page


def test_what_clean_accuracy_does_not_explain_is_told_and_may_be_limited(
    perturbing: Project,
) -> None:
    (record,) = perturbing.records(gain=60)
    effective = record["comparison"]["effective"]
    accuracies = {each["name"]: each for each in record["comparison"]["quantities"]}
    odds = {
        (name, side): log((24 * each[side] + 0.5) / (24 * (1 - each[side]) + 0.5))
        for name, each in accuracies.items()
        for side in ("baseline", "candidate")
    }
    moved = odds["clean accuracy", "candidate"] - odds["clean accuracy", "baseline"]
    for each, name in zip(effective, ("white_noise 5", "contrast 5"), strict=True):
        under = f"accuracy under {name}"
        before = odds[under, "baseline"]
        explained = 1 / (1 + exp(-before - moved)) - 1 / (1 + exp(-before))
        assert each["name"] == f"effective robustness under {name}"
        assert each["change"] == pytest.approx(accuracies[under]["change"] - explained, abs=1e-6)
    worst = min(effective, key=lambda each: each["change"])
    told = f"{worst['name'][27:]} {100 * worst['change']:.1f} points (95% CI ".replace("-", "−")
    (note,) = [n for n in record["comparison"]["notes"] if "clean accuracy explains" in n]
    assert note.startswith(f"beyond what clean accuracy explains: {told}")
    page = (perturbing.root / "iaside-report" / "index.html").read_text(encoding="utf-8")
    assert "Beyond what clean accuracy explains" in page
    limits = "max_error_rise=None, max_accuracy_drop=None, max_effective_drop=0.01"
    perturbing.write(TEST.format(more=f", {limits}"))
    result = perturbing.run(gain=60)
    result.assert_outcomes(failed=1)
    lines = [line for line in result.outlines if line.startswith("E  ")]
    assert f"beyond what clean accuracy explains: {told}" in lines[0]
    assert "allowed −1.0)" in lines[0]


def test_lines_of_a_failure_fit_a_terminal(perturbing: Project) -> None:
    result = perturbing.run("--tb=short", gain=60)
    lines = [line for line in result.outlines if line.startswith("E  ")][1:]
    lines = [line for line in lines if "__iaside__" not in line]  # a path is not broken
    assert lines and all(len(line) <= 80 for line in lines)


def test_a_change_can_be_accepted(perturbing: Project) -> None:
    perturbing.run("--iaside-accept-drift", gain=60).assert_outcomes(passed=1)
    perturbing.run(gain=60).assert_outcomes(passed=1)


def test_the_same_with_workers(perturbing: Project) -> None:
    (record,) = perturbing.records("-n2", gain=60)
    alone = perturbing.records(gain=60)[0]
    for name in ("verdict", "summary", "comparison"):
        one, other = json.loads(json.dumps(record[name])), alone[name]
        if name == "comparison":
            for each in (one, other):
                del each["candidate"]["seconds"]
        assert one == other


def test_it_stands_beside_the_spectral_gate_in_one_test(project: Project) -> None:
    project.write(TEST.format(more="") + "    assert_spectral_robustness(models.model)\n")
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    assert len(project.baselines) == 2
    records = project.records()
    assert {record["kind"] for record in records} == {"spectral", "perturbations"}
    project.run().stdout.no_fnmatch_line("*unused baseline*")


def test_another_perturbation_needs_another_baseline(perturbing: Project) -> None:
    perturbing.write(TEST.format(more="").replace("contrast", "brightness"))
    result = perturbing.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*perturbations: candidate *brightness 5*baseline*contrast 5*"])


def test_a_baseline_of_the_other_kind_is_told(perturbing: Project) -> None:
    perturbing.write(
        "import models\nfrom pytest_iaside import assert_spectral_robustness\n"
        "def test_robust():\n"
        "    assert_spectral_robustness(models.model, name='perturbations')\n"
    )
    result = perturbing.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*kind: candidate spectral, baseline perturbations. Restore the setting*"]
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (", max_error_rise=2", "*of the mPE, which is 1 at most: write 0.02 for 2 %"),
        (", max_accuracy_drop=5", "max_accuracy_drop=5 is a share of the images: write 0.05 for"),
        (", max_error_rise=-1", "max_error_rise=-1 must be a finite number"),
        (", max_error_rise=None, max_accuracy_drop=None", "every limit is None"),
        (", bands=8", "unknown setting 'bands'"),
        (", fail_on='never'", "fail_on='never' cannot be used"),
        (", temperature=0", "temperature=0 must be a finite number above 0"),
    ],
)
def test_wrong_settings_are_usage_errors(project: Project, more: str, message: str) -> None:
    project.write(TEST.format(more=more))
    result = project.run("--iaside-update=new")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines([f"*{message}*"])
    assert not project.baselines


def test_common_settings_come_from_the_ini_file(project: Project) -> None:
    project.ini("iaside_samples = 12", "iaside_level = 0.9", "iaside_fail_on = any-change")
    project.write(TEST.format(more=""))
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    (record,) = project.records()
    assert record["comparison"]["images"] == 12
    assert record["comparison"]["level"] == 0.9
    assert record["fail_on"] == "any-change"


def test_the_usual_perturbations_are_four(project: Project) -> None:
    project.write(
        "import models\nfrom pytest_iaside import assert_perturbation_robustness\n"
        "def test_robust():\n    assert_perturbation_robustness(models.model)\n"
    )
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    document = yaml.safe_load(project.baseline.read_text(encoding="utf-8"))
    assert document["settings"]["perturbations"] == [
        "white_noise 3",
        "gaussian_blur 3",
        "contrast 3",
        "jpeg_compression 3",
    ]
    (record,) = project.records()
    assert {check["name"]: check["limit"] for check in record["comparison"]["checks"]} == {
        "mpe": 0.02,
        "accuracy": -0.05,  # Those of the clean images are among them.
        "clean log-likelihood": -0.1,
        "clean probability": -0.02,
    }


def test_the_corruption_error_counts_where_it_is_asked_for(project: Project) -> None:
    project.write(TEST.format(more=", max_mce_rise=1.0, samples=4"))
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    document = yaml.safe_load(project.baseline.read_text(encoding="utf-8"))
    assert document["settings"]["normaliser"] == "alexnet"
    (record,) = project.records()
    checks = {check["name"]: check for check in record["comparison"]["checks"]}
    assert checks["mce"]["where"] == "mCE (%)" and checks["mce"]["limit"] == 1.0
    assert checks["mce"]["baseline"] == pytest.approx(
        document["summary"]["means"]["mCE (%)"], abs=1e-4
    )


def test_functions_and_attacks_have_a_spectrum(project: Project) -> None:
    project.write(
        "import models\nfrom functools import partial\n"
        "from pytest_iaside import assert_perturbation_robustness, fgsm\n"
        "def darker(images):\n    return 0.5 * images\n"
        "def test_robust():\n"
        "    assert_perturbation_robustness(\n"
        "        models.model, perturbations=[darker, partial(fgsm, eps=0.1)]\n    )\n"
    )
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    (record,) = project.records()
    curve, attack = record["spectrum"]["snr"]
    assert curve["perturbation"] == "darker" and attack["perturbation"].startswith("fgsm")
    assert len(attack["decibel"]) == len(curve["decibel"])
    # Half of every image is taken away: alike at all frequencies, at a tenth of the energy.
    assert curve["decibel"] == pytest.approx([10.0] * len(curve["decibel"]), abs=1e-6)


ON_THE_PANEL = """
import os
import models, torch
from pytest_iaside import assert_spectral_robustness

def swayed(images):
    sway = (float(os.environ["GAIN"]) - 1) * images.var(dim=(1, 2, 3))[:, None]
    return models.model(images) + sway * torch.tensor([1.0, -1.0, 0.0])

def test_robust():
    assert_spectral_robustness(swayed, panel=[("white_noise", 5), ("contrast", 5)])
"""


def test_the_spectral_gate_limits_it_for_its_panel(project: Project) -> None:
    project.write(ON_THE_PANEL)
    project.ini("iaside_max_effective_drop = 0.01")
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    project.run().assert_outcomes(passed=1)
    (record,) = project.records(gain=60)
    (check,) = [c for c in record["comparison"]["checks"] if c["name"] == "effective"]
    assert check["where"] == "effective robustness under white_noise 5"
    effective = record["comparison"]["effective"]
    assert check["change"] == pytest.approx(effective[0]["change"])
    assert (check["verdict"], check["limit"]) == ("drift", -0.01)
    project.ini()
    (record,) = project.records(gain=60)
    assert not [c for c in record["comparison"]["checks"] if c["name"] == "effective"]
    assert record["comparison"]["effective"] == effective
