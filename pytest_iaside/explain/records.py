"""Records of explained images: numbers and a sentence of each, and pictures of its maps."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    from pytest_iaside.explain.explanation import Explanation
    from pytest_iaside.images.reference import ReferenceSample

Number = float | None
SIDE = 112  # pixels of the longer side of a picture in a report


class LevelRecord(TypedDict):
    """The share of one wavelet level in an answer, and its change (explain/sentences.py)."""

    level: int
    title: str
    candidate: Number
    baseline: Number
    change: Number
    low: Number
    high: Number


# Not a class: "class" is no name for a field of one.
ExplainedImageRecord = TypedDict(
    "ExplainedImageRecord",
    {
        "name": str,
        "class": int,
        "candidate_probability": Number,
        "baseline_probability": Number,
        "sentence": str,
        "levels": list[LevelRecord],
    },
)
ExplainedImageRecord.__doc__ = "One image: the class that is explained, and where it comes from."


class ExplanationRecord(TypedDict):
    """The explained images behind a red gate, or why there are none."""

    why_not: str
    level: Number
    candidate: str | None
    baseline: str | None
    grid: int | None
    forward_passes: int
    no_lens_because: str
    levels: list[LevelRecord]
    images: list[ExplainedImageRecord]


class PictureRecord(TypedDict):
    """One image and the maps of each model by name, base64-encoded PNG."""

    image: str
    candidate: NotRequired[dict[str, str]]
    baseline: NotRequired[dict[str, str]]


def explanation_record(
    candidate: Explanation, baseline: Explanation | None, level: float
) -> ExplanationRecord:
    """Class, level shares and sentence of every image, in plain values."""
    # Here, where a model has run: the controller of xdist's workers draws reports without torch.
    from pytest_iaside.explain.sentences import level_changes, mean_changes, sentence

    images: Any = []
    for at, name in enumerate(candidate.names):
        changes = level_changes(candidate, baseline, at, level)
        before = None if baseline is None else float(baseline.probabilities[at])
        images.append(
            {
                "name": name,
                "class": int(candidate.classes[at]),
                "candidate_probability": float(candidate.probabilities[at]),
                "baseline_probability": before,
                "sentence": sentence(candidate, baseline, at, changes),
                "levels": [asdict(each) for each in changes],
            }
        )
    levels: Any = [asdict(each) for each in mean_changes(candidate, baseline, level)]
    return {
        "why_not": "",
        "level": level,
        "candidate": candidate.model,
        "baseline": None if baseline is None else baseline.model,
        "grid": candidate.wavelet.grid,
        "forward_passes": sum(_passes(each) for each in (candidate, baseline) if each is not None),
        "no_lens_because": candidate.no_lens_because,
        "levels": levels,
        "images": images,
    }


def explanation_pictures(
    sample: ReferenceSample, candidate: Explanation, baseline: Explanation | None
) -> list[PictureRecord]:
    """The picture of each image, and the maps of both models."""
    from pytest_iaside.explain.page import image_pixels, map_pictures
    from pytest_iaside.report.charts.heat import encoded, enlarged, png, reduced

    def shown(pixels: Any, *, palette: bool = False) -> str:
        return encoded(png(enlarged(reduced(pixels, SIDE), SIDE // 2), palette=palette))

    found: list[PictureRecord] = []
    for at in range(len(sample)):
        maps: Any = {
            role: {n: shown(drawn, palette=True) for n, drawn in map_pictures(each, at).items()}
            for role, each in (("candidate", candidate), ("baseline", baseline))
            if each is not None
        }
        maps["image"] = shown(image_pixels(sample.pixels(at, at + 1)[0]))
        found.append(maps)
    return found


def _passes(explanation: Explanation) -> int:
    lens = explanation.lens
    return explanation.wavelet.forward_passes + (0 if lens is None else lens.forward_passes)
