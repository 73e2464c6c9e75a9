"""``samples = auto``: as few images as the verdict needs, and the same verdict under xdist."""

from __future__ import annotations

import json

import pytest
from project import OTHERS_OFF, Project

from pytest_iaside.compare.sequential import MINIMUM_IMAGES
from pytest_iaside.measure.profile import SpectralProfile

PASSES = 2**4 + 1  # for each image of the project's four bands


def test_a_pass_looks_at_every_image_of_few(gated: Project) -> None:
    """One of 24 that nobody has seen may hold more than the 1 % that a band may lose."""
    gated.ini("iaside_max_band_drop = 0.01")
    (record,) = gated.records("--iaside-samples=auto")
    assert (record["verdict"], record["comparison"]["images"]) == ("pass", 24)


NOT_LIMITED = (
    *("max_src_drop", "max_sid_shift", "max_band_drop", "max_upper_band_change"),
    *("max_accuracy_drop", "max_log_likelihood_drop", "max_probability_drop"),
)


def test_a_clear_pass_stops_where_the_unseen_is_allowed(gated: Project) -> None:
    # 3/16 of the images may have lost all their part of v(all).
    gated.ini("iaside_max_value_drop = 0.2", *(f"iaside_{name} = none" for name in NOT_LIMITED))
    (record,) = gated.records("--iaside-samples=auto")
    comparison = record["comparison"]
    assert (record["verdict"], comparison["images"]) == ("pass", MINIMUM_IMAGES)
    # The answers, clean and under the panel, are those to all images.
    passes = MINIMUM_IMAGES * PASSES + 24 * 6
    assert comparison["candidate"]["forward_passes"] == passes
    assert comparison["candidate"]["reference"]["images"] == 24
    # Half of the error that 95 % allows is for having looked early.
    assert comparison["level"] == 0.975


def test_a_clear_drift_stops_early_and_fails(gated: Project) -> None:
    gated.ini("iaside_samples = auto")
    gated.call("models.blind")
    (record,) = gated.records()
    assert record["failed"] and record["verdict"] == "drift"
    assert MINIMUM_IMAGES <= record["comparison"]["images"] < 24


def test_a_baseline_is_made_of_all_images(project: Project) -> None:
    project.ini("iaside_samples = auto")
    (record,) = project.records("--iaside-update=new")
    assert record["status"] == "created"
    assert record["comparison"]["images"] == 24


def test_a_refreshed_baseline_is_made_of_all_images(gated: Project) -> None:
    gated.ini("iaside_samples = auto")
    (record,) = gated.records("--iaside-accept-drift", gain=0.1)
    assert record["status"] == "updated"
    assert len(SpectralProfile.load(gated.baseline)) == 24


def test_images_that_the_baseline_lacks_are_not_drawn(project: Project) -> None:
    project.run("--iaside-update=new", "--iaside-samples=20").assert_outcomes(passed=1)
    # One gain cannot be told from another on so few images, so that every image is looked at.
    (record,) = project.records("--iaside-samples=auto", gain=0.97)
    assert record["comparison"]["images"] <= 20
    assert record["comparison"]["candidate"]["images"] == record["comparison"]["images"]


def test_the_stopping_point_is_the_same_under_xdist_and_in_any_order(gated: Project) -> None:
    (alone,) = gated.records("--iaside-samples=auto", gain=-1.0)
    gated.monkeypatch.setenv("GAIN", "-1.0")
    gated.pytester.runpytest_subprocess(
        *OTHERS_OFF, "-n", "2", "--iaside-samples=auto", "--iaside-json=out.json"
    )
    (shared,) = json.loads((gated.root / "out.json").read_text())["gates"]
    gated.call("models.model, models.reference().take(range(23, -1, -1))")
    (reversed_order,) = gated.records("--iaside-samples=auto", gain=-1.0)
    for other in (shared, reversed_order):
        assert other["comparison"]["images"] == alone["comparison"]["images"]
        assert _close(other["comparison"]["checks"], alone["comparison"]["checks"])


def _close(ours: list[dict[str, object]], theirs: list[dict[str, object]]) -> bool:
    numbers = ("change", "low", "high", "baseline", "candidate")
    return all(
        a["verdict"] == b["verdict"]
        and all(a[name] == pytest.approx(b[name], abs=1e-5) for name in numbers)
        for a, b in zip(ours, theirs, strict=True)
    )


def test_commands_keep_the_options_of_the_run(gated: Project) -> None:
    (record,) = gated.records("--iaside-samples=20", "--iaside-backend=eager", gain=0.1)
    expected = 'pytest "test_it.py::test_robust" --iaside-samples=20 --iaside-backend=eager'
    assert record["reproduce"] == expected
    assert record["accept"] == f"{expected} --iaside-accept-drift"
