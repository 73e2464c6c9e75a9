"""Stop measuring as soon as the verdict is decided (``samples="auto"``)."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from pytest_iaside.checks import check_level
from pytest_iaside.compare.changes import evidence_of
from pytest_iaside.compare.check import Verdict, worst
from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.families import families_of, run_checks
from pytest_iaside.compare.fit import pair
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.intervals import STUDENT, Anytime
from pytest_iaside.thresholds import LEVEL, Limit, Thresholds

# The first look. 16 images are 4,112 passes at 8 bands: the normal approximation behind the
# sequence holds by then (benchmarks/gate_calibration.py), and it is a twelfth of the paper's
# 51,200 passes. Where images come in groups, it is after so many groups.
MINIMUM_IMAGES = 16
# The number of images at which the sequence is tightest.
TIGHTEST = 32


def drawing_order(
    digests: Sequence[str], seed: int, classes: Sequence[int] | None = None
) -> list[int]:
    """Indices of images in the order in which they are drawn, evenly over ``classes``.

    Within a class by hash: random to what the images show, and the same whatever their order, the
    worker or the machine. Classes of the same size take turns, in an order that is by hash, too;
    one that is twice as large comes twice as often, so that the images drawn so far are at any time
    a fair sample of all. Copies of an image come last: they tell nothing more.
    """
    classes = [0] * len(digests) if classes is None else classes
    drawn = [hashlib.sha256(f"{seed} {digest}".encode()).hexdigest() for digest in digests]
    seen: set[str] = set()
    members: dict[int, list[int]] = {}
    copies: list[int] = []
    for image in sorted(range(len(digests)), key=lambda image: (drawn[image], classes[image])):
        copy = digests[image] in seen
        (copies if copy else members.setdefault(classes[image], [])).append(image)
        seen.add(digests[image])
    turns = {
        image: ((turn + int(drawn[image], 16) / 16**64) / len(some), drawn[image])
        for some in members.values()
        for turn, image in enumerate(some)
    }
    return [*sorted(turns, key=turns.__getitem__), *copies]


def drawing_order_of_groups(
    digests: Sequence[str], groups: Sequence[int], seed: int, classes: Sequence[int] | None = None
) -> tuple[list[int], list[int]]:
    """The same of images that come in ``groups``: one group after the other, whole.

    With the numbers of images at which another group is complete. A group takes the turn of the
    class that most of its images have. Copies of an image come last here, too.
    """
    members: dict[int, dict[str, int]] = {}
    copies: list[int] = []
    by_digest = sorted(range(len(digests)), key=lambda image: (digests[image], image))
    for image in by_digest:
        if members.setdefault(groups[image], {}).setdefault(digests[image], image) != image:
            copies.append(image)
    units = list(members.values())
    names = [hashlib.sha256(" ".join(unit).encode()).hexdigest() for unit in units]
    most = None
    if classes is not None:
        counts = (Counter(classes[image] for image in unit.values()) for unit in units)
        most = [min(count, key=lambda each: (-count[each], each)) for count in counts]
    order: list[int] = []
    ends = []
    for unit in drawing_order(names, seed, most):
        order += units[unit].values()
        ends.append(len(order))
    return [*order, *copies], ends


def unseen(
    seen: int, images: int, level: float = LEVEL, groups: int | None = None, largest: float = 1.0
) -> float:
    """The share of ``images`` that may show a change of which none of those ``seen`` shows a trace.

    The rule of three: if more than 3/m of the images did, m drawn ones would have met one of them
    with 95 % probability. Of images that were drawn in ``groups`` these are what was drawn, and
    those that were not may be the ``largest``, in times the mean one. Never more than the images
    that are left.
    """
    drawn = seen if groups is None else groups
    return min(-math.log(1 - level) / drawn * largest, 1 - seen / images)


def stopping_rule(
    baseline: SpectralProfile,
    thresholds: Thresholds,
    *,
    level: float = LEVEL,
    ends: Sequence[int] | None = None,
) -> Callable[[SpectralProfile], int | None]:
    """What says, of a profile so far, at how many of its images it was decided.

    Every number of different images from ``MINIMUM_IMAGES`` on is looked at in turn, whatever the
    pieces in which they arrive: the verdict does not depend on how the rounds are cut. None
    where more images are needed. Of images that come in groups only the numbers ``ends`` are looked
    at, at which another group is complete.

    One drift decides the whole. A pass takes every check, a model that means something, and room
    for what was not seen: where the images seen so far agree, their intervals are short however a
    class or an image not yet drawn has fared. So before the last image a pass must hold even if
    the share ``unseen`` of the images lost all that an average image holds, which is that share of
    v(all), of importance and of the score. Looking often costs nothing here: what is not met by
    then was not met at an earlier look either. Only the game is looked at: the answers decide, too,
    but on as many images as they are given for.
    """
    law = _sequence(level)
    known = set(baseline.digests)
    looked_at = 0
    sizes = [] if ends is None else [last - first for first, last in pairwise((0, *ends))]
    largest = max(sizes, default=1) * len(sizes) / sum(sizes) if sizes else 1.0

    def stop(profile: SpectralProfile) -> int | None:
        nonlocal looked_at
        while looked_at < len(profile):
            looked_at += 1
            if ends is not None and looked_at not in ends:
                continue
            first = profile.first(looked_at)
            seen = len(known.intersection(first.digests))
            groups = None if ends is None else ends.index(looked_at) + 1
            if (seen if groups is None else groups) < MINIMUM_IMAGES:
                continue
            verdict = _verdict(first, baseline, thresholds, law)
            if verdict == "drift":
                return looked_at
            if verdict == "pass" and first.structured:
                room = unseen(seen, len(known), level, groups, largest)
                if _verdict(first, baseline, thresholds, law, room) == "pass":
                    return looked_at
        return None

    return stop


def _verdict(
    candidate: SpectralProfile,
    baseline: SpectralProfile,
    thresholds: Thresholds,
    law: Anytime,
    room: float = 0.0,
) -> Verdict:
    """The worst of all checks, where the share ``room`` of the images may have lost everything."""
    evidence = evidence_of(candidate, baseline, pair(candidate, baseline), law.level, law=law)
    limits = {family: _tightened(limit, room) for family, limit in thresholds.limits.items()}
    checks = run_checks(evidence, families_of(baseline), limits, thresholds.direction)
    return worst([check.verdict for check in checks])


def _tightened(limit: Limit, lost: float) -> Limit:
    """What may change of the images seen, so that ``limit`` holds if so much more is lost."""
    return Limit(
        change=None if limit.change is None else limit.change - lost,
        bound=None if limit.bound is None else limit.bound + lost,
    )


def compare_sequentially(
    candidate: SpectralProfile,
    baseline: SpectralProfile,
    thresholds: Thresholds,
    *,
    level: float = LEVEL,
    exhausted: bool,
) -> Comparison:
    """The comparison at a moment chosen by ``stopping_rule``, with intervals that allow for it.

    Half of the error that ``level`` allows is spent on looking early; the other half is for
    one last look, with ordinary intervals, when the reference sample is ``exhausted``.
    """
    law = _sequence(level)
    return compare(
        candidate, baseline, thresholds, level=law.level, law=STUDENT if exhausted else law
    )


def _sequence(level: float) -> Anytime:
    check_level(level)
    return Anytime(level=(1 + level) / 2, images=TIGHTEST)
