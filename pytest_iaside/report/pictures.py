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
from pytest_iaside.report.numbers import finite, finite_list, fixed, share, signed
from pytest_iaside.report.record import ImageRecord, PicturesRecord

if TYPE_CHECKING:
    from torch import Tensor

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
    known = [
        (image, sample.pixels(at, at + 1))
        for image in images
        if (at := place.get(image["digest"])) is not None
    ]
    _, height, width = sample.shape
    partition = BandPartition(height, width, rules.bands, rules.partition)
    thirds = np.array_split(np.arange(rules.bands), len(PARTS))
    parts = {name: bands.tolist() for name, bands in zip(PARTS, thirds, strict=True) if len(bands)}
    return {
        "thumbnails": {
            image["digest"]: encoded(reduced(_shown(pixels[0].numpy()), THUMBNAIL))
            for image, pixels in known
        },
        "examples": [
            {
                "digest": image["digest"],
                "name": image["name"],
                "pictures": _example(pixels, partition, parts),
            }
            for image, pixels in known[:EXAMPLES]
        ],
        "parts": parts,
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


def _shown(picture: NDArray[Any]) -> NDArray[np.uint8]:
    return image_bytes(picture.transpose(1, 2, 0))


def _example(
    pixels: Tensor, partition: BandPartition, thirds: dict[str, list[int]]
) -> dict[str, str]:
    """An image (1, C, H, W), and what is left of it in the low, middle and high bands."""
    # Here, where a model has run: the controller of xdist's workers draws reports without torch.
    from pytest_iaside.images.filters import split

    parts = split(pixels, partition)[0].numpy()
    shown = {"whole": pixels[0].numpy()}
    for name, bands in thirds.items():
        shown[name] = parts[bands].sum(axis=0)
        if 0 not in bands:
            # Without the lowest band the mean is gone: around mid-grey instead of black.
            shown[name] = 0.5 + CONTRAST * shown[name]
    top, left = (max(0, (side - CROP) // 2) for side in pixels.shape[-2:])
    return {
        name: encoded(_shown(each[:, top : top + CROP, left : left + CROP]))
        for name, each in shown.items()
    }


def images_of(gate: Gate, thumbnails: bool, examples: bool) -> dict[str, Any] | None:
    """What images.html.j2 shows of single images of ``gate``; None where nothing is known."""
    changes = gate.comparison["image_changes"] if gate.comparison else None
    if changes is None or gate.candidate is None or gate.candidate["spectral"] is None:
        return None
    reference, settings = gate.candidate["reference"], gate.candidate["settings"]
    pictures = gate.record.get("pictures")
    small = pictures["thumbnails"] if pictures and thumbnails else {}
    listed, shares = _worth_a_row(changes["images"], finite(changes["change"]))
    psi = [(finite_list(i["baseline_psi"]), finite_list(i["candidate_psi"])) for i in listed]
    known = [value for both in psi for one in both for value in one if value is not None]
    extent = min(known, default=0.0), max(known, default=0.0)
    rows, numbers = [], []
    for image, part, (before, after) in zip(listed, shares, psi, strict=True):
        rows.append(
            {
                "name": image["name"],
                "label": "" if image["label"] is None else str(image["label"]),
                "thumbnail": small.get(image["digest"], ""),
                "contribution": signed(image["contribution"], 4),
                "share": share(part, 0),
                "answers": _answers(image),
                "chart": spark(before, after, extent),
            }
        )
        pairs = zip(before, after, strict=True)
        numbers.append([image["name"], *(f"{fixed(x, 2)} → {fixed(y, 2)}" for x, y in pairs)])
    sides = reference["height"], reference["width"]
    masks = band_masks(*sides, settings["bands"], settings["partition"])
    titles = {"whole": "all bands"}
    for name, (first, *rest) in (pictures["parts"] if pictures else {}).items():
        titles[name] = f"{name}: bands {first}–{rest[-1]}" if rest else f"{name}: band {first}"
    shown, count, unit = len(rows), changes["count"], changes["unit"]
    about = "What each image adds"
    if shown < count:
        about = f"The {shown} of {count} images that add most"
    about += f" to the change of {changes['quantity']} ({signed(changes['change'])} {unit}".rstrip()
    spectral = gate.candidate["spectral"]
    head = (f"ψ in {spectral['unit']}", *(f"band {band}" for band in range(len(masks))))
    return {
        "about": f"{about}), the most harmful first.",
        "head": f"adds{f', {unit}' if unit else ''}",
        "rows": rows,
        "labelled": any(row["label"] for row in rows),
        "answered": any(row["answers"] for row in rows),
        "numbers": Table(head, numbers),
        "masks": list(zip(masks, spectral["band_labels"], strict=True)),
        "examples": pictures["examples"] if pictures and examples else [],
        "titles": titles,
        "cropped": pictures["size"] if pictures and pictures["cropped"] else None,
        "contrast": CONTRAST,
    }


def _answers(image: ImageRecord) -> str:
    """How both models answer it as it is: ``✓ 0.93 → ✗ 0.12``; empty where that is not known."""
    told = []
    for right, probability in (
        (image.get("baseline_right"), image.get("baseline_probability")),
        (image.get("candidate_right"), image.get("candidate_probability")),
    ):
        if right is None or probability is None:
            return ""
        told.append(f"{'✓' if right else '✗'} {fixed(probability, 2)}")
    return " → ".join(told)


def _worth_a_row(
    images: Sequence[ImageRecord], change: float | None
) -> tuple[Sequence[ImageRecord], Sequence[float | None]]:
    """Those that add something that can be seen, a few at least, and their shares of ``change``."""
    if change is None or abs(change) < LEAST:
        return images, [None] * len(images)  # A share of almost nothing says nothing.
    parts = [finite(image["contribution"]) for image in images]
    shares = [None if part is None else part / change for part in parts]
    visible = [part is not None and part >= VISIBLE for part in shares]
    if sum(visible) < FEWEST:
        return images[:FEWEST], shares[:FEWEST]
    return list(compress(images, visible)), list(compress(shares, visible))
