"""The perturbations that a study holds its models under, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from pytest_iaside.errors import SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import Perturbation
from pytest_iaside.perturb.attacks import fgsm, pgd
from pytest_iaside.perturb.corruptions import CORRUPTIONS, check_corruption, check_severity, corrupt

ATTACKS = ("fgsm", "pgd")
PGD_STEPS = 10
USUAL = (
    "white_noise:3",
    "poisson:3",
    "salt_and_pepper:3",
    "gaussian_blur:3",
    "defocus_blur:3",
    "brightness:3",
    "contrast:3",
    "pixelate:3",
    "jpeg_compression:3",
    "fgsm:0.1",
    "pgd:0.1",
)
"""What models are held under unless told otherwise: noise, blur, light, coding, attacks."""
HOW = "write corruption:severity (gaussian_noise:2), fgsm:eps or pgd:eps (eps of pixels in [0, 1])"


@dataclass(frozen=True)
class Chosen:
    """Perturbations by name, and which of the usual ones were left out, with the reason."""

    perturbations: Mapping[str, Perturbation]
    left_out: Mapping[str, str]


def chosen_perturbations(text: str | None, reference: ReferenceSample) -> Chosen:
    """Those of ``text``, separated by commas, or the usual ones that fit the images.

    PGD takes ten steps of a quarter of its eps from the image itself. Raises SettingsError for a
    perturbation that is unknown, named twice, or does not fit the images.
    """
    names = USUAL if text is None else tuple(part.strip() for part in text.split(","))
    found: dict[str, Perturbation] = {}
    left_out: dict[str, str] = {}
    for name in names:
        perturbation = _parsed(name)
        if name in found:
            raise SettingsError(f"the perturbation {name} is named twice; name it once")
        try:
            _check_fit(perturbation, reference)
        except SettingsError as error:
            if text is not None:
                raise
            left_out[name] = str(error)
            continue
        found[name] = perturbation
    return Chosen(found, left_out)


def _parsed(name: str) -> Perturbation:
    kind, colon, strength = name.partition(":")
    if not colon:
        raise SettingsError(f"{name!r} says not how strong it is; {HOW}")
    if kind in ATTACKS:
        eps = _eps(name, strength)
        if kind == "fgsm":
            return partial(fgsm, eps=eps)
        return partial(pgd, eps=eps, steps=PGD_STEPS, step_size=eps / 4)
    check_corruption(kind, (*CORRUPTIONS, *ATTACKS))
    if not strength.isdecimal():
        raise SettingsError(f"{name!r} has no severity from 1 to 5; {HOW}")
    check_severity(int(strength))
    return kind, int(strength)


def _eps(name: str, text: str) -> float:
    try:
        eps = float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        eps = 0.0
    if not 0 < eps <= 1:
        raise SettingsError(f"{name!r} has no eps above 0 and up to 1, such as 0.1 or 8/255; {HOW}")
    return eps


def _check_fit(perturbation: Perturbation, reference: ReferenceSample) -> None:
    if isinstance(perturbation, tuple):
        corrupt(reference.images[:1], *perturbation)
