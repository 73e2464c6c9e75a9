"""What a perturbation does to the frequency bands of images, without any model (SPEC.md 8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pytest_iaside.errors import SettingsError
from pytest_iaside.images.bands import BandPartition, Norm
from pytest_iaside.images.filters import split
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import Perturbation, kind_of, perturbed_pixels
from pytest_iaside.measure.response import band_noise, contrast
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats

AT_ONCE = 8  # images
FITTED = 4
"""Times that a surrogate is corrected for what clipping to [0, 1] does to it."""


@dataclass(frozen=True, eq=False)
class BandChanges:
    """What a perturbation does to the M bands of each of K images.

    ``gains`` (K, M): g_b = ⟨x*_b, x_b⟩/‖x_b‖², how much of a band is left; 1 where an image has
    nothing in the band. ``energies`` (K, M): ‖x*_b − g_b x_b‖², what is new in it, in units of
    ‖x − mean x‖²; 0 for an image of one colour. ``shifts`` (K, C): how much lighter every channel
    became; where changes are ``centred``, gains and energies are of images less their means.
    """

    gains: Floats
    energies: Floats
    shifts: Floats
    digests: tuple[str, ...]
    partition: BandPartition
    centred: bool = False

    def averaged(self, reference: ReferenceSample) -> BandChanges:
        """Their means over the images, for each image of ``reference``."""
        gains, energies, shifts = (
            np.tile(each.mean(axis=0), (len(reference), 1))
            for each in (self.gains, self.energies, self.shifts)
        )
        return replace(
            self, gains=gains, energies=energies, shifts=shifts, digests=reference.digests
        )


def band_changes(
    reference: ReferenceSample,
    perturbation: Perturbation,
    *,
    bands: int = 8,
    partition: Norm = "linf",
    seed: int = 0,
    fed_to: Classifier | None = None,
    centred: bool = False,
) -> BandChanges:
    """Gains and residual energies of ``perturbation``, without any model.

    Of pixels; with ``fed_to`` gains are those of what that classifier is fed, as the game with
    space="input" has it: the lowest band then fades to the mean colour, not to black. ``centred``
    takes the mean of every channel away first, as ``surrogate`` needs it.

    Raises SettingsError for an attack, which has no change of its own without a model; otherwise
    as ``perturbation_spectrum``.
    """
    kind = kind_of(perturbation, reference)
    if kind == "attack":
        raise SettingsError(
            "an attack changes images by the model that it attacks, so nothing is known of it "
            "before; give a corruption, stored images or a function of images"
        )
    _, height, width = reference.shape
    parted = BandPartition(height, width, bands, partition)
    rows = []
    for some in _pieces(reference):
        before = reference.pixels(some.start, some.stop)
        after = perturbed_pixels(perturbation, kind, reference, some, seed)
        gains, energies, shifts = _measured(before, after, parted, centred)
        if fed_to is not None:
            fed = fed_to.normalise(before), fed_to.normalise(after)
            gains, _, _ = _measured(*fed, parted, centred)
        rows.append((gains, energies, shifts))
    gains, energies, shifts = (np.concatenate(each) for each in zip(*rows, strict=True))
    return BandChanges(gains, energies, shifts, reference.digests, parted, centred)


def surrogate(
    reference: ReferenceSample, changes: BandChanges, *, seed: int = 0
) -> ReferenceSample:
    """Images changed in each band as ``changes`` says, by weakening and Gaussian noise (SPEC.md 8).

    mean x + shift + Σ_b (g_b·x_b + √e_b·n_b), clipped to [0, 1]: n_b is the noise of
    ``spectral_response``. What clipping takes away is made up for where it can be, so that the
    images have those gains and energies. They stand in for a perturbation of which no more is
    known than its spectrum. Raises SettingsError for changes of other images, or not centred.
    """
    if changes.digests != reference.digests or not changes.centred:
        raise SettingsError(
            "a surrogate is made from centred changes of the same images; use "
            "band_changes(centred=True), and averaged(reference) for those of others"
        )
    made = [_surrogates(reference, changes, some, seed) for some in _pieces(reference)]
    return ReferenceSample(
        torch.cat(made), reference.labels, names=reference.names, groups=reference.groups
    )


def _surrogates(reference: ReferenceSample, wanted: BandChanges, some: slice, seed: int) -> Tensor:
    pixels = reference.pixels(some.start, some.stop).to(torch.float64)
    means = pixels.mean(dim=(2, 3), keepdim=True)
    parts = split(pixels - means, wanted.partition)
    noise = band_noise(reference.digests[some], pixels, wanted.partition, seed).to(torch.float64)

    def drawn(gains: Floats, energies: Floats, shifts: Floats) -> Tensor:
        weak, loud = (_along(each, parts) for each in (gains, np.sqrt(energies)))
        shifted = means + torch.from_numpy(shifts)[:, :, None, None]
        return (shifted + (weak * parts + loud * noise).sum(dim=1)).clamp(0, 1)

    target = wanted.gains[some], wanted.energies[some], wanted.shifts[some]
    gains, energies, shifts = target
    for _ in range(FITTED):
        found = _measured(pixels, drawn(gains, energies, shifts), wanted.partition, True)
        gains = gains + target[0] - found[0]
        shifts = shifts + target[2] - found[2]
        ratio = np.divide(target[1], found[1], out=np.ones_like(found[1]), where=found[1] > 0)
        # Clipping alone makes something new, and what it makes cannot be taken away.
        energies = energies * np.clip(ratio, 0.25, 4.0)
    return drawn(gains, energies, shifts).to(torch.float32)


def _measured(
    before: Tensor, after: Tensor, partition: BandPartition, centred: bool
) -> tuple[Floats, Floats, Floats]:
    """Gains (K, M), energies (K, M) in units of the contrast of ``before``, and shifts (K, C)."""
    first, second = (each.to(torch.float64) for each in (before, after))
    means = [each.mean(dim=(2, 3), keepdim=True) for each in (first, second)]
    shifts: Floats = (means[1] - means[0])[:, :, 0, 0].numpy()
    if centred:
        first, second = first - means[0], second - means[1]
    parts, became = (split(each, partition).flatten(2).numpy() for each in (first, second))
    products, squares = (parts * became).sum(axis=2), (parts**2).sum(axis=2)
    gains: Floats = np.divide(products, squares, out=np.ones_like(products), where=squares > 0)
    energy = ((became - gains[:, :, None] * parts) ** 2).sum(axis=2)
    strength = contrast(before)[:, None].numpy()
    energies = np.divide(energy, strength, out=np.zeros_like(energy), where=strength > 0)
    return gains, energies, shifts


def _along(values: Floats, parts: Tensor) -> Tensor:
    """``values`` (K, M) so that they multiply ``parts`` (K, M, C, H, W)."""
    return torch.from_numpy(values)[:, :, None, None, None].to(parts)


def _pieces(reference: ReferenceSample) -> Iterator[slice]:
    for start in range(0, len(reference), AT_ONCE):
        yield slice(start, min(start + AT_ONCE, len(reference)))
