"""The images behind a change, as the HTML report shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from markupsafe import Markup

from pytest_iaside.report.charts.svg import spark
from pytest_iaside.report.figures import Table
from pytest_iaside.report.gates import Gate
from pytest_iaside.report.numbers import finite, finite_list, fixed, share, signed
from pytest_iaside.report.pictures import CONTRAST, band_masks
from pytest_iaside.report.record import (
    ImageRecord,
    MeasurementRecord,
    Number,
    PicturesRecord,
    SpectralRecord,
)

LEAST = 1e-3  # a change, in nats or of a score, that is worth a share
VISIBLE = 0.005  # share of a change that is not rounded to 0 %
FEWEST = 3
# What each part of a picture is called; the whole comes first.
TITLES = {"whole": "all bands", "low": "low", "middle": "middle", "high": "high"}


@dataclass(frozen=True)
class ImageRow:
    """One image: what it is, what it adds, and its own ψ, baseline beside candidate."""

    name: str
    label: str
    thumbnail: str
    contribution: str
    share: str
    chart: Markup


@dataclass(frozen=True)
class Picture:
    """A PNG, base64-encoded, with what it shows; width and height in its pixels."""

    title: str
    content: str
    alt: str


@dataclass(frozen=True)
class Images:
    """Everything shown of the images of one gate."""

    about: str
    head: str
    rows: list[ImageRow]
    numbers: Table
    masks: list[Picture]
    examples: list[tuple[str, list[Picture]]]
    """Names of images, and what is left of each in some bands."""
    examples_about: str


def images_of(gate: Gate, *, thumbnails: bool, examples: bool) -> Images | None:
    """What ``gate`` says of single images; None where it says nothing of them."""
    changes = gate.comparison["image_changes"] if gate.comparison else None
    if changes is None or gate.candidate is None or gate.candidate["spectral"] is None:
        return None
    pictures = gate.record.get("pictures")
    small = pictures["thumbnails"] if pictures and thumbnails else {}
    change, unit = finite(changes["change"]), changes["unit"]
    listed = _worth_a_row(changes["images"], change)
    scale = _largest(listed)
    rows = [
        ImageRow(
            name=image["name"],
            label="" if image["label"] is None else str(image["label"]),
            thumbnail=small.get(image["digest"], ""),
            contribution=signed(image["contribution"], 4),
            share=_share(image["contribution"], change),
            chart=spark(
                finite_list(image["baseline_psi"]), finite_list(image["candidate_psi"]), scale
            ),
        )
        for image in listed
    ]
    shown, count = len(rows), changes["count"]
    several = f"The {shown} of {count} images that add" if shown < count else "What each image adds"
    about = f"{several} {'most ' if shown < count else ''}to the change of {changes['quantity']}"
    about += f" ({signed(change)}{f' {unit}' if unit else ''}), the most harmful first."
    return Images(
        about=about,
        head=f"adds{f', {unit}' if unit else ''}",
        rows=rows,
        numbers=_numbers(listed, len(gate.candidate["spectral"]["psi"])),
        masks=_masks(gate.candidate, gate.candidate["spectral"]),
        examples=_examples(pictures) if pictures and examples else [],
        examples_about=_examples_about(pictures) if pictures else "",
    )


def _worth_a_row(images: Sequence[ImageRecord], change: float | None) -> Sequence[ImageRecord]:
    """Those that add something that can be seen, and a few at least."""
    if change is None or abs(change) < LEAST:
        return images
    seen = [
        image
        for image in images
        if (part := finite(image["contribution"])) is not None and part / change >= VISIBLE
    ]
    return seen if len(seen) >= FEWEST else images[:FEWEST]


def _share(contribution: Number, change: float | None) -> str:
    part = finite(contribution)
    # A share of almost nothing says nothing.
    if part is None or change is None or abs(change) < LEAST:
        return share(None)
    return share(part / change, 0)


def _largest(images: Sequence[ImageRecord]) -> tuple[float, float]:
    values = [
        value
        for image in images
        for value in finite_list([*image["baseline_psi"], *image["candidate_psi"]])
        if value is not None
    ]
    return min(values, default=0.0), max(values, default=0.0)


def _numbers(images: Sequence[ImageRecord], bands: int) -> Table:
    rows = [
        [
            image["name"],
            *(
                f"{fixed(before, 2)} → {fixed(after, 2)}"
                for before, after in zip(image["baseline_psi"], image["candidate_psi"], strict=True)
            ),
        ]
        for image in images
    ]
    return Table(("ψ in nats", *(f"band {band}" for band in range(bands))), rows)


def _masks(measurement: MeasurementRecord, spectral: SpectralRecord) -> list[Picture]:
    reference, settings = measurement["reference"], measurement["settings"]
    drawn = _drawn_masks(
        reference["height"], reference["width"], settings["bands"], settings["partition"]
    )
    return [
        Picture(f"band {band}", content, f"band {band}: {label}")
        for band, (content, label) in enumerate(zip(drawn, spectral["band_labels"], strict=True))
    ]


@lru_cache(maxsize=16)
def _drawn_masks(height: int, width: int, bands: int, norm: str) -> tuple[str, ...]:
    return tuple(band_masks(height, width, bands, norm))


def _examples(pictures: PicturesRecord) -> list[tuple[str, list[Picture]]]:
    titles = {part: _title(part, pictures["parts"]) for part in TITLES}
    return [
        (
            example["name"],
            [
                Picture(title, example["pictures"][part], f"{example['name']}: {title}")
                for part, title in titles.items()
                if part in example["pictures"]
            ],
        )
        for example in pictures["examples"]
    ]


def _title(part: str, parts: Mapping[str, Sequence[int]]) -> str:
    bands = parts.get(part)
    if not bands:
        return TITLES[part]
    which = f"band {bands[0]}" if len(bands) == 1 else f"bands {bands[0]}–{bands[-1]}"
    return f"{TITLES[part]}: {which}"


def _examples_about(pictures: PicturesRecord) -> str:
    height, width = pictures["size"]
    cropped = f"The middle {width}×{height} pixels, not scaled. " if pictures["cropped"] else ""
    return (
        f"{cropped}What is left of an image when only some bands are present, filtered before "
        f"normalisation; without the lowest band around mid-grey, at {CONTRAST} times the contrast."
    )
