"""Which coalitions are played."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def exact_coalitions(players: int) -> NDArray[np.bool_]:
    """All 2^M coalitions, (2^M, M): row s holds player i when bit i of s is set."""
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


def members(coalition: NDArray[np.bool_]) -> str:
    """A coalition in words for messages: ``{0, 3, 7}``."""
    return "{" + ", ".join(str(i) for i in np.flatnonzero(coalition)) + "}"
