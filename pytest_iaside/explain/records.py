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
    """One wavelet level's share in an answer; nulls where there is no baseline to compare with."""

    level: int
    """0 is the approximation, then details from coarse to fine."""
    title: str
    """The level in words."""
    candidate: Number
    """Its share under the candidate."""
    baseline: Number
    """Its share under the baseline."""
    change: Number
    """Candidate less baseline."""
    low: Number
    """Lower end of the change's interval, which holds for all levels together."""
    high: Number
    """Upper end of that interval."""


class ExplainedImageRecord(TypedDict):
    """What the label's probability comes from in one image."""

    name: str
    """What the image is called."""
    label: int
    """Index of the class that is explained."""
    candidate_probability: Number
    """What the candidate gives the class."""
    baseline_probability: Number
    """What the baseline gives it; null where its model is not known."""
    sentence: str
    """What was found, in words."""
    levels: list[LevelRecord]
    """Share of each wavelet level, the coarsest first."""


class ExplanationRecord(TypedDict):
    """The explained images behind a red gate, or why there are none."""

    why_not: str
    """Why nothing is explained; empty where something is."""
    level: Number
    """Confidence of the intervals."""
    candidate: str | None
    """What the candidate's model is called."""
    baseline: str | None
    """What the baseline's model is called; null where it is not known."""
    grid: int | None
    """Cells on each side of the wavelet plane."""
    forward_passes: int
    """How many images the models saw for it."""
    no_lens_because: str
    """Why there are no gradients; empty where there are."""
    levels: list[LevelRecord]
    """The mean shares over all explained images."""
    images: list[ExplainedImageRecord]
    """Each of them."""


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
                "label": int(candidate.classes[at]),
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
    from pytest_iaside.explain.pictures import map_pictures
    from pytest_iaside.report.charts.heat import MAP_COLOURS, encoded, enlarged, reduced
    from pytest_iaside.report.pictures import image_bytes

    def shown(pixels: Any, palette: int = 0) -> str:
        return encoded(enlarged(reduced(pixels, SIDE), SIDE // 2), palette=palette)

    found: list[PictureRecord] = []
    for at in range(len(sample)):
        picture = image_bytes(sample.pixels(at, at + 1)[0].numpy().transpose(1, 2, 0))
        record: Any = {"image": shown(picture)}
        for role, each in (("candidate", candidate), ("baseline", baseline)):
            if each is not None:
                maps = map_pictures(each, at)
                record[role] = {name: shown(drawn, MAP_COLOURS) for name, drawn in maps.items()}
        found.append(record)
    return found


def _passes(explanation: Explanation) -> int:
    lens = explanation.lens
    return explanation.wavelet.forward_passes + (0 if lens is None else lens.forward_passes)
