"""Explanations of images as reports hold them: numbers and a sentence, and pictures of the maps."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.report.charts.heat import encoded, enlarged, heat, png, reduced

if TYPE_CHECKING:
    from pytest_iaside.explain.explanation import Explanation
    from pytest_iaside.images.reference import ReferenceSample

SIDE = 112  # pixels of the longer side of a picture in a report

TITLES = {
    "wcam": "WCAM",
    "spatial": "WCAM in place",
    "sl2": "SpectralLens",
    "arglens": "ArgLens",
}


def diagnosis_facts(
    candidate: Explanation, baseline: Explanation | None, level: float
) -> dict[str, Any]:
    """Every image's class, level shares and sentence, in plain values."""
    # Here, where a model has run: the controller of xdist's workers draws reports without torch.
    from pytest_iaside.explain.sentences import level_changes, mean_changes, sentence

    images = []
    for at, name in enumerate(candidate.names):
        changes = level_changes(candidate, baseline, at, level)
        images.append(
            {
                "name": name,
                "class": int(candidate.classes[at]),
                "candidate_probability": float(candidate.probabilities[at]),
                "baseline_probability": None
                if baseline is None
                else float(baseline.probabilities[at]),
                "sentence": sentence(candidate, baseline, at, changes),
                "levels": [asdict(each) for each in changes],
            }
        )
    return {
        "level": level,
        "candidate": candidate.model,
        "baseline": None if baseline is None else baseline.model,
        "grid": candidate.wavelet.grid,
        "forward_passes": sum(_passes(each) for each in (candidate, baseline) if each is not None),
        "no_lens_because": candidate.no_lens_because,
        "levels": [asdict(each) for each in mean_changes(candidate, baseline, level)],
        "images": images,
    }


def diagnosis_pictures(
    sample: ReferenceSample, candidate: Explanation, baseline: Explanation | None
) -> list[dict[str, Any]]:
    """For each image its own picture, and the maps of both models, base64-encoded PNG."""
    found = []
    for at in range(len(sample)):
        shown: dict[str, Any] = {"image": _shown(image_pixels(sample, at))}
        for role, each in (("candidate", candidate), ("baseline", baseline)):
            if each is not None:
                shown[role] = {
                    name: _shown(map_, palette=True)
                    for name, map_ in map_pictures(each, at).items()
                }
        found.append(shown)
    return found


def image_pixels(sample: ReferenceSample, at: int) -> NDArray[np.uint8]:
    """The picture (H, W, 3) of an image; of two channels, or more than three, the first."""
    pixels = sample.pixels(at, at + 1)[0].numpy().transpose(1, 2, 0)
    pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)
    return np.asarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


def map_pictures(explanation: Explanation, at: int) -> dict[str, NDArray[np.uint8]]:
    """The maps of an image as pictures (H, W, 3), by the names of ``TITLES``."""
    wavelet, lens = explanation.wavelet, explanation.lens
    # The approximation holds most of every answer; in logarithms the details are seen too.
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


def _shown(pixels: NDArray[np.uint8], *, palette: bool = False) -> str:
    return encoded(png(enlarged(reduced(pixels, SIDE), SIDE // 2), palette=palette))


def _passes(explanation: Explanation) -> int:
    lens = explanation.lens
    return explanation.wavelet.forward_passes + (0 if lens is None else lens.forward_passes)
