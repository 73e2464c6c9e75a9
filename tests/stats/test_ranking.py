"""Ranks of models: planted orders, ties, groups, and how often a wrong order is told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pytest_iaside.stats.intervals import holm
from pytest_iaside.stats.ranking import rank_ranges


def test_models_far_apart_have_ranks_of_their_own() -> None:
    noise = 0.1 * np.random.default_rng(0).normal(size=(4, 50))
    best, worst = rank_ranges(np.array([[3.0], [1.0], [4.0], [2.0]]) + noise, 0.95)
    assert best.tolist() == worst.tolist() == [3, 1, 4, 2]


def test_models_that_cannot_be_told_apart_share_ranks() -> None:
    noise = np.random.default_rng(0).normal(size=(4, 40))
    best, worst = rank_ranges(np.array([[0.0], [0.0], [9.0], [9.0]]) + noise, 0.95)
    assert best.tolist() == [1, 1, 3, 3]
    assert worst.tolist() == [2, 2, 4, 4]


def test_the_same_answers_are_the_same_rank_and_one_image_says_nothing() -> None:
    assert [each.tolist() for each in rank_ranges(np.ones((3, 9)), 0.95)] == [[1] * 3, [3] * 3]
    one = rank_ranges(np.array([[1.0], [2.0]]), 0.95)
    assert [each.tolist() for each in one] == [[1, 1], [2, 2]]
    alone = rank_ranges(np.ones((1, 5)), 0.95)
    assert [each.tolist() for each in alone] == [[1], [1]]


def test_pairs_are_those_that_scipy_and_holm_tell_apart() -> None:
    losses = np.random.default_rng(2).normal(size=(4, 12)) + np.array([[0], [0.5], [1], [1.6]])
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    p = holm(np.array([stats.ttest_rel(losses[i], losses[j]).pvalue for i, j in pairs]))
    told = [pair for pair, each in zip(pairs, p, strict=True) if each < 0.05]
    assert 0 < len(told) < 6
    best, worst = rank_ranges(losses, 0.95)
    assert best.tolist() == [1 + sum(j == model for _, j in told) for model in range(4)]
    assert worst.tolist() == [4 - sum(i == model for i, _ in told) for model in range(4)]


def test_copies_of_an_image_in_one_group_count_once() -> None:
    random = np.random.default_rng(4)
    losses = np.stack([random.normal(size=6), random.normal(size=6) + 1.2])
    alone = rank_ranges(losses, 0.95)
    many = np.repeat(losses, 5, axis=1)
    grouped = rank_ranges(many, 0.95, np.repeat(np.arange(6), 5))
    assert (
        [each.tolist() for each in grouped] == [each.tolist() for each in alone] == [[1, 1], [2, 2]]
    )
    assert rank_ranges(many, 0.95)[0].tolist() == [1, 2]


@pytest.mark.parametrize("models", [2, 5])
def test_equal_models_are_seldom_told_apart(models: int) -> None:
    random = np.random.default_rng(7)
    drawn = [rank_ranges(random.normal(size=(models, 30)), 0.95)[0].max() > 1 for _ in range(400)]
    assert np.mean(drawn) == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize(("count", "told"), [(2, False), (3, False), (5, False), (6, True)])
def test_hits_that_differ_alike_are_no_certainty_after_a_few_images(count: int, told: bool) -> None:
    """A coin that shows one side five times in a row is no proof at 95 %: 2·½⁵ = 0.06."""
    losses = np.stack([np.zeros(count), np.ones(count)])
    assert (rank_ranges(losses, 0.95)[0].tolist() == [1, 2]) is told
    # Of images in groups the groups count.
    many, groups = np.repeat(losses, 3, axis=1), np.repeat(np.arange(count), 3)
    assert (rank_ranges(many, 0.95, groups)[0].tolist() == [1, 2]) is told


@pytest.mark.parametrize("count", [4, 5, 20])
def test_equal_models_that_disagree_on_every_image_are_seldom_told_apart(count: int) -> None:
    hits = np.random.default_rng(3).integers(2, size=(1000, count))
    told = [rank_ranges(np.stack([each, 1 - each]), 0.95)[0].max() > 1 for each in hits]
    assert np.mean(told) <= 0.06
