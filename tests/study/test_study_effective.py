"""Effective robustness: accuracy above the line of log-odds, and how far it may be off."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from pytest_iaside import SettingsError
from pytest_iaside.study.effective import above_the_line, effective_robustness

IMAGES = 4000


def hits(accuracies: np.ndarray) -> np.ndarray:
    """So many images (N, K) right, as near as whole images come to it."""
    return (np.arange(IMAGES) < np.round(accuracies * IMAGES)[:, None]).astype(float)


CLEAN = np.array([0.6, 0.7, 0.8, 0.9, 0.95])


def test_models_on_the_line_have_none() -> None:
    """logit(corrupted) = 0.5·logit(clean) − 1."""
    corrupted = special.expit(0.5 * special.logit(CLEAN) - 1)
    found = effective_robustness(hits(CLEAN), hits(corrupted))
    assert found.slope == pytest.approx(0.5, abs=2e-3)
    assert found.intercept == pytest.approx(-1, abs=2e-3)
    np.testing.assert_allclose(found.values, 0, atol=3e-4)


def test_what_is_above_the_line_of_two_recipes_is_known() -> None:
    """Two at clean ½ with log-odds ±d, one at the middle of a line of slope 0: the line is at 0."""
    clean = np.full(4, 0.5)
    corrupted = special.expit(np.array([1.0, -1.0, 0.4, -0.4]))
    found = effective_robustness(hits(clean), hits(corrupted))
    assert (found.slope, found.intercept) == (0.0, pytest.approx(0, abs=1e-3))
    np.testing.assert_allclose(found.values, corrupted - 0.5, atol=5e-4)


def test_trainings_of_one_recipe_count_together_as_one() -> None:
    clean = np.array([*CLEAN, 0.9, 0.9])
    corrupted = np.array([0.5, 0.55, 0.6, 0.8, 0.7, 0.8, 0.8])
    names = ["a", "b", "c", "d", "e", "d", "d"]
    many = effective_robustness(hits(clean), hits(corrupted), names)
    once = effective_robustness(hits(clean[:5]), hits(corrupted[:5]))
    assert many.slope == pytest.approx(once.slope)
    np.testing.assert_allclose(many.values[:5], once.values)
    np.testing.assert_allclose(many.values[[5, 6]], many.values[3])


def test_rows_of_accuracies_are_each_their_own_line() -> None:
    random = np.random.default_rng(1)
    right = [(random.random((6, 40)) < each).astype(float) for each in (0.8, 0.6)]
    names = ["a", "a", "b", "c", "c", "d"]
    clean, corrupted = (np.stack([each.mean(axis=1), 1 - each.mean(axis=1)]) for each in right)
    found = above_the_line(clean, corrupted, names, 40)
    for row, hits_ in zip(found, (right, [1 - each for each in right]), strict=True):
        np.testing.assert_allclose(row, effective_robustness(*hits_, names).values)


def test_of_several_perturbations_the_mean_counts_each_above_its_own_line() -> None:
    random = np.random.default_rng(2)
    clean = (random.random((5, 60)) < 0.8).astype(float)
    corrupted = (random.random((3, 5, 60)) < 0.5).astype(float)
    each = [effective_robustness(clean, one) for one in corrupted]
    found = effective_robustness(clean, corrupted)
    np.testing.assert_allclose(found.values, np.mean([one.values for one in each], axis=0))
    np.testing.assert_allclose(found.slope, [one.slope for one in each])
    alone = effective_robustness(clean, corrupted[:1])
    np.testing.assert_allclose(alone.standard_error, each[0].standard_error)


def test_images_that_come_in_groups_are_left_out_together() -> None:
    """Every image twice, in pairs: as much is known as of each once."""
    random = np.random.default_rng(4)
    clean, corrupted = ((random.random((5, 50)) < each).astype(float) for each in (0.8, 0.5))
    once = effective_robustness(clean, corrupted)
    twice = effective_robustness(
        *(np.repeat(each, 2, axis=1) for each in (clean, corrupted)),
        image_groups=np.repeat(np.arange(50), 2),
    )
    # Half an image more is less of a hundred than of fifty.
    np.testing.assert_allclose(twice.standard_error, once.standard_error, rtol=0.05)
    many = effective_robustness(*(np.repeat(each, 2, axis=1) for each in (clean, corrupted)))
    assert (many.standard_error < 0.97 * twice.standard_error).all()


def test_where_all_are_right_or_wrong_it_is_finite() -> None:
    clean, corrupted = np.ones((3, 10)), np.zeros((3, 10))
    corrupted[0] = 1
    found = effective_robustness(clean, corrupted)
    assert np.isfinite([found.values, found.low, found.high]).all()
    assert found.values[0] > 0 > found.values[1]


def test_intervals_hold_what_they_say() -> None:
    """Log-odds scattered around a known line by recipe, accuracies of 300 images."""
    random = np.random.default_rng(3)
    held = []
    for _ in range(60):
        x = random.normal(1, 0.8, 20)
        y = 0.7 * x - 0.5 + random.normal(0, 0.4, 20)
        truth = special.expit(y) - special.expit(0.7 * x - 0.5)
        right = [random.random((20, 300)) < special.expit(each)[:, None] for each in (x, y)]
        found = effective_robustness(*right)
        held.append((found.low <= truth) & (truth <= found.high))
    assert 0.9 <= np.mean(held) <= 0.99


@pytest.mark.parametrize(
    ("clean", "corrupted", "groups", "message"),
    [
        (np.ones((3, 4)), np.ones((3, 5)), None, r"shapes \(3, 4\) and \(3, 5\)"),
        (np.ones((3, 4)), np.ones((2, 4, 3)), None, r"shapes \(3, 4\) and \(2, 4, 3\)"),
        (np.ones(3), np.ones(3), None, "give both as"),
        (np.ones((2, 4)), np.ones((2, 4)), None, "at least 3 groups"),
        (np.ones((3, 4)), np.ones((3, 4)), ["a", "a", "b"], "3 models in 2 groups"),
        (np.ones((3, 4)), np.ones((3, 4)), ["a", "b"], "a group for every model"),
    ],
)
def test_what_does_not_fit_is_told(
    clean: np.ndarray, corrupted: np.ndarray, groups: list[str] | None, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        effective_robustness(clean, corrupted, groups)
