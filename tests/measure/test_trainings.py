"""Several trainings as one measurement: their mean, on disk and in parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pytest_iaside import Classifier, ReferenceSample, SpectralProfile, compare, measure
from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.measure.trainings import mean_of, trainings_of

WAVES = torch.stack([torch.cos(2 * torch.pi * k * torch.arange(16) / 16) for k in (1, 3, 7)])


def sample(count: int = 12) -> ReferenceSample:
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(count) % 3
    images = 0.5 + 0.2 * WAVES[classes][:, None, None, :].expand(count, 1, 16, 16)
    noise = 0.05 * torch.randn(count, 1, 16, 16, generator=generator)
    return ReferenceSample((images + noise).clamp(0, 1), classes)


def training(seed: int, gain: float = 1.0) -> SpectralProfile:
    gains = gain * (2 + 0.3 * torch.rand(3, generator=torch.Generator().manual_seed(seed)))

    def network(images: torch.Tensor) -> torch.Tensor:
        return (images.mean(dim=(1, 2)) @ WAVES.T) * gains

    return measure(
        Classifier(network, name=f"seed {seed}"), sample(), bands=4, panel=[("white_noise", 2)]
    )


@pytest.fixture(scope="module")
def three() -> list[SpectralProfile]:
    return [training(seed) for seed in range(3)]


def test_one_training_is_itself(three: list[SpectralProfile]) -> None:
    assert mean_of(three[:1]) is three[0]
    assert trainings_of(three[0]) == (three[0],)


def test_values_are_the_mean_of_each_training_s(three: list[SpectralProfile]) -> None:
    mean = mean_of(three)
    for name in ("values", "by_size", "information", "log_likelihood"):
        every = np.array([getattr(each, name) for each in three])
        assert getattr(mean, name) == pytest.approx(every.mean(axis=0))
    assert mean.answers is not None
    accuracy = [each.answers["accuracy, clean"] for each in three if each.answers]
    assert mean.answers["accuracy, clean"] == pytest.approx(np.mean(accuracy, axis=0))
    assert mean.forward_passes == sum(each.forward_passes for each in three)
    assert mean.value == pytest.approx(np.mean([each.value for each in three]))
    assert mean.structured


def test_a_file_holds_each_training_bit_for_bit(
    three: list[SpectralProfile], tmp_path: Path
) -> None:
    mean = mean_of([replace(each, log_likelihood=None) for each in three])
    loaded = SpectralProfile.load(mean.save(tmp_path / "three.yaml"))
    assert len(loaded.trainings) == 3
    for one, other in zip(trainings_of(loaded), trainings_of(mean), strict=True):
        assert np.array_equal(one.values, other.values)
        assert one.model == other.model
        assert one.answers is not None
        assert other.answers is not None
        assert np.array_equal(one.answers.values, other.answers.values)
    assert np.array_equal(loaded.values, mean.values)
    assert loaded.model == mean.model


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("- classes: 3\n", "- classes: three\n", "does not hold a whole"),
        ("trainings:\n", "trainings: 3\nothers:\n", "does not hold a whole"),
        ("trainings:\n", "trainings: []\nothers:\n", "does not hold a whole"),
    ],
)
def test_an_edited_file_is_refused(
    three: list[SpectralProfile], tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = mean_of(three[:2]).save(tmp_path / "two.yaml")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BaselineError, match=said):
        SpectralProfile.load(path)


def test_fewer_trainings_than_rows_are_refused(
    three: list[SpectralProfile], tmp_path: Path
) -> None:
    two, all_of_them = tmp_path / "two.yaml", tmp_path / "three.yaml"
    mean_of(three[:2]).save(two)
    mean_of(three).save(all_of_them)
    text = two.read_text()
    at = text.index("sha256: ") + len("sha256: ")
    other = all_of_them.read_text()
    digest = other[other.index("sha256: ") + len("sha256: ") :][:64]
    two.write_text(text[:at] + digest + text[at + 64 :])
    two.with_suffix(".npz").write_bytes(all_of_them.with_suffix(".npz").read_bytes())
    with pytest.raises(BaselineError, match="are not 2 trainings"):
        SpectralProfile.load(two)


def test_part_of_the_images_is_a_part_of_each_training(three: list[SpectralProfile]) -> None:
    part = mean_of(three).take([2, 5])
    assert [len(each) for each in trainings_of(part)] == [2, 2, 2]
    assert np.array_equal(part.values, mean_of(three).values[[2, 5]])


def test_the_same_network_does_not_count_twice(three: list[SpectralProfile]) -> None:
    with pytest.raises(SettingsError, match="trainings 1 and 3 are the same network"):
        mean_of([three[0], three[1], training(0)])


def test_trainings_measured_otherwise_are_refused(three: list[SpectralProfile]) -> None:
    other = measure(lambda x: x.mean(dim=(1, 2)) @ WAVES.T, sample(), bands=5)
    with pytest.raises(SettingsError, match=r"training 2 was measured otherwise .*\(bands\)"):
        mean_of([three[0], other])
    fewer = three[1].first(6)
    with pytest.raises(SettingsError, match="other images"):
        mean_of([three[0], fewer])


def test_an_unstructured_training_is_named(three: list[SpectralProfile]) -> None:
    flat = training(9, gain=1e-9)
    mean = mean_of([three[0], flat])
    assert mean.unstructured_because.startswith("training 2 of 2 (seed 9): ")
    assert compare(mean, mean_of(three[1:])).fails()


def test_trainings_are_compared_on_the_same_images_only(three: list[SpectralProfile]) -> None:
    with pytest.raises(SettingsError, match="on the same images only"):
        compare(three[0], mean_of(three[1:]), paired=False)


def test_with_many_alike_trainings_a_change_beyond_them_is_drift(
    three: list[SpectralProfile],
) -> None:
    baseline = mean_of([training(seed) for seed in range(6)])
    same = compare(mean_of([training(seed) for seed in (10, 11)]), baseline)
    assert not same.fails()
    assert all(0 <= check.of_seeds <= 1 for check in same.checks if check.name != "structured")
    worse = compare(mean_of([training(seed, gain=0.4) for seed in (10, 11)]), baseline)
    assert worse.fails()
    # The answers are the same at each one's own temperature: what fell is how sure it is.
    drifts = {check.name for check in worse.checks if check.verdict == "drift"}
    assert "L(all)" in drifts
    assert "log-likelihood as it answers" in worse.summary()
