"""Pictures of the maps of an explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.report.charts.heat import heat

if TYPE_CHECKING:
    from pytest_iaside.explain.explanation import Explanation


def map_pictures(explanation: Explanation, at: int) -> dict[str, NDArray[np.uint8]]:
    """The maps of the image at ``at`` as pictures (H, W, 3), by the names of section.TITLES."""
    wavelet, lens = explanation.wavelet, explanation.lens
    # Most of every answer comes from the approximation; in logarithms the details are seen too.
    found = {
        "wcam": heat(_logarithm(wavelet.map[at])),
        "spatial": heat(wavelet.spatial[at]),
    }
    if lens is not None:
        found["sl2"] = heat(np.sqrt(lens.sl2[at]))
        found["arglens"] = heat(lens.arglens[at], top=max(lens.scales) or 1.0)
    return found


def _logarithm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # Three decades below the highest, all is dark.
    floor = 1e-3 * values.max()
    return np.log10(np.maximum(values, floor) / floor) if floor > 0 else values
