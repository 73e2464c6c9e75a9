"""Records of explained images: numbers and a sentence of each, and pictures of its maps."""

from typing import TypedDict

from typing_extensions import NotRequired

Number = float | None


class LevelRecord(TypedDict):
    """One wavelet level's share in an answer; nulls where there is no baseline to compare with."""

    level: int  # 0 is the approximation, then details from coarse to fine.
    title: str  # The level in words.
    candidate: Number  # Its share under the candidate.
    baseline: Number  # Its share under the baseline.
    change: Number  # Candidate less baseline.
    low: Number  # Lower end of the change's interval, which holds for all levels together.
    high: Number  # Upper end of that interval.


class ExplainedImageRecord(TypedDict):
    """What the label's probability comes from in one image."""

    name: str  # What the image is called.
    label: int  # Index of the class that is explained.
    candidate_probability: Number  # What the candidate gives the class.
    baseline_probability: Number  # What the baseline gives it; null where its model is not known.
    sentence: str  # What was found, in words.
    levels: list[LevelRecord]  # Share of each wavelet level, the coarsest first.


class ExplanationRecord(TypedDict):
    """The explained images behind a red gate, or why there are none."""

    why_not: str  # Why nothing is explained; empty where something is.
    level: Number  # Confidence of the intervals.
    candidate: str | None  # What the candidate's model is called.
    baseline: str | None  # What the baseline's model is called; null where it is not known.
    grid: int | None  # Cells on each side of the wavelet plane.
    forward_passes: int  # How many images the models saw for it.
    no_lens_because: str  # Why there are no gradients; empty where there are.
    levels: list[LevelRecord]  # The mean shares over all explained images.
    images: list[ExplainedImageRecord]  # Each of them.


class PictureRecord(TypedDict):
    """One image and the maps of each model by name, base64-encoded PNG."""

    image: str
    candidate: NotRequired[dict[str, str]]
    baseline: NotRequired[dict[str, str]]


def moved(record: LevelRecord) -> bool:
    """Whether the interval of the change leaves out 0."""
    low, high = record["low"], record["high"]
    return low is not None and high is not None and not low <= 0 <= high
