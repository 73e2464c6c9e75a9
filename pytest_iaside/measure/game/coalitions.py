"""Which coalitions are played: all of them, or those along sampled orders (designs)."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Design = Literal["auto", "exact", "latin", "permutation", "antithetic"]
# Up to here all coalitions are played by default: 1,024 passes an image.
EXACT_BANDS = 10


@dataclass(frozen=True, eq=False)
class Plan:
    """The coalitions (S, M) played for one image, the empty and the full one among them.

    ``orders`` (P, M) are the orders in which players arrive, where not all coalitions are
    played; rows 2 + p·(M−1) … of ``coalitions`` are then the beginnings of order p.
    """

    coalitions: NDArray[np.bool_]
    orders: NDArray[np.int64] | None = None


def exact_coalitions(players: int) -> NDArray[np.bool_]:
    """All 2^M coalitions, (2^M, M): row s holds player i when bit i of s is set."""
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


def plan(design: Design, players: int, key: str) -> Plan:
    """The coalitions of ``design``; what is drawn depends on ``key`` and on nothing else.

    ``auto`` is ``exact`` up to 10 players and ``latin`` beyond. ``exact`` plays all 2^M. The
    others play orders, all unbiased: ``permutation`` M of them, M·(M−1) + 2 coalitions, drawn
    independently; ``latin`` as many, of one circular arrangement that starts at each player in
    turn, so that everyone arrives once at every place; ``antithetic`` one and its reverse, 2·M.
    """
    if resolved(design, players) == "exact":
        return Plan(exact_coalitions(players))
    first = _order(players, key)
    if resolved(design, players) == "latin":
        orders = np.stack([np.roll(first, -start) for start in range(players)])
    elif design == "antithetic":
        orders = np.stack([first, first[::-1]])
    else:
        orders = np.stack([_order(players, f"{key} {draw}") for draw in range(players)])
    arrival = np.argsort(orders, axis=1)
    beginnings = arrival[:, None, :] < np.arange(1, players)[:, None]
    ends = np.array([[False], [True]]).repeat(players, axis=1)
    return Plan(np.concatenate([ends, beginnings.reshape(-1, players)]), orders)


def both_ways(orders: NDArray[np.int64]) -> NDArray[np.int64]:
    """Orders (2·M, M): those of the design ``latin``, and their circle followed the other way.

    Beginnings of both are arcs of one circle: no coalition is played for the second half.
    """
    back = orders[0][::-1]
    return np.concatenate([orders, [np.roll(back, -start) for start in range(len(back))]])


def columns_of(coalitions: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Numbers (S,) of coalitions (S, M) among all: bit i is set where player i is there."""
    return coalitions.astype(np.int64) @ (1 << np.arange(coalitions.shape[1]))


def resolved(design: Design, players: int) -> Design:
    """``design``, with ``auto`` decided."""
    if design != "auto":
        return design
    return "exact" if players <= EXACT_BANDS else "latin"


def members(coalition: NDArray[np.bool_]) -> str:
    """A coalition in words for messages: ``{0, 3, 7}``."""
    return "{" + ", ".join(str(i) for i in np.flatnonzero(coalition)) + "}"


def _order(players: int, key: str) -> NDArray[np.int64]:
    # By hash, not by a random generator: a baseline must meet the same coalitions again under
    # another version of numpy.
    draws = [hashlib.sha256(f"{key} {player}".encode()).digest() for player in range(players)]
    return np.array(sorted(range(players), key=draws.__getitem__), dtype=np.int64)
