"""Baselines are written when asked for, where nobody else's is, and never otherwise."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from project import Project

from pytest_iaside.measure.profile import SpectralProfile


def test_a_missing_baseline_fails_and_names_the_command_that_creates_it(project: Project) -> None:
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "E *BaselineError: there is no baseline for this test yet "
            "(__iaside__/test_it/test_robust-????????.yaml); create it with --iaside-update=new,*",
            'E *pytest "test_it.py::test_robust" --iaside-update=new',
        ]
    )
    # The traceback ends at the user's line.
    assert "assertion.py" not in result.stdout.str()
    assert project.baselines == []


def test_a_missing_baseline_is_noticed_before_anything_is_measured(project: Project) -> None:
    project.call("lambda images: pytest.exit('measured')")
    assert project.run().ret == pytest.ExitCode.TESTS_FAILED


def test_new_writes_a_baseline_that_then_passes(project: Project) -> None:
    (record,) = project.records("--iaside-update=new")
    assert (record["status"], record["failed"], record["verdict"]) == ("created", False, None)
    assert record["baseline"] == project.baseline.relative_to(project.root).as_posix()
    # 24 images of which none can be lost unseen: the binomial law.
    assert "with 24 images a gate finds a fall of 42 points of accuracy" in record["summary"]
    assert "it cannot see its own allowed change of accuracy (2%)" in record["summary"]
    # What a person looks at first: whether the model is fed as it should be.
    assert "; accuracy: 100 % clean, 99 % clean and perturbed; " in record["summary"]
    document = yaml.safe_load(project.baseline.read_text())
    assert document["test"] == {"node_id": "test_it.py::test_robust", "name": None}
    assert list(document) == sorted(document)
    profile = SpectralProfile.load(project.baseline)
    assert profile.log_likelihood is not None and profile.log_likelihood.shape == (24, 16)
    assert profile.image_psi.shape == (24, 4)
    before = project.contents()
    (record,) = project.records()
    assert (record["status"], record["failed"], record["verdict"]) == ("compared", False, "pass")
    spectral = record["comparison"]["candidate"]["spectral"]
    assert spectral["psi"] == pytest.approx(profile.psi, abs=1e-9)
    assert project.contents() == before


def test_new_leaves_existing_baselines_alone(gated: Project) -> None:
    before = gated.contents()
    assert gated.run("--iaside-update=new", gain=0.2).ret == pytest.ExitCode.TESTS_FAILED
    assert gated.contents() == before


def test_changed_leaves_those_that_hold_alone(gated: Project) -> None:
    before = gated.contents()
    (record,) = gated.records("--iaside-update=changed", gain=1.0001)
    assert record["status"] == "compared"
    assert gated.contents() == before


@pytest.mark.parametrize("option", ["--iaside-update=changed", "--iaside-update=all"])
def test_a_drift_is_not_overwritten_unless_it_is_accepted(gated: Project, option: str) -> None:
    before = gated.contents()
    (record,) = gated.records(option, gain=0.2)
    assert (record["status"], record["failed"], record["verdict"]) == ("compared", True, "drift")
    assert record["accept"] == 'pytest "test_it.py::test_robust" --iaside-accept-drift'
    assert gated.contents() == before
    (record,) = gated.records(option, "--iaside-accept-drift", gain=0.2)
    assert record["status"] == "updated"
    assert gated.contents() != before


def test_an_update_says_what_it_overrules(gated: Project) -> None:
    old = SpectralProfile.load(gated.baseline).psi
    result = gated.run("--iaside-accept-drift", "--iaside-json=out.json", gain=0.2)
    assert result.ret == pytest.ExitCode.OK
    (record,) = json.loads((gated.root / "out.json").read_text())["gates"]
    assert (record["status"], record["failed"], record["verdict"]) == ("updated", False, "drift")
    assert record["summary"].startswith(f"updated {record['baseline']}; it overrules drift: ")
    comparison = record["comparison"]
    assert comparison["baseline"]["spectral"]["psi"] == pytest.approx(old)
    score = "{:.3f} → {:.3f}".format(
        *(comparison[role]["spectral"]["signed_src"] for role in ("baseline", "candidate"))
    )
    result.stdout.fnmatch_lines(
        [
            "iaside: *update=changed, accept_drift=True",
            f"*{score}*↻ updated*",
            "*it overrules drift:*",
        ]
    )
    new = SpectralProfile.load(gated.baseline).psi
    assert new[1] < old[1] - 0.1
    assert gated.run(gain=0.2).ret == pytest.ExitCode.OK


def test_changed_writes_missing_ones(project: Project) -> None:
    (record,) = project.records("--iaside-update=changed")
    assert record["status"] == "created"
    assert len(project.baselines) == 1


def test_changed_replaces_what_no_longer_fits(gated: Project) -> None:
    gated.ini("iaside_absence = replacement")
    assert gated.run().ret == pytest.ExitCode.TESTS_FAILED
    (record,) = gated.records("--iaside-update=changed")
    assert record["status"] == "updated"
    assert SpectralProfile.load(gated.baseline).rules.absence == "replacement"


def test_all_writes_also_those_that_hold(gated: Project) -> None:
    old = SpectralProfile.load(gated.baseline)
    (record,) = gated.records("--iaside-update=all", gain=1.0001)
    assert record["status"] == "updated"
    new = SpectralProfile.load(gated.baseline)
    assert 0 < np.abs(new.image_psi - old.image_psi).max() < 0.01


@pytest.mark.parametrize("variable", ["CI", "BUILD_NUMBER", "GITHUB_ACTIONS", "TF_BUILD"])
def test_updates_are_refused_in_ci(
    project: Project, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    result = project.run("--iaside-update=new")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: --iaside-update=new is refused because {variable} is set*"]
    )
    assert project.baselines == []
    assert project.run("--iaside-update=new", "--iaside-update-in-ci").ret == pytest.ExitCode.OK
    assert len(project.baselines) == 1


def test_no_baseline_is_written_that_does_not_pass_against_itself(project: Project) -> None:
    project.call("models.model, min_src=0.5")
    result = project.run("--iaside-update=new")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["E *AssertionError: the model relies too little on *. Failed: signed SRC *least +0.500*"]
    )
    # No baseline mends that: none is offered.
    result.stdout.no_fnmatch_line("*to accept*")
    assert project.baselines == []


def test_a_named_baseline_is_compared_with_and_never_written(project: Project) -> None:
    project.call("models.model, baseline='good.yaml'")
    result = project.run("--iaside-update=all")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "E *BaselineError: there is no baseline at good.yaml; make one with measure(model, *",
            'E *iaside measure MODEL REFERENCE --output "good.yaml"',
        ]
    )
    assert list(project.root.glob("*.yaml")) == []
    project.call("models.model")
    project.run("--iaside-update=new")
    SpectralProfile.load(project.baseline).save("good.yaml")
    project.call("models.model, baseline='good.yaml'")
    before = (project.root / "good.yaml").read_bytes()
    assert project.run("--iaside-update=all", gain=0.2).ret == pytest.ExitCode.TESTS_FAILED
    (record,) = project.records("--iaside-update=all")
    assert (record["baseline"], record["status"]) == ("good.yaml", "compared")
    assert (project.root / "good.yaml").read_bytes() == before


def test_predictions_that_move_cannot_hide_from_the_baseline(project: Project) -> None:
    # At gain −1 the second class is never predicted: on its own predictions the model loses
    # nothing, on those that the baseline stored it does.
    project.call("models.model, models.reference(labels=False)")
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    stored = SpectralProfile.load(project.baseline)
    assert stored.reference.labels == "predicted"
    np.testing.assert_array_equal(stored.labels, np.arange(24) % 3)
    (record,) = project.records(gain=-1.0)
    assert (record["verdict"], record["failed"]) == ("drift", True)
    first, note = record["comparison"]["notes"]
    assert first.startswith("the answers to all 24 images decide")
    assert note.startswith("one training is compared with one")
    new, old = (record["comparison"][role]["spectral"] for role in ("candidate", "baseline"))
    assert new["value"] < old["value"]
    # Accepted, the new baseline holds the new model's own predictions.
    (record,) = project.records("--iaside-accept-drift", gain=-1.0)
    assert record["status"] == "updated"
    assert set(SpectralProfile.load(project.baseline).labels) == {0, 2}
    assert project.run(gain=-1.0).ret == pytest.ExitCode.OK


@pytest.mark.parametrize("option", ["--iaside-update=changed", "--iaside-update=all"])
def test_another_game_is_no_way_around_a_drift(gated: Project, option: str) -> None:
    """What cannot be compared is replaced, but not by a model whose answers are worse."""
    before = gated.contents()
    result = gated.run(option, "-o", "iaside_bands=5", gain=0.05)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    told = "the baseline was made for something else (bands: candidate 5, baseline 4)"
    result.stdout.fnmatch_lines([f"*BaselineError: {told}*"])
    assert gated.contents() == before
    (record,) = gated.records(option, "-o", "iaside_bands=5")
    assert record["status"] == "updated"
    told = "nothing was compared with the old one (bands: candidate 5, baseline 4)"
    assert told in record["summary"]


def test_a_baseline_that_cannot_be_read_is_replaced_with_a_word(gated: Project) -> None:
    gated.baseline.write_text("<<<<<<< HEAD\n")
    before = gated.contents()
    assert gated.run().ret == gated.run("--iaside-update=new").ret == pytest.ExitCode.TESTS_FAILED
    assert gated.contents() == before
    (record,) = gated.records("--iaside-update=changed")
    assert "nothing was compared with the old one (it could not be read)" in record["summary"]


def test_a_long_first_measurement_says_what_it_costs_and_how_long_the_next_one_takes(
    project: Project,
) -> None:
    # The clock of what tells is the test's own: every look takes a second.
    project.write(
        "import itertools, models, pytest\n"
        "from pytest_iaside import assert_spectral_robustness\n"
        "from pytest_iaside.report import pass_log\n"
        "from pytest_iaside.testing import recording\n"
        "@pytest.fixture(autouse=True)\n"
        "def slow(monkeypatch):\n"
        "    seconds = itertools.count()\n"
        "    init = pass_log.PassLog.__init__\n"
        "    def slowly(self, *given, **how):\n"
        "        init(self, *given, **how, now=lambda: 1.0 * next(seconds))\n"
        "    monkeypatch.setattr(pass_log.PassLog, '__init__', slowly)\n"
        "    monkeypatch.setattr(recording, 'SLOW', 0.0)\n"
        "def test_robust():\n"
        "    assert_spectral_robustness(models.model)\n"
    )
    result = project.run("--iaside-update=new", "-p", "no:xdist")
    # 24 images: clean and under five perturbations, clean again, and 16 coalitions of each.
    result.stdout.fnmatch_lines(
        ["iaside test_robust: up to 552 forward passes, about *:* at * a second"]
    )
    said = " ".join(line.strip() for line in result.outlines)
    assert "this took 552 forward passes, 0:0" in said
    assert "later runs take 144 of them (less than a second) where the answers alone" in said
