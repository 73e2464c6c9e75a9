"""What perturbations do to a model's answers, image by image, kept from one run to the next."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.bands import Norm
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import Perturbation, answers, labels_of
from pytest_iaside.measure.metrics import correct, prediction_errors
from pytest_iaside.measure.perturbation import image_corruption_errors
from pytest_iaside.measure.response import spectral_response
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.perturb.attacks import fgsm, pgd
from pytest_iaside.perturb.corruptions import (
    CORRUPTIONS,
    IMAGENET_C,
    SEVERITIES,
    check_corruption,
    check_severity,
    corrupt,
)
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.study.kept import Kept

ATTACKS = ("fgsm", "pgd")
USUAL = (
    *("white_noise:3", "poisson:3", "salt_and_pepper:3", "gaussian_blur:3", "defocus_blur:3"),
    *("brightness:3", "contrast:3", "pixelate:3", "jpeg_compression:3", "fgsm:0.1", "pgd:0.1"),
)
"""The perturbations of a study unless told otherwise: noise, blur, light, coding, attacks."""
HOW = "write corruption:severity (gaussian_noise:2), fgsm:eps or pgd:eps (eps of pixels in [0, 1])"


def chosen_perturbations(
    text: str | None, reference: ReferenceSample
) -> tuple[dict[str, Perturbation], dict[str, str]]:
    """Those of ``text``, or the usual ones that fit the images; and why others do not, by name.

    Raises SettingsError for one that is unknown, named twice, or does not fit the images.
    """
    names = USUAL if text is None else [part.strip() for part in text.split(",")]
    found: dict[str, Perturbation] = {}
    left_out: dict[str, str] = {}
    for name in names:
        if name in found:
            raise SettingsError(f"the perturbation {name} is named twice; name it once")
        found[name] = perturbation = _parsed(name)
        try:
            if isinstance(perturbation, tuple):
                corrupt(reference.images[:1], *perturbation)
        except SettingsError as error:
            if text is not None:
                raise
            left_out[name] = str(error)
            del found[name]
    return found, left_out


def _parsed(name: str) -> Perturbation:
    kind, colon, strength = name.partition(":")
    if not colon:
        raise SettingsError(f"{name!r} has no strength; {HOW}")
    if kind in ATTACKS:
        try:
            eps = float(Fraction(strength))
        except (ValueError, ZeroDivisionError):
            eps = 0.0
        if not 0 < eps <= 1:
            raise SettingsError(
                f"{name!r} has no eps above 0 and up to 1, such as 0.1 or 8/255; {HOW}"
            )
        if kind == "fgsm":
            return partial(fgsm, eps=eps)
        return partial(pgd, eps=eps, steps=10, step_size=eps / 4)
    check_corruption(kind, (*CORRUPTIONS, *ATTACKS))
    if not strength.isdecimal():
        raise SettingsError(f"{name!r} has no severity from 1 to 5; {HOW}")
    check_severity(int(strength))
    return kind, int(strength)


@dataclass(frozen=True, eq=False, kw_only=True)
class Robustness:
    """One model's answers to K images, clean and under P perturbations.

    ``errors`` (P, K) are |Q(y|x) − Q(y|x*)|, whose means are mPE (SPEC.md 2, eq. 12); ``right``
    (K,) and ``right_perturbed`` (P, K) are 1 where the likeliest class is the label. ``response``
    (K, M) are |Q(y|x) − Q(y|x + n)| under noise n in each band, the mean over its energies (8).
    ``mce`` (K,) is what each image adds to the mCE, in percent; None where it was not asked for.
    """

    errors: Floats
    right: Floats
    right_perturbed: Floats
    response: Floats
    mce: Floats | None = None

    @property
    def drops(self) -> Floats:
        """What each image (P, K) adds to the drop in accuracy: its mean is the drop."""
        return np.asarray(self.right - self.right_perturbed)


def robustness(
    classifier: Classifier,
    reference: ReferenceSample,
    perturbations: Mapping[str, Perturbation],
    *,
    seed: int,
    execution: Execution,
    folder: Path | None,
    bands: int = 8,
    partition: Norm = "linf",
    mce: bool = False,
) -> Robustness:
    """How ``perturbations``, and noise in bands, move the answers; raises as ``answers``.

    With ``mce`` also what the 75 corrupted versions of ImageNet-C do, over AlexNet's errors. It is
    kept in ``folder`` under the model's weights (models/identity.py), and taken from there as long
    as the model answers the clean images as it did.
    """
    run = partial(answers, classifier, reference, seed=seed, execution=execution)
    facts = {"perturbations": list(perturbations), "seed": seed, "bands": [bands, partition]}
    kept = Kept(folder, classifier, reference, execution, {**facts, "mce": mce})
    if (known := kept.read(lambda: run([None])[0])) is not None:
        return Robustness(**known)
    every = [(name, severity) for name in IMAGENET_C for severity in SEVERITIES] if mce else []
    clean, *perturbed = run([None, *perturbations.values(), *every])
    perturbed, corrupted = perturbed[: len(perturbations)], perturbed[len(perturbations) :]
    labels = labels_of(reference, clean)
    response = spectral_response(
        classifier, reference, bands=bands, partition=partition, seed=seed, execution=execution
    )
    found = {
        "errors": np.stack([prediction_errors(clean, each, labels) for each in perturbed]),
        "right": correct(clean, labels),
        "right_perturbed": np.stack([correct(each, labels) for each in perturbed]),
        "response": response.image_response("probability").mean(axis=1),
    }
    if mce:
        found["mce"] = image_corruption_errors(corrupted, labels, "alexnet")
    kept.write(found, clean)
    return Robustness(**found)
