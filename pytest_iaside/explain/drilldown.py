"""Explained images in numbers, sentences and pictures; of a red gate, those behind the change."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pytest_iaside.errors import SpectralRobustnessError
from pytest_iaside.explain import records
from pytest_iaside.explain.explanation import Explanation, cost, explain
from pytest_iaside.explain.measurements import level_title
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.report.charts.heat import MAP_COLOURS, encoded, enlarged, heat, reduced
from pytest_iaside.report.pictures import image_bytes
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.testing.red import OPTION, RedGate

Drawn = NDArray[np.uint8]
FEW = 3  # images that are explained where nobody asks for more
EVEN = 0.05  # of its highest value: a map that differs by less is one colour
TELLING = 0.01  # of an answer: a level that gives less is not told of
SIDE = 112  # pixels of the longer side of a picture in a report


def tell_red(red: RedGate) -> tuple[Any, Any]:
    """The record's section "explanation" of a red gate, and its pictures; None each for nothing."""
    try:
        return _explained(red)
    except SpectralRobustnessError as error:
        return _nothing(str(error)), None
    except Exception as error:  # Whatever fails here must not cost the gate its verdict.
        return _nothing(f"{type(error).__name__}: {error}"), None


def _explained(red: RedGate) -> tuple[Any, Any]:
    number, comparison, sample = red.asked, red.comparison, red.sample
    if number == 0 or comparison.image_changes is None:
        return None, None
    if comparison.candidate.model.task == "score":
        return _nothing(
            "a score of your own names no class whose evidence could be looked for"
        ), None
    other = red.other_model()
    if number is None:
        room, one = comparison.candidate.forward_passes, (1 + (other is not None)) * cost(sample, 1)
        number = min(FEW, room // one)
        if number == 0:
            return _nothing(
                f"it would take about {one:,} forward passes for an image, more than the "
                f"{room:,} of the gate; set {OPTION}={FEW} to explain them anyway"
            ), None
    changes = comparison.image_changes.images[:number]
    chosen = sample.take([sample.digests.index(change.digest) for change in changes])
    # What both models were scored on: of a distribution, its likeliest class.
    rows = [comparison.candidate.digests.index(digest) for digest in chosen.digests]
    labels = comparison.candidate.labels[rows]
    labels = np.asarray(labels if labels.ndim == 1 else labels.argmax(axis=1), dtype=np.int64)
    candidate = explain(red.model, chosen, labels, execution=red.execution)
    baseline = None if other is None else explain(other, chosen, labels, execution=red.execution)
    record = explanation_record(candidate, baseline, comparison.level)
    return record, explanation_pictures(chosen, candidate, baseline)


def _nothing(why: str) -> records.ExplanationRecord:
    return {
        "why_not": why,
        "level": None,
        "candidate": None,
        "baseline": None,
        "grid": None,
        "forward_passes": 0,
        "no_lens_because": "",
        "levels": [],
        "images": [],
    }


def explanation_record(
    candidate: Explanation, baseline: Explanation | None, level: float
) -> records.ExplanationRecord:
    """Class, level shares and sentence of every image, in plain values."""
    count = len(candidate.names)
    changes = [level_changes(candidate, baseline, [at], level) for at in range(count)]
    before = [None] * count if baseline is None else baseline.probabilities.tolist()
    return {
        "why_not": "",
        "level": level,
        "candidate": candidate.model,
        "baseline": None if baseline is None else baseline.model,
        "grid": candidate.wavelet.grid,
        "forward_passes": candidate.forward_passes + (baseline.forward_passes if baseline else 0),
        "no_lens_because": candidate.no_lens_because,
        "levels": level_changes(candidate, baseline, range(count), level),
        "images": [
            {
                "name": name,
                "label": int(candidate.classes[at]),
                "candidate_probability": float(candidate.probabilities[at]),
                "baseline_probability": before[at],
                "sentence": sentence(candidate, baseline, at, changes[at]),
                "levels": changes[at],
            }
            for at, name in enumerate(candidate.names)
        ],
    }


def level_changes(
    candidate: Explanation, baseline: Explanation | None, images: Sequence[int], level: float
) -> list[records.LevelRecord]:
    """The mean share of every wavelet level in ``images``, the coarsest first, and its change.

    Intervals at confidence ``level`` hold for all levels together, and are about the masks alone.
    """
    depth = candidate.wavelet.depth
    shares, errors = _mean_shares(candidate, images)
    before: list[records.Number] = [None] * (depth + 1)
    change = low = high = before
    if baseline is not None:
        old, old_errors = _mean_shares(baseline, images)
        each = 1 - (1 - level) / (depth + 1)
        freedom = max(candidate.wavelet.rules.points - 1, 1)
        # Both see the same masks, so the change is less uncertain than this.
        reach = special.stdtrit(freedom, 0.5 + each / 2) * np.hypot(errors, old_errors)
        by = shares - old
        before, change, low, high = (x.tolist() for x in (old, by, by - reach, by + reach))
    return [
        {
            "level": at,
            "title": level_title(at, depth),
            "candidate": float(shares[at]),
            "baseline": before[at],
            "change": change[at],
            "low": low[at],
            "high": high[at],
        }
        for at in range(depth + 1)
    ]


def sentence(
    candidate: Explanation,
    baseline: Explanation | None,
    image: int,
    changes: list[records.LevelRecord],
) -> str:
    """Where, and at which scale, the candidate leans on details more than the baseline does."""
    if baseline is None:
        # Of the details: the coarsest level is most of every answer.
        coarsest = changes[0]
        told = (
            f"The candidate takes {_percent(coarsest['candidate'])} of its answer from "
            f"{coarsest['title']}"
        )
        most = max(changes[1:], key=lambda each: each["candidate"] or 0.0)
        if (most["candidate"] or 0.0) < TELLING:
            return f"{told}."
        return (
            f"{told}, and of the rest most, {_percent(most['candidate'])}, from "
            f"{most['title']}{_around(candidate, image, most, ', ')}."
        )
    risen = [each for each in changes if records.moved(each) and (each["change"] or 0.0) > 0]
    if not risen:
        return (
            "The candidate leans on the same scales as the baseline, as far as the masks that were "
            f"drawn can tell; it gives the label {_percent(candidate.probabilities[image])}, the "
            f"baseline gave it {_percent(baseline.probabilities[image])}."
        )
    most = max(risen, key=lambda each: each["change"] or 0.0)
    return (
        f"The candidate leans on {most['title']}{_around(candidate, image, most, ' ')}: "
        f"{_percent(most['candidate'])} of its answer comes from them; the baseline took "
        f"{_percent(most['baseline'])} from them."
    )


def where(row: float, column: float) -> str:
    """A place in an image in words, from shares of its height and width."""
    vertical = ("top", "", "bottom")[min(int(3 * row), 2)]
    horizontal = ("left", "", "right")[min(int(3 * column), 2)]
    return f"{vertical} {horizontal}".strip() or "centre"


def _around(explanation: Explanation, image: int, change: records.LevelRecord, before: str) -> str:
    place = explanation.place(image, change["level"])
    return "" if place is None else f"{before}around the {where(*place)}"


def _mean_shares(explanation: Explanation, images: Sequence[int]) -> tuple[Floats, Floats]:
    """Mean level shares of ``images``, and their standard errors: masks differ by image."""
    rows, wavelet = list(images), explanation.wavelet
    errors = np.linalg.norm(wavelet.level_errors[rows], axis=0) / len(rows)
    return wavelet.levels[rows].mean(axis=0), errors


def _percent(value: float | None) -> str:
    share = value or 0.0
    return f"{100 * share:.1f}%" if share < 0.1 else f"{100 * share:.0f}%"


def map_pictures(explanation: Explanation, at: int) -> dict[str, Drawn]:
    """The maps of the image at ``at`` as pictures (H, W, 3), by the names of section.TITLES."""
    wavelet, lens = explanation.wavelet, explanation.lens
    found = {"wcam": heat(_logarithm(wavelet.map[at]))}
    spatial = wavelet.spatial[at]
    # Of few cells it is the same everywhere: a square of one colour says nothing.
    if np.ptp(spatial) > EVEN * np.abs(spatial).max():
        found["spatial"] = heat(spatial)
    if lens is not None:
        found["sl2"] = heat(np.sqrt(lens.sl2[at]))
        found["arglens"] = heat(lens.arglens[at], top=max(lens.scales) or 1.0)
    return found


def explanation_pictures(
    sample: ReferenceSample, candidate: Explanation, baseline: Explanation | None
) -> list[records.PictureRecord]:
    """The picture of each image, and the maps of both models."""

    def shown(pixels: Drawn, palette: int = 0) -> str:
        return encoded(enlarged(reduced(pixels, SIDE), SIDE // 2), palette=palette)

    def maps(explanation: Explanation, at: int) -> dict[str, str]:
        drawn = map_pictures(explanation, at)
        return {name: shown(each, MAP_COLOURS) for name, each in drawn.items()}

    found: list[records.PictureRecord] = []
    for at, pixels in enumerate(sample.pixels()):
        found.append({"image": shown(image_of(pixels)), "candidate": maps(candidate, at)})
        if baseline is not None:
            found[-1]["baseline"] = maps(baseline, at)
    return found


def image_of(pixels: Any) -> Drawn:
    """Pixels (C, H, W) in [0, 1] as a picture."""
    return image_bytes(pixels.numpy().transpose(1, 2, 0))


def _logarithm(values: Floats) -> Floats:
    # Most of every answer comes from the approximation; in logarithms the details are seen too.
    # Three decades below the highest, all is dark.
    floor = 1e-3 * values.max()
    return np.log10(np.maximum(values, floor) / floor) if floor > 0 else values
