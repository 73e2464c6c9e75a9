"""A game that is played a few coalitions at a time."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from changed_models import images
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pytest_iaside import BaselineError, Classifier, Execution, ReferenceSample, compare, measure
from pytest_iaside.measure.game.coalitions import (
    Plan,
    both_ways,
    columns_of,
    exact_coalitions,
    plan,
)
from pytest_iaside.measure.game.growing import GrowingGame, ends_along, ends_of, read_by, read_off
from pytest_iaside.measure.game.play import Game
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.game.shapley import plan_weights, shapley_values


@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_over_all_circles_the_mean_is_shapleys(players: int) -> None:
    values = np.random.default_rng(players).normal(size=2**players)
    every = []
    for first in itertools.permutations(range(players)):
        orders = np.stack([np.roll(first, -start) for start in range(players)])
        arrival = np.argsort(orders, axis=1)
        begun = arrival[:, None, :] < np.arange(1, players)[:, None]
        ends = np.array([[False], [True]]).repeat(players, axis=1)
        drawn = Plan(np.concatenate([ends, begun.reshape(-1, players)]), orders)
        every.append(values[columns_of(drawn.coalitions)] @ plan_weights(drawn, ways=2))
    np.testing.assert_allclose(np.mean(every, axis=0), shapley_values(values), atol=1e-12)


@given(st.integers(2, 7), st.text(max_size=4), st.integers(0, 100))
def test_of_pairs_that_need_each_other_every_circle_is_exact(
    players: int, key: str, seed: int
) -> None:
    """Either of a pair arrives last along half of the ways: no noise up to second order."""
    random = np.random.default_rng(seed)
    one, two = random.normal(size=players), random.normal(size=(players, players))
    present = exact_coalitions(players).astype(float)
    values = 3.0 + present @ one + np.einsum("si,ij,sj->s", present, two, present)
    rules = Rules(bands=players, seed=seed)
    psi, by_size = read_off(values[None], read_by("latin", rules), [key])
    np.testing.assert_allclose(psi, shapley_values(values)[None], atol=1e-9)
    assert by_size.shape == (1, players + 1)
    np.testing.assert_allclose(by_size[0, [0, -1]], values[[0, -1]])


def test_ways_are_the_beginnings_of_arcs_of_one_circle() -> None:
    latin = plan("latin", 5, "key")
    assert latin.orders is not None
    ways = both_ways(latin.orders)
    assert sorted(map(tuple, ways)) == sorted(set(map(tuple, ways))) and len(ways) == 10
    begun = {int(number) for number in np.cumsum(1 << ways, axis=1).ravel()}
    assert begun | {0} == set(columns_of(latin.coalitions).tolist())
    # One player each, and all but one, among them.
    assert {1 << i for i in range(5)} | {31 - (1 << i) for i in range(5)} < begun


class Pairs(nn.Module):
    """Depends on products of what it sees, so that bands need each other."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(600, 8),
            nn.ReLU(),
            nn.Linear(8, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


def game(sample: ReferenceSample, bands: int = 4, **rules: Any) -> Game:
    temperature = rules.pop("temperature", 1.0)
    execution = Execution(backend="eager")
    return Game(
        Classifier(Pairs()), Rules(bands=bands, **rules), execution, sample, sample, temperature
    )


@pytest.mark.parametrize(
    ("rules", "labels"),
    [({}, [0, 1, 2, 3]), ({"temperature": 2.0}, None), ({"absence": "gaussian", "seed": 3}, None)],
)
def test_all_of_it_is_the_exact_game(rules: dict[str, Any], labels: list[int] | None) -> None:
    sample = images(4, labels=labels)
    growing = GrowingGame(game(sample, **rules))
    temperature = rules.pop("temperature", 1.0)
    exact = measure(
        Pairs(),
        sample,
        bands=4,
        temperature=temperature,
        execution=Execution(backend="eager"),
        **rules,
    )
    assert exact.log_likelihood is not None
    ends = growing.ends()
    assert (ends.log_likelihood.shape, growing.passes) == ((4, 12), 4 * 13)
    assert np.isnan(growing.table).sum() == 4 * 4
    one = growing.along("antithetic")
    assert one.log_likelihood.shape == (4, 8)
    psi, by_size = read_off(
        exact.log_likelihood, read_by("antithetic", exact.rules), sample.digests
    )
    np.testing.assert_allclose(one.image_psi, psi, atol=1e-5)
    np.testing.assert_allclose(one.by_size, by_size, atol=1e-5)
    arcs = growing.along("latin")
    # The image as it is was run once, and so was every coalition.
    assert (arcs.log_likelihood.shape, growing.passes) == ((4, 14), 4 * 15)
    psi, by_size = read_off(exact.log_likelihood, read_by("latin", exact.rules), sample.digests)
    np.testing.assert_allclose(arcs.image_psi, psi, atol=1e-5)
    np.testing.assert_allclose(arcs.by_size, by_size, atol=1e-5)
    every = growing.everything()
    assert (growing.passes, every.forward_passes) == (4 * 17, 4 * 17)
    np.testing.assert_allclose(every.log_likelihood, exact.log_likelihood, atol=1e-5)
    np.testing.assert_allclose(every.image_psi, exact.image_psi, atol=1e-5)
    np.testing.assert_allclose(every.by_size, exact.by_size, atol=1e-5)
    np.testing.assert_allclose(arcs.image_psi.sum(axis=1), every.image_psi.sum(axis=1), atol=1e-9)


@pytest.mark.parametrize(("bands", "saves"), [(4, False), (5, False), (6, True), (8, True)])
def test_arcs_save_something_of_six_bands_or_more(bands: int, saves: bool) -> None:
    assert GrowingGame(game(images(2), bands)).saves is saves


def test_arcs_are_kept_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(tmp_path))
    sample = images(4)
    first = GrowingGame(game(sample), cached=True)
    found = first.along("latin")
    assert (first.passes, found.from_cache) == (4 * 15, 0)
    told: list[tuple[int, int, int]] = []
    again = GrowingGame(game(sample), cached=True, told=lambda *each: told.append(each))
    assert again.complete("latin") and not again.complete("antithetic")
    kept = again.along("latin")
    assert (again.passes, kept.from_cache, told) == (0, 4 * 15, [])
    np.testing.assert_array_equal(kept.image_psi, found.image_psi)
    # From there it goes on.
    np.testing.assert_allclose(again.everything().image_psi, first.everything().image_psi)
    assert told[-1] == (4, 4, 4 * 2)


def test_what_is_kept_along_arcs_is_the_latin_game(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(tmp_path))
    sample = images(3)
    found = GrowingGame(game(sample), cached=True).along("latin")
    run = Execution(backend="eager")
    latin = measure(Pairs(), sample, bands=4, design="latin", cache=True, execution=run)
    assert (latin.rules.ways, latin.passes_from_cache) == (2, 3 * 15)
    np.testing.assert_array_equal(latin.image_psi, found.image_psi)


def test_an_old_latin_baseline_is_read_one_way() -> None:
    """As version 0.1 read it: the same coalitions, and the same ψ, to the last digits."""
    sample, run = images(6), Execution(backend="eager")
    both = measure(Pairs(), sample, bands=6, design="latin", execution=run)
    old = replace(both, rules=replace(both.rules, ways=None))
    one = measure(Pairs(), sample, bands=6, design="latin", execution=run, labels_from=old)
    assert (one.rules.ways, "ways" in one.rules.as_dict()) == (None, False)
    assert (one.image_psi != both.image_psi).any()
    np.testing.assert_allclose(one.image_value, both.image_value, atol=1e-6)
    exact = measure(Pairs(), sample, bands=6, design="exact", execution=run)
    assert exact.log_likelihood is not None
    for row, digest in enumerate(sample.digests):
        drawn = plan("latin", 6, f"0 {digest}")
        values = exact.log_likelihood[row][columns_of(drawn.coalitions)]
        np.testing.assert_allclose(values @ plan_weights(drawn), one.image_psi[row], atol=1e-5)
    off = [np.abs(each.image_psi - exact.image_psi).mean() for each in (one, both)]
    assert off[1] < 0.7 * off[0]  # What is read both ways is nearer.
    with pytest.raises(BaselineError, match="candidate both ways, baseline one way"):
        compare(both, old)


def test_workers_find_the_same() -> None:
    from concurrent.futures import ThreadPoolExecutor

    sample = images(12)
    alone = GrowingGame(game(sample)).along("latin")
    with ThreadPoolExecutor(1) as executor:
        one = game(sample)
        execution = Execution(backend="eager", executor=executor)
        spread = GrowingGame(
            Game(one.classifier, one.rules, execution, one.sample, one.whole)
        ).along("latin")
    np.testing.assert_allclose(spread.image_psi, alone.image_psi, atol=1e-6)


def test_circles_that_are_read_otherwise_are_measured_again() -> None:
    """No setting says how a circle is read: version 0.1 read it one way."""
    both, one = Rules(bands=6, design="latin", ways=2), Rules(bands=6, design="latin")
    (told,) = both.differences(one)
    assert told == (
        "how the circle of design 'latin' is read: candidate both ways, baseline one way "
        "(version 0.1 read it one way: measure anew)"
    )
    assert both.differences(both) == one.differences(one) == []
    (told,) = both.differences(Rules(bands=6, design="exact"))
    assert told == "design: candidate 'latin', baseline 'exact'"


@given(st.integers(4, 10), st.text(max_size=4), st.integers(0, 100))
def test_ends_lie_along_arcs_and_two_between_them(bands: int, digest: str, seed: int) -> None:
    rules = Rules(bands=bands, seed=seed)
    (found,) = ends_along(rules, [digest])
    assert len(set(found)) == len(found) == ends_of(bands) == 2 * bands + 4
    order, arcs = (
        set(columns_of(plan(design, bands, f"{seed} {digest}").coalitions))
        for design in ("antithetic", "latin")
    )
    assert order < arcs and set(found) < arcs
    size = exact_coalitions(bands).sum(axis=1)[found]
    between = (size > 1) & (size < bands - 1)
    assert between.sum() == 2 and set(found[between]) <= order
    np.testing.assert_array_equal(found, ends_along(rules, [digest])[0])
