"""Whether two measurements can be compared: the same thing, measured alike, on the same images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_iaside.errors import BaselineError
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.perturbation import DRAWS, FACTS, MADE
from pytest_iaside.measure.provenance import ReferenceInfo
from pytest_iaside.measure.trainings import trainings_of
from pytest_iaside.stats.groups import Groups, joined

Pairs = NDArray[np.int64]
# What is not among the settings of a measurement has this value.
UNSAID = {"dtype": "float32"}
# Standard errors by which means over DRAWS calls may lie apart: by chance in 1 of 5,000.
FAR_APART = 5
# By how much the norms of what an attack with a bound does differ, as a share.
SAME_BOUND = 0.05
DEFINITIONS = "definitions"
"""What each perturbation of a measurement is, by its name."""


def require_same_measurement(
    candidate: Measurement, baseline: Measurement, *, paired: bool = True
) -> None:
    """Raise BaselineError, naming every difference, unless both measured the same thing."""
    refuse(all_differences(candidate, baseline, paired=paired))


def all_differences(
    candidate: Measurement, baseline: Measurement, *, paired: bool = True
) -> list[str]:
    """One line for each difference of what the two measured, and of what kind of model."""
    differences = differences_of(
        candidate.kind,
        candidate.settings,
        candidate.reference,
        candidate.digests,
        baseline,
        labels=None if candidate.labels_predicted else candidate.labels,
        paired=paired,
    )
    names = [tuple(each.name for each in one.quantities) for one in (candidate, baseline)]
    if names[0] != names[1] and not differences:
        differences.append(
            f"quantities: candidate {', '.join(names[0])}, baseline {', '.join(names[1])}"
        )
    classes = [one.model.classes for one in (candidate, baseline)]
    if classes[0] != classes[1]:
        differences.append(f"classes: candidate {classes[0]}, baseline {classes[1]}")
    for what in ("task", "unit", "score"):
        ours, theirs = (getattr(one.model, what) for one in (candidate, baseline))
        if ours != theirs:
            differences.append(f"{what}: candidate {ours or 'none'}, baseline {theirs or 'none'}")
    return [*differences, *fed_otherwise(candidate.model.fed, baseline)]


def less_than(candidate: Measurement, baseline: Measurement) -> list[str]:
    """One line for each thing that ``baseline`` holds and ``candidate`` does not.

    A gate compares what both sides have: what a new baseline leaves out is never looked at again,
    and coarser groups make every interval wider.
    """
    found = [*_images_less(candidate, baseline)]
    own, other = candidate.answers, baseline.answers
    if other is not None and own is None:
        found.append("answers: it holds none, so that accuracy would never be compared again")
    if own is not None and other is not None:
        names = {each.name for each in own.quantities}
        if missing := [each.name for each in other.quantities if each.name not in names]:
            found.append(f"answers: it does not hold {', '.join(missing[:3])}")
        found += [f"answers: {each}" for each in _images_less(own, other)]
    before, now = (
        dict(zip(each.digests, each.groups or (), strict=False)) for each in (baseline, candidate)
    )
    if (baseline.groups is None) != (candidate.groups is None) or any(
        now[each] != before[each] for each in now.keys() & before.keys()
    ):
        found.append("groups: images belong together otherwise than before")
    held, holds = (len(trainings_of(each)) for each in (baseline, candidate))
    if holds < held:
        found.append(
            f"trainings: it holds {holds}, the old one {held}; what those differ by would be lost"
        )
    return found


def _images_less(candidate: Measurement, baseline: Measurement) -> list[str]:
    predicted = candidate.labels_predicted or baseline.labels_predicted
    own, other = (
        Counter(_keys(each.digests, None if predicted else each.labels))
        for each in (candidate, baseline)
    )
    missing = (other - own).total()
    return [f"images: {missing} of the {len(baseline)} of the old one are missing"] * bool(missing)


def fed_otherwise(fed: str | None, baseline: Measurement) -> list[str]:
    """The difference where a network is ``fed`` other numbers: of those other bands are taken."""
    before = baseline.model.fed
    if None in (fed, before) or fed == before:
        return []
    return [f"what the network is fed: candidate {fed}, baseline {before}"]


def differences_of(
    kind: str,
    settings: Mapping[str, Any],
    reference: ReferenceInfo,
    digests: Sequence[str],
    baseline: Measurement,
    *,
    labels: NDArray[Any] | None = None,
    paired: bool = True,
) -> list[str]:
    """One line for each difference of ``baseline`` from what is to be measured on ``digests``.

    ``labels`` are those images' own labels; None where they are predicted.
    """
    other = baseline.reference
    if kind != baseline.kind:
        return [f"kind: candidate {kind}, baseline {baseline.kind}"]
    found = _settings_differences(settings, baseline)
    if reference.shape != other.shape:
        sizes = ["×".join(map(str, info.shape)) for info in (reference, other)]
        found.append(f"image size: candidate {sizes[0]}, baseline {sizes[1]}")
    if reference.labels != other.labels:
        found.append(f"labels: candidate {reference.labels}, baseline {other.labels}")
    if paired and reference.digest != other.digest:
        if labels is not None and (edited := _edited(digests, labels, baseline)):
            found.append(
                f"labels: the images are the same, but {edited} of {len(digests)} "
                f"{'has' if edited == 1 else 'have'} another label than in the baseline"
            )
            return found
        common = len(set(digests) & set(baseline.digests))
        found.append(
            f"reference sample: candidate {reference.images} images ({reference.digest[:8]}), "
            f"baseline {other.images} ({other.digest[:8]}), {common} measured images in common"
        )
    return found


def refuse(differences: list[str]) -> None:
    """Raise BaselineError where there are ``differences``."""
    if differences:
        raise BaselineError(
            "the baseline was made for something else, so nothing was compared: "
            + "; ".join(differences)
            + ". Restore the setting, or make a new baseline"
        )


def pair(candidate: Measurement, baseline: Measurement) -> tuple[Pairs, Pairs]:
    """Rows of both that belong to the same image, in an order of their own.

    The same image has the same digest and, unless labels are predicted, the same label. Of several
    copies of it the first is paired with the first, the second with the second.
    """
    predicted = candidate.labels_predicted or baseline.labels_predicted
    ours, theirs = (
        _keys(one.digests, None if predicted else one.labels) for one in (candidate, baseline)
    )
    place = {key: row for row, key in enumerate(theirs)}
    # What is decided must not depend, not in the last bit, on the order of the images.
    rows = [row for row in sorted(range(len(ours)), key=ours.__getitem__) if ours[row] in place]
    if not rows:
        raise BaselineError(
            "the baseline and this measurement have no image in common; make a new baseline"
        )
    return np.array(rows), np.array([place[ours[row]] for row in rows])


def without_copies(measurement: Measurement, rows: Pairs) -> Pairs:
    """Of ``rows`` the first of those that are copies of one image, by their digests."""
    found: dict[str, int] = {}
    for row in rows.tolist():
        found.setdefault(measurement.digests[row], row)
    return np.array(list(found.values()))


def groups_of(
    candidate: Measurement, baseline: Measurement, rows: tuple[Pairs, Pairs], *, paired: bool = True
) -> tuple[Groups, Groups]:
    """The groups of those rows of both, copies of an image being one row.

    Of pairs both have the same: images are together that are so in either measurement. So an edit
    of the groups makes no interval shorter until the baseline is made anew.
    """
    given = [groups_at(one, some) for one, some in zip((candidate, baseline), rows, strict=True)]
    digests = [
        [one.digests[row] for row in some]
        for one, some in zip((candidate, baseline), rows, strict=True)
    ]
    if paired:
        both = joined(digests[0], *(each for each in given if each is not None))
        found = None if given == [None, None] else both
        return found, found
    first, second = (
        None if each is None else joined(names, each)
        for names, each in zip(digests, given, strict=True)
    )
    return first, second


def grouped_as(one: Measurement, other: Measurement) -> Measurement:
    """``one`` with the groups that ``other`` gives the same images; as it is where it gives none.

    An image that ``other`` lacks is one by itself.
    """
    if other.groups is None:
        return one
    known = dict(zip(other.digests, other.groups, strict=True))
    return replace(one, groups=tuple(known.get(each, f"image {each}") for each in one.digests))


def groups_at(one: Measurement, rows: Pairs) -> list[str] | None:
    """What the images ``rows`` of ``one`` are one of; None where it does not say."""
    return None if one.groups is None else [one.groups[row] for row in rows.tolist()]


def by_digest(measurement: Measurement) -> Pairs:
    """All rows in an order that is the images' own."""
    return np.array(sorted(range(len(measurement)), key=measurement.digests.__getitem__))


def _keys(digests: Sequence[str], labels: NDArray[Any] | None) -> list[tuple[str, bytes, int]]:
    """Digest, label and occurrence of each image: no two images share all three."""
    found, seen = [], Counter[tuple[str, bytes]]()
    for image in zip(digests, _label_bytes(labels, len(digests)), strict=True):
        found.append((*image, seen[image]))
        seen[image] += 1
    return found


def _label_bytes(labels: NDArray[Any] | None, count: int) -> list[bytes]:
    """Each label, a class or a distribution, as bytes; empty where there are none."""
    if labels is None:
        return [b""] * count
    return [label.tobytes() for label in labels.astype(np.int64 if labels.ndim == 1 else float)]


def _edited(digests: Sequence[str], labels: NDArray[Any], baseline: Measurement) -> int:
    """How many labels differ from those of ``baseline``; 0 where its images are others."""
    if baseline.labels_predicted or Counter(digests) != Counter(baseline.digests):
        return 0
    pairs = (
        Counter(zip(names, _label_bytes(some, len(names)), strict=True))
        for names, some in ((digests, labels), (baseline.digests, baseline.labels))
    )
    ours, theirs = pairs
    return (ours - theirs).total()


def _settings_differences(settings: Mapping[str, Any], baseline: Measurement) -> list[str]:
    if baseline.kind == "spectral":
        # A seed matters only where something is drawn.
        return Rules(**settings).differences(Rules(**baseline.settings))
    both = {**UNSAID, **settings}, {**UNSAID, **baseline.settings}
    defined, made = ([each.pop(name, {}) for each in both] for name in (DEFINITIONS, MADE))
    found = [_difference(name, *both) for name in sorted({*both[0], *both[1]})]
    # Version 0.1 does not say: compare.py notes it.
    found += [_difference(name, *defined) for name in defined[0] if name in defined[1]]
    for name in (name for name in made[0] if name in made[1]):
        one, other = (each[name] for each in made)
        told = _difference(name, *made)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            if not _reaches_as_far(one, other):
                found.append(f"{told}: the attack has another bound (median, spread)")
        elif isinstance(one, Mapping) or isinstance(other, Mapping):
            found.append(f"{told}: one is an attack and the other a function")
        elif not _makes_the_same(one, other):
            found.append(f"{told}: the function makes other images (mean, std, change, step)")
    return [each for each in found if each]


def _makes_the_same(ours: Sequence[float] | None, theirs: Sequence[float] | None) -> bool:
    """Whether images that two functions make look alike, by what ``made_of`` says of them.

    Of functions that draw at random older files say nothing, which is None.
    """
    drawn = [told is None or len(told) > len(FACTS) for told in (ours, theirs)]
    if drawn[0] != drawn[1]:
        return False
    if ours is None or theirs is None:
        return True
    one, other = (np.array(told, dtype=float) for told in (ours, theirs))
    facts, spread = len(FACTS), np.zeros(len(FACTS))
    if one.shape != other.shape or one.size not in (facts, 2 * facts):
        return False
    if drawn[0]:
        squares = (one[facts:] ** 2 + other[facts:] ** 2) / DRAWS
        spread = FAR_APART * np.sqrt(squares)
    reach = 1e-3 + 0.02 * np.abs(other[:facts]) + spread
    return bool((np.abs(one[:facts] - other[:facts]) <= reach).all())


def _reaches_as_far(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two attacks may have the same bound.

    Where an attack moves every image by as much, it has a bound, which is its own and not the
    model's. Others go as far as each image needs, of which nothing can be said.
    """
    for norm in ours.keys() & theirs.keys():
        (one, spread), (other, other_spread) = ours[norm], theirs[norm]
        bounded = max(spread, other_spread) <= SAME_BOUND and min(one, other) > 0
        if bounded and abs(one - other) > SAME_BOUND * max(one, other):
            return False
    return True


def _difference(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    one, other = ours.get(name), theirs.get(name)
    return "" if one == other else f"{name}: candidate {one!r}, baseline {other!r}"
