"""Weather: snow, frost and fog as ImageNet-C draws them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.random import Generator

from pytest_iaside.errors import SettingsError, one_line
from pytest_iaside.images.sources import EXTENSIONS
from pytest_iaside.perturb.blur import moved, zoomed
from pytest_iaside.perturb.noise import Image

FROST_VARIABLE = "IASIDE_FROST_DIR"
GREY = np.array([0.299, 0.587, 0.114])
# The generated textures resemble the photographs that ImageNet-C uses: crops of 224×224 of
# those have means of 0.34 to 0.80, deviations of 0.06 to 0.15 and spectra like r^-2.
TEXTURE_MEANS, TEXTURE_DEVIATION, TEXTURE_EXPONENT = (0.35, 0.8), 0.1, 2.0
TEXTURE_TINT = np.array([-0.04, 0.0, 0.04])


def snow(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's snow: a whiter image, and flakes that fall in two opposite directions."""
    mean, deviation, size, least, radius, fade, kept = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    flakes = zoomed(random.normal(mean, deviation, (*image.shape[:2], 1)), size)
    flakes = np.where(flakes < least, 0, flakes).clip(0, 1)
    flakes = moved(flakes, radius, fade, random.uniform(-135, -45))
    white = np.maximum(image, 1.5 * _grey(image) + 0.5)
    return kept * image + (1 - kept) * white + flakes + flakes[::-1, ::-1]


def fog(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's fog: a plasma fractal added, and the sum brought back to the image's range."""
    thickness, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    height, width, _ = image.shape
    size = 1 << (max(height, width) - 1).bit_length()
    clouds = _plasma(size, decay, random)[:height, :width, None]
    brightest = float(image.max())
    return (image + thickness * clouds) * brightest / (brightest + thickness)


def frost(image: Image, severity: int, random: Generator, textures: Sequence[Path] = ()) -> Image:
    """ImageNet-C's frost: a darker image under a texture, a generated one if there is none."""
    kept, ice = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    height, width, channels = image.shape
    if textures:
        texture = _cut(textures[int(random.integers(len(textures)))], height, width, random)
    else:
        texture = _generated_texture(height, width, random)
    return kept * image + ice * (texture if channels == 3 else _grey(texture))


def frost_textures(folder: str | Path | None = None) -> list[Path]:
    """The images in ``folder`` or IASIDE_FROST_DIR, [] for neither; SettingsError without any."""
    chosen = folder if folder is not None else os.environ.get(FROST_VARIABLE)
    if not chosen:
        return []
    root = Path(chosen)
    files = root.iterdir() if root.is_dir() else ()
    textures = sorted(file for file in files if file.suffix.lower() in EXTENSIONS)
    if not textures:
        raise SettingsError(
            f"{root} holds no textures of frost; give a folder of photographs of frost "
            f"(frost_textures=… or {FROST_VARIABLE}), or none for generated textures"
        )
    return textures


def _grey(image: Image) -> Image:
    """(H, W, 1); an image of one channel is grey already."""
    return image if image.shape[2] == 1 else (image @ GREY)[..., None]


def _cut(file: Path, height: int, width: int, random: Generator) -> Image:
    """A random part of a texture, which is enlarged only where it is too small."""
    try:
        with PIL.Image.open(file) as opened:
            picture = opened.convert("RGB")
    except Exception as error:  # Decoders raise a dozen kinds on broken files.
        raise SettingsError(
            f"{file} cannot be read as a texture of frost ({one_line(error)}); restore it or "
            "leave it out"
        ) from error
    factor = max(1.0, height / picture.height, width / picture.width)
    if factor > 1:
        enlarged = round(picture.width * factor), round(picture.height * factor)
        picture = picture.resize(enlarged, PIL.Image.Resampling.BICUBIC)
    top = int(random.integers(picture.height - height + 1))
    left = int(random.integers(picture.width - width + 1))
    part = picture.crop((left, top, left + width, top + height))
    return np.asarray(part, dtype=np.float64) / 255


def _generated_texture(height: int, width: int, random: Generator) -> Image:
    """A bluish random field whose spectrum falls as a power of the radius."""
    noise = np.fft.rfft2(random.standard_normal((height, width)))
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    radius[0, 0] = np.inf  # The mean is chosen below.
    field = np.fft.irfft2(noise * radius ** (-TEXTURE_EXPONENT / 2), (height, width))
    # A field of one pixel has no deviation.
    field *= TEXTURE_DEVIATION / max(field.std(), np.finfo(float).tiny)
    texture = random.uniform(*TEXTURE_MEANS) + field[..., None] + TEXTURE_TINT
    return np.asarray(texture.clip(0, 1))


def _plasma(size: int, decay: float, random: Generator) -> Image:
    """A (size, size) landscape in [0, 1] by midpoint displacement on a torus.

    The displacement falls by ``decay`` squared: ImageNet-C's code multiplies by the wibble twice.
    """
    land = np.zeros((size, size))
    step, amplitude = size, 1.0
    while step > 1:
        half = step // 2

        def displaced(four: Image, amplitude: float = amplitude) -> Image:
            return four / 4 + random.uniform(-amplitude, amplitude, four.shape)

        corners = land[::step, ::step]
        beside, below = np.roll(corners, -1, 1), np.roll(corners, -1, 0)
        centres = displaced(corners + beside + below + np.roll(beside, -1, 0))
        land[half::step, half::step] = centres
        land[::step, half::step] = displaced(corners + beside + centres + np.roll(centres, 1, 0))
        land[half::step, ::step] = displaced(corners + below + centres + np.roll(centres, 1, 1))
        step, amplitude = half, amplitude / decay**2
    land -= land.min()
    land /= land.max()
    return land
