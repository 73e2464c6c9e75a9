"""Where baselines lie, and what is said of those that cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from project import Project

NASTY = """
import models, pytest
from pytest_iaside import assert_spectral_robustness as gate

@pytest.mark.parametrize("what", ["a/b", "a-b", "a::b", "[x]", "é", "x" * 300, "$HOME", ".."])
def test_it(what):
    gate(models.model)

class TestGröße:
    def test_it(self):
        gate(models.model, name="x/../y")
"""


def test_every_test_has_a_file_of_its_own(project: Project) -> None:
    project.write(NASTY)
    records = project.records("--iaside-update=new")
    assert len(records) == 9
    assert len(project.baselines) == 9
    folder = project.root / "__iaside__" / "test_it"
    for path in project.baselines:
        assert path.parent == folder
        assert path.name.isascii()
        assert len(path.name) <= 60 + len("-01234567.yaml")
    ids = {yaml.safe_load(p.read_text())["test"]["node_id"] for p in project.baselines}
    assert ids == {record["test"] for record in records}
    assert "test_it.py::test_it[a/b]" in ids
    project.run().assert_outcomes(passed=9)
    commands = {record["test"]: record["reproduce"] for record in records}
    assert commands["test_it.py::test_it[a/b]"] == 'pytest "test_it.py::test_it[a/b]"'
    assert commands["test_it.py::test_it[$HOME]"] == "pytest 'test_it.py::test_it[$HOME]'"


def test_baselines_move_with_their_folder_and_with_the_root(project: Project) -> None:
    inner = project.pytester.mkdir("inner")
    shutil.move(project.root / "test_it.py", inner / "test_it.py")
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    project.run("--rootdir=inner", "-c", "tox.ini").assert_outcomes(passed=1)
    shutil.move(inner, project.root / "outer")
    project.run().assert_outcomes(passed=1)


def refused(project: Project, message: str) -> None:
    """The gate is red, says why, and touches nothing."""
    before = project.contents()
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"E *BaselineError: {message}"])
    assert project.contents() == before


def mended(project: Project) -> None:
    """Asked for, the baseline is written anew."""
    project.run("--iaside-update=new").assert_outcomes(failed=1)
    project.run("--iaside-update=changed").assert_outcomes(passed=1)
    project.run().assert_outcomes(passed=1)


def test_a_corrupt_baseline(gated: Project) -> None:
    gated.baseline.write_text("arrays: [unclosed")
    refused(gated, "*.yaml is not valid YAML (*); restore it from version control or create *")
    mended(gated)


def test_a_truncated_baseline(gated: Project) -> None:
    arrays = gated.baseline.with_suffix(".npz")
    arrays.write_bytes(arrays.read_bytes()[:100])
    refused(gated, "*.npz is not the file that *.yaml was written with (truncated, edited, *")
    mended(gated)


def test_a_baseline_without_its_arrays(gated: Project) -> None:
    gated.baseline.with_suffix(".npz").unlink()
    refused(gated, "*.npz is missing, and *.yaml needs it; restore *")
    mended(gated)


@pytest.mark.parametrize("update", ["new", "changed", "all"])
def test_a_baseline_of_another_test(gated: Project, update: str) -> None:
    document = yaml.safe_load(gated.baseline.read_text())
    document["test"]["node_id"] = "test_other.py::test_robust"
    gated.baseline.write_text(yaml.safe_dump(document))
    message = "*.yaml belongs to test_other.py::test_robust, expected test_it.py::test_robust; *"
    refused(gated, message)
    # Nobody's baseline is overwritten in another's name, whatever is asked for.
    before = gated.contents()
    gated.run(f"--iaside-update={update}").assert_outcomes(failed=1)
    assert gated.contents() == before


def test_a_profile_that_is_nobody_s_baseline(gated: Project) -> None:
    document = yaml.safe_load(gated.baseline.read_text())
    del document["test"]
    gated.baseline.write_text(yaml.safe_dump(document))
    refused(gated, "*.yaml names no test, expected test_it.py::test_robust; *")


def test_edited_labels_are_counted_before_anything_is_measured(gated: Project) -> None:
    images = "models.reference()"
    gated.call(f"models.blind, {images}.with_labels([2, 1, *{images}.labels[2:]])")
    refused(gated, "*labels: the images are the same, but 1 of 24 has another label than *")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["iaside_bands = 6"], "bands: candidate 6, baseline 4"),
        (
            ["iaside_partition = l2", "iaside_space = pixel"],
            "partition: candidate 'l2', baseline 'linf'; "
            "space: candidate 'pixel', baseline 'input'",
        ),
    ],
)
def test_a_baseline_made_with_other_settings(
    gated: Project, lines: list[str], message: str
) -> None:
    # It is told before the model is run at all.
    gated.call("lambda images: pytest.exit('measured')")
    gated.pytester.makeini(
        "\n".join(["[pytest]", "iaside_bands = 4"][: 2 - ("bands" in lines[0])] + lines)
    )
    refused(
        gated,
        f"the baseline was made for something else, so nothing was compared: {message}. Restore *",
    )


def test_a_misfit_names_the_command(gated: Project) -> None:
    gated.ini("iaside_space = pixel")
    result = gated.run()
    result.stdout.fnmatch_lines(
        [
            "E *To make a new baseline:",
            'E *pytest "test_it.py::test_robust" --iaside-update=changed',
        ]
    )


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "models.reference(count=12)",
            "reference sample: candidate 12 images (????????), baseline 24 (????????), "
            "12 measured images in common",
        ),
        (
            "models.reference(labels=False)",
            "labels: candidate predicted, baseline dataset; reference *",
        ),
    ],
)
def test_a_baseline_of_another_reference_sample(
    gated: Project, reference: str, message: str
) -> None:
    gated.call(f"lambda images: pytest.exit('measured'), {reference}")
    refused(gated, f"the baseline was made for something else, so nothing was compared: {message}*")


def test_predicted_labels_that_the_baseline_does_not_hold(project: Project) -> None:
    project.call("models.model, models.reference(labels=False)")
    project.ini("iaside_samples = 12")
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    project.ini()
    refused(
        project,
        "the baseline holds predicted labels for 12 images, 12 of the 24 to be measured are not "
        "among them, *",
    )
    mended(project)


def test_a_model_with_fewer_classes_than_the_predicted_labels(project: Project) -> None:
    project.call("models.model, models.reference(labels=False)")
    project.run("--iaside-update=new").assert_outcomes(passed=1)
    project.call("lambda x: models.model(x)[:, :2], models.reference(labels=False)")
    refused(project, "the model cannot be compared on the labels that the baseline predicted, *")
    mended(project)


def test_a_folder_that_cannot_be_written(project: Project) -> None:
    (project.root / "__iaside__").write_text("a file stands here")
    result = project.run("--iaside-update=new")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E *BaselineError: cannot write *: *; make the folder writable *"])
    assert (project.root / "__iaside__").read_text() == "a file stands here"


def test_an_unstructured_profile_makes_no_baseline(project: Project) -> None:
    project.call("models.blind")
    result = project.run("--iaside-update=new")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["E *BaselineError: this measurement makes no baseline, nothing was written: ψ differs *"]
    )
    assert project.baselines == []
    (record,) = project.records("--iaside-update=new")
    assert record["status"] == "refused"
    assert record["measurement"]["spectral"]["structured"] is False


def test_an_unstructured_profile_replaces_none(gated: Project) -> None:
    gated.call("models.blind")
    before = gated.contents()
    gated.run("--iaside-update=all").assert_outcomes(failed=1)
    assert gated.contents() == before


def test_a_relative_path_is_shown(gated: Project) -> None:
    (record,) = gated.records()
    assert not Path(record["baseline"]).is_absolute()
