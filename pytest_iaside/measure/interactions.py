"""How much bands need each other: pairwise interactions, image by image, of passes at hand."""

import numpy as np

from pytest_iaside.measure.game.shapley import interaction_index
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.quantities import Quantity
from pytest_iaside.measure.trainings import together, trainings_of

KIND = "interactions"


def interactions_of(profile: SpectralProfile) -> Measurement | None:
    """The interaction index of each pair of bands, in nats, as a measurement of the same images.

    The quantities are ``bands i and j``, i < j in the order (0, 1), (0, 2), …: above 0 two bands
    are worth more together than apart, below 0 each replaces the other. None where the
    log-likelihoods of all coalitions are not known, or there is a single band.
    """
    each = [_of_one(training) for training in trainings_of(profile)]
    known = [one for one in each if one is not None]
    if len(known) < len(each):
        return None
    return together(known) if len(known) > 1 else known[0]


def pairs(bands: int) -> list[tuple[int, int]]:
    """Every pair of so many bands, the lower one first."""
    return [(i, j) for i in range(bands) for j in range(i + 1, bands)]


def _of_one(profile: SpectralProfile) -> Measurement | None:
    if profile.log_likelihood is None or profile.rules.bands < 2:
        return None
    chosen = pairs(profile.rules.bands)
    rows, columns = np.array(chosen).T
    return Measurement(
        kind=KIND,
        quantities=tuple(
            Quantity(name=f"bands {i} and {j}", family=KIND, better="higher", unit="nats")
            for i, j in chosen
        ),
        values=interaction_index(profile.log_likelihood)[:, rows, columns],
        digests=profile.digests,
        names=profile.names,
        groups=profile.groups,
        labels=profile.labels,
        settings=profile.settings,
        reference=profile.reference,
        model=profile.model,
        forward_passes=profile.forward_passes,
    )
