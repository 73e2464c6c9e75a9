"""Which images of a source are taken where there are more than asked for."""

from __future__ import annotations

import numpy as np


def draw(count: int, limit: int | None, seed: int | None) -> list[int]:
    """The places of the images taken, of ``count`` ones, in their order."""
    if limit is None or limit >= count:
        return list(range(count))
    if seed is None:
        return list(range(limit))
    # A permutation rather than a choice: with the same seed, a smaller limit draws a part of
    # what a larger one draws.
    return sorted(np.random.default_rng(seed).permutation(count)[:limit].tolist())
