"""Explanations side by side: what they hold, what they say, and where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import Classifier, ReferenceSample, SettingsError
from pytest_iaside.explain import spectral_lens, wcam
from pytest_iaside.explain.drilldown import level_changes, sentence, where
from pytest_iaside.explain.explanation import Explanation, cost, explain, fitting
from pytest_iaside.explain.records import moved

IMAGES = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
SAMPLE = ReferenceSample(IMAGES)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3), nn.GELU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(54, 4)).eval()


@pytest.fixture(scope="module")
def explanation(network: nn.Module) -> Explanation:
    return explain(network, SAMPLE, grid=8, wavelet_levels=2)


def test_it_holds_what_the_methods_find(network: nn.Module, explanation: Explanation) -> None:
    expected = wcam(network, SAMPLE, grid=8, wavelet_levels=2)
    np.testing.assert_array_equal(explanation.wavelet.map, expected.map)
    lens = spectral_lens(network, SAMPLE, tolerance=0.2, max_samples=16)
    assert explanation.lens is not None
    np.testing.assert_allclose(explanation.lens.sl2, lens.sl2)
    with torch.no_grad():
        probabilities = network(IMAGES).softmax(dim=1)
    np.testing.assert_allclose(explanation.probabilities, probabilities.amax(dim=1), rtol=1e-5)
    np.testing.assert_array_equal(explanation.classes, probabilities.argmax(dim=1))


def test_a_model_without_gradients_has_no_lens(network: nn.Module) -> None:
    def answer(images: Tensor) -> Tensor:
        with torch.no_grad():
            return network(images)

    found = explain(Classifier(answer), SAMPLE, grid=4, wavelet_levels=1)
    assert found.lens is None
    assert "no gradient" in found.no_lens_because
    assert found.wavelet.map.shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("side", "levels", "grid"),
    [(224, 3, 16), (32, 3, 16), (28, 2, 4), (14, 1, 14), (30, 1, 10), (8, 3, 8), (260, 2, 4)],
)
def test_levels_and_grid_fit_the_images(side: int, levels: int, grid: int) -> None:
    sample = ReferenceSample(torch.zeros(1, 1, side, side))
    assert fitting(sample, None, None) == (levels, grid)
    passes = 8 * (grid**2 + 2) + 3 * 11 * 16 + 1
    assert cost(sample, 3) == 3 * passes


def test_odd_images_are_told() -> None:
    with pytest.raises(SettingsError, match="15×16 pixels cannot be halved"):
        explain(nn.Flatten(), torch.rand(1, 1, 15, 16))


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (0.1, 0.1, "top left"),
        (0.5, 0.5, "centre"),
        (0.5, 0.9, "right"),
        (0.9, 0.5, "bottom"),
        (1.0, 1.0, "bottom right"),
        (0.0, 0.5, "top"),
    ],
)
def test_places_in_words(row: float, column: float, words: str) -> None:
    assert where(row, column) == words


def with_map(explanation: Explanation, map_: np.ndarray, error: float = 0.01) -> Explanation:
    wavelet = replace(
        explanation.wavelet, map=np.stack([map_, map_]), level_errors=np.full((2, 3), error)
    )
    return replace(explanation, wavelet=wavelet)


def test_a_detail_that_the_candidate_leans_on_is_named_with_its_place(
    explanation: Explanation,
) -> None:
    coarse = np.zeros((8, 8))
    coarse[:2, :2] = 1.0
    fine = coarse.copy()
    fine[0, 7] = 2.0  # horizontal detail of the finest level, at the top right
    baseline, candidate = (with_map(explanation, each) for each in (coarse, fine))
    changes = level_changes(candidate, baseline, [0], 0.95)
    assert [each["candidate"] for each in changes] == pytest.approx([2 / 3, 0, 1 / 3])
    assert changes[2]["change"] == pytest.approx(1 / 3)
    assert [moved(each) for each in changes] == [True, False, True]
    text = sentence(candidate, baseline, 0, changes)
    assert text == (
        "The candidate leans on details of 1–2 px around the top right: 33% of its answer comes "
        "from them; the baseline took 0.0% from them."
    )
    place = candidate.place(0, 2)
    assert place is not None
    assert place[0] < 0.3 and place[1] > 0.7
    assert candidate.place(0, 1) is None  # nothing is there


def test_no_place_is_named_where_there_is_none(explanation: Explanation) -> None:
    coarse, even = np.zeros((8, 8)), np.zeros((8, 8))
    coarse[:2, :2] = even[:2, :2] = 1.0
    even[:4, 4:] = 0.5
    baseline, candidate = (with_map(explanation, each) for each in (coarse, even))
    assert candidate.place(0, 2) is None
    text = sentence(candidate, baseline, 0, level_changes(candidate, baseline, [0], 0.95))
    assert text.startswith("The candidate leans on details of 1–2 px: 67% of its answer")


def test_intervals_are_simultaneous_and_narrow_with_the_images(explanation: Explanation) -> None:
    from scipy import stats

    flat = np.ones((8, 8))
    candidate, baseline = with_map(explanation, flat, 0.03), with_map(explanation, flat, 0.04)
    one = level_changes(candidate, baseline, [0], 0.95)[0]
    assert one["high"] == pytest.approx(0.05 * stats.t.ppf(1 - 0.05 / 6, 7))
    both = level_changes(candidate, baseline, range(2), 0.95)[0]
    assert both["high"] == pytest.approx(one["high"] / np.sqrt(2))


def test_where_nothing_moved_that_is_said(explanation: Explanation) -> None:
    changes = level_changes(explanation, explanation, [0], 0.95)
    assert not any(moved(each) for each in changes)
    assert sentence(explanation, explanation, 0, changes).startswith(
        "The candidate leans on the same scales as the baseline"
    )


def test_alone_the_candidate_is_described(explanation: Explanation) -> None:
    fine = np.zeros((8, 8))
    fine[:2, :2], fine[7, 0] = 3 / 4, 1.0
    alone = with_map(explanation, fine)
    text = sentence(alone, None, 0, level_changes(alone, None, [0], 0.95))
    assert text == (
        "The candidate takes 75% of its answer from structures of 4 px and more, and of the rest "
        "most, 25%, from details of 1–2 px, around the bottom left."
    )


def test_levels_that_do_not_fit_say_how_many_do(network: nn.Module) -> None:
    message = r"images of 16×16 pixels cannot be halved 9 times; use at most 4 wavelet levels"
    with pytest.raises(SettingsError, match=message):
        explain(network, SAMPLE, wavelet_levels=9)
    with pytest.raises(SettingsError, match="wavelet_levels=0 must be a whole number"):
        fitting(SAMPLE, 0, None)
