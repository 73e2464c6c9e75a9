"""Shapley values of coalition games (SPEC.md 1.4, eq. 3)."""

from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from pytest_iaside.measure.game.coalitions import Plan, both_ways, columns_of, exact_coalitions
from pytest_iaside.stats.arrays import Floats


@lru_cache(maxsize=8)
def shapley_weights(players: int) -> Floats:
    """Matrix W (2^M, M) with ψ = v @ W; row s is the coalition whose members are s's bits."""
    present = exact_coalitions(players)
    size = present.sum(axis=1)
    weight = np.array([1.0 / (players * comb(players - 1, s)) for s in range(players)])
    # A coalition counts for each of its members as the larger of a pair, and against each
    # of the others as the smaller.
    gain = weight[np.maximum(size - 1, 0)][:, None]
    loss = weight[np.minimum(size, players - 1)][:, None]
    matrix: Floats = np.where(present, gain, -loss)
    matrix.setflags(write=False)
    return matrix


def shapley_values(values: ArrayLike) -> Floats:
    """Shapley values (…, M) of games given by all their coalitions' values (…, 2^M).

    Column s of ``values`` is the coalition that holds player i when bit i of s is set.
    A constant added to every coalition cancels. Raises ValueError when the number of
    columns is not a power of two.
    """
    values = np.asarray(values, dtype=np.float64)
    players = values.shape[-1].bit_length() - 1
    if players < 1 or values.shape[-1] != 2**players:
        raise ValueError(
            f"{values.shape[-1]} coalition values given; a game of M players has 2^M of them"
        )
    # Relative to the empty coalition first: v(∅) is large against what bands add.
    return np.asarray((values - values[..., :1]) @ shapley_weights(players))


@lru_cache(maxsize=8)
def interaction_weights(players: int) -> Floats:
    """Matrix W (2^M, M, M) of the Shapley interaction index; see ``interaction_index``."""
    present = exact_coalitions(players).astype(bool)
    size = present.sum(axis=1)
    matrix = np.zeros((len(present), players, players))
    for one in range(players):
        for other in range(one):
            members = present[:, [one, other]].sum(axis=1)
            others = size - members  # How many more are in the coalition.
            weight = np.array([1 / ((players - 1) * comb(players - 2, s)) for s in others])
            # Both or neither count for the pair, either alone against it.
            matrix[:, one, other] = matrix[:, other, one] = np.where(members == 1, -weight, weight)
    matrix.setflags(write=False)
    return matrix


def interaction_index(values: ArrayLike) -> Floats:
    """Pairwise Shapley interaction index (…, M, M) of games (…, 2^M) as in ``shapley_values``.

    I_ij = Σ_{S without i, j} |S|!·(M−|S|−2)!/(M−1)! · (v(S∪ij) − v(S∪i) − v(S∪j) + v(S)): above 0
    players are worth more together than apart, below 0 each replaces the other. The diagonal is 0.
    Grabisch and Roubens, International Journal of Game Theory 1999. Raises as ``shapley_values``,
    and ValueError for a single player.
    """
    values = np.asarray(values, dtype=np.float64)
    players = values.shape[-1].bit_length() - 1
    if players < 2 or values.shape[-1] != 2**players:
        raise ValueError(
            f"{values.shape[-1]} coalition values given; a game of M players, two or more, has "
            "2^M of them"
        )
    return np.asarray(np.tensordot(values - values[..., :1], interaction_weights(players), axes=1))


def plan_weights(plan: Plan, *, ways: int = 1) -> Floats:
    """Matrix W (S, M) with ψ = v @ W for the coalitions of ``plan``: exact, or unbiased.

    Along an order every player is credited with what it adds on arrival, so Σψ is
    v(all) − v(∅) for each image whatever was drawn. The circle of the design ``latin`` can be read
    in both ``ways``: what is played is the same, and ψ of games without terms of three players or
    more are exact.
    """
    players = plan.coalitions.shape[1]
    if plan.orders is None:
        return shapley_weights(players)
    orders = plan.orders if ways == 1 else both_ways(plan.orders)
    row = {int(column): at for at, column in enumerate(columns_of(plan.coalitions))}
    weights = np.zeros((len(plan.coalitions), players))
    for order in orders.tolist():
        present = 0
        for player in order:
            weights[row[present], player] -= 1 / len(orders)
            present |= 1 << player
            weights[row[present], player] += 1 / len(orders)
    return weights


def mean_by_size(plan: Plan, values: Floats) -> Floats:
    """Mean value (…, M+1) of the played coalitions of each size, from ``values`` (…, S)."""
    size = plan.coalitions.sum(axis=1)
    sizes = range(plan.coalitions.shape[1] + 1)
    return np.stack([values[..., size == s].mean(axis=-1) for s in sizes], axis=-1)
