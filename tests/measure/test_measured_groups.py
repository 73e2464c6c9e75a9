"""Measurements keep the groups of their images, also in files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from profiles import make_profile
from scipy import stats

from pytest_iaside import ReferenceSample, measure
from pytest_iaside.errors import BaselineError
from pytest_iaside.explain import deletion
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.metrics import (
    accuracy,
    corruption_errors,
    mean_corruption_error,
    mean_prediction_error,
)
from pytest_iaside.measure.panel import measure_answers
from pytest_iaside.measure.perturbation import measure_perturbations
from pytest_iaside.store import archive

GROUPS = tuple(f"photo {at // 2}" for at in range(12))


def model(images):
    mean = images.mean(dim=(2, 3))
    return torch.stack([mean[:, 0] * 8, mean[:, 1] * 8, 8 - mean[:, 2] * 8], dim=1)


@pytest.fixture(scope="module")
def sample():
    random = np.random.default_rng(0)
    tint = random.uniform(0.2, 0.8, size=(6, 3)).repeat(2, axis=0)[:, :, None, None]
    images = np.clip(tint + random.normal(0, 0.2, size=(12, 3, 16, 16)), 0, 1)
    return ReferenceSample(images.astype(np.float32), np.arange(12) % 3, groups=GROUPS)


def kinds(sample, **more):
    return [
        measure(model, sample, bands=4, panel="auto", **more),
        measure_answers(model, sample, **more),
        measure_perturbations(model, sample, [("contrast", 3)], **more),
    ]


def test_every_measurement_has_the_groups_of_its_images(sample):
    for found in kinds(sample):
        assert found.groups == GROUPS and found.group_count == 6
        assert found.group_numbers.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        assert found.summary()["groups"] == 6
        assert found.take([11, 0, 1]).groups == ("photo 5", "photo 0", "photo 0")
        assert "12 in" not in repr(found) and "12 images in 6 groups" in repr(found)
    for found in kinds(sample, samples=5):
        assert found.groups == GROUPS[:5] and found.group_count == 3


def test_files_keep_the_groups(sample, tmp_path):
    spectral, answers, perturbed = kinds(sample)
    few = measure(model, sample, bands=4, samples=4)
    # The game on four images, the answers of all.
    mixed = replace(few, answers=answers)
    for number, one in enumerate((spectral, perturbed, mixed)):
        loaded = Measurement.load(one.save(tmp_path / f"{number}"))
        assert loaded.groups == one.groups
        if one.answers is not None:
            assert loaded.answers.groups == one.answers.groups
            assert loaded.answers.digests == one.answers.digests
    assert "  groups: 6\n" in (tmp_path / "0.yaml").read_text()


def test_a_file_without_groups_is_read_as_before(tmp_path):
    one = make_profile()
    path = one.save(tmp_path / "old")
    assert "groups" not in path.read_text()
    assert "groups" not in archive.read(path)[1]
    loaded = Measurement.load(path)
    assert loaded.groups is None and loaded.group_numbers is None and loaded.group_count == 40


@pytest.mark.parametrize(
    "groups", [np.array(["a"] * 39), np.arange(40), np.array([["a"]] * 40), np.ones(40)]
)
def test_groups_that_nobody_wrote_are_refused(tmp_path, groups):
    one = replace(make_profile(), groups=("a",) * 40)
    document, arrays = one.files()
    path = tmp_path / "edited.yaml"
    archive.write(path, document, {**arrays, "groups": groups})
    with pytest.raises(BaselineError, match="edited or damaged"):
        Measurement.load(path)


def test_a_profile_reads_its_errors_off_groups():
    psi = np.random.default_rng(0).normal([4, 3, 2, 1], 0.3, size=(10, 4)).repeat(4, axis=0)
    one = replace(make_profile(image_psi=psi), groups=tuple(f"{at // 4}" for at in range(40)))
    np.testing.assert_allclose(one.standard_error, stats.sem(psi[::4]))
    found = one.interval("psi")
    reach = stats.t.ppf(0.975, 9) * stats.sem(psi[::4])
    np.testing.assert_allclose(found.high - one.psi, reach)
    value = one.interval("value")
    half = stats.t.ppf(0.975, 9) * stats.sem(psi[::4].sum(axis=1))
    assert float(value.high - value.low) / 2 == pytest.approx(half)
    assert one.structured
    three = replace(one, groups=tuple(f"{at % 3}" for at in range(40)))
    assert "3 groups" in three.unstructured_because


def test_estimates_are_over_groups(sample):
    for estimate in (
        mean_prediction_error(model, sample, ("contrast", 3)),
        deletion(model, sample, None, np.random.default_rng(0).random((12, 16, 16)), steps=4),
    ):
        pairs = estimate.image_values.reshape(6, 2).mean(axis=1)
        assert estimate.standard_error == pytest.approx(stats.sem(pairs))
        reach = stats.t.ppf(0.975, 5) * stats.sem(pairs)
        assert estimate.high - estimate.value == pytest.approx(reach)
    plain = accuracy(model, ReferenceSample(sample.images, sample.labels))
    found = accuracy(model, sample)
    assert found.value == plain.value
    assert found.high - found.low > plain.high - plain.low


def test_mce_is_over_groups(sample):
    errors = corruption_errors(model, sample, ["contrast", "pixelate"], severities=[2, 4])
    rates = {name: 0.5 for name in errors}
    means = {name: rows for name, rows in errors.items()}
    found = mean_corruption_error(means, {name: [0.5, 0.5] for name in rates}, groups=sample.groups)
    pairs = found.image_values.reshape(6, 2).mean(axis=1)
    assert found.standard_error == pytest.approx(stats.sem(pairs))
