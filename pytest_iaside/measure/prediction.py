"""A perturbation's cost, foretold from what was measured without it (SPEC.md 8).

Two parts, each right where it applies: noise that was added, by the band response; bands that were
weakened, by the game's own table. A rule is a function of what a perturbation does to the bands of
every image, and of what was measured; others can be set beside these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from pytest_iaside.checks import check_choice
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.answers import Perturbation
from pytest_iaside.measure.band_changes import BandChanges, band_changes
from pytest_iaside.measure.game.changes import ScoreName
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.response import BandResponse
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.estimate import Estimate

STEPS = 400
"""Losses and energies that a response is looked up at."""


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


def pooled_noise_loss(
    response: BandResponse, energies: Floats, score: ScoreName = "log-likelihood"
) -> Floats:
    """The loss ℓ at which Σ_b e_b / E_b(ℓ) = 1, of each image, (K,); E_b(ℓ) alone would cost ℓ.

    Loewe additivity (1926): noise of one band is so much noise of another. Where losses grow with
    the root of the energy it foretells less than ``added_noise_loss``, which lets every band start
    anew. E_b is from the mean response, made to rise; no loss above the greatest that was measured
    is foretold.
    """
    mean = response.distinct(response.image_response(score)).mean(axis=0)
    ladder = np.array(response.energies)
    grid = np.concatenate([[0.0], np.geomspace(1e-5 * ladder[0], ladder[-1], STEPS)])
    curves = [np.maximum.accumulate(interpolated(ladder, each, grid)) for each in mean.T]
    most = max(float(each[-1]) for each in curves)
    if most <= 0:
        return np.zeros(len(energies))
    losses = np.linspace(0, most, STEPS)[1:]
    # A band whose noise never costs so much does not count.
    needed = [np.interp(losses, each, grid, right=np.inf) for each in curves]
    doses = energies @ (1 / np.maximum(needed, grid[1]))
    reached = (doses >= 1).sum(axis=1)  # What is needed rises with the loss.
    return np.asarray(np.concatenate([[0.0], losses])[reached])


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


RuleName = Literal["added noise", "pooled noise", "removed bands", "sum", "larger", "independent"]
Rule = Callable[[BandChanges, BandResponse | None, SpectralProfile | None, ScoreName], Floats]


def by_added_noise(
    changes: BandChanges,
    response: BandResponse | None,
    profile: SpectralProfile | None,
    score: ScoreName,
) -> Floats:
    """What is new in each band costs what as much noise does."""
    return added_noise_loss(_checked(response, changes), changes.energies, score)


def by_pooled_noise(
    changes: BandChanges,
    response: BandResponse | None,
    profile: SpectralProfile | None,
    score: ScoreName,
) -> Floats:
    """What is new in all bands is noise of one band, in the amounts that cost as much."""
    return pooled_noise_loss(_checked(response, changes), changes.energies, score)


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


def by_larger(
    changes: BandChanges,
    response: BandResponse | None,
    profile: SpectralProfile | None,
    score: ScoreName,
) -> Floats:
    """The larger of both: as if what one of them destroys is what the other would."""
    return np.maximum(
        by_added_noise(changes, response, profile, score),
        by_removed_bands(changes, response, profile, score),
    )


def by_independence(
    changes: BandChanges,
    response: BandResponse | None,
    profile: SpectralProfile | None,
    score: ScoreName,
) -> Floats:
    """Removed bands cost what noise has left of them: 1 − (1 − a)(1 − b) of v(all) (Bliss 1939)."""
    noise = by_added_noise(changes, response, profile, score)
    removed = by_removed_bands(changes, response, profile, score)
    assert profile is not None  # Or it would have been missed.
    left = 1 - noise / profile.value if profile.value > 0 else np.zeros_like(noise)
    return np.asarray(noise + removed * np.clip(left, 0, 1))


RULES: Mapping[RuleName, Rule] = {
    "added noise": by_added_noise,
    "pooled noise": by_pooled_noise,
    "removed bands": by_removed_bands,
    "sum": by_sum,
    "larger": by_larger,
    "independent": by_independence,
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


def _checked(response: BandResponse | None, changes: BandChanges) -> BandResponse:
    if response is None:
        raise SettingsError("this rule needs response=; measure it by spectral_response")
    _check_bands(changes, response.partition, "response")
    return response


def _check_bands(changes: BandChanges, measured: BandPartition, what: str) -> None:
    if changes.partition != measured:
        raise SettingsError(
            f"the {what} is of {measured}, the perturbation's bands are of {changes.partition}; "
            "measure both alike"
        )
