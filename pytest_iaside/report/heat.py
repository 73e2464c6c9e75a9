"""Maps as pictures: PNG in colours that can be told apart in grey and by the colour-blind."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# From dark blue over teal to light yellow: lightness rises evenly.
_STOPS = np.array(
    [
        [0.00, 15, 18, 60],
        [0.25, 42, 72, 130],
        [0.50, 34, 134, 140],
        [0.75, 120, 190, 100],
        [1.00, 252, 236, 120],
    ]
)


def colours(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(H, W) in [0, 1] as (H, W, 3) uint8."""
    return (
        np.stack(
            [np.interp(values, _STOPS[:, 0], _STOPS[:, channel]) for channel in (1, 2, 3)], axis=-1
        )
        .round()
        .astype(np.uint8)
    )


def heat(values: NDArray[np.float64], *, top: float | None = None) -> NDArray[np.uint8]:
    """A map (H, W) of numbers ≥ 0 as a picture, from 0 to ``top``, by default its 99th percentile.

    The few highest would leave nothing to be seen of the rest.
    """
    most = float(np.quantile(values, 0.99)) if top is None else top
    scaled = values / most if most > 0 else np.zeros_like(values)
    return colours(scaled.clip(0, 1))


def enlarged(pixels: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    """``pixels`` (H, W, 3) repeated so often that the longer side has ``least`` at least."""
    times = max(1, -(-least // max(pixels.shape[:2])))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def reduced(pixels: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    """``pixels`` (H, W, 3) shrunk so that the longer side has ``most`` at most."""
    image = Image.fromarray(pixels)
    image.thumbnail((most, most))
    return np.asarray(image)


def png(pixels: NDArray[np.uint8], *, palette: bool = False) -> bytes:
    """``pixels`` (H, W, 3) as a PNG file; with ``palette`` in 128 colours, enough for maps."""
    image = Image.fromarray(pixels)
    content = io.BytesIO()
    (image.quantize(128) if palette else image).save(content, "PNG", optimize=True)
    return content.getvalue()


def encoded(content: bytes) -> str:
    """Base64, as pages hold pictures."""
    return base64.b64encode(content).decode("ascii")
