"""Designs: which coalitions are played, and that Shapley's axioms survive the choice."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_iaside.errors import SettingsError
from pytest_iaside.measure.game import coalitions as module
from pytest_iaside.measure.game.coalitions import exact_coalitions, plan, resolved
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.game.shapley import mean_by_size, plan_weights, shapley_values

SAMPLED = ["latin", "permutation", "antithetic"]


def _estimate(drawn, values):
    """ψ from the coalitions of ``drawn`` alone, of a game given by all its values."""
    number = drawn.coalitions @ (1 << np.arange(drawn.coalitions.shape[1]))
    return (values[number] - values[0]) @ plan_weights(drawn)


@pytest.mark.parametrize("design", ["latin", "permutation"])
def test_a_plan_is_m_orders_and_58_coalitions_of_eight_players(design):
    drawn = plan(design, 8, "image")
    assert drawn.coalitions.shape == (58, 8)
    assert not drawn.coalitions[0].any() and drawn.coalitions[1].all()
    assert (np.sort(drawn.orders, axis=1) == np.arange(8)).all()
    for number, order in enumerate(drawn.orders):
        for size in range(1, 8):
            members = np.flatnonzero(drawn.coalitions[2 + 7 * number + size - 1])
            assert set(members) == set(order[:size])


def test_an_antithetic_plan_is_an_order_and_its_reverse():
    drawn = plan("antithetic", 8, "image")
    assert drawn.orders is not None and drawn.coalitions.shape == (16, 8)
    np.testing.assert_array_equal(drawn.orders[0], drawn.orders[1][::-1])
    assert sorted(drawn.orders[0]) == list(range(8))


def test_in_a_latin_plan_everyone_arrives_once_at_every_place_and_no_coalition_twice():
    drawn = plan("latin", 8, "image")
    assert (np.sort(drawn.orders, axis=0) == np.arange(8)[:, None]).all()
    assert len(np.unique(drawn.coalitions, axis=0)) == 58


def test_plans_depend_on_their_key_alone():
    for design in SAMPLED:
        again = plan(design, 6, "a").coalitions
        assert (plan(design, 6, "a").coalitions == again).all()
        assert (plan(design, 6, "b").coalitions != again).any()
    # Written down once: another version of anything must draw the same.
    assert plan("latin", 6, "a").orders[0].tolist() == [1, 3, 5, 4, 2, 0]


@pytest.mark.parametrize("design", SAMPLED)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), key=st.text(max_size=5))
def test_efficiency_linearity_and_dummies_hold_in_every_draw(design, seed, key):
    generator = np.random.default_rng(seed)
    values, other = generator.normal(size=(2, 32))
    drawn = plan(design, 5, key)
    psi = _estimate(drawn, values)
    assert psi.sum() == pytest.approx(values[-1] - values[0], abs=1e-10)
    mixed = _estimate(drawn, values + 2 * other)
    np.testing.assert_allclose(mixed, psi + 2 * _estimate(drawn, other), atol=1e-10)
    dummy = values[np.arange(32) & 15]
    assert _estimate(drawn, dummy)[4] == pytest.approx(0, abs=1e-12)
    worth = generator.normal(size=5)
    np.testing.assert_allclose(_estimate(drawn, exact_coalitions(5) @ worth), worth, atol=1e-12)


@pytest.mark.parametrize("design", SAMPLED)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_design_is_unbiased_over_all_it_can_draw(design, seed):
    """The mean over all arrangements is the Shapley value; symmetry follows."""
    values = np.random.default_rng(seed).normal(size=16)
    values[1] = values[2]  # players 0 and 1 are twins
    for rest in (4, 8, 12):
        values[rest + 1] = values[rest + 2]
    total = np.zeros(4)
    with pytest.MonkeyPatch.context() as patch:
        for order in permutations(range(4)):
            patch.setattr(module, "_order", lambda players, key, order=order: np.array(order))
            total += _estimate(plan(design, 4, "any"), values)
    np.testing.assert_allclose(total / 24, shapley_values(values), atol=1e-12)
    assert total[0] == pytest.approx(total[1], abs=1e-10)


@pytest.mark.parametrize("design", SAMPLED)
def test_draws_by_hash_are_uniform_enough_to_be_unbiased(design):
    values = np.random.default_rng(0).normal(size=32)
    draws = np.array([_estimate(plan(design, 5, f"image {i}"), values) for i in range(4000)])
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(axis=0) - shapley_values(values)) < 4 * error).all()


def test_a_latin_plan_beats_independent_orders_at_equal_cost():
    generator = np.random.default_rng(1)
    present = exact_coalitions(8)
    values = np.sqrt(present @ generator.uniform(1, 3, size=8)) + present @ generator.normal(size=8)
    variance = {
        design: np.var(
            [_estimate(plan(design, 8, f"{i}"), values) for i in range(400)], axis=0
        ).sum()
        for design in SAMPLED
    }
    assert variance["latin"] < 0.5 * variance["permutation"]


def test_means_by_size_of_an_exact_plan():
    values = np.arange(8.0)
    found = mean_by_size(plan("exact", 3, ""), values)
    np.testing.assert_allclose(found, [0, (1 + 2 + 4) / 3, (3 + 5 + 6) / 3, 7])


def test_all_coalitions_are_played_up_to_ten_bands():
    assert resolved("auto", 10) == "exact"
    assert resolved("auto", 11) == "latin"
    assert Rules(bands=16).design == "latin" and Rules(bands=8).design == "exact"
    assert plan("latin", 32, "x").coalitions.shape == (32 * 31 + 2, 32)
    with pytest.raises(SettingsError, match=r"2\^20 coalitions, .* use design='latin', or at most"):
        Rules(bands=20, design="exact")
