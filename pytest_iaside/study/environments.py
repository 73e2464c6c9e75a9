"""Where models are to work: corruptions by name, or pairs of clean and degraded photographs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.images.bands import Norm
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import Perturbation
from pytest_iaside.measure.band_changes import BandChanges, band_changes, surrogate
from pytest_iaside.perturb.corruptions import check_corruption, check_fit, check_severity

CLEAN, DEGRADED = "clean", "degraded"
HOW = (
    "write corruption:severity (fog:3,jpeg_compression:2), or name a folder that holds the folders "
    f"{CLEAN} and {DEGRADED}, with photographs of the same names"
)

SHAPES_APART = 0.02
"""By how much width / height of a photograph and its copy may differ: what rounding does."""
ORIENTATION, TURNED = 0x0112, 5
"""The EXIF tag of how a camera was held, and from which value on width and height swap."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Environment:
    """What degrades images, by its spectrum, and what its cost can be measured on.

    ``spectrum`` is the mean over images, for those of the reference sample; ``pairs`` are clean
    images and what they become. ``note`` says what a spectrum of photographs is a mean of.
    """

    name: str
    spectrum: BandChanges
    pairs: tuple[ReferenceSample, Perturbation]
    note: str | None = None

    def surrogate(self, reference: ReferenceSample, seed: int) -> ReferenceSample:
        """``reference`` with the gains and the noise of this environment in each band."""
        return surrogate(reference, self.spectrum, seed=seed)


def environments(
    text: str,
    reference: ReferenceSample,
    *,
    bands: int = 8,
    partition: Norm = "linf",
    seed: int = 0,
) -> list[Environment]:
    """The environments that ``text`` names, with their spectra.

    Raises SettingsError for one that is unknown, named twice, or does not fit the images;
    ReferenceSampleError for pictures that cannot be read.
    """
    named: dict[str, tuple[ReferenceSample, Perturbation]]
    note = None
    if Path(text).is_dir():
        name = Path(text).resolve().name
        pairs, alone = _pairs(Path(text), reference)
        named = {name: pairs}
        count = len(pairs[0])
        note = f"the spectrum of {name} is the mean of {count} pair{'s' * (count != 1)}"
        if alone:
            note += f"; {alone} file{'s' * (alone != 1)} without a pair left out"
    else:
        named = {}
        for part in (each.strip() for each in text.split(",")):
            if part in named:
                raise SettingsError(f"the environment {part} is named twice; name it once")
            named[part] = reference, _corruption(part, reference)
    found = []
    for name, (clean, degraded) in named.items():
        changes = band_changes(
            clean, degraded, bands=bands, partition=partition, seed=seed, centred=True
        )
        spectrum = changes.averaged(reference)
        found.append(Environment(name=name, spectrum=spectrum, pairs=(clean, degraded), note=note))
    return found


def _corruption(name: str, reference: ReferenceSample) -> tuple[str, int]:
    kind, colon, severity = name.partition(":")
    if Path(name).is_dir():
        raise SettingsError(f"{name} is a folder; it can only be ranked for alone: {HOW}")
    if not colon:
        raise SettingsError(f"{name!r} is no folder, and has no severity; {HOW}")
    check_corruption(kind)
    if not severity.isdecimal():
        raise SettingsError(f"{name!r} has no severity from 1 to 5; {HOW}")
    check_severity(int(severity))
    check_fit(kind, int(severity), reference.shape)
    return kind, int(severity)


def _pairs(
    folder: Path, reference: ReferenceSample
) -> tuple[tuple[ReferenceSample, ReferenceSample], int]:
    """Clean and degraded photographs, and how many are left out since they are no pair."""
    for name in (CLEAN, DEGRADED):
        if not (folder / name).is_dir():
            raise SettingsError(f"{folder} has no folder {name}; {HOW}")
    clean, degraded = (_read(folder / name, reference.shape) for name in (CLEAN, DEGRADED))
    # A photograph and its degraded copy may be files of different types.
    places = [
        {str(PurePosixPath(name).with_suffix("")): at for at, name in enumerate(sample.names)}
        for sample in (clean, degraded)
    ]
    for kind, sample, place in zip((CLEAN, DEGRADED), (clean, degraded), places, strict=True):
        if len(place) < len(sample):
            twice = next(
                name
                for at, name in enumerate(sample.names)
                if place[str(PurePosixPath(name).with_suffix(""))] != at
            )
            raise SettingsError(
                f"{folder / kind} has two files named {PurePosixPath(twice).stem}, of different "
                "types; leave one of them there"
            )
    both = [name for name in places[0] if name in places[1]]
    if not both:
        raise SettingsError(
            f"no photograph in {folder / CLEAN} has one of the same name in {folder / DEGRADED}: "
            f"{clean.names[0]} and {degraded.names[0]} are the first; {HOW}"
        )
    _check_same_view(
        (folder / CLEAN / clean.names[places[0][name]], folder / DEGRADED / degraded.names[at])
        for name in both
        for at in (places[1][name],)
    )
    before, after = (
        sample.take([place[name] for name in both])
        for sample, place in zip((clean, degraded), places, strict=True)
    )
    alone = len(clean) + len(degraded) - 2 * len(both)
    return (before, ReferenceSample(after.images, names=before.names)), alone


def _check_same_view(pairs: Iterable[tuple[Path, Path]]) -> None:
    """Raise SettingsError for a photograph whose copy has another shape.

    Both are cropped to squares, which would then show different places: all of that would count as
    noise of the environment.
    """
    for clean, degraded in pairs:
        (width, height), (other_width, other_height) = _size(clean), _size(degraded)
        if abs(width * other_height / (height * other_width) - 1) > SHAPES_APART:
            raise SettingsError(
                f"{clean} has {width}×{height} pixels and {degraded} {other_width}×{other_height}; "
                "expected two photographs of the same view: crop them alike"
            )


def _size(path: Path) -> tuple[int, int]:
    """Width and height of a photograph as it is looked at."""
    with Image.open(path) as picture:
        width, height = picture.size
        turned = picture.getexif().get(ORIENTATION, 1) >= TURNED
    return (height, width) if turned else (width, height)


def _read(folder: Path, shape: tuple[int, int, int]) -> ReferenceSample:
    """The photographs of ``folder``, as large as the reference images (C, H, W)."""
    channels, height, width = shape
    if channels != 3:
        raise SettingsError(
            f"photographs have 3 channels, but the reference images have {channels}; name "
            "corruptions instead of a folder"
        )
    try:
        found = ReferenceSample.from_folder(folder, labels=None, resize=None, crop=None)
    except ReferenceSampleError:
        found = None  # Of several sizes, or what is read again below tells what is wrong.
    if found is not None and found.shape == shape:
        return found
    if height != width:
        raise SettingsError(
            f"the photographs in {folder} are not {height}×{width} pixels as the reference images "
            "are; give them that size"
        )
    return ReferenceSample.from_folder(folder, labels=None, resize=height, crop=height)
