"""SPEC.md 6, I-ASIDE 3: the axioms, and published games."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_iaside.measure.game.coalitions import exact_coalitions, members
from pytest_iaside.measure.game.shapley import shapley_values, shapley_weights


def games(players):
    return hnp.arrays(np.float64, 2**players, elements=st.floats(-100, 100))


def by_permutations(values):
    """The definition: a player's marginal contribution, averaged over all orders."""
    players = len(values).bit_length() - 1
    psi = np.zeros(players)
    orders = list(permutations(range(players)))
    for order in orders:
        coalition = 0
        for player in order:
            psi[player] += values[coalition | 1 << player] - values[coalition]
            coalition |= 1 << player
    return psi / len(orders)


def test_coalitions_are_numbered_by_their_bits():
    coalitions = exact_coalitions(3)
    assert coalitions.shape == (8, 3)
    assert coalitions[5].tolist() == [True, False, True]
    assert members(coalitions[5]) == "{0, 2}"
    assert members(coalitions[0]) == "{}"


def test_weights_of_eight_players():
    weights = shapley_weights(8)
    with_player = [weights[2**size - 1, 0] for size in range(1, 9)]
    expected = [1 / 8, 1 / 56, 1 / 168, 1 / 280, 1 / 280, 1 / 168, 1 / 56, 1 / 8]
    np.testing.assert_allclose(with_player, expected, rtol=1e-15)


@settings(max_examples=40, deadline=None)
@given(values=games(4))
def test_values_are_mean_marginal_contributions_over_all_orders(values):
    np.testing.assert_allclose(shapley_values(values), by_permutations(values), atol=1e-10)


@settings(max_examples=50, deadline=None)
@given(values=games(5), other=games(5), scale=st.floats(-3, 3))
def test_efficiency_and_linearity(values, other, scale):
    psi = shapley_values(values)
    assert psi.sum() == pytest.approx(values[-1] - values[0], abs=1e-10)
    mixed = shapley_values(values + scale * other)
    np.testing.assert_allclose(mixed, psi + scale * shapley_values(other), atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(values=games(4))
def test_a_dummy_gets_nothing_and_twins_get_the_same(values):
    present = exact_coalitions(5)
    without = np.arange(32) & 15
    dummy = values[without]
    assert shapley_values(dummy)[4] == pytest.approx(0, abs=1e-12)
    # Players 3 and 4 count only by how many of them are there.
    twins = values[(np.arange(32) & 7) + 8 * (present[:, 3] & present[:, 4])]
    psi = shapley_values(twins)
    assert psi[3] == pytest.approx(psi[4], abs=1e-12)


def test_additive_and_unanimity_games():
    present = exact_coalitions(6)
    worth = np.array([3.0, -1.0, 0.5, 0.0, 2.0, 7.0])
    np.testing.assert_allclose(shapley_values(present @ worth + 11.0), worth, atol=1e-12)
    unanimity = present[:, [1, 2, 5]].all(axis=1).astype(float)
    np.testing.assert_allclose(
        shapley_values(unanimity), [0, 1 / 3, 1 / 3, 0, 0, 1 / 3], atol=1e-14
    )


def test_published_vectors():
    # captum, tests/attr/test_shapley.py: BasicModel_MultiLayer at 20, 50, 30 is published as
    # 76.667, 196.667, 116.667. Its hidden units are ReLU(Σx + b), b = (−10, 1, 1, 1), and the
    # output read is their sum.
    def captum(x):
        return float(np.maximum(x.sum() + np.array([-10, 1, 1, 1]), 0).sum())

    inputs = np.array([20.0, 50.0, 30.0])
    values = [captum(np.where(row, inputs, 0.0)) for row in exact_coalitions(3)]
    np.testing.assert_allclose(shapley_values(values), [230 / 3, 590 / 3, 350 / 3], atol=1e-9)
    # The glove game and the airport game, as in any textbook.
    glove = [0, 0, 0, 0, 0, 1, 1, 1]  # players 0 and 1 own left gloves, player 2 the right one
    np.testing.assert_allclose(shapley_values(glove), [1 / 6, 1 / 6, 2 / 3], atol=1e-14)
    needed = np.array([8.0, 11.0, 13.0, 18.0])
    airport = [needed[row].max(initial=0) for row in exact_coalitions(4)]
    np.testing.assert_allclose(shapley_values(airport), [2, 3, 4, 9], atol=1e-12)


def test_rows_are_games_of_their_own():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(7, 16))
    expected = [shapley_values(row) for row in values]
    np.testing.assert_allclose(shapley_values(values), expected, atol=1e-14)


def test_a_number_of_columns_that_is_no_power_of_two_is_an_error():
    with pytest.raises(ValueError, match=r"7 coalition values given; a game of M players has 2\^M"):
        shapley_values(np.zeros(7))
