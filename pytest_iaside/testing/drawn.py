"""The order in which the images of a baseline are drawn: evenly over classes, groups whole."""

from __future__ import annotations

import numpy as np

from pytest_iaside.compare.sequential import drawing_order, drawing_order_of_groups
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import on_labels_of
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.groups import joined


def in_drawing_order(
    sample: ReferenceSample, baseline: SpectralProfile, seed: int
) -> tuple[ReferenceSample, int, list[int] | None]:
    """The images that ``baseline`` has, evenly over classes, and how many they are.

    With the numbers of images at which a group is complete, where they come in groups. Those that
    it lacks could tell nothing: they come last, and are not measured.
    """
    known = set(baseline.digests)
    has = np.array([digest in known for digest in sample.digests])
    rows, others = np.flatnonzero(has), np.flatnonzero(~has)
    ends = None
    if len(rows):
        images = on_labels_of(sample.take(rows), baseline)
        classes = None if images.labels is None else images.labels.numpy()
        if classes is not None and classes.ndim == 2:
            classes = classes.argmax(axis=1)
        turns = None if classes is None else classes.tolist()
        groups = _groups_in(images, baseline)
        if groups is None:
            order = drawing_order(images.digests, seed, turns)
        else:
            order, ends = drawing_order_of_groups(images.digests, groups, seed, turns)
        rows = rows[order]
    return sample.take([*rows, *others]), len(rows), ends


def _groups_in(images: ReferenceSample, baseline: SpectralProfile) -> list[int] | None:
    """The group of each of ``images``: together are those that are so there, or in ``baseline``."""
    if images.groups is None and baseline.groups is None:
        return None
    labels: list[tuple[str, str]] = [("sample", each) for each in images.groups or ()]
    known = [*images.digests] * bool(labels)
    for digest, group in zip(baseline.digests, baseline.groups or (), strict=False):
        known.append(digest)
        labels.append(("baseline", group))
    number = {key: at for at, key in enumerate(dict.fromkeys(known))}
    found = joined(known, labels)
    places = range(len(number)) if found is None else found.tolist()
    return [places[number[digest]] for digest in images.digests]
