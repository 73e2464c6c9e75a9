"""Pictures of explained images and of their maps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.explain.explanation import Explanation
from pytest_iaside.explain.records import PictureRecord
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.report.charts.heat import MAP_COLOURS, encoded, enlarged, heat, reduced
from pytest_iaside.report.pictures import image_bytes

Picture = NDArray[np.uint8]
SIDE = 112  # pixels of the longer side of a picture in a report


def map_pictures(explanation: Explanation, at: int) -> dict[str, Picture]:
    """The maps of the image at ``at`` as pictures (H, W, 3), by the names of section.TITLES."""
    wavelet, lens = explanation.wavelet, explanation.lens
    found = {"wcam": heat(_logarithm(wavelet.map[at])), "spatial": heat(wavelet.spatial[at])}
    if lens is not None:
        found["sl2"] = heat(np.sqrt(lens.sl2[at]))
        found["arglens"] = heat(lens.arglens[at], top=max(lens.scales) or 1.0)
    return found


def explanation_pictures(
    sample: ReferenceSample, candidate: Explanation, baseline: Explanation | None
) -> list[PictureRecord]:
    """The picture of each image, and the maps of both models."""

    def shown(pixels: Picture, palette: int = 0) -> str:
        return encoded(enlarged(reduced(pixels, SIDE), SIDE // 2), palette=palette)

    def maps(explanation: Explanation, at: int) -> dict[str, str]:
        drawn = map_pictures(explanation, at)
        return {name: shown(each, MAP_COLOURS) for name, each in drawn.items()}

    found: list[PictureRecord] = []
    for at, pixels in enumerate(sample.pixels()):
        record: PictureRecord = {"image": shown(image_of(pixels)), "candidate": maps(candidate, at)}
        if baseline is not None:
            record["baseline"] = maps(baseline, at)
        found.append(record)
    return found


def image_of(pixels: Any) -> Picture:
    """Pixels (C, H, W) in [0, 1] as a picture."""
    return image_bytes(pixels.numpy().transpose(1, 2, 0))


def _logarithm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # Most of every answer comes from the approximation; in logarithms the details are seen too.
    # Three decades below the highest, all is dark.
    floor = 1e-3 * values.max()
    return np.log10(np.maximum(values, floor) / floor) if floor > 0 else values
