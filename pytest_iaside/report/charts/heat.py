"""Pictures as PNG, and maps in colours that can be told apart in grey and by the colour-blind."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAP_COLOURS = 128  # of a palette that is enough for maps
# Dark to light by lightness as much as by hue, and legible on any page: from matplotlib's viridis
# (public domain), every eighth of the way.
COLOURS = np.frombuffer(
    bytes.fromhex("440154 472c7a 3b518b 2c718e 21908d 27ad81 5cc863 aadc32 fde725"), np.uint8
).reshape(-1, 3)


def colours(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(H, W) in [0, 1] as (H, W, 3) uint8."""
    places = np.linspace(0, 1, len(COLOURS))
    channels = [np.interp(values, places, channel) for channel in COLOURS.T]
    pixels: NDArray[np.uint8] = np.stack(channels, axis=-1).round().astype(np.uint8)
    return pixels


def heat(values: NDArray[np.float64], *, top: float | None = None) -> NDArray[np.uint8]:
    """A map (H, W) of numbers ≥ 0 as a picture, from 0 to ``top``, by default its 99th percentile.

    The few highest would leave nothing to be seen of the rest.
    """
    most = float(np.quantile(values, 0.99)) if top is None else top
    scaled = values / most if most > 0 else np.zeros_like(values)
    return colours(scaled.clip(0, 1))


def enlarged(pixels: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    """``pixels`` (H, W, …) repeated so often that the longer side has ``least`` at least."""
    times = max(1, -(-least // max(pixels.shape[:2])))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def reduced(pixels: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    """``pixels`` (H, W, …) shrunk so that the longer side has ``most`` at most."""
    image = Image.fromarray(pixels)
    image.thumbnail((most, most))
    return np.asarray(image)


def png(pixels: NDArray[np.uint8], *, palette: int = 0) -> bytes:
    """``pixels`` (H, W), or (H, W, 3 or 4), as a PNG file; in ``palette`` colours where given."""
    image = Image.fromarray(pixels)
    if palette:
        image = image.convert("1") if palette == 2 else image.quantize(palette)
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def encoded(pixels: NDArray[np.uint8], *, palette: int = 0) -> str:
    """The same file in base64, as pages hold pictures."""
    return base64.b64encode(png(pixels, palette=palette)).decode("ascii")
