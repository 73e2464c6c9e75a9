"""Stop measuring as soon as the verdict is decided (``samples="auto"``)."""

import hashlib
from collections.abc import Callable, Sequence

from pytest_iaside.checks import check_level
from pytest_iaside.compare.check import worst
from pytest_iaside.compare.compare import compare, evidence_of
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.families import families_of, run_checks
from pytest_iaside.compare.fit import pair
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.intervals import STUDENT, Anytime
from pytest_iaside.thresholds import LEVEL, Thresholds

# The first look. 16 images are 4,112 passes at 8 bands: the normal approximation behind the
# sequence holds by then (benchmarks/gate_calibration.py), and it is a twelfth of the paper's
# 51,200 passes.
MINIMUM_IMAGES = 16
# The number of images at which the sequence is tightest.
TIGHTEST = 32


def drawing_order(digests: Sequence[str], seed: int) -> list[int]:
    """Indices of images in the order in which they are drawn.

    By hash: random to what the images show, and the same whatever their order, the worker or
    the machine.
    """
    drawn = [hashlib.sha256(f"{seed} {digest}".encode()).hexdigest() for digest in digests]
    return sorted(range(len(digests)), key=drawn.__getitem__)


def stopping_rule(
    baseline: SpectralProfile, thresholds: Thresholds, *, level: float = LEVEL
) -> Callable[[SpectralProfile], int | None]:
    """What says, of a profile so far, at how many of its images it was decided.

    Every number of images from ``MINIMUM_IMAGES`` on is looked at in turn, whatever the
    pieces in which they arrive: the verdict does not depend on how the rounds are cut. None
    where more images are needed.
    """
    law = _sequence(level)
    families = families_of(baseline)
    looked_at = MINIMUM_IMAGES - 1

    def stop(profile: SpectralProfile) -> int | None:
        nonlocal looked_at
        while looked_at < len(profile):
            looked_at += 1
            first = profile.first(looked_at)
            evidence = evidence_of(first, baseline, pair(first, baseline), law.level, law=law)
            checks = run_checks(evidence, families, thresholds.limits, thresholds.direction)
            verdict = worst([check.verdict for check in checks])
            # One drift decides the whole; a pass takes every check, and a model that means
            # something.
            if verdict == "drift" or (verdict == "pass" and first.structured):
                return looked_at
        return None

    return stop


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
