"""What a game finds: one row for each image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pytest_iaside.stats.arrays import Floats

ARRAYS = ("image_psi", "by_size", "log_likelihood", "log_probabilities")
PASSES = ("forward_passes", "from_cache")


@dataclass(frozen=True, eq=False)
class GameRows:
    """What was found for K images: one row each, all float64."""

    image_psi: Floats
    """(K, M) Shapley values."""
    by_size: Floats
    """(K, M+1) mean log-likelihood of the played coalitions of each size."""
    log_likelihood: Floats
    """(K, S), one column per coalition played."""
    log_probabilities: Floats
    """(K, classes) of the clean images."""
    forward_passes: int
    environment: dict[str, str]
    """What they were found with; changes nothing but the last digits."""
    from_cache: int = 0
    """How many of the forward passes were not run now: what they found had been kept."""

    def __len__(self) -> int:
        return len(self.image_psi)

    def each(self) -> Iterator[GameRows]:
        """The rows of each image by itself."""
        count = len(self)
        for i in range(count):
            passes = {name: getattr(self, name) // count for name in PASSES}
            arrays = {name: getattr(self, name)[i : i + 1] for name in ARRAYS}
            yield replace(self, **arrays, **passes)


def join(rows: list[GameRows]) -> GameRows:
    """Several GameRows joined, the images of one after those of the other."""
    arrays: Any = {name: np.concatenate([getattr(r, name) for r in rows]) for name in ARRAYS}
    return GameRows(
        **arrays,
        **{name: sum(getattr(r, name) for r in rows) for name in PASSES},
        # Several workers may each have another machine.
        environment={
            key: ", ".join(dict.fromkeys(r.environment[key] for r in rows))
            for key in rows[0].environment
        },
    )
