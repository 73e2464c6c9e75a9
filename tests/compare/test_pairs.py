"""Which rows of candidate and baseline belong together, also where images are copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import make_profile

from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.fit import pair
from pytest_iaside.errors import BaselineError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import classes_in
from pytest_iaside.measure.profile import SpectralProfile

IMAGES = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 2)), min_size=2, max_size=12)
"""What each image shows, and its label."""


def profile(images: Sequence[tuple[str, int]], seed: int = 0, **changes: Any) -> SpectralProfile:
    """Of every image other ψ, also of copies: so a row that is paired wrongly shows."""
    psi = np.random.default_rng(seed).normal([4.0, 2.0, 1.0, 0.5], size=(len(images), 4))
    return replace(
        make_profile(image_psi=psi),
        digests=tuple(digest for digest, _ in images),
        names=tuple(f"image {i}" for i in range(len(images))),
        labels=np.array([label for _, label in images]),
        **changes,
    )


def predicted(found: SpectralProfile) -> SpectralProfile:
    return replace(found, reference=replace(found.reference, labels="predicted"))


@given(images=IMAGES, seed=st.integers(0, 99))
def test_a_profile_does_not_differ_from_itself(images: Any, seed: int) -> None:
    one = profile(images, seed)
    ours, theirs = pair(one, one)
    assert ours.tolist() == theirs.tolist()
    assert sorted(ours.tolist()) == list(range(len(images)))
    found = compare(one, one)
    assert {each.change for each in (*found.checks, *found.bands)} == {0.0}


@given(images=IMAGES, data=st.data())
def test_pairs_have_the_same_digest_and_label_whatever_the_order(images: Any, data: Any) -> None:
    one = profile(images)
    other = one.take(data.draw(st.permutations(range(len(images)))))
    ours, theirs = pair(other, one)
    assert len(ours) == len(images) == len(set(ours.tolist())) == len(set(theirs.tolist()))
    for a, b in zip(ours, theirs, strict=True):
        assert (other.digests[a], other.labels[a]) == (one.digests[b], one.labels[b])
    assert [other.digests[a] for a in ours] == sorted(other.digests)


def test_copies_with_other_labels_are_not_cross_paired() -> None:
    one = profile([("a", 0), ("a", 1), ("b", 0)])
    ours, theirs = pair(one.take([1, 0, 2]), one)
    assert (ours.tolist(), theirs.tolist()) == ([1, 0, 2], [0, 1, 2])
    # Only the copy with label 1 was measured: that with label 0 is another image.
    assert [rows.tolist() for rows in pair(one.take([1, 2]), one)] == [[0, 1], [1, 2]]


def test_soft_labels_are_told_apart_by_their_numbers() -> None:
    soft = np.array([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0]])
    one = replace(profile([("a", 0), ("a", 0), ("b", 0)]), labels=soft)
    one = replace(one, reference=replace(one.reference, labels="soft"))
    found = compare(one.take([1, 0, 2]), one)
    ours, theirs = pair(one.take([1, 0, 2]), one)
    assert soft[[1, 0, 2]][ours].tolist() == soft[theirs].tolist()
    assert [check.change for check in found.checks] == [0.0] * 6


@given(images=IMAGES, labels=st.lists(st.integers(0, 2), min_size=12, max_size=12))
def test_predicted_labels_may_differ(images: Any, labels: list[int]) -> None:
    one = predicted(profile(images))
    other = replace(one, labels=np.array(labels[: len(images)]))
    ours, theirs = pair(other, one)
    assert ours.tolist() == theirs.tolist()
    assert sorted(ours.tolist()) == list(range(len(images)))


def test_the_predictions_that_a_diagnosis_explains_may_differ() -> None:
    """Their sample has labels of its own, at which nobody looks."""
    one = profile([("a", 0), ("b", 1), ("c", 2)])
    one = replace(one, model=replace(one.model, classes=0))
    ours, theirs = pair(replace(one, labels=np.array([2, 1, 0])), one)
    assert ours.tolist() == theirs.tolist() == [0, 1, 2]


def test_a_copy_more_than_the_baseline_has_is_left_out() -> None:
    one = profile([("a", 0), ("a", 0), ("b", 0)])
    assert [rows.tolist() for rows in pair(one, one.take([0, 2]))] == [[0, 2], [0, 1]]


@pytest.mark.parametrize(
    ("edited", "told"), [(1, "1 of 4 has another"), (3, "3 of 4 have another")]
)
def test_edited_labels_are_counted(edited: int, told: str) -> None:
    one = profile([("a", 0), ("a", 1), ("b", 0), ("c", 2)])
    labels = one.labels.copy()
    labels[:edited] += 5
    other = replace(one, labels=labels, reference=replace(one.reference, digest="0" * 32))
    message = f"the images are the same, but {told} label than in the baseline"
    with pytest.raises(BaselineError, match=message):
        compare(other, one)
    with pytest.raises(BaselineError, match=message):
        compare(other.take([2, 0, 3, 1]), one)


def test_other_images_are_told_as_such() -> None:
    one = profile([("a", 0), ("b", 1)])
    other = profile([("a", 0), ("c", 2)])
    other = replace(other, reference=replace(one.reference, digest="0" * 32))
    with pytest.raises(BaselineError, match="1 measured images in common"):
        compare(other, one)


class TestClassesOfABaseline:
    GREY = np.full((3, 1, 4, 4), 128, dtype=np.uint8)

    def test_copies_have_theirs_in_turn(self) -> None:
        images = self.GREY.copy()
        images[1] = 0
        sample = ReferenceSample(images)
        source = profile(list(zip(sample.digests, (4, 7, 5), strict=True)))
        assert classes_in(source, sample) == [4, 7, 5]
        assert classes_in(source, sample.take([2, 1, 0])) == [4, 7, 5]
        assert classes_in(source, sample.take([1, 0])) == [7, 4]

    def test_more_copies_have_that_of_the_last(self) -> None:
        sample = ReferenceSample(self.GREY)
        assert classes_in(profile([(sample.digests[0], 4)]), sample) == [4, 4, 4]
