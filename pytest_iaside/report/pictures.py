"""Pictures of the images that drive a change: small ones, and some as coalitions show them.

PNG throughout, and never scaled where frequencies matter: a lossy or resampled picture would
alter exactly what is shown.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_iaside.images.bands import BandPartition

if TYPE_CHECKING:
    from pytest_iaside.images.reference import ReferenceSample
    from pytest_iaside.measure.game.rules import Rules

THUMBNAIL = 48  # pixels of the longer side
EXAMPLES = 4
CROP = 112  # pixels of each side, from the middle: the whole would make a report large
CONTRAST = 4  # of what is left without the lowest band, which is hard to see as it is
PARTS = ("low", "middle", "high")


def pictures(
    sample: ReferenceSample, rules: Rules, images: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Thumbnails of ``images`` (with their ``digest``), and examples of the first few of them.

    Base64-encoded PNG in plain values, so that a record can carry them.
    """
    place = {digest: i for i, digest in enumerate(sample.digests)}
    known = [image for image in images if image["digest"] in place]
    _, height, width = sample.shape
    partition = BandPartition(height, width, rules.bands, rules.partition)
    thirds = [part.tolist() for part in np.array_split(np.arange(rules.bands), len(PARTS))]
    return {
        "thumbnails": {
            image["digest"]: _thumbnail(_pixels(sample, place[image["digest"]])) for image in known
        },
        "examples": [
            {"digest": image["digest"], "name": image["name"], "pictures": shown}
            for image in known[:EXAMPLES]
            for shown in [_example(sample, place[image["digest"]], partition, thirds)]
        ],
        "parts": {name: bands for name, bands in zip(PARTS, thirds, strict=True) if bands},
        "size": [min(height, CROP), min(width, CROP)],
        "cropped": max(height, width) > CROP,
    }


def band_masks(height: int, width: int, bands: int, norm: Any) -> list[str]:
    """The bands in the plane of frequencies, the mean in its middle: one small PNG for each."""
    index = np.fft.fftshift(BandPartition(height, width, bands, norm).index)
    # Every so manieth frequency, the one of the mean among them.
    rows, columns = (_spread(side, THUMBNAIL) for side in (height, width))
    shown = index[np.ix_(rows, columns)]
    return [_png(np.where(shown == band, 255, 0).astype(np.uint8), bits=1) for band in range(bands)]


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
    shown = {"whole": _pixels(sample, place)}
    for name, bands in zip(PARTS, thirds, strict=True):
        if bands:
            picture = parts[bands].sum(axis=0)
            if 0 not in bands:
                # Without the lowest band the mean is gone: around mid-grey instead of black.
                picture = 0.5 + CONTRAST * picture
            shown[name] = picture.transpose(1, 2, 0)
    return {name: _png(_bytes(_middle(picture))) for name, picture in shown.items()}


def _pixels(sample: ReferenceSample, place: int) -> NDArray[np.float32]:
    """(height, width, channels) in [0, 1]."""
    picture: NDArray[np.float32] = sample.pixels(place, place + 1)[0].numpy().transpose(1, 2, 0)
    return picture


def _middle(picture: NDArray[Any]) -> NDArray[Any]:
    height, width = picture.shape[:2]
    top, left = max(0, (height - CROP) // 2), max(0, (width - CROP) // 2)
    return picture[top : top + CROP, left : left + CROP]


def _bytes(picture: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray((picture.clip(0, 1) * 255).round().astype(np.uint8))


def _thumbnail(picture: NDArray[Any]) -> str:
    image = _image(_bytes(picture))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return _encoded(image)


def _png(pixels: NDArray[np.uint8], bits: int = 8) -> str:
    image = _image(pixels)
    return _encoded(image.convert("1") if bits == 1 else image)


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    if pixels.ndim == 2:
        return Image.fromarray(pixels)
    # One channel is grey, three are colours; of two, or of more, the first say what it is.
    channels = 3 if pixels.shape[2] >= 3 else 1
    return Image.fromarray(pixels[..., :3] if channels == 3 else pixels[..., 0])


def _encoded(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode("ascii")
