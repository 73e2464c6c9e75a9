"""The temperature of a classifier: it scales with the logits, and takes confidence out of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from pytest_iaside.stats.temperature import SMOOTHING, temperature_of

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(200, 7)) * 3
LABELS = np.array([RANDOM.choice(7, p=special.softmax(row)) for row in LOGITS])


@settings(deadline=None, max_examples=30)
@given(st.floats(1e-3, 1e3), st.floats(-50, 50))
def test_it_scales_with_the_logits(factor: float, shift: float) -> None:
    found = temperature_of(LOGITS * factor + shift, LABELS)
    assert found == pytest.approx(factor * temperature_of(LOGITS, LABELS), rel=1e-4)


def test_it_is_where_the_smoothed_loss_is_least() -> None:
    targets = (1 - SMOOTHING) * np.eye(7)[LABELS] + SMOOTHING / 7
    grid = np.geomspace(0.3, 5, 4000)
    losses = [-(targets * special.log_softmax(LOGITS / t, axis=1)).sum(axis=1).mean() for t in grid]
    assert temperature_of(LOGITS, LABELS) == pytest.approx(grid[np.argmin(losses)], rel=2e-3)


def test_of_two_classes_it_has_a_closed_form() -> None:
    """Three of four are right, all by the same margin: the confidence then is their share."""
    logits = np.tile([2.0, 0.0], (4, 1))
    share = (1 - SMOOTHING) * 3 / 4 + SMOOTHING / 2
    expected = 2.0 / np.log(share / (1 - share))
    assert temperature_of(logits, np.array([0, 0, 0, 1])) == pytest.approx(expected, rel=1e-10)


def test_labels_may_be_distributions() -> None:
    assert temperature_of(LOGITS, np.eye(7)[LABELS]) == pytest.approx(
        temperature_of(LOGITS, LABELS)
    )


def test_a_model_that_is_always_right_has_one() -> None:
    right = LOGITS.argmax(axis=1)
    found = temperature_of(LOGITS, right)
    assert 0.1 < found < 10
    # One error more moves it little.
    wrong = right.copy()
    wrong[0] = (wrong[0] + 1) % 7
    assert temperature_of(LOGITS, wrong) == pytest.approx(found, rel=0.2)


def test_logits_that_are_all_the_same_have_none() -> None:
    assert temperature_of(np.ones((3, 4)), np.array([0, 1, 2])) == 1.0
