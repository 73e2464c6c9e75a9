"""Sobol points and Jansen's estimator, against closed forms (SPEC.md 6, WCAM 2 and 3) and scipy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from explained_models import mixed
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.sobol import (
    Evaluations,
    first_order_indices,
    group_shares,
    output_variance,
    points_by,
    sobol_points,
    total_indices,
)
from pytest_iaside.explain.sobol_runs import MaskRules

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def evaluated(
    f: Function, inputs: int, points: int, seed: int = 0, sequence: Any = "sobol"
) -> Evaluations:
    drawn = points_by(sequence, inputs, points, seed)
    c = np.stack([f(mixed(drawn, k)) for k in range(inputs)])
    return Evaluations(a=f(drawn.a), b=f(drawn.b), c=c)


def ishigami(u: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.pi * (2 * u - 1)
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def g_function(u: NDArray[np.float64]) -> NDArray[np.float64]:
    a = np.array([0, 1, 4.5, 9])
    return np.prod((np.abs(4 * u - 2) + a) / (1 + a), axis=1)


WEIGHTS = np.array([1.0, -2.0, 0.5, 0.0])
CLOSED_FORMS = {
    "additive": (lambda u: u @ WEIGHTS, WEIGHTS**2 / (WEIGHTS**2).sum()),
    "product": (lambda u: u[:, 0] * u[:, 1], [4 / 7, 4 / 7]),
    "ishigami": (ishigami, [0.55759, 0.44241, 0.24368]),
    "g-function": (g_function, [0.78737, 0.24227, 0.03433, 0.01046]),
}


# Of the g-function V_k = 1/(3·(1 + a_k)²), and V = Π(1 + V_k) − 1.
ALONE = 1 / (3 * (1 + np.array([0, 1, 4.5, 9])) ** 2)
FIRST_ORDER = {
    "additive": WEIGHTS**2 / (WEIGHTS**2).sum(),
    "product": [3 / 7, 3 / 7],
    "ishigami": [0.31391, 0.44241, 0.0],
    "g-function": ALONE / (np.prod(1 + ALONE) - 1),
}
SEQUENCES = ("sobol", "halton", "latin-hypercube", "monte-carlo")


class TestFirstOrderIndices:
    @pytest.mark.parametrize("name", CLOSED_FORMS)
    def test_closed_forms(self, name: str) -> None:
        f, total = CLOSED_FORMS[name]
        found = evaluated(f, len(total), 2**14)
        np.testing.assert_allclose(first_order_indices(found), FIRST_ORDER[name], atol=6e-3)

    def test_no_variance_is_nan(self) -> None:
        assert np.isnan(first_order_indices(evaluated(lambda u: 0 * u[:, 0], 2, 4))).all()


class TestSequences:
    @pytest.mark.parametrize("sequence", SEQUENCES)
    def test_each_finds_the_same_indices(self, sequence: str) -> None:
        found = evaluated(ishigami, 3, 2**14, sequence=sequence)
        np.testing.assert_allclose(total_indices(found), CLOSED_FORMS["ishigami"][1], atol=0.03)
        np.testing.assert_allclose(first_order_indices(found), FIRST_ORDER["ishigami"], atol=0.05)

    @pytest.mark.parametrize("sequence", SEQUENCES)
    def test_the_seed_decides(self, sequence: Any) -> None:
        one, same, other = (points_by(sequence, 5, 8, seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one.a, same.a)
        assert (one.b != other.b).any() and ((one.a >= 0) & (one.a < 1)).all()

    def test_a_latin_hypercube_has_a_point_in_every_row(self) -> None:
        drawn = points_by("latin-hypercube", 3, 7, 0)
        for column in np.hstack([drawn.a, drawn.b]).T:
            assert sorted((7 * column).astype(int)) == list(range(7))

    def test_points_are_many_enough(self) -> None:
        assert MaskRules(points=7, sequence="halton").points == 7
        with pytest.raises(SettingsError, match="points=1"):
            MaskRules(points=1, sequence="monte-carlo")
        with pytest.raises(SettingsError, match="sequence='quasi'"):
            MaskRules(points=8, sequence="quasi")  # type: ignore[arg-type]


class TestTotalIndices:
    @pytest.mark.parametrize("name", CLOSED_FORMS)
    @pytest.mark.parametrize("variance", ["both", "paper"])
    def test_closed_forms(self, name: str, variance: str) -> None:
        f, expected = CLOSED_FORMS[name]
        found = total_indices(evaluated(f, len(expected), 2**14), variance)
        np.testing.assert_allclose(found, expected, atol=6e-3)

    @pytest.mark.parametrize("name", CLOSED_FORMS)
    def test_scipy_computes_the_same(self, name: str) -> None:
        f, expected = CLOSED_FORMS[name]
        points = 64
        found = evaluated(f, len(expected), points)
        rows = {"f_A": found.a[None], "f_B": found.b[None], "f_AB": found.c[:, None]}
        oracle = stats.sobol_indices(func=rows, n=points).total_order
        # scipy divides by the number of values, we by one less.
        ratio = (2 * points - 1) / (2 * points)
        np.testing.assert_allclose(total_indices(found), oracle * ratio, rtol=1e-12)

    def test_the_papers_variance_is_that_of_a_alone(self) -> None:
        found = Evaluations(a=np.array([1.0, 3.0]), b=np.array([5.0, 11.0]), c=np.zeros((1, 2)))
        assert output_variance(found, "paper") == 2
        assert output_variance(found) == pytest.approx(np.var([1, 3, 5, 11], ddof=1))
        assert total_indices(found, "paper") == pytest.approx((1 + 9) / (2 * 2 * 2))

    @given(scale=st.floats(-50, 50).filter(lambda a: abs(a) > 1e-3), offset=st.floats(-50, 50))
    def test_unchanged_by_scale_and_offset(self, scale: float, offset: float) -> None:
        plain = total_indices(evaluated(ishigami, 3, 16))
        moved = total_indices(evaluated(lambda u: scale * ishigami(u) + offset, 3, 16))
        np.testing.assert_allclose(moved, plain, rtol=1e-6)

    @given(seed=st.integers(0, 10_000), points=st.sampled_from([2, 4, 8, 32]))
    def test_never_negative_and_0_for_what_is_unused(self, seed: int, points: int) -> None:
        found = total_indices(evaluated(ishigami, 5, points, seed))
        assert (found >= 0).all()
        assert (found[3:] == 0).all()

    def test_no_variance_is_nan(self) -> None:
        third = np.full(8, 1 / 3)
        found = Evaluations(a=third, b=third, c=np.tile(third, (2, 1)))
        assert output_variance(found) == output_variance(found, "paper") == 0
        assert np.isnan(total_indices(found)).all()


class TestPoints:
    def test_a_and_b_are_one_sobol_sequence(self) -> None:
        points = sobol_points(20, 16, 3)
        assert points.a.shape == points.b.shape == (16, 20)
        # Of 2^m scrambled points, each dimension has one in each of 2^m intervals.
        cells = np.sort(np.hstack([points.a, points.b]) * 16 // 1, axis=0)
        np.testing.assert_array_equal(cells, np.tile(np.arange(16.0)[:, None], 40))

    def test_c_is_a_with_a_column_of_b(self) -> None:
        points = sobol_points(3, 4, 0)
        c = mixed(points, 1)
        np.testing.assert_array_equal(c[:, 1], points.b[:, 1])
        np.testing.assert_array_equal(c[:, [0, 2]], points.a[:, [0, 2]])
        np.testing.assert_array_equal(c[:, 1], points.a[:, 1] + (points.b - points.a)[:, 1])

    def test_the_seed_decides(self) -> None:
        one, same, other = (sobol_points(5, 8, seed).a for seed in ([1, 2], [1, 2], [1, 3]))
        np.testing.assert_array_equal(one, same)
        assert (one != other).all()

    @pytest.mark.parametrize(
        ("points", "advice"),
        [(6, "4 or 8"), (1, "at least 2"), (0, "at least 2"), (-4, "at least 2"), (2.0, "power")],
    )
    def test_designs_must_be_a_power_of_two(self, points: int, advice: str) -> None:
        with pytest.raises(SettingsError, match=f"points={points} must be .*{advice}"):
            sobol_points(3, points, 0)

    @pytest.mark.parametrize("inputs", [0, 10_601])
    def test_the_sequence_ends_somewhere(self, inputs: int) -> None:
        with pytest.raises(SettingsError, match=f"{inputs} inputs need .*use 1 to 10600 inputs"):
            sobol_points(inputs, 2, 0)

    def test_unknown_variance(self) -> None:
        with pytest.raises(SettingsError, match="variance='a' is unknown; use one of both, paper"):
            MaskRules(points=8, variance="a")


class TestGroupShares:
    def test_shares_and_their_jackknife(self) -> None:
        found = evaluated(g_function, 4, 8)
        groups = np.array([1, 0, 1, 1])
        shares, errors = group_shares(found, groups, 3)

        def of(points: list[int]) -> NDArray[np.float64]:
            sums = ((found.a - found.c) ** 2)[:, points].sum(axis=1)
            return np.array([sums[1], sums[[0, 2, 3]].sum(), 0]) / sums.sum()

        everything = list(range(8))
        np.testing.assert_allclose(shares, of(everything), rtol=1e-12)
        left_out = np.array([of([i for i in everything if i != j]) for j in everything])
        expected = np.sqrt(7 / 8 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
        np.testing.assert_allclose(errors, expected, rtol=1e-9)
        assert errors[2] == 0

    @pytest.mark.parametrize("points", [8, 32])
    def test_errors_are_as_large_as_the_spread(self, points: int) -> None:
        # As a WCAM's levels: 4, 12 and 48 cells, the coarser the weightier.
        sizes = [4, 12, 48]
        groups = np.repeat(np.arange(3), sizes)
        weights = np.random.default_rng(1).normal(size=64) / (1 + groups)
        truth = np.array([(weights[groups == g] ** 2).sum() for g in range(3)])
        truth /= truth.sum()
        shares, errors = np.empty((2, 300, 3))
        for seed in range(300):
            drawn = sobol_points(64, points, seed)
            a, b = drawn.a @ weights, drawn.b @ weights
            found = Evaluations(a=a, b=b, c=(a[:, None] + (drawn.b - drawn.a) * weights).T)
            shares[seed], errors[seed] = group_shares(found, groups, 3)
        # The mean of 300 has an error of a seventeenth of the spread; ratios are biased a little.
        assert (np.abs(shares.mean(axis=0) - truth) < shares.std(axis=0) / 3).all()
        np.testing.assert_allclose(errors.mean(axis=0) / shares.std(axis=0), 1, atol=0.25)

    def test_nothing_is_known_without_the_only_design_that_moved(self) -> None:
        found = Evaluations(
            a=np.array([0.0, 2.0]), b=np.array([1.0, 0.0]), c=np.array([[0.0, 1], [0, 1]])
        )
        shares, errors = group_shares(found, np.array([0, 1]), 2)
        np.testing.assert_allclose(shares, [0.5, 0.5])
        assert np.isnan(errors).all()
