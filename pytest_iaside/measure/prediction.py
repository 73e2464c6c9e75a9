"""A perturbation's cost, foretold from what was measured without it (SPEC.md 8).

Two parts, each right where it applies: noise that was added, by the band response; bands that were
weakened, by the game's own table. A rule is a function of what a perturbation does to the bands of
every image, and of what was measured; others can be set beside these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from pytest_iaside.checks import check_choice
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.filters import split
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import Perturbation, kind_of, perturbed_pixels
from pytest_iaside.measure.game.changes import ScoreName
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.response import BandResponse, contrast
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.estimate import Estimate

AT_ONCE = 8  # images


@dataclass(frozen=True, eq=False)
class BandChanges:
    """What a perturbation does to the M bands of each of K images.

    ``gains`` (K, M): g_b = ⟨x*_b, x_b⟩/‖x_b‖², how much of a band is left; 1 where an image has
    nothing in the band. ``energies`` (K, M): ‖x*_b − g_b x_b‖², what is new in it, in units of
    ‖x − mean x‖²; 0 for an image of one colour.
    """

    gains: Floats
    energies: Floats
    digests: tuple[str, ...]
    partition: BandPartition


def band_changes(
    reference: ReferenceSample,
    perturbation: Perturbation,
    *,
    bands: int = 8,
    partition: Literal["linf", "l2"] = "linf",
    seed: int = 0,
    fed_to: Classifier | None = None,
) -> BandChanges:
    """Gains and residual energies of ``perturbation``, without any model.

    Of pixels; with ``fed_to`` gains are those of what that classifier is fed, as the game with
    space="input" has it: the lowest band then fades to the mean colour, not to black.

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
    gains, energies = [], []
    for start in range(0, len(reference), AT_ONCE):
        some = slice(start, min(start + AT_ONCE, len(reference)))
        before = reference.pixels(some.start, some.stop)
        after = perturbed_pixels(perturbation, kind, reference, some, seed)
        gain, energy = _gains_and_energies(before, after, parted)
        if fed_to is not None:
            gain, _ = _gains_and_energies(fed_to.normalise(before), fed_to.normalise(after), parted)
        strength = contrast(before)[:, None].numpy()
        gains.append(gain)
        energies.append(np.divide(energy, strength, out=np.zeros_like(energy), where=strength > 0))
    return BandChanges(np.concatenate(gains), np.concatenate(energies), reference.digests, parted)


def _gains_and_energies(
    before: Tensor, after: Tensor, partition: BandPartition
) -> tuple[Floats, Floats]:
    first, second = (split(each, partition).flatten(2).numpy() for each in (before, after))
    products, squares = (first * second).sum(axis=2), (first**2).sum(axis=2)
    gains: Floats = np.divide(products, squares, out=np.ones_like(products), where=squares > 0)
    residual = second - gains[:, :, None] * first
    energies: Floats = (residual**2).sum(axis=2)
    return gains, energies


def interpolated(energies: Floats, losses: Floats, wanted: Floats) -> Floats:
    """The losses at the energies ``wanted`` (…), from those (R,) at the rungs ``energies`` (R,).

    0 at 0, and from there to the first rung in proportion to the energy, as noise of little energy
    acts. Between rungs a power of the energy where both losses are above 0, else in proportion.
    Above the last rung that of the last: no loss is invented.
    """
    rungs, found = np.concatenate([[0.0], energies]), np.concatenate([[0.0], losses])
    inside = np.minimum(wanted, energies[-1])
    low = np.clip(np.searchsorted(rungs, inside, side="right") - 1, 0, len(energies) - 1)
    share = (inside - rungs[low]) / (rungs[low + 1] - rungs[low])
    before, after = found[low], found[low + 1]
    straight = before + share * (after - before)
    power = (before > 0) & (after > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = np.log(inside / rungs[low]) / np.log(rungs[low + 1] / rungs[low])
        curved = before * (after / before) ** bend
    return np.asarray(np.where(power, curved, straight))


def added_noise_loss(
    response: BandResponse, energies: Floats, score: ScoreName = "log-likelihood"
) -> Floats:
    """Σ_b R_b(e_b) of each image, (K,), for noise of ``energies`` (K, M), SPEC.md 8.

    R_b is the mean response over the images that were measured, which may be others; between its
    rungs as ``interpolated``.
    """
    mean = response.distinct(response.image_response(score)).mean(axis=0)
    ladder = np.array(response.energies)
    columns = [interpolated(ladder, r, e) for r, e in zip(mean.T, energies.T, strict=True)]
    return np.asarray(np.sum(columns, axis=0))


def beyond_ladder(response: BandResponse, energies: Floats) -> float:
    """The share of ``energies`` (K, M) above the last rung, whose losses are foretold too small."""
    return float((energies > response.energies[-1]).mean())


def owen_extension(table: Floats, gains: Floats) -> Floats:
    """Σ_S Π_{i∈S} g_i Π_{i∉S} (1 − g_i) v(S) of each image, (K,): the multilinear extension.

    ``table`` (K, 2^M) has column s for the coalition that holds player i where bit i of s is set;
    ``gains`` (K, M) are clipped to [0, 1]. Owen, Management Science 1972.
    """
    found = np.asarray(table, dtype=np.float64)
    for gain in np.clip(gains, 0.0, 1.0).T:
        # The lowest bit of what is left is the next player.
        without, present = found[:, 0::2], found[:, 1::2]
        found = (1 - gain)[:, None] * without + gain[:, None] * present
    return np.asarray(found[:, 0])


def removed_bands_loss(profile: SpectralProfile, gains: Floats) -> Floats:
    """v(all) less the Owen extension of v at ``gains`` (K, M), of each image (K,) in nats.

    Raises SettingsError where the profile does not hold the log-likelihoods of all coalitions.
    """
    if profile.log_likelihood is None:
        raise SettingsError(
            "the profile does not hold the log-likelihoods of all coalitions, of which this is "
            "foretold; measure with design='exact', and give no baseline"
        )
    table = profile.log_likelihood
    return np.asarray(table[:, -1] - owen_extension(table, gains))


RuleName = Literal["added noise", "removed bands", "sum"]
Rule = Callable[[BandChanges, BandResponse | None, SpectralProfile | None, ScoreName], Floats]


def by_added_noise(
    changes: BandChanges,
    response: BandResponse | None,
    profile: SpectralProfile | None,
    score: ScoreName,
) -> Floats:
    """What is new in each band costs what as much noise does."""
    if response is None:
        raise SettingsError("rule='added noise' needs response=; measure it by spectral_response")
    _check_bands(changes, response.partition, "response")
    return added_noise_loss(response, changes.energies, score)


def by_removed_bands(
    changes: BandChanges,
    response: BandResponse | None,
    profile: SpectralProfile | None,
    score: ScoreName,
) -> Floats:
    """What is left of each band is there with that probability."""
    if profile is None:
        raise SettingsError("rule='removed bands' needs profile=; measure it by measure")
    if score != "log-likelihood":
        raise SettingsError(
            f"score={score!r} cannot be foretold by removed bands, as the game keeps "
            "log-likelihoods alone; use score='log-likelihood'"
        )
    _check_bands(changes, profile.partition, "profile")
    rows = {digest: row for row, digest in enumerate(profile.digests)}
    missing = [digest for digest in changes.digests if digest not in rows]
    if missing:
        raise SettingsError(
            f"the profile lacks {len(missing)} of {len(changes.digests)} images; measure it on the "
            "same reference sample, all of it"
        )
    found = profile.take([rows[digest] for digest in changes.digests])
    return removed_bands_loss(found, changes.gains)


def by_sum(
    changes: BandChanges,
    response: BandResponse | None,
    profile: SpectralProfile | None,
    score: ScoreName,
) -> Floats:
    """Both, added up: too much where one perturbation does both to the same band."""
    return by_added_noise(changes, response, profile, score) + by_removed_bands(
        changes, response, profile, score
    )


RULES: Mapping[RuleName, Rule] = {
    "added noise": by_added_noise,
    "removed bands": by_removed_bands,
    "sum": by_sum,
}


def predict_loss(
    reference: ReferenceSample,
    perturbation: Perturbation,
    *,
    rule: RuleName,
    response: BandResponse | None = None,
    profile: SpectralProfile | None = None,
    score: ScoreName = "log-likelihood",
    fed_to: Classifier | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The loss of ``score`` that ``perturbation`` is foretold to cost, image by image (SPEC.md 8).

    ``rule`` says how: by the ``response`` to noise, by the exact ``profile``, or by both. A profile
    of space="input" needs ``fed_to``, the classifier it is of. The interval is over images alone:
    it does not say how far the rule itself is off, which no rule tried so far is spared.

    Raises SettingsError for what does not fit, or a measurement that the rule needs and lacks.
    """
    check_choice("rule", rule, RuleName)
    check_choice("score", score, ScoreName)
    given = response or profile
    if given is None:
        raise SettingsError(f"rule={rule!r} needs what was measured: give response= or profile=")
    fed = (profile.model.fed or "") if profile and profile.rules.space == "input" else ""
    if fed.startswith("mean") and fed_to is None:
        raise SettingsError(
            f"the profile is of what the network is fed ({fed}); give fed_to=, its Classifier with "
            "mean and std"
        )
    changes = band_changes(
        reference,
        perturbation,
        bands=given.partition.bands,
        partition=given.partition.norm,
        seed=seed,
        fed_to=fed_to if fed else None,
    )
    values = RULES[rule](changes, response, profile, score)
    return Estimate.of_mean(values, level, reference.group_numbers)


def _check_bands(changes: BandChanges, measured: BandPartition, what: str) -> None:
    if changes.partition != measured:
        raise SettingsError(
            f"the {what} is of {measured}, the perturbation's bands are of {changes.partition}; "
            "measure both alike"
        )
