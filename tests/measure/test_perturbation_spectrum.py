"""Perturbation spectra as measurements: compared, saved, read, averaged, with intervals."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changed_models import curved, images

from pytest_iaside import (
    BaselineError,
    Classifier,
    Measurement,
    ReferenceSample,
    SettingsError,
    compare,
    perturbation_spectrum,
    pgd,
)
from pytest_iaside.measure.perturbation_game import PerturbationSpectrum
from pytest_iaside.measure.trainings import mean_of
from pytest_iaside.thresholds import Limit

BANDS = 3
PGD = partial(pgd, eps=0.05, steps=3, step_size=0.02)
SCORES = ("log-likelihood", "probability", "accuracy")


def test_a_file_gives_back_the_same(tmp_path: Path) -> None:
    sample = ReferenceSample(images(6).images, [0, 1, 2, 3, 4, 0], groups=list("aabbcc"))
    found = perturbation_spectrum(curved, sample, ("white_noise", 3), bands=BANDS)
    loaded = Measurement.load(found.save(tmp_path / "spectrum.yaml"))
    assert isinstance(loaded, PerturbationSpectrum)
    assert repr(loaded) == repr(found)
    for name in ("values", "energy", "labels"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(found, name))
    assert loaded.settings == found.settings
    assert loaded.phi()[1].standard_error == found.phi()[1].standard_error
    assert compare(loaded, found, {}).images == 6


def test_trainings_keep_each_change_that_is_their_own(tmp_path: Path) -> None:
    sample = images(6, labels=[0, 1, 2, 3, 4, 0])
    found = [
        perturbation_spectrum(model, sample, PGD, bands=BANDS)
        for model in (curved, lambda x: curved(x.flip(3)))
    ]
    mean = mean_of(found)
    np.testing.assert_allclose(mean.values, (found[0].values + found[1].values) / 2)
    loaded = Measurement.load(mean.save(tmp_path / "trainings.yaml"))
    assert isinstance(loaded, PerturbationSpectrum)
    for one, each in zip(loaded.trainings, found, strict=True):
        np.testing.assert_array_equal(one.energy, each.energy)
    np.testing.assert_allclose(loaded.image_phi(), mean.image_phi())


def test_a_file_is_read_as_its_kind_whatever_was_imported(tmp_path: Path) -> None:
    found = perturbation_spectrum(curved, images(), ("contrast", 3), bands=BANDS)
    path = found.save(tmp_path / "spectrum.yaml")
    code = (
        "from pytest_iaside import Measurement; import sys;"
        f"print(type(Measurement.load({str(path)!r})).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "PerturbationSpectrum"


def test_intervals_are_over_groups() -> None:
    sample = images(8, labels=[0, 1, 2, 3] * 2)
    grouped = ReferenceSample(sample.images, sample.labels, groups=list("aabbccdd"))
    alone, together = (
        perturbation_spectrum(curved, each, ("contrast", 3), bands=BANDS)
        for each in (sample, grouped)
    )
    pairs = alone.image_loss().reshape(4, 2).mean(axis=1)
    assert together.loss().standard_error == pytest.approx(pairs.std(ddof=1) / 2)
    values = alone.image_loss()
    assert alone.loss().standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(8))


def test_two_are_compared_image_by_image() -> None:
    sample = images(12, labels=[0, 1, 2, 3] * 3)
    one, other = (
        perturbation_spectrum(model, sample, ("white_noise", 3), bands=BANDS)
        for model in (curved, lambda x: curved(x) * 1.5)
    )
    found = compare(other, one, {"log-likelihood": Limit(change=1.0)})
    difference = other.values.mean(axis=0) - one.values.mean(axis=0)
    np.testing.assert_allclose([each.change for each in found.quantities], difference)
    assert {each.family for each in found.quantities} == set(SCORES)
    assert [each.better for each in found.quantities] == ["lower"] * 9
    assert found.answers  # How right clean images are answered belongs to it (SPEC.md 12).
    for changed in ({"bands": 2}, {"partition": "l2"}, {"design": "latin"}, {"seed": 1}):
        settings: Any = {"bands": BANDS} | changed
        another = perturbation_spectrum(curved, sample, ("white_noise", 3), **settings)
        with pytest.raises(BaselineError, match=next(iter(changed))):
            compare(another, one, {})
    blurred = perturbation_spectrum(curved, sample, ("gaussian_blur", 3), bands=BANDS)
    with pytest.raises(BaselineError, match="gaussian_blur 3"):
        compare(blurred, one, {})


@pytest.mark.parametrize(
    ("old", "new"),
    [("bands: 3", "bands: 4"), ("bands: 3", "bands: none"), ("bands: 3", "bands: 0")],
)
def test_an_edited_file_is_refused(tmp_path: Path, old: str, new: str) -> None:
    found = perturbation_spectrum(curved, images(), ("contrast", 3), bands=BANDS)
    path = found.save(tmp_path / "spectrum.yaml")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BaselineError, match="it was edited or damaged"):
        Measurement.load(path)


def test_energy_that_no_change_has_is_refused(tmp_path: Path) -> None:
    found = perturbation_spectrum(curved, images(), ("contrast", 3), bands=BANDS)
    path = replace(found, energy=-found.energy).save(tmp_path / "spectrum.yaml")
    with pytest.raises(BaselineError, match=r"energy is -.*, which no change has"):
        Measurement.load(path)


def test_levels_and_channels_that_do_not_fit_are_told() -> None:
    found = perturbation_spectrum(curved, images(), ("contrast", 3), bands=BANDS)
    with pytest.raises(SettingsError, match=r"write 0\.95 for 95 %"):
        found.loss(level=95)
    two = Classifier(curved, mean=[0.5, 0.5], std=[0.2, 0.2])
    with pytest.raises(SettingsError, match="mean and std are for 2 channels"):
        perturbation_spectrum(two, images(), ("contrast", 3), bands=BANDS)
