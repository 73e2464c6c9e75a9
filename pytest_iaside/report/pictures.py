"""Images behind a change: small pictures, some as coalitions show them, and what each adds.

PNG throughout, and never scaled where frequencies matter: a lossy or resampled picture would
alter exactly what is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.images.bands import BandPartition
from pytest_iaside.report.charts.heat import encoded, reduced
from pytest_iaside.report.charts.svg import spark
from pytest_iaside.report.figures import Table
from pytest_iaside.report.gates import Gate
from pytest_iaside.report.numbers import NONE, finite, finite_list, fixed, share, signed
from pytest_iaside.report.record import (
    ImageRecord,
    MeasurementRecord,
    Number,
    PicturesRecord,
    SpectralRecord,
)

if TYPE_CHECKING:
    from pytest_iaside.images.reference import ReferenceSample
    from pytest_iaside.measure.game.rules import Rules

THUMBNAIL = 48  # pixels of the longer side
EXAMPLES = 4
CROP = 112  # pixels of each side, from the middle: the whole would make a report large
CONTRAST = 4  # of what is left without the lowest band, which is hard to see as it is
PARTS = ("low", "middle", "high")
LEAST = 1e-3  # a change, in nats or of a score, that is worth a share
VISIBLE = 0.005  # share of a change that is not rounded to 0 %
FEWEST = 3
# What each part of a picture is called; the whole comes first.
TITLES = {"whole": "all bands", "low": "low", "middle": "middle", "high": "high"}


@dataclass(frozen=True)
class Picture:
    """A PNG, base64-encoded, with what it shows; width and height in its pixels."""

    title: str
    content: str
    alt: str


def pictures(
    sample: ReferenceSample, rules: Rules, images: Sequence[ImageRecord]
) -> PicturesRecord:
    """Thumbnails of ``images``, and examples of the first few of them.

    Images that ``sample`` does not have are left out.
    """
    place = {digest: i for i, digest in enumerate(sample.digests)}
    known = [image for image in images if image["digest"] in place]
    _, height, width = sample.shape
    partition = BandPartition(height, width, rules.bands, rules.partition)
    thirds = [part.tolist() for part in np.array_split(np.arange(rules.bands), len(PARTS))]
    return {
        "thumbnails": {
            image["digest"]: _thumbnail(sample, place[image["digest"]]) for image in known
        },
        "examples": [
            {
                "digest": image["digest"],
                "name": image["name"],
                "pictures": _example(sample, place[image["digest"]], partition, thirds),
            }
            for image in known[:EXAMPLES]
        ],
        "parts": {name: bands for name, bands in zip(PARTS, thirds, strict=True) if bands},
        "size": [min(height, CROP), min(width, CROP)],
        "cropped": max(height, width) > CROP,
    }


@lru_cache(maxsize=16)
def band_masks(height: int, width: int, bands: int, norm: Any) -> list[str]:
    """The bands in the plane of frequencies, the mean in its middle: one small PNG for each."""
    index = np.fft.fftshift(BandPartition(height, width, bands, norm).index)
    # Every n-th frequency, the one of the mean among them.
    down, right = (max(1, -(-side // THUMBNAIL)) for side in (height, width))
    shown = index[(height // 2) % down :: down, (width // 2) % right :: right]
    masks = [np.where(shown == band, 255, 0).astype(np.uint8) for band in range(bands)]
    return [encoded(mask, palette=2) for mask in masks]


def image_bytes(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture (H, W, channels) in [0, 1] as (H, W, 3); as (H, W) where it has fewer channels.

    Of two channels, or more than three, the first ones are shown.
    """
    shown = picture[..., :3] if picture.shape[2] >= 3 else picture[..., 0]
    return np.asarray((shown.clip(0, 1) * 255).round().astype(np.uint8))


def _example(
    sample: ReferenceSample, place: int, partition: BandPartition, thirds: list[list[int]]
) -> dict[str, str]:
    """The image, and what is left of it in the low, middle and high bands."""
    # Here, where a model has run: the controller of xdist's workers draws reports without torch.
    from pytest_iaside.images.filters import split

    pixels = sample.pixels(place, place + 1)
    parts = split(pixels, partition)[0].numpy()
    shown = {"whole": pixels[0].numpy()}
    for name, bands in zip(PARTS, thirds, strict=True):
        if bands:
            shown[name] = parts[bands].sum(axis=0)
            if 0 not in bands:
                # Without the lowest band the mean is gone: around mid-grey instead of black.
                shown[name] = 0.5 + CONTRAST * shown[name]
    _, height, width = sample.shape
    top, left = max(0, (height - CROP) // 2), max(0, (width - CROP) // 2)
    return {
        name: encoded(image_bytes(each.transpose(1, 2, 0)[top : top + CROP, left : left + CROP]))
        for name, each in shown.items()
    }


def _thumbnail(sample: ReferenceSample, place: int) -> str:
    picture = sample.pixels(place, place + 1)[0].numpy().transpose(1, 2, 0)
    return encoded(reduced(image_bytes(picture), THUMBNAIL))


def images_of(gate: Gate, thumbnails: bool, examples: bool) -> dict[str, Any] | None:
    """What images.html.j2 shows of single images of ``gate``; None where nothing is known."""
    changes = gate.comparison["image_changes"] if gate.comparison else None
    if changes is None or gate.candidate is None or gate.candidate["spectral"] is None:
        return None
    pictures = gate.record.get("pictures")
    small = pictures["thumbnails"] if pictures and thumbnails else {}
    change, unit = finite(changes["change"]), changes["unit"]
    listed = _worth_a_row(changes["images"], change)
    psi = [(finite_list(i["baseline_psi"]), finite_list(i["candidate_psi"])) for i in listed]
    known = [value for both in psi for one in both for value in one if value is not None]
    extent = min(known, default=0.0), max(known, default=0.0)
    rows = [
        {
            "name": image["name"],
            "label": "" if image["label"] is None else str(image["label"]),
            "thumbnail": small.get(image["digest"], ""),
            "contribution": signed(image["contribution"], 4),
            "share": _share(image["contribution"], change),
            "chart": spark(before, after, extent),
        }
        for image, (before, after) in zip(listed, psi, strict=True)
    ]
    numbers = [
        [
            image["name"],
            *(f"{fixed(old, 2)} → {fixed(new, 2)}" for old, new in zip(*both, strict=True)),
        ]
        for image, both in zip(listed, psi, strict=True)
    ]
    shown, count = len(rows), changes["count"]
    about = "What each image adds"
    if shown < count:
        about = f"The {shown} of {count} images that add most"
    about += f" to the change of {changes['quantity']} ({signed(change)} {unit}".rstrip()
    bands = range(len(gate.candidate["spectral"]["psi"]))
    return {
        "about": f"{about}), the most harmful first.",
        "head": f"adds{f', {unit}' if unit else ''}",
        "rows": rows,
        "numbers": Table(("ψ in nats", *(f"band {band}" for band in bands)), numbers),
        "masks": _masks(gate.candidate, gate.candidate["spectral"]),
        "examples": _examples(pictures) if pictures and examples else [],
        "cropped": pictures["size"] if pictures and pictures["cropped"] else None,
        "contrast": CONTRAST,
    }


def _worth_a_row(images: Sequence[ImageRecord], change: float | None) -> Sequence[ImageRecord]:
    """Those that add something that can be seen, and a few at least."""
    if change is None or abs(change) < LEAST:
        return images
    parts = [finite(image["contribution"]) for image in images]
    visible = [part is not None and part / change >= VISIBLE for part in parts]
    return list(compress(images, visible)) if sum(visible) >= FEWEST else images[:FEWEST]


def _share(contribution: Number, change: float | None) -> str:
    part = finite(contribution)
    if part is None or change is None or abs(change) < LEAST:
        return NONE  # A share of almost nothing says nothing.
    return share(part / change, 0)


def _masks(measurement: MeasurementRecord, spectral: SpectralRecord) -> list[Picture]:
    reference, settings = measurement["reference"], measurement["settings"]
    sides = reference["height"], reference["width"]
    drawn = band_masks(*sides, settings["bands"], settings["partition"])
    return [
        Picture(f"band {band}", content, f"band {band}: {label}")
        for band, (content, label) in enumerate(zip(drawn, spectral["band_labels"], strict=True))
    ]


def _examples(pictures: PicturesRecord) -> list[tuple[str, list[Picture]]]:
    titles = {part: _title(part, pictures["parts"].get(part)) for part in TITLES}
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


def _title(part: str, bands: Sequence[int] | None) -> str:
    if not bands:
        return TITLES[part]
    which = f"band {bands[0]}" if len(bands) == 1 else f"bands {bands[0]}–{bands[-1]}"
    return f"{TITLES[part]}: {which}"
