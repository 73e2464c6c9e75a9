"""Families: what a limit can be given for, how its change is estimated, and how it is told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pytest_iaside.compare.check import Check, Estimates, check_places
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.compare.words import confidence, nats, number, percent, share, signed, within
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.measure.measurement import Better, Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.intervals import Change
from pytest_iaside.stats.score import sid, signed_src
from pytest_iaside.stats.sid_intervals import Shares, least
from pytest_iaside.thresholds import Direction, Limits

# Changes of a score, of a share of importance or of a share of v(all) below this come from
# rounding alone (another batch size or backend moves them by 1e-5) and count as none.
SHARE_RESOLUTION = 1e-3


@dataclass(frozen=True, eq=False, kw_only=True)
class Family:
    """Quantities that share a limit; ``places`` names them, or what is read off them.

    ``estimate`` is of their changes, ``bounds`` of the candidate's own values, where they can be
    bounded. ``change(candidate, baseline, place)`` is what ``estimate`` estimates, of two means.
    """

    name: str
    places: Sequence[str]
    better: Sequence[Better]
    """Of each place."""
    estimate: Callable[[Evidence], Estimates]
    bounds: Callable[[Evidence], Estimates] | None
    change: Callable[[Floats, Floats], Floats]
    sentence: Callable[[Check, float], str]
    bound_name: str = "bound"
    resolution: float = np.inf
    """Up to which a change counts as none; without one, quantities themselves say."""

    def change_at(self, where: str) -> Change:
        """The change at the place ``where``, a function of two means."""
        place = list(self.places).index(where)
        return lambda candidate, baseline: np.asarray(self.change(candidate, baseline)[..., place])


def run_checks(
    evidence: Evidence, families: Mapping[str, Family], limits: Limits, direction: Direction
) -> list[Check]:
    """Every check that ``limits`` ask for; raises SettingsError for a family there is not."""
    checks: list[Check] = []
    for name, limit in limits.items():
        if name not in families:
            raise SettingsError(
                f"there is a limit for {name!r}, but no such quantity was measured; limits can "
                f"be given for {', '.join(sorted(families))}"
            )
        family = families[name]
        of_limit = []
        if limit.change is not None:
            of_limit.append(_change_check(family, evidence, limit.change, direction))
        if limit.bound is not None:
            of_limit.append(_bound_check(family, evidence, limit.bound))
        # The least score comes before its change, as it always did.
        checks += reversed(of_limit) if name == "src" else of_limit
    return checks


def families_of(measurement: Measurement) -> dict[str, Family]:
    """What limits can be given for on ``measurement``, by name."""
    if isinstance(measurement, SpectralProfile):
        return spectral_families(measurement.partition)
    columns: dict[str, list[int]] = {}
    for column, quantity in enumerate(measurement.quantities):
        columns.setdefault(quantity.family, []).append(column)
    return {name: _mean_family(measurement, name, some) for name, some in columns.items()}


def spectral_families(partition: BandPartition) -> dict[str, Family]:
    """What limits can be given for on a spectral profile."""
    edges = [f"{edge:.2f} cycles/px" for edge in partition.edges[1:-1]]
    bands = [f"band {band} ({label})" for band, label in enumerate(partition.labels)]
    return {
        "src": _share_family("src", [""], _score),
        "sid": _share_family("sid", edges, _importance_below),
        "value": _nats_family("value", [""], _value),
        "band": _nats_family("band", bands, _bands),
    }


def _share_family(name: Literal["src", "sid"], places: Sequence[str], shares: Shares) -> Family:
    """What is read off the SID, whose intervals stats/sid_intervals.py explains."""

    def change(candidate: Floats, baseline: Floats) -> Floats:
        return np.asarray(shares(candidate, least(candidate)) - shares(baseline, least(baseline)))

    return Family(
        name=name,
        places=places,
        better=["higher"] * len(places),
        estimate=lambda evidence: evidence.change_of_shares(shares, len(places)),
        bounds=(lambda evidence: evidence.bounds_of_shares(shares)) if name == "src" else None,
        change=change,
        sentence=_SENTENCES[name],
        bound_name="min_src",
        resolution=SHARE_RESOLUTION,
    )


def _nats_family(
    name: Literal["value", "band"], places: Sequence[str], statistic: Callable[[Floats], Floats]
) -> Family:
    """What is linear in ψ; its change is a share of the baseline's v(all)."""

    def relative(candidate: Floats, baseline: Floats) -> Floats:
        difference = statistic(candidate) - statistic(baseline)
        value = baseline.sum(axis=-1, keepdims=True)
        # A baseline that gains nothing has no share to lose: undecided, see `structured`.
        return np.asarray(
            np.divide(difference, value, out=np.full_like(difference, np.nan), where=value > 0)
        )

    return Family(
        name=name,
        places=places,
        better=["higher"] * len(places),
        estimate=lambda evidence: evidence.change_of(statistic, relative, len(places)),
        bounds=None,
        change=lambda candidate, baseline: np.asarray(statistic(candidate) - statistic(baseline)),
        sentence=_SENTENCES[name],
        resolution=SHARE_RESOLUTION,
    )


def _mean_family(measurement: Measurement, name: str, columns: Sequence[int]) -> Family:
    """Quantities as they are, whose means count."""
    quantities = [measurement.quantities[column] for column in columns]
    some = list(columns)
    return Family(
        name=name,
        places=[quantity.name for quantity in quantities],
        better=[quantity.better for quantity in quantities],
        estimate=lambda evidence: evidence.change_of_means(some),
        bounds=lambda evidence: evidence.bounds_of_means(some),
        change=lambda candidate, baseline: np.asarray((candidate - baseline)[..., some]),
        sentence=_mean_sentence,
    )


def _change_check(
    family: Family, evidence: Evidence, allowed: float, direction: Direction
) -> Check:
    found = check_places(
        family.name,
        family.places,
        family.estimate(evidence),
        allowed,
        better=family.better,
        direction=direction,
        resolution=family.resolution,
    )
    return replace(found, sentence=family.sentence(found, evidence.level))


def _bound_check(family: Family, evidence: Evidence, bound: float) -> Check:
    if family.bounds is None:
        raise SettingsError(f"{family.name!r} can have no bound; limit its change instead")
    found = check_places(
        family.bound_name,
        family.places,
        family.bounds(evidence),
        bound,
        better=family.better,
        bound=True,
    )
    return replace(found, sentence=_bound_sentence(found, evidence.level))


def _score(psi: Floats, at: Floats) -> Floats:
    return signed_src(sid(psi, at))[..., None]


def _importance_below(psi: Floats, at: Floats) -> Floats:
    """Share of importance below each inner band edge, (…, M−1)."""
    return np.asarray(np.cumsum(sid(psi, at), axis=-1)[..., :-1])


def _value(psi: Floats) -> Floats:
    return np.asarray(psi.sum(axis=-1, keepdims=True))


def _bands(psi: Floats) -> Floats:
    return psi


def _bound_sentence(check: Check, level: float) -> str:
    spectral = check.name == "min_src"
    what, show = ("signed SRC", signed) if spectral else (check.where, number)
    limit = signed(check.limit) if spectral else f"{check.limit:g}"
    word = "at most" if check.better == "lower" else "at least"
    interval = f"{confidence(level)} {show(check.low)}…{show(check.high)}"
    return f"{what} {show(check.candidate)} ({interval}, {word} {limit})"


def _mean_sentence(check: Check, level: float) -> str:
    change = f"{_fitting(check.change)}, {within(check, level, _fitting)}"
    return f"{check.where} {number(check.baseline)} → {number(check.candidate)} ({change})"


def _fitting(value: float) -> str:
    return signed(value, 3 if abs(value) < 10 else 1)


def _score_sentence(check: Check, level: float) -> str:
    return f"signed SRC {signed(check.change)} ({within(check, level, signed)})"


def _importance_sentence(check: Check, level: float) -> str:
    # Told as what moved upwards: a loss below the frequency.
    moved = replace(check, low=-check.high, high=-check.low, limit=-check.limit)
    return (
        f"{share(-check.change)} of the importance moved above {check.where} "
        f"({within(moved, level, share)})"
    )


def _value_sentence(check: Check, level: float) -> str:
    change = f"{percent(check.change)}, {within(check, level, percent)}"
    return f"v(all) {nats(check.baseline)} → {nats(check.candidate)} nats ({change})"


def _band_sentence(check: Check, level: float) -> str:
    change = f"{percent(check.change)} of v(all)"
    return f"{check.where} {change} ({within(check, level, percent)})"


_SENTENCES: dict[str, Callable[[Check, float], str]] = {
    "src": _score_sentence,
    "sid": _importance_sentence,
    "value": _value_sentence,
    "band": _band_sentence,
}
