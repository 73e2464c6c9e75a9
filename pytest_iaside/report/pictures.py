"""Pictures of the images that drive a change: small ones, and some as coalitions show them.

PNG throughout, and never scaled where frequencies matter: a lossy or resampled picture would
alter exactly what is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.images.bands import BandPartition
from pytest_iaside.report.charts.heat import encoded, reduced
from pytest_iaside.report.record import ImageRecord, PicturesRecord

if TYPE_CHECKING:
    from pytest_iaside.images.reference import ReferenceSample
    from pytest_iaside.measure.game.rules import Rules

THUMBNAIL = 48  # pixels of the longer side
EXAMPLES = 4
CROP = 112  # pixels of each side, from the middle: the whole would make a report large
CONTRAST = 4  # of what is left without the lowest band, which is hard to see as it is
PARTS = ("low", "middle", "high")


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


def band_masks(height: int, width: int, bands: int, norm: Any) -> list[str]:
    """The bands in the plane of frequencies, the mean in its middle: one small PNG for each."""
    index = np.fft.fftshift(BandPartition(height, width, bands, norm).index)
    # Every n-th frequency, the one of the mean among them.
    rows, columns = (_spread(side, THUMBNAIL) for side in (height, width))
    shown = index[np.ix_(rows, columns)]
    masks = [np.where(shown == band, 255, 0).astype(np.uint8) for band in range(bands)]
    return [encoded(mask, palette=2) for mask in masks]


def image_bytes(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture (H, W, channels) in [0, 1] as (H, W, 3); as (H, W) where it has fewer channels.

    Of two channels, or more than three, the first ones are shown.
    """
    shown = picture[..., :3] if picture.shape[2] >= 3 else picture[..., 0]
    return np.asarray((shown.clip(0, 1) * 255).round().astype(np.uint8))


def _spread(side: int, most: int) -> NDArray[np.int64]:
    step = max(1, -(-side // most))
    return np.arange((side // 2) % step, side, step)


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
    pictures = {name: picture.transpose(1, 2, 0) for name, picture in shown.items()}
    return {name: encoded(image_bytes(_middle(each))) for name, each in pictures.items()}


def _middle(picture: NDArray[Any]) -> NDArray[Any]:
    height, width = picture.shape[:2]
    top, left = max(0, (height - CROP) // 2), max(0, (width - CROP) // 2)
    return picture[top : top + CROP, left : left + CROP]


def _thumbnail(sample: ReferenceSample, place: int) -> str:
    picture = sample.pixels(place, place + 1)[0].numpy().transpose(1, 2, 0)
    return encoded(reduced(image_bytes(picture), THUMBNAIL))
