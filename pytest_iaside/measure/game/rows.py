"""What a game finds: one row for each image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pytest_iaside.stats.arrays import Floats


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
            yield replace(
                self,
                image_psi=self.image_psi[i : i + 1],
                by_size=self.by_size[i : i + 1],
                log_likelihood=self.log_likelihood[i : i + 1],
                log_probabilities=self.log_probabilities[i : i + 1],
                forward_passes=self.forward_passes // count,
                from_cache=self.from_cache // count,
            )


def join(rows: list[GameRows]) -> GameRows:
    """Several GameRows joined, the images of one after those of the other."""
    return GameRows(
        image_psi=np.concatenate([r.image_psi for r in rows]),
        by_size=np.concatenate([r.by_size for r in rows]),
        log_likelihood=np.concatenate([r.log_likelihood for r in rows]),
        log_probabilities=np.concatenate([r.log_probabilities for r in rows]),
        forward_passes=sum(r.forward_passes for r in rows),
        from_cache=sum(r.from_cache for r in rows),
        # Several workers may each have another machine.
        environment={
            key: ", ".join(dict.fromkeys(r.environment[key] for r in rows))
            for key in rows[0].environment
        },
    )
