"""The trend of spectral robustness over the checkpoints of a run, as a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from pytest_iaside.compare.changes import SAME_ANSWERS, at_own_temperature, quantity_changes
from pytest_iaside.compare.check import WORST_FIRST, Check, Estimates
from pytest_iaside.compare.compare import moved_most
from pytest_iaside.compare.comparison import Comparison, QuantityChange
from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.compare.families import families_of, run_checks
from pytest_iaside.compare.words import confidence, fixed, share
from pytest_iaside.errors import BaselineError
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.panel import clean_answers
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats import sid_intervals
from pytest_iaside.stats.arrays import Floats, averaged
from pytest_iaside.stats.groups import Groups, joined
from pytest_iaside.stats.intervals import Change
from pytest_iaside.stats.seeds import PredictionError, line_error, trend_error
from pytest_iaside.stats.sid_intervals import Shares
from pytest_iaside.thresholds import LEVEL, Thresholds, check_limits

TELL_NOISE = 5
"""Checkpoints from which on their distance from a line tells the noise of training."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrendEvidence(Evidence):
    """Evidence on the two ends of lines fitted to measurements at several steps.

    ``points`` (N, K, M) are the ψ of N checkpoints, ``at_first`` and ``at_last`` (N,) what each
    adds to a fitted line's value at the first step and at the last. ψ and v(all) are linear: their
    line's ends are compared as two models are. A score's line is not the score of a line. From
    five checkpoints on, how far they lie off their line counts: that is the noise of training.
    """

    points: Floats
    at_first: Floats
    at_last: Floats

    @property
    def freedom(self) -> float:
        """Degrees of freedom of what checkpoints lie off their line."""
        return len(self.points) - 2 if len(self.points) >= TELL_NOISE else np.inf

    def uncertainty(self, change: Change, images: Floats | None = None) -> PredictionError | None:
        """What makes ``change`` uncertain; None of few points, which lie near any line."""
        if len(self.points) < TELL_NOISE:
            return None
        return trend_error(
            self.points, self.at_first, self.at_last, change, images=images, groups=self.groups
        )

    def change_of_shares(self, shares: Shares, places: int) -> Estimates:
        psi = self.points.mean(axis=1)
        found = shares(psi, sid_intervals.least(psi))
        weights = self.at_last - self.at_first
        low, high = sid_intervals.contrast_interval(
            list(self.points), list(weights), shares, self.level_of_each(places), groups=self.groups
        )
        first, last, change = (
            np.tensordot(each, found, axes=1) for each in (self.at_first, self.at_last, weights)
        )
        if len(self.points) < TELL_NOISE:
            return Estimates(first, last, change, low, high)
        # Scores lie off their own line.
        square = line_error(found, self.at_first, self.at_last) ** 2
        reach = special.stdtrit(self.freedom, 0.5 + self.level_of_each(places) / 2)
        wider = [np.sqrt((change - end) ** 2 + reach**2 * square) for end in (low, high)]
        return Estimates(first, last, change, change - wider[0], change + wider[1])


def compare_trend(
    profiles: Sequence[SpectralProfile],
    steps: Sequence[int],
    thresholds: Thresholds,
    *,
    level: float = LEVEL,
    counted: str = "step",
) -> Comparison:
    """The trend over ``profiles`` of one run, by ascending ``steps``, on the images all have.

    ``counted`` is what the steps count: epochs, say.

    Of each check and quantity a line is fitted by least squares; ``baseline`` and ``candidate``
    are its values at the first step and the last. Intervals count images, left out of all profiles
    together (stats/sid_intervals.py where the least band is in doubt), and from five checkpoints on
    the noise of training: how far they lie off their line. Of fewer a note says that they tell too
    little of it.

    Raises BaselineError where profiles have no two images in common; SettingsError where
    thresholds ask for nothing.
    """
    check_limits(thresholds.limits, "a trend", ("max_src_drop", "max_value_drop"))
    rows, groups = _same_images(profiles)
    at_first, at_last = _line(steps)
    first, last = profiles[0], profiles[-1]
    evidence = TrendEvidence(
        candidate=np.tensordot(at_last, rows, axes=1),
        baseline=np.tensordot(at_first, rows, axes=1),
        quantities=last.quantities,
        level=level,
        points=rows,
        at_first=at_first,
        at_last=at_last,
        groups=groups,
    )
    found = run_checks(evidence, families_of(last), thresholds.limits, thresholds.direction)
    checks = [replace(check, sentence=_sentence(check, level)) for check in found]
    changes = quantity_changes(evidence)
    answers: tuple[QuantityChange, ...] = ()
    limits, notes = dict(thresholds.limits), []
    if len(steps) < TELL_NOISE:
        notes.append(
            f"{len(steps)} checkpoints do not tell how far training moves a model from one to the "
            f"next: intervals are over images alone; take {TELL_NOISE} or more"
        )
    if last.reference.labels == "predicted":
        own = "each checkpoint is scored on its own predictions"
        notes.append(f"the reference sample has no labels: {own}")
    elif (answered := _answers(profiles, steps, level)) is None:
        without = "some checkpoints were measured without their answers: accuracy has no trend"
        notes.append(f"{without}; measure them anew")
    else:
        families = {each.family for each in answered.quantities}
        asked = {name: each for name, each in thresholds.answer_limits.items() if name in families}
        known = families_of(clean_answers(last.answers)) if last.answers else {}
        checks += run_checks(answered, known, asked, thresholds.direction)
        answers, limits = quantity_changes(answered), {**asked, **limits}
    over = f" over the last {len(steps)} checkpoints ({counted} {steps[0]} to {steps[-1]})"
    # The one that decides is told first, and says over which checkpoints.
    head = min(checks, key=lambda check: WORST_FIRST.index(check.verdict))
    told = head.sentence.replace("), allowed", f"){over}, allowed")
    told = told if over in told else f"{told}{over}"
    checks = [replace(each, sentence=told) if each is head else each for each in checks]
    return Comparison(
        candidate=last,
        baseline=first,
        limits=limits,
        direction=thresholds.direction,
        level=level,
        images=rows.shape[1],
        groups=None if all(one.groups is None for one in profiles) else evidence.drawn,
        checks=tuple(checks),
        quantities=changes,
        answers=answers,
        notes=tuple(notes),
        tail=moved_most(changes, last.model.unit),
        in_words=True,
    )


def _answers(
    profiles: Sequence[SpectralProfile], steps: Sequence[int], level: float
) -> Evidence | None:
    """Evidence on how right images are answered at the ends of a line; None where some say not."""
    given = [clean_answers(each.answers) for each in profiles if each.answers is not None]
    if len(given) < len(profiles):
        return None
    rows, groups = _same_images(given)
    at_first, at_last = _line(steps)
    return TrendEvidence(
        candidate=np.tensordot(at_last, rows, axes=1),
        baseline=np.tensordot(at_first, rows, axes=1),
        quantities=given[-1].quantities,
        level=level,
        resolution=SAME_ANSWERS,
        compared=at_own_temperature(given[-1]),
        points=rows,
        at_first=at_first,
        at_last=at_last,
        groups=groups,
    )


def _same_images(profiles: Sequence[Measurement]) -> tuple[Floats, Groups]:
    """Values (N, K, Q) of the images that all profiles have, in an order of their own.

    With their groups: together are images that are so in any of the profiles.
    """
    common = set.intersection(*(set(profile.digests) for profile in profiles))
    if len(common) < 2:
        raise BaselineError(
            f"the checkpoints have {len(common)} measured images in common, at least 2 are needed; "
            "measure them with the same samples="
        )
    rows = [
        dict(zip(dict.fromkeys(each.digests), averaged(each.values, each.digests), strict=True))
        for each in profiles
    ]
    order = sorted(common)
    values = np.stack([[psi[digest] for digest in order] for psi in rows])
    # Copies of an image may be in several groups, which are one then: each copy is a row here.
    partitions: list[list[tuple[int, str]]] = []
    keys: list[str] = []
    for at, one in enumerate(profiles):
        if one.groups is not None:
            pairs = [
                (key, (at, group))
                for key, group in zip(one.digests, one.groups, strict=True)
                if key in common
            ]
            keys += [key for key, _ in pairs]
            partitions.append([group for _, group in pairs])
    if not partitions:
        return values, None
    labels: list[tuple[int, str]] = [(-1, key) for key in order]
    for each in partitions:
        labels += each
    return values, joined([*order, *keys], labels)


def _line(steps: Sequence[int]) -> tuple[Floats, Floats]:
    """What each point adds to the fitted line's value at the first step, and at the last."""
    # As Python's own integers: steps may be too large for a float to tell apart.
    x = np.array([step - steps[0] for step in steps], dtype=np.float64)
    from_mean = x - x.mean()
    slope = from_mean / (from_mean**2).sum()
    first, last = (1 / len(steps) + from_mean[end] * slope for end in (0, -1))
    return first, last


def _sentence(check: Check, level: float) -> str:
    title, show = "v(all)", share
    if check.name == "src":
        title = "signed SRC" if min(check.baseline, check.candidate) < 0 else "SRC"
        show = fixed
    rose = check.change > 0
    low, high = (check.low, check.high) if rose else (-check.high, -check.low)
    allowed = f"allowed {'is a fall of ' if rose else ''}{show(-check.limit)}"
    return (
        f"{title} {'rose' if rose else 'fell'} by {show(abs(check.change))} "
        f"({confidence(level)} {show(low)}…{show(high)}), {allowed}"
    )
