"""A candidate against a baseline, image by image: what changed, and whether it is real."""

from __future__ import annotations

from collections.abc import Sequence

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pytest_iaside.errors import BaselineError
from pytest_iaside.game.rules import Rules
from pytest_iaside.game.rules import Rules
from pytest_iaside.gate.verdict import (
    BandChange,
    Check,
    CheckName,
    Comparison,
    Direction,
    Thresholds,
    Verdict,
)
from pytest_iaside.intervals import Interval, Statistic, bca_interval
from pytest_iaside.profile import ReferenceFacts, SpectralProfile
from pytest_iaside.score import sid, signed_src
from pytest_iaside.structure import RESOLUTION

LEVEL = 0.95
# Changes of a score, of a share of importance or of a share of v(all) below this come from
# rounding alone (another batch size or backend moves them by 1e-5) and count as none.
SHARE_RESOLUTION = 1e-3
Rows = NDArray[np.float64]


def compare(
    candidate: SpectralProfile,
    baseline: SpectralProfile,
    thresholds: Thresholds = Thresholds(),
    *,
    level: float = LEVEL,
) -> Comparison:
    """Hold ``candidate`` against ``baseline`` on the images both were measured on.

    Images are matched by digest; every interval is of paired differences, so what images
    have in common cancels. Raises BaselineError when the two were measured by other rules,
    on another reference sample or against other labels, and names the difference.
    """
    require_same_game(candidate.rules, candidate.reference, candidate.digests, baseline)
    require_same_classes(candidate, baseline)
    ours, theirs, notes = _pair(candidate, baseline)
    rows = np.hstack([candidate.image_psi[ours], baseline.image_psi[theirs]])
    labels = baseline.partition.labels
    edges = tuple(f"{edge:.2f} cycles/px" for edge in baseline.partition.edges[1:-1])
    allowed = thresholds
    checks = [_structured(candidate, baseline)]
    if allowed.min_src is not None:
        checks.append(_min_src(rows, allowed.min_src, level))
    quantities: tuple[tuple[CheckName, float | None, Statistic, tuple[str, ...]], ...] = (
        ("src", allowed.max_src_drop, _score, ("",)),
        ("sid", allowed.max_sid_shift, _importance_below, edges),
        ("value", allowed.max_value_drop, _value, ("",)),
        ("band", allowed.max_band_drop, _band_shares, labels),
    )
    for name, most, statistic, places in quantities:
        if most is not None:
            checks.append(_check(name, rows, statistic, most, places, allowed.direction, level))
    return Comparison(
        candidate=candidate,
        baseline=baseline,
        thresholds=thresholds,
        level=level,
        images=len(rows),
        checks=tuple(checks),
        bands=_band_changes(rows, labels, level),
        notes=notes,
    )


def require_same_game(
    rules: Rules, reference: ReferenceFacts, digests: Sequence[str], baseline: SpectralProfile
) -> None:
    """Raise BaselineError, naming every difference, unless ``baseline`` measured the same thing.

    Needs no measurement: ``digests`` are those of the images about to be measured.
    """
    differences = rules.differences(baseline.rules)
    there = baseline.reference
    if reference.shape != there.shape:
        here, back = ("×".join(map(str, facts.shape)) for facts in (reference, there))
        differences.append(f"image size: {here} here, {back} there")
    if reference.labels != there.labels:
        differences.append(f"labels: {reference.labels} here, {there.labels} there")
    if reference.digest != there.digest:
        common = len(set(digests) & set(baseline.digests))
        differences.append(
            f"reference sample: {reference.images} images ({reference.digest[:8]}) here, "
            f"{there.images} ({there.digest[:8]}) there, {common} measured images in common"
        )
    _refuse(differences)


def require_same_classes(candidate: SpectralProfile, baseline: SpectralProfile) -> None:
    """Raise BaselineError unless both models choose between as many classes."""
    here, there = candidate.model.classes, baseline.model.classes
    _refuse([f"classes: {here} here, {there} there"] if here != there else [])


def _refuse(differences: list[str]) -> None:
    if differences:
        raise BaselineError(
            "the baseline was made for something else, so nothing was compared: "
            + "; ".join(differences)
            + ". Restore the setting, or make a new baseline"
        )


def _pair(
    candidate: SpectralProfile, baseline: SpectralProfile
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    place = {digest: row for row, digest in enumerate(baseline.digests)}
    # In the order of digests: what is decided must not depend on the order of the images.
    order = sorted(range(len(candidate)), key=lambda row: candidate.digests[row])
    ours = np.array([row for row in order if candidate.digests[row] in place], dtype=np.int64)
    theirs = np.array([place[candidate.digests[row]] for row in ours], dtype=np.int64)
    if len(ours) == 0:
        raise BaselineError(
            "the baseline and this measurement have no image in common; make a new baseline"
        )
    notes = []
    differ = candidate.labels[ours] != baseline.labels[theirs]
    other = int(differ.reshape(len(ours), -1).any(axis=1).sum())
    if other:
        notes.append(
            f"the predicted labels of {other} of {len(ours)} images differ: each model is scored "
            "on its own predictions"
        )
    return ours, theirs, tuple(notes)


def _halves(means: Rows) -> tuple[Rows, Rows]:
    half = means.shape[-1] // 2
    return means[..., :half], means[..., half:]


def _score(psi: Rows) -> Rows:
    return signed_src(sid(psi))[..., None]


def _importance_below(psi: Rows) -> Rows:
    """Share of importance below each inner band edge, (…, M−1)."""
    return np.asarray(np.cumsum(sid(psi), axis=-1)[..., :-1])


def _value(psi: Rows) -> Rows:
    return np.asarray(psi.sum(axis=-1, keepdims=True))


def _band_shares(psi: Rows) -> Rows:
    return psi


def _change(statistic: Statistic, *, relative: bool) -> Statistic:
    """Candidate − baseline of ``statistic``, over the baseline's v(all) where ``relative``."""

    def change(means: Rows) -> Rows:
        ours, theirs = _halves(means)
        difference = statistic(ours) - statistic(theirs)
        if not relative:
            return difference
        value = theirs.sum(axis=-1, keepdims=True)
        # A baseline that gains nothing has no share to lose: undecided, see `structured`.
        return np.asarray(
            np.divide(difference, value, out=np.full_like(difference, np.nan), where=value > 0)
        )

    return change


def _check(
    name: CheckName,
    rows: Rows,
    statistic: Statistic,
    allowed: float,
    places: tuple[str, ...],
    direction: Direction,
    level: float,
) -> Check:
    """One check over one or more places (bands, edges), simultaneous over all of them."""
    change = _change(statistic, relative=name in ("value", "band"))
    mean = rows.mean(axis=0)
    observed = change(mean)
    interval = bca_interval(rows, change, 1 - (1 - level) / len(places))
    verdicts = [
        _decide(low, high, allowed, direction)
        for low, high in zip(interval.low, interval.high, strict=True)
    ]
    verdict = _worst(verdicts)
    # The place that decides: of those with the check's verdict, the one changed the most.
    candidates = [place for place, found in enumerate(verdicts) if found == verdict]
    key = observed if direction == "worse" else -np.abs(observed)
    at = min(candidates, key=lambda place: key[place])
    ours, theirs = (statistic(half) for half in _halves(mean))
    return Check(
        name=name,
        baseline=float(theirs[at]),
        candidate=float(ours[at]),
        change=float(observed[at]),
        low=float(interval.low[at]),
        high=float(interval.high[at]),
        limit=-allowed,
        verdict=verdict,
        changed=_moved(interval, SHARE_RESOLUTION),
        where=f"band {at} ({places[at]})" if name == "band" else places[at],
    )


def _min_src(rows: Rows, least: float, level: float) -> Check:
    def score(means: Rows) -> Rows:
        return _score(_halves(means)[0])

    interval = bca_interval(rows, score, level)
    value, low, high = float(score(rows.mean(axis=0))[0]), interval.low[0], interval.high[0]
    return Check(
        name="min_src",
        baseline=float(_score(_halves(rows.mean(axis=0))[1])[0]),
        candidate=value,
        change=value,
        low=float(low),
        high=float(high),
        limit=least,
        verdict=_decide(low - least, high - least, 0.0, "worse"),
    )


def _structured(candidate: SpectralProfile, baseline: SpectralProfile) -> Check:
    reasons = [
        f"{whose} is unstructured: {profile.unstructured_because}"
        for whose, profile in (("the candidate", candidate), ("the baseline", baseline))
        if not profile.structured
    ]
    return Check(
        name="structured",
        baseline=float(baseline.structured),
        candidate=float(candidate.structured),
        change=0.0,
        low=0.0,
        high=0.0,
        limit=0.0,
        # A model that lost its structure has changed; one that never had it decides nothing.
        verdict=(
            "pass"
            if not reasons
            else "drift"
            if baseline.structured and len(candidate) > 1
            else "inconclusive"
        ),
        where="; ".join(reasons),
    )


def _decide(low: float, high: float, allowed: float, direction: Direction) -> Verdict:
    if high < -allowed or (direction == "any" and low > allowed):
        return "drift"
    if low >= -allowed and (direction == "worse" or high <= allowed):
        return "pass"
    return "inconclusive"  # NaN ends here as well: every comparison with it is false


def _worst(verdicts: list[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("drift", "inconclusive", "pass")
    return min(verdicts, key=order.index)


def _moved(interval: Interval, resolution: float) -> bool:
    return bool(np.any((interval.low > resolution) | (interval.high < -resolution)))


def _band_changes(rows: Rows, labels: tuple[str, ...], level: float) -> tuple[BandChange, ...]:
    ours, theirs = _halves(rows)
    difference = ours - theirs
    count, bands = difference.shape
    change = difference.mean(axis=0)
    if count < 2:
        reach = np.full(bands, np.inf)
        p_values = np.ones(bands)
    else:
        error = difference.std(axis=0, ddof=1) / np.sqrt(count)
        reach = stats.t.ppf(1 - (1 - level) / (2 * bands), count - 1) * error
        excess = np.maximum(np.abs(change) - RESOLUTION, 0.0)
        beyond = np.divide(excess, error, out=np.where(excess > 0, np.inf, 0.0), where=error > 0)
        p_values = holm(2 * stats.t.sf(beyond, count - 1))
    baseline, candidate = theirs.mean(axis=0), ours.mean(axis=0)
    return tuple(
        BandChange(
            index=band,
            label=labels[band],
            baseline=float(baseline[band]),
            candidate=float(candidate[band]),
            change=float(change[band]),
            low=float(change[band] - reach[band]),
            high=float(change[band] + reach[band]),
            p_value=float(p_values[band]),
            moved=bool(p_values[band] < 1 - level),
        )
        for band in range(bands)
    )


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down adjustment (1979): reject where the result is below the level."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted
