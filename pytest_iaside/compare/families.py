"""Families: what a limit can be given for, how its change is estimated, and how it is told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pytest_iaside.compare import effective
from pytest_iaside.compare.check import Check, Estimates, Verdict, decide, worst
from pytest_iaside.compare.evidence import Evidence, by_family
from pytest_iaside.compare.words import (
    about,
    in_unit,
    interval_of,
    nats,
    number,
    percent,
    points,
    share,
    signed,
    within,
)
from pytest_iaside.errors import SettingsError
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.quantities import AS_ANSWERED, Better
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.intervals import Change, Statistic
from pytest_iaside.stats.power import POWER, detectable, detectable_share
from pytest_iaside.stats.score import sid, signed_src
from pytest_iaside.stats.sid_intervals import Shares, least
from pytest_iaside.thresholds import Direction, Limits

# Changes of a score, of a share of importance or of a share of v(all) below this come from
# rounding alone (another batch size or backend moves them by 1e-5) and count as none.
SHARE_RESOLUTION = 1e-3
# What is limited of classes and labels, and what of a score of the user's own.
OF_LABELS = ("mpe", "accuracy", "mce", "effective", "log-likelihood", "probability")
OF_SCORES = ("score", "lost")
MOSTLY_SEEDS = 0.5
"""Share of an interval's square from which on other seeds make it wide, and not images."""
SHARES = ("sid", "src", "accuracy", "probability", "mpe", "effective")
"""How the names of checks end whose changes are shares, and less than 1."""
ROUNDING = 1e-9
"""Of a share: one image of 50 is 2 %, and no less."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Family:
    """Quantities that share a limit; ``places`` names them, or what is read off them.

    ``better`` says of each place which way is. ``read`` reads the values at all places off means
    (…, Q); ``estimate`` is of their changes, ``bounds`` of the candidate's own, if they can be
    bounded. Changes up to ``resolution`` count as none; without one, quantities themselves say.
    """

    name: str
    places: Sequence[str]
    better: Sequence[Better]
    read: Statistic
    estimate: Callable[[Evidence], Estimates]
    bounds: Callable[[Evidence], Estimates] | None
    sentence: Callable[[Check, float], str]
    show: Callable[[float], str]
    """A change in words."""
    bound_name: str = "bound"
    both_ways: bool = False
    """Whether changes for the better count as well, whatever ``direction`` says."""
    resolution: float = np.inf
    left: float = 1.0
    """Of the limit that was asked for; what is beyond this part of it is drift already."""
    erratic: bool = False
    """Whether trainings of one recipe may differ by so much that the check decides nothing."""
    hits: bool = False
    """Whether the quantities are 0 or 1."""
    coarse: Callable[[float], bool] = lambda above: False
    """Whether an interval that is too wide to tell decides nothing, so far above what is allowed.

    Scores are read off the least band and hits are 0 or 1: their intervals are wide however little
    changed, and leave no gate undecided that other checks decide (SPEC.md 14).
    """

    def change_at(self, where: str) -> Change:
        """The change at the place ``where``, a function of two means."""
        place = list(self.places).index(where)
        return lambda candidate, baseline: (self.read(candidate) - self.read(baseline))[..., place]


def run_checks(
    evidence: Evidence, families: Mapping[str, Family], limits: Limits, direction: Direction
) -> list[Check]:
    """Every check that ``limits`` ask for; raises SettingsError for a family there is not."""
    checks: list[Check] = []
    scored = not families.keys().isdisjoint(OF_SCORES)
    for name, limit in limits.items():
        if name not in families and name in (OF_LABELS if scored else OF_SCORES):
            continue
        if name not in families:
            raise SettingsError(
                f"there is a limit for {name!r}, but no such quantity was measured; limits can "
                f"be given for {', '.join(sorted(families))}, such as "
                f"thresholds={{{min(families)!r}: Limit(change=0.05)}}"
            )
        # The least score comes before its change, as it always did.
        for bound in (True, False) if name == "src" else (False, True):
            value = limit.bound if bound else limit.change
            if value is not None:
                checks.append(_check(families[name], evidence, value, direction, bound=bound))
    wide = [_too_wide(families, check) for check in checks]
    if all(wide):
        return checks
    return [
        replace(check, verdict="nothing found") if decides_nothing else check
        for check, decides_nothing in zip(checks, wide, strict=True)
    ]


def _too_wide(families: Mapping[str, Family], check: Check) -> bool:
    if check.verdict != "inconclusive" or check.name not in families:
        return False
    if families[check.name].erratic and check.of_seeds > MOSTLY_SEEDS:
        return True
    gain = check.change if check.better == "higher" else -check.change
    allowed = abs(check.limit)
    wide = not check.high - check.low <= 2 * allowed
    return families[check.name].coarse(gain + allowed) and (wide or gain >= -allowed)


def families_of(measurement: Measurement) -> dict[str, Family]:
    """What limits can be given for on ``measurement``, by name."""
    if isinstance(measurement, SpectralProfile):
        partition = measurement.partition
        edges = [f"{edge:.2f} cycles/px" for edge in partition.edges[1:-1]]
        bands = [quantity.name for quantity in measurement.quantities]
        upper, unit = (len(bands) + 1) // 2, measurement.model.unit
        return {
            "src": _share_family("src", [""], lambda psi, at: signed_src(sid(psi, at))[..., None]),
            # The share of importance below each inner edge.
            "sid": _share_family("sid", edges, lambda p, at: sid(p, at).cumsum(axis=-1)[..., :-1]),
            "value": _nats_family("value", [""], lambda psi: psi.sum(axis=-1, keepdims=True), unit),
            "band": _nats_family("band", bands, lambda psi: psi, unit),
            "upper": replace(
                _nats_family("upper", bands[upper:], lambda psi: psi[..., upper:], unit),
                both_ways=True,
            ),
        }
    columns = by_family(measurement.quantities)
    found = {name: _mean_family(measurement, name, some) for name, some in columns.items()}
    if (beside := effective.columns_of(measurement.quantities)) is not None:
        found[effective.NAME] = _effective_family(beside)
    return found


def _share_family(name: str, places: Sequence[str], shares: Shares) -> Family:
    """What is read off the SID, whose intervals stats/sid_intervals.py explains."""
    return Family(
        name=name,
        places=places,
        better=["higher"] * len(places),
        read=lambda psi: shares(psi, least(psi)),
        estimate=lambda evidence: evidence.change_of_shares(shares, len(places)),
        bounds=(lambda evidence: evidence.bounds_of_shares(shares)) if name == "src" else None,
        sentence=_spectral_sentence,
        show=signed if name == "src" else share,
        bound_name="min_src",
        resolution=SHARE_RESOLUTION,
        coarse=lambda above: True,
    )


def _nats_family(name: str, places: Sequence[str], read: Statistic, unit: str) -> Family:
    """What is linear in ψ; its change is a share of the baseline's v(all), in ``unit``."""

    def relative(candidate: Floats, baseline: Floats) -> Floats:
        difference = read(candidate) - read(baseline)
        value = baseline.sum(axis=-1, keepdims=True)
        # A baseline that gains nothing has no share to lose: undecided, see `structured`.
        lost: Floats = np.full_like(difference, np.nan)
        np.divide(difference, value, out=lost, where=value > 0)
        return lost

    return Family(
        name=name,
        places=places,
        better=["higher"] * len(places),
        read=read,
        estimate=lambda evidence: evidence.change_of(read, relative, len(places)),
        bounds=None,
        sentence=lambda check, level: in_unit(_spectral_sentence(check, level), unit),
        show=percent,
        resolution=SHARE_RESOLUTION,
    )


def _mean_family(measurement: Measurement, name: str, columns: list[int]) -> Family:
    """Quantities as they are, whose means count."""
    quantities = [measurement.quantities[column] for column in columns]
    hits = all(each.unit == "hit" for each in quantities)
    return Family(
        name=name,
        places=[quantity.name for quantity in quantities],
        better=[quantity.better for quantity in quantities],
        read=lambda mean: mean[..., columns],
        estimate=lambda evidence: evidence.change_of_means(columns),
        bounds=lambda evidence: evidence.bounds_of_means(columns),
        sentence=_mean_sentence,
        show=_fitting,
        hits=hits,
        coarse=lambda above: above > ROUNDING and hits,
    )


def _effective_family(columns: effective.Columns) -> Family:
    """What accuracies under perturbations changed by beyond what clean accuracy explains."""
    return Family(
        name=effective.NAME,
        places=columns.places,
        better=["higher"] * len(columns.places),
        read=lambda mean: mean[..., list(columns.perturbed)],
        estimate=lambda evidence: effective.effective_estimates(evidence, columns),
        bounds=None,
        sentence=effective.effective_sentence,
        show=lambda change: f"{points(change)} points",
        coarse=lambda above: above > ROUNDING,
    )


def _check(
    family: Family, evidence: Evidence, limit: float, direction: Direction, *, bound: bool
) -> Check:
    """The check of one limit at all places of ``family``: the worst verdict, at the plainest."""
    if not bound:
        found = family.estimate(evidence)
        low, high, allowed = found.low, found.high, limit
    elif family.bounds is None:
        raise SettingsError(f"{family.name!r} can have no bound; limit its change instead")
    else:
        found, direction = family.bounds(evidence), "worse"
        low, high, allowed = found.low - limit, found.high - limit, 0.0
    level = evidence.level_of_each(len(family.places))
    direction = "any" if family.both_ways else direction
    rule = partial(decide, direction=direction, level=level, freedom=evidence.freedom)
    verdicts: list[Verdict] = []
    for lower, upper, better in zip(low.tolist(), high.tolist(), family.better, strict=True):
        found_here = rule(lower, upper, allowed, better=better)
        # What is not drift is judged by the whole limit.
        whole = family.left < 1 and rule(lower, upper, allowed / family.left, better=better)
        if found_here == "inconclusive" and whole in ("pass", "nothing found"):
            found_here = "nothing found"
        verdicts.append(found_here)
    verdict = worst(verdicts)
    signs = np.array([1 if better == "higher" else -1 for better in family.better])
    gain = -np.abs(found.change) if direction == "any" else signs * found.change
    deciding = [place for place, each in enumerate(verdicts) if each == verdict]
    at = min(deciding, key=lambda place: float(gain[place]))
    moved = found.change[at] if direction == "any" else 0.0
    rises = moved > 0 if moved else family.better[at] == "lower"
    # Wherever it is: what the widest of those that decide could have seen.
    seen = float(detectable(low, high, allowed, level, evidence.freedom)[deciding].max())
    between_trainings = bool(np.isfinite(evidence.freedom))
    if family.hits and evidence.paired and not bound and not between_trainings:
        names = [quantity.name for quantity in evidence.quantities]
        alone = evidence.alone([names.index(place) for place in family.places])
        freedom = np.inf if evidence.groups is None else max(evidence.drawn - 1, 1)
        seen = detectable_share(alone, allowed, level, freedom)
    width = float((high - low)[deciding].max())
    outside = (found.low > family.resolution) | (found.high < -family.resolution)
    times = _times_to_pass(width, allowed + min(float(gain[at]), 0.0))
    check = Check(
        name=family.bound_name if bound else family.name,
        where=family.places[at],
        better=family.better[at],
        **found.at(at),
        limit=limit if bound or rises else -limit,
        verdict=verdict,
        changed=not bound and bool(np.any(outside)),
        detectable=seen,
        # More images do not make trainings more alike.
        images_to_pass=np.nan if between_trainings else len(evidence.candidate) * times,
        groups_to_pass=np.nan
        if between_trainings or evidence.groups is None
        else evidence.drawn * times,
    )
    if bound:
        return replace(check, sentence=_bound_sentence(check, evidence.level))
    told = family.sentence(check, evidence.level)
    if between_trainings and np.isfinite(check.of_seeds) and np.isfinite(width):
        told += f"; the interval is {share(check.of_seeds)} seeds, the rest images"
    if verdict in ("nothing found", "inconclusive"):
        told += _what_was_seen(check, family.show)
    elif verdict == "pass" and width > 0:  # Of the same answers there is nothing to find.
        told += _what_would_be_seen(check, family.show)
    return replace(check, sentence=told)


def _times_to_pass(width: float, left: float) -> float:
    """How many times as many images, or groups of them, it takes to pass if the change stays.

    Half the interval is ``left`` then.
    """
    return (width / 2 / left) ** 2 if left > 0 else np.inf


def _what_would_be_seen(check: Check, show: Callable[[float], str]) -> str:
    """What a check that passed would have found (SPEC.md 11)."""
    if not np.isfinite(check.detectable) or _needs_all(check):
        return ""
    return f"; would have found {show(_worse(check))} with {POWER:.0%}"


def _needs_all(check: Check) -> bool:
    """Whether no smaller change would be found than the largest there can be."""
    return check.name.endswith(SHARES) and check.detectable >= 1


def _worse(check: Check) -> float:
    """The detectable change, with the sign that sentences give it."""
    rises = check.name == "sid" or check.better == "lower"
    return check.detectable if rises else -check.detectable


def _what_was_seen(check: Check, show: Callable[[float], str]) -> str:
    """What the check could have seen, and how many images a pass would take (SPEC.md 11)."""
    if not np.isfinite(check.detectable):
        return ""
    told = f"; {show(_worse(check))} would be found"
    if _needs_all(check):
        told = "; nothing less than all would be found"
    if np.isfinite(check.images_to_pass):
        grouped = np.isfinite(check.groups_to_pass)
        count = check.groups_to_pass if grouped else check.images_to_pass
        told += f", a pass takes about {about(count)} {'groups' if grouped else 'images'}"
    return told


def _bound_sentence(check: Check, level: float) -> str:
    spectral = check.name == "min_src"
    what, show = ("signed SRC", signed) if spectral else (check.where, number)
    limit = signed(check.limit) if spectral else f"{check.limit:g}"
    word = "at most" if check.better == "lower" else "at least"
    interval = interval_of(check, level, show)
    return f"{what} {show(check.candidate)} ({interval}, {word} {limit})"


def _mean_sentence(check: Check, level: float) -> str:
    change = f"{_fitting(check.change)}, {within(check, level, _fitting)}"
    what = "log-likelihood as it answers" if check.where == AS_ANSWERED else check.where
    return f"{what} {number(check.baseline)} → {number(check.candidate)} ({change})"


def _fitting(value: float) -> str:
    return signed(value, 3 if abs(value) < 10 else 1)


def _spectral_sentence(check: Check, level: float) -> str:
    match check.name:
        case "src":
            return f"signed SRC {signed(check.change)} ({within(check, level, signed)})"
        case "value":
            change = f"{percent(check.change)}, {within(check, level, percent)}"
            return f"v(all) {nats(check.baseline)} → {nats(check.candidate)} nats ({change})"
        case "band" | "upper":
            change = f"{percent(check.change)} of v(all)"
            return f"{check.where} {change} ({within(check, level, percent)})"
    # The SID's, told as what moved upwards: a loss below the frequency.
    moved = replace(check, low=-check.high, high=-check.low, limit=-check.limit)
    return (
        f"{share(-check.change)} of the importance moved above {check.where} "
        f"({within(moved, level, share)})"
    )
