"""Which images ``samples="auto"`` draws, and in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from profiles import make_profile

from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.testing.drawn import in_drawing_order

IMAGES = np.random.default_rng(0).random((12, 1, 4, 4)).astype(np.float32)
CLASSES = np.arange(12) % 3
SAMPLE = ReferenceSample(IMAGES)


def baseline_of(sample: ReferenceSample, labels: Any = CLASSES) -> SpectralProfile:
    found = make_profile(images=len(sample))
    return replace(found, digests=sample.digests, labels=np.asarray(labels)[: len(sample)])


def classes_of(drawn: ReferenceSample) -> list[int]:
    known = dict(zip(SAMPLE.digests, CLASSES.tolist(), strict=True))
    return [known[digest] for digest in drawn.digests]


@pytest.mark.parametrize(
    "labels",
    [CLASSES, 0.8 * np.eye(3)[CLASSES] + 0.2 / 3, None],
    ids=["dataset", "soft", "predicted"],
)
def test_classes_take_turns_whatever_the_labels(labels: Any) -> None:
    sample = SAMPLE.with_labels(labels)
    drawn, known, _ = in_drawing_order(sample, baseline_of(sample), seed=0)
    assert known == 12
    found = classes_of(drawn)
    assert [sorted(found[turn : turn + 3]) for turn in range(0, 12, 3)] == [[0, 1, 2]] * 4
    assert drawn.label_kind == sample.label_kind


@pytest.mark.parametrize("labels", [CLASSES, None], ids=["dataset", "predicted"])
def test_images_that_the_baseline_lacks_come_last(labels: Any) -> None:
    sample = SAMPLE.with_labels(labels)
    drawn, known, _ = in_drawing_order(sample, baseline_of(sample.take(range(9))), seed=0)
    assert known == 9
    assert set(drawn.digests[:9]) == set(sample.digests[:9])
    assert drawn.digests[9:] == sample.digests[9:]


def test_a_baseline_of_other_images_draws_none() -> None:
    other = ReferenceSample(1 - IMAGES)
    drawn, known, _ = in_drawing_order(SAMPLE, baseline_of(other), seed=0)
    assert (drawn.digests, known) == (SAMPLE.digests, 0)
