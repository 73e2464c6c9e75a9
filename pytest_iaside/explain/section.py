"""What a report shows of the images of a red gate that were explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_iaside.compare.words import confidence
from pytest_iaside.explain.records import TITLES
from pytest_iaside.report.gates import Gate
from pytest_iaside.report.images import Picture
from pytest_iaside.report.numbers import NONE, count, share
from pytest_iaside.report.tables import Cell, Table


@dataclass(frozen=True)
class ExplainedImage:
    """One image: what is told of it, its pictures row by row, and its levels in numbers."""

    name: str
    sentence: str
    picture: Picture | None
    rows: list[tuple[str, list[Picture]]]
    """The maps of each model, under its role."""
    levels: Table


@dataclass(frozen=True)
class Diagnosis:
    """The explained images of a gate, or why there are none."""

    about: str
    finding: str
    levels: Table | None
    """Mean shares of the explained images, where there are several."""
    images: list[ExplainedImage]


def diagnosis_of(gate: Gate, *, pictures: bool) -> Diagnosis | None:
    """What was explained for ``gate``; None where nothing was to be."""
    facts = gate.record["diagnosis"]
    if not facts:
        return None
    if facts["why_not"]:
        return Diagnosis(f"Not explained: {facts['why_not']}.", "", None, [])
    shown = gate.record["diagnosis_pictures"] if pictures else None
    images = [
        explained_image(image, shown[at] if shown else None, facts["level"])
        for at, image in enumerate(facts["images"])
    ]
    several = len(images) > 1
    return Diagnosis(
        about(facts),
        _finding(facts) if several else "",
        level_table(facts, facts["level"]) if several else None,
        images,
    )


def _finding(facts: Mapping[str, Any]) -> str:
    """What changed over the explained images together."""
    if facts["baseline"] is None:
        return ""
    moved = [each for each in facts["levels"] if not each["low"] <= 0 <= each["high"]]
    if not moved:
        return (
            f"Over these {len(facts['images'])} images no level's share changed by more than its "
            "interval: the change is one of strength, not of scale, as far as this can tell."
        )
    told = "; ".join(
        f"{each['title']} {share(each['baseline'])} → {share(each['candidate'])}" for each in moved
    )
    return f"Over these {len(facts['images'])} images the answer's sources moved: {told}."


def about(facts: Mapping[str, Any]) -> str:
    """How the explanations came about."""
    both = "of both models" if facts["baseline"] else "of the candidate alone"
    text = (
        f"What the label's probability comes from, {both}: wavelet cells "
        f"({facts['grid']}×{facts['grid']}, WCAM, arXiv 2305.14979) and gradients over scales of "
        f"noise (SpectralLens, arXiv 2508.10595); {count(facts['forward_passes'])} forward passes. "
        "WCAM: light cells count, the coarsest top left, on a logarithmic scale; single ones are "
        "about 40% uncertain. SpectralLens: light where gradients are strong; ArgLens: light where "
        "they are strongest under much noise, where the model is smooth. Intervals are about the "
        "drawn masks, for these very images."
    )
    if facts["no_lens_because"]:
        text += f" No lens: {facts['no_lens_because']}."
    return text


def explained_image(
    facts: Mapping[str, Any], pictures: Mapping[str, Any] | None, level: float
) -> ExplainedImage:
    """One image's facts, and its pictures where there is room for them."""
    name = facts["name"]
    rows = []
    for role in ("baseline", "candidate"):
        if pictures and (maps := pictures.get(role)):
            rows.append(
                (
                    role,
                    [
                        Picture(TITLES[m], content, f"{role}, {name}: {TITLES[m]}")
                        for m, content in maps.items()
                    ],
                )
            )
    picture = Picture("image", pictures["image"], f"{name}") if pictures else None
    return ExplainedImage(name, facts["sentence"], picture, rows, level_table(facts, level))


def level_table(facts: Mapping[str, Any], level: float) -> Table:
    """The share of each wavelet level in an image's answer."""
    paired = any(each["baseline"] is not None for each in facts["levels"])
    head = ("level", "baseline", "candidate", "change", confidence(level), "")
    rows = []
    for each in facts["levels"]:
        title, candidate = f"{each['level']}: {each['title']}", share(each["candidate"])
        if not paired:
            rows.append([Cell(title), Cell(candidate)])
            continue
        low, high = each["low"], each["high"]
        moved = not low <= 0 <= high
        interval = f"{_points(low)}…{_points(high)}"
        word = ("▲ rose" if each["change"] > 0 else "▼ fell") if moved else ""
        rows.append(
            [
                Cell(title),
                Cell(share(each["baseline"])),
                Cell(candidate),
                Cell(_points(each["change"])),
                Cell(interval),
                Cell(word, "differs" if moved else ""),
            ]
        )
    return Table(head if paired else ("level", "candidate"), rows)


def _points(value: Any) -> str:
    return NONE if value is None else f"{100 * value:+.1f}%".replace("-", "−")
