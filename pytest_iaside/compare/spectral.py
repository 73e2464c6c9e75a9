"""A candidate against a baseline, image by image: what changed, and whether it is real."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.compare.comparison import Check, Comparison
from pytest_iaside.compare.drivers import image_changes
from pytest_iaside.compare.evidence import Evidence, band_changes, run_checks
from pytest_iaside.errors import BaselineError
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.provenance import ReferenceFacts
from pytest_iaside.stats.intervals import STUDENT, Law
from pytest_iaside.thresholds import Thresholds

LEVEL = 0.95
Pairs = NDArray[np.int64]


def compare(
    candidate: SpectralProfile,
    baseline: SpectralProfile,
    thresholds: Thresholds = Thresholds(),
    *,
    level: float = LEVEL,
    paired: bool = True,
    law: Law = STUDENT,
) -> Comparison:
    """Hold ``candidate`` against ``baseline`` on the images both were measured on.

    Images are matched by digest; every interval is of paired differences, so what images
    have in common cancels. ``paired=False`` compares means over different images instead,
    with the wider intervals that takes. ``law`` is for intervals at a number of images that
    was not fixed beforehand (sequential.py).

    Raises BaselineError when the two were measured by other rules, against other kinds of
    label or, unless ``paired`` is False, on another reference sample; it names the difference.
    """
    require_same_game(
        candidate.rules, candidate.reference, candidate.digests, baseline, paired=paired
    )
    require_same_classes(candidate, baseline)
    if paired:
        ours, theirs = pair(candidate, baseline)
        notes = _label_notes(candidate, baseline, ours, theirs)
    else:
        ours, theirs = _by_digest(candidate), _by_digest(baseline)
        notes = (
            f"unpaired: {len(ours)} images here against {len(theirs)} there, so that what "
            "images have in common does not cancel and intervals are wider",
        )
    evidence = Evidence(
        candidate.image_psi[ours],
        baseline.image_psi[theirs],
        baseline.partition,
        level,
        paired=paired,
        law=law,
    )
    checks = run_checks(evidence, thresholds)
    return Comparison(
        candidate=candidate,
        baseline=baseline,
        thresholds=thresholds,
        level=level,
        images=len(ours),
        checks=(_structured(candidate, baseline), *checks),
        bands=band_changes(evidence),
        notes=(*notes, *_improvements(checks, thresholds)),
        image_changes=image_changes(evidence, checks, candidate, ours),
    )


def require_same_game(
    rules: Rules,
    reference: ReferenceFacts,
    digests: Sequence[str],
    baseline: SpectralProfile,
    *,
    paired: bool = True,
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
    if paired and reference.digest != there.digest:
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


def pair(candidate: SpectralProfile, baseline: SpectralProfile) -> tuple[Pairs, Pairs]:
    """Rows of both that belong to the same image, in an order of their own."""
    place = {digest: row for row, digest in enumerate(baseline.digests)}
    # What is decided must not depend, not in the last bit, on the order of the images.
    ours = [row for row in _by_digest(candidate) if candidate.digests[row] in place]
    if not ours:
        raise BaselineError(
            "the baseline and this measurement have no image in common; make a new baseline"
        )
    return np.array(ours), np.array([place[candidate.digests[row]] for row in ours])


def _by_digest(profile: SpectralProfile) -> Pairs:
    return np.array(sorted(range(len(profile)), key=profile.digests.__getitem__))


def _label_notes(
    candidate: SpectralProfile, baseline: SpectralProfile, ours: Pairs, theirs: Pairs
) -> tuple[str, ...]:
    differ = candidate.labels[ours] != baseline.labels[theirs]
    other = int(differ.reshape(len(ours), -1).any(axis=1).sum())
    if not other:
        return ()
    return (
        f"the predicted labels of {other} of {len(ours)} images differ: each model is scored "
        "on its own predictions",
    )


def _improvements(checks: list[Check], thresholds: Thresholds) -> list[str]:
    """A note where something rose by more than it may fall; nothing where that is drift too."""
    titles = {"src": "signed SRC", "sid": "SID", "value": "v(all)"}
    better = [titles[c.name] for c in checks if c.name in titles and c.low > -c.limit]
    if not better or thresholds.direction == "any":
        return []
    names = ", ".join(better)
    return [
        f"better than the baseline by more than may be lost ({names}): refresh the baseline, so "
        "that the gain is kept (pytest --iaside-update=all)"
    ]


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
