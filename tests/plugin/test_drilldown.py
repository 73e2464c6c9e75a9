"""--iaside-diagnose: the images that drive a red gate, explained in its report."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from project import Project

from pytest_iaside.report.wings import GROUP, Wing

WORSE = 0.3


@pytest.fixture
def page(gated: Project) -> str:
    gated.run("--iaside-diagnose=2", gain=WORSE).assert_outcomes(failed=1)
    return (gated.root / "iaside-report" / "index.html").read_text(encoding="utf-8")


def test_the_report_shows_image_maps_and_sentence(page: str) -> None:
    assert "Where, and at which scale" in page
    assert page.count("The candidate takes") == 2
    for title in ("WCAM, candidate", "WCAM in place, candidate", "SpectralLens, candidate"):
        assert page.count(title) == 2
    assert "of the candidate alone" in page


def test_the_images_are_those_that_drive_the_drift(gated: Project) -> None:
    (record,) = gated.records("--iaside-diagnose=2", gain=WORSE)
    worst = record["comparison"]["image_changes"]["images"][:2]
    images = record["sections"]["explanation"]["images"]
    assert [image["name"] for image in images] == [image["name"] for image in worst]
    for image, change in zip(images, worst, strict=True):
        assert image["label"] == change["label"]
        assert sum(level["candidate"] for level in image["levels"]) == pytest.approx(1)
        assert image["baseline_probability"] is None
    assert record["sections"]["explanation"]["baseline"] is None


def test_the_baselines_model_stands_beside_it(gated: Project) -> None:
    gated.write(
        gated.root.joinpath("conftest.py").read_text()
        + "\n@pytest.fixture(scope='session')\ndef spectral_baseline_classifier():\n"
        "    import models, torch\n    from pytest_iaside import Classifier\n"
        "    def before(images):\n        return images.mean(dim=(1, 2)) @ models.WAVES.T * 2.0\n"
        "    return Classifier(before, name='before')\n",
        module="conftest",
    )
    (record,) = gated.records("--iaside-diagnose=1", gain=WORSE)
    diagnosis = record["sections"]["explanation"]
    assert diagnosis["baseline"] == "before"
    (image,) = diagnosis["images"]
    assert image["baseline_probability"] > image["candidate_probability"]
    for level in image["levels"]:
        assert level["change"] == pytest.approx(level["candidate"] - level["baseline"])
        assert level["low"] <= level["change"] <= level["high"]
    page = (gated.root / "iaside-report" / "index.html").read_text(encoding="utf-8")
    assert "WCAM, baseline" in page and "of both models" in page


def test_it_may_be_named_in_the_ini_file(gated: Project) -> None:
    gated.ini("iaside_baseline_model = models:whole", "iaside_diagnose = 1")
    models = gated.root / "models.py"
    models.write_text(models.read_text() + "\ndef whole():\n    return model\n")
    (record,) = gated.records(gain=WORSE)
    assert record["sections"]["explanation"]["baseline"] == "model"
    assert len(record["sections"]["explanation"]["images"]) == 1


@pytest.mark.parametrize("arguments", [("--iaside-diagnose=0",), ()])
def test_none_are_explained_where_none_are_asked_for_or_it_takes_too_long(
    gated: Project, arguments: tuple[str, ...]
) -> None:
    (record,) = gated.records(*arguments, gain=WORSE)
    if arguments:
        assert "explanation" not in record["sections"]
        return
    # 24 images of 16 coalitions: an explanation takes more.
    assert record["sections"]["explanation"]["images"] == []
    assert "more than the" in record["sections"]["explanation"]["why_not"]
    page = (gated.root / "iaside-report" / "index.html").read_text(encoding="utf-8")
    assert "set --iaside-diagnose=3 to explain them anyway" in page


def test_a_green_gate_is_not_explained(gated: Project) -> None:
    (record,) = gated.records("--iaside-diagnose=2", "--iaside-report=r.html")
    assert "explanation" not in record["sections"]


def test_what_goes_wrong_costs_no_verdict(gated: Project) -> None:
    gated.call("models.model, baseline_model=7")
    (record,) = gated.records("--iaside-diagnose=1", gain=WORSE)
    assert record["verdict"] == "drift"
    assert "give an nn.Module" in record["sections"]["explanation"]["why_not"]


@pytest.mark.parametrize("value", ["some", "-1", "1.5"])
def test_other_values_are_usage_errors(project: Project, value: str) -> None:
    result = project.run(f"--iaside-diagnose={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--iaside-diagnose*at least 0, or auto*"])


def test_the_same_with_workers(gated: Project) -> None:
    (record,) = gated.records("--iaside-diagnose=1", "-n2", gain=WORSE)
    (alone,) = gated.records("--iaside-diagnose=1", gain=WORSE)
    assert record["sections"] == alone["sections"]


def test_what_fails_in_a_wing_costs_no_verdict(
    gated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(red: object) -> None:
        raise ValueError("a\nwing broke")

    wing = Wing(name="broken", tell_red=fails)
    monkeypatch.setattr("pytest_iaside.testing.red.wings", lambda: (wing,))
    (record,) = gated.records(gain=WORSE)
    assert record["failed"] and record["verdict"] == "drift"
    assert (
        "what broken says cannot be shown (ValueError: a wing broke)"
        in (record["comparison"]["notes"])
    )


def test_a_wing_that_cannot_be_loaded_costs_no_verdict(
    gated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [EntryPoint(name="gone", value="no_such_module:WING", group=GROUP)]
    monkeypatch.setattr("pytest_iaside.report.wings.entry_points", lambda group: entries)
    (record,) = gated.records(gain=WORSE)
    assert record["failed"] and record["verdict"] == "drift"
    result = gated.run(gain=WORSE)
    result.stdout.fnmatch_lines(["*the wing gone (no_such_module:WING) cannot be loaded*"])
