"""Groups of rows that are not independent: crops of one photograph, digits of one writer.

The unit that is drawn at random is then the group, and intervals leave out one group at a time
(SPEC.md 10).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.stats.arrays import Floats

Groups = NDArray[np.int64] | None
"""The group of each row (K,), 0 to G−1 by first appearance; None where every row is its own."""


def joined(keys: Sequence[str], *partitions: Sequence[Hashable]) -> Groups:
    """The groups of the distinct ``keys`` (K,), in the order in which they first come.

    Rows belong together that share a key, or a label in any of ``partitions`` (K,) each: connected
    components, the finest groups that no partition cuts. None where every key is its own.
    """
    places: dict[str, int] = {}
    for key in keys:
        places.setdefault(key, len(places))
    above = list(range(len(places)))

    def root(place: int) -> int:
        while above[place] != place:
            above[place] = above[above[place]]
            place = above[place]
        return place

    for labels in partitions:
        first: dict[Hashable, int] = {}
        for key, label in zip(keys, labels, strict=True):
            one, other = root(places[key]), root(first.setdefault(label, places[key]))
            above[max(one, other)] = min(one, other)
    roots = [root(place) for place in range(len(places))]
    if len(set(roots)) == len(roots):
        return None
    number: dict[int, int] = {}
    return np.array([number.setdefault(each, len(number)) for each in roots], dtype=np.int64)


def of_rows(digests: Sequence[str], groups: Sequence[Hashable] | None) -> Groups:
    """The groups of images (K,), copies of which are rows of their own, but of one group."""
    if groups is None:
        return None
    return joined([str(place) for place in range(len(digests))], groups, digests)


def group_count(groups: Groups, rows: int) -> int:
    """How many groups so many ``rows`` are in."""
    return rows if groups is None else int(groups.max()) + 1


def group_sums(rows: Floats, groups: NDArray[np.int64]) -> Floats:
    """The sum (G, …) of the rows (K, …) of each group."""
    sums = np.zeros((int(groups.max()) + 1, *rows.shape[1:]))
    np.add.at(sums, groups, rows)
    return sums


def typical_size(groups: Groups, rows: int) -> float:
    """The mean size of a row's group, Kish's n̄ = Σn²/K: what a row counts at least, as 1/n̄."""
    if groups is None:
        return 1.0
    return float((np.bincount(groups) ** 2).sum()) / rows


def design_effect(values: Floats, groups: Groups) -> float:
    """How many times as far the mean of ``values`` (K,) in [−1, 1] varies as if rows were alone.

    Between 1 and the typical size of a group. It is the ratio of the two sums of squares, to which
    one more group is added that turned as a whole: few hits turn, and of those that did not nobody
    knows whether they would have turned together. So it is the typical size where none did, and
    comes near to what is seen where many did.
    """
    if groups is None:
        return 1.0
    rows, count = len(values), group_count(groups, len(values))
    size = typical_size(groups, rows)
    if count < 2:
        return size
    centred = values - values.mean()
    together = count / (count - 1) * float((group_sums(centred, groups) ** 2).sum())
    alone = rows / (rows - 1) * float((centred**2).sum())
    return float(np.clip((together + size**2) / (alone + size), 1.0, size))
