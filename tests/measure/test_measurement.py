"""Measurement: what is saved is what is loaded, and what is no readings is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from profiles import make_profile

from pytest_iaside.errors import BaselineError
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo
from pytest_iaside.measure.quantities import Quantity

VALUES = np.random.default_rng(0).uniform(size=(7, 2))
READINGS = Measurement(
    kind="test",
    quantities=(
        Quantity(name="error", family="error", better="lower"),
        Quantity(name="share", family="share", better="higher", unit="hit"),
    ),
    values=VALUES,
    digests=tuple("abcdefg"),
    names=tuple(f"{name}.png" for name in "abcdefg"),
    labels=np.arange(7),
    settings={"seed": 0, "scales": [0.0, 0.5]},
    reference=ReferenceInfo(digest="d", images=7, channels=1, height=4, width=4, labels="dataset"),
    model=ModelInfo(name="model", classes=10, fingerprint="f"),
    forward_passes=14,
    environment={"torch": "2"},
)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    found = Measurement.load(READINGS.save(tmp_path / "readings.yaml", test="mine"))
    np.testing.assert_array_equal(found.values, VALUES)
    np.testing.assert_array_equal(found.labels, READINGS.labels)
    for name in ("kind", "quantities", "digests", "names", "settings", "reference", "model"):
        assert getattr(found, name) == getattr(READINGS, name)
    document = yaml.safe_load((tmp_path / "readings.yaml").read_text(encoding="utf-8"))
    assert document["test"] == "mine"
    assert document["summary"]["means"]["error"] == pytest.approx(VALUES[:, 0].mean(), abs=1e-4)


def test_saved_twice_it_is_the_same_file(tmp_path: Path) -> None:
    paths = [READINGS.save(tmp_path / name / "r.yaml") for name in ("one", "two")]
    for suffix in (".yaml", ".npz"):
        first, second = (path.with_suffix(suffix).read_bytes() for path in paths)
        assert first == second


def test_a_quantity_is_found_by_its_name() -> None:
    np.testing.assert_array_equal(READINGS["share"], VALUES[:, 1])
    with pytest.raises(KeyError, match="no quantity 'mPE'; there are error, share"):
        READINGS["mPE"]


def test_some_images_are_taken_in_order() -> None:
    some = READINGS.take([3, 1])
    np.testing.assert_array_equal(some.values, VALUES[[3, 1]])
    assert some.names == ("d.png", "b.png") and some.digests == ("d", "b")


def test_what_is_no_readings_is_told(tmp_path: Path) -> None:
    path = READINGS.save(tmp_path / "readings.yaml")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("iaside-measurement/1", "iaside-measurement/2"), encoding="utf-8")
    with pytest.raises(BaselineError, match="has format 'iaside-measurement/2'; expected"):
        Measurement.load(path)
    path.write_text(text.replace("forward_passes: 14\n", ""), encoding="utf-8")
    with pytest.raises(BaselineError, match=r"does not hold a whole Measurement .*forward_passes"):
        Measurement.load(path)
    with pytest.raises(BaselineError, match=r"cannot read .*nowhere\.yaml"):
        Measurement.load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("bands: 8", "bands: 7", r"values have shape \(\d+, 8\), not 7 columns"),
        ("bands: 8", "bands: many", "bands='many' must be a whole number"),
    ],
)
def test_an_edited_header_that_says_something_else_than_the_arrays_is_refused(
    tmp_path: Path, before: str, after: str, found: str
) -> None:
    path = make_profile().save(tmp_path / "a.yaml")
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(BaselineError, match=rf"does not hold a whole SpectralProfile .{found}"):
        SpectralProfile.load(path)


def test_a_folder_is_no_measurement() -> None:
    with pytest.raises(BaselineError, match="cannot read"):
        Measurement.load(".")
