"""Pairwise interactions of bands, against closed forms and an oracle."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import make_profile

from pytest_iaside.compare.compare import compare
from pytest_iaside.measure.game.coalitions import exact_coalitions
from pytest_iaside.measure.game.shapley import interaction_index, shapley_values
from pytest_iaside.measure.interactions import interactions_of, pairs
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.trainings import mean_of

PRESENT = exact_coalitions(4).astype(float)


def by_definition(values: Any, one: int, other: int) -> float:
    """Every coalition without the two, one by one."""
    players = len(values).bit_length() - 1
    rest = [p for p in range(players) if p not in (one, other)]
    total = 0.0
    for size in range(len(rest) + 1):
        weight = factorial(size) * factorial(players - size - 2) / factorial(players - 1)
        for some in combinations(rest, size):
            s = sum(1 << p for p in some)
            i, j = s | 1 << one, s | 1 << other
            total += weight * (values[i | j] - values[i] - values[j] + values[s])
    return total


@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_it_is_what_its_definition_says(players: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=2**players)
    found = interaction_index(values)
    for one, other in combinations(range(players), 2):
        assert found[one, other] == pytest.approx(by_definition(values, one, other), abs=1e-9)
    assert (found == found.T).all() and (np.diag(found) == 0).all()


def test_closed_forms() -> None:
    additive = PRESENT @ [1.0, 2.0, -3.0, 0.5]
    np.testing.assert_allclose(interaction_index(additive), np.zeros((4, 4)), atol=1e-12)
    # A product of two players is worth itself to the pair, nothing to others.
    product = 5 * PRESENT[:, 1] * PRESENT[:, 3]
    found = interaction_index(product)
    assert found[1, 3] == pytest.approx(5) and np.abs(found).sum() == pytest.approx(10)
    # Either will do: each replaces the other.
    either = np.maximum(PRESENT[:, 0], PRESENT[:, 2])
    assert interaction_index(either)[0, 2] == pytest.approx(-1)
    # The unanimity game of all: 1/(M−1) to each pair.
    assert interaction_index(PRESENT.prod(axis=1))[0, 1] == pytest.approx(1 / 3)


def test_many_games_at_once_and_a_constant_cancels() -> None:
    values = np.random.default_rng(0).normal(size=(3, 16))
    each = [interaction_index(row) for row in values]
    np.testing.assert_allclose(interaction_index(values - 40), each, atol=1e-9)
    with pytest.raises(ValueError, match="two or more"):
        interaction_index(np.zeros(2))
    with pytest.raises(ValueError, match="12 coalition values"):
        interaction_index(np.zeros(12))


def test_shapiq_computes_the_same() -> None:
    shapiq = pytest.importorskip("shapiq")
    values = np.random.default_rng(1).normal(size=16)

    def game(coalitions: Any) -> Any:
        return np.array([values[int((row * 2 ** np.arange(4)).sum())] for row in coalitions])

    found = shapiq.ExactComputer(game, 4)("SII", order=2)
    expected = interaction_index(values)
    for one, other in combinations(range(4), 2):
        assert found[(one, other)] == pytest.approx(expected[one, other], abs=1e-9)


def profile(table: np.ndarray[Any, Any]) -> SpectralProfile:
    """A profile of games with that table (K, 2^8) of log-likelihoods."""
    psi = shapley_values(table)
    sizes = exact_coalitions(8).sum(axis=1)
    by_size = np.stack([table[:, sizes == s].mean(axis=1) for s in range(9)], axis=1)
    made = make_profile(image_psi=psi)
    return replace(made, by_size=by_size, log_likelihood=table)


def tables(seed: int, together: float = 0.0) -> np.ndarray[Any, Any]:
    """Bands 2 and 5 are worth so much more together."""
    generator = np.random.default_rng(seed)
    present = exact_coalitions(8).astype(float)
    psi = generator.normal(0.3, 0.05, (40, 8))
    extra = together * present[:, 2] * present[:, 5]
    return psi @ present.T + extra + 0.01 * generator.normal(size=(40, 256)) - 5


def test_what_moved_is_told_by_its_pair() -> None:
    before, after = profile(tables(0)), profile(tables(0, 0.4))
    found = compare(after, before).interactions
    moved = [each for each in found if each.moved]
    assert [each.name for each in moved] == ["bands 2 and 5"]
    assert moved[0].change == pytest.approx(0.4, abs=1e-9)
    assert moved[0].baseline == pytest.approx(0.0, abs=0.01)
    assert [each.name for each in found[:3]] == [f"bands 0 and {j}" for j in (1, 2, 3)]
    assert len(found) == len(pairs(8)) == 28
    assert not any(each.moved for each in compare(before, before).interactions)


def test_without_a_table_nothing_is_said() -> None:
    before = profile(tables(0))
    assert compare(before, replace(before, log_likelihood=None)).interactions == ()
    assert interactions_of(replace(before, log_likelihood=None)) is None


def test_of_several_trainings_the_mean_counts() -> None:
    trainings = [
        replace(
            profile(tables(seed)), model=replace(make_profile().model, fingerprint=f"{seed:016}")
        )
        for seed in (1, 2, 3)
    ]
    found = interactions_of(mean_of(trainings))
    assert found is not None and len(found.trainings) == 3
    each = [interactions_of(one) for one in trainings]
    np.testing.assert_allclose(found.values, np.mean([e.values for e in each if e], axis=0))
    assert len(compare(trainings[0], mean_of(trainings[1:])).interactions) == 28


def test_baselines_keep_what_it_takes(tmp_path: Path) -> None:
    from pytest_iaside.testing.spectral import MOST_KEPT, storable

    whole = profile(tables(0))
    path = storable(whole).save(tmp_path / "b")
    loaded = SpectralProfile.load(path)
    assert loaded.log_likelihood is not None and loaded.log_likelihood.dtype == np.float64
    np.testing.assert_allclose(loaded.log_likelihood, whole.log_likelihood, rtol=1e-7)
    assert path.with_suffix(".npz").stat().st_size < 60_000
    assert not any(each.moved for each in compare(whole, loaded).interactions)
    many = replace(whole, log_likelihood=np.zeros((MOST_KEPT // 256 + 1, 256)))
    assert storable(many).log_likelihood is None


def test_a_table_that_is_not_of_these_values_is_refused(tmp_path: Path) -> None:
    from pytest_iaside import BaselineError

    table = tables(0)
    wrong = replace(profile(table), log_likelihood=table[::-1].copy())
    path = wrong.save(tmp_path / "b")
    with pytest.raises(BaselineError, match="table"):
        SpectralProfile.load(path)
