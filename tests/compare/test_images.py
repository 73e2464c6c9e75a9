"""Which images drive a change: contributions sum to it, the most harmful first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import make_profile

from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.quantities import ANSWERS, answer_quantities
from pytest_iaside.report.recorded import SHOWN_IMAGES, comparison_record
from pytest_iaside.thresholds import Thresholds

PSI = np.array([4.0, 2.0, 1.0, 0.5])
ONLY: dict[str, Any] = dict.fromkeys(
    (
        *("max_src_drop", "max_sid_shift", "max_value_drop"),
        *("max_band_drop", "max_upper_band_change"),
    )
)


def profiles(images: int = 20, seed: int = 0) -> tuple[SpectralProfile, SpectralProfile]:
    """A baseline, and the same with band 1 lower by a known amount for each image."""
    generator = np.random.default_rng(seed)
    before = PSI + 0.1 * generator.normal(size=(images, 4))
    after = before.copy()
    after[:, 1] -= np.arange(images) / images
    return make_profile(image_psi=after), make_profile(image_psi=before)


def changes(comparison: Comparison) -> Any:
    assert comparison.image_changes is not None
    return comparison.image_changes


def test_each_image_adds_its_own_part_of_the_band_that_fell() -> None:
    candidate, baseline = profiles()
    found = changes(compare(candidate, baseline, Thresholds(max_band_drop=0.01)))
    assert found.quantity.startswith("ψ of band 1 (")
    assert found.unit == "nats"
    assert found.change == pytest.approx(-np.mean(np.arange(20) / 20))
    # Image i lost i/20 nats, a twentieth of which is its part.
    assert [image.name for image in found.images] == [
        candidate.names[i] for i in reversed(range(20))
    ]
    parts = [image.contribution for image in found.images]
    assert parts == pytest.approx([-i / 400 for i in reversed(range(20))])
    for image in found.images:
        row = candidate.names.index(image.name)
        assert image.digest == candidate.digests[row]
        assert image.label == candidate.labels[row]
        assert np.array_equal(image.candidate_psi, candidate.image_psi[row])
        assert np.array_equal(image.baseline_psi, baseline.image_psi[row])


@given(seed=st.integers(0, 1000), images=st.integers(2, 12))
def test_contributions_to_a_mean_sum_to_its_change(seed: int, images: int) -> None:
    candidate, baseline = profiles(images, seed)
    only = Thresholds(**ONLY | {"max_value_drop": 0.0})
    found = changes(compare(candidate, baseline, only))
    assert found.quantity == "v(all)"
    expected = candidate.value - baseline.value
    assert found.change == pytest.approx(expected)
    assert sum(image.contribution for image in found.images) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("threshold", "quantity"),
    [("max_src_drop", "signed SRC"), ("max_sid_shift", "importance below ")],
)
def test_contributions_to_a_score_sum_to_it_nearly(threshold: str, quantity: str) -> None:
    candidate, baseline = profiles(40)
    # Band 0 falls, so that importance moves up.
    lower = candidate.image_psi.copy()
    lower[:, 0] -= 1.5 * (np.arange(40) % 2)
    candidate = replace(candidate, values=lower)
    comparison = compare(candidate, baseline, Thresholds(**ONLY | {threshold: 0.001}))
    found = changes(comparison)
    assert comparison.verdict != "pass"
    assert found.quantity.startswith(quantity)
    assert found.unit == ""
    (check,) = (check for check in comparison.checks if check.name != "structured")
    assert found.change == pytest.approx(check.change)
    parts = [image.contribution for image in found.images]
    assert sum(parts) == pytest.approx(check.change, rel=0.05)
    assert parts == sorted(parts)
    # The images whose band 0 fell stand before those where it did not.
    first = {image.name for image in found.images[:20]}
    assert first == {candidate.names[i] for i in range(1, 40, 2)}


def test_an_improvement_begins_with_what_rose_the_most() -> None:
    candidate, baseline = profiles()
    found = changes(compare(baseline, candidate, Thresholds(max_band_drop=0.01, direction="any")))
    parts = [image.contribution for image in found.images]
    assert found.change > 0
    assert parts == sorted(parts, reverse=True)


def test_where_all_pass_it_is_of_the_value() -> None:
    _, baseline = profiles()
    found = changes(compare(baseline, baseline))
    assert found.quantity == "v(all)"
    assert {image.contribution for image in found.images} == {0.0}


def test_images_are_matched_whatever_their_order() -> None:
    candidate, baseline = profiles()
    shuffled = candidate.take(np.random.default_rng(0).permutation(20))
    ours, theirs = (changes(compare(c, baseline)) for c in (candidate, shuffled))
    assert [i.name for i in ours.images] == [i.name for i in theirs.images]


def test_there_are_none_without_pairs() -> None:
    candidate, baseline = profiles()
    assert compare(candidate, baseline, paired=False).image_changes is None
    assert compare(candidate.first(1), baseline).image_changes is None


def test_plain_values_hold_the_first_ones() -> None:
    candidate, baseline = profiles()
    comparison = compare(candidate, baseline)
    facts = comparison_record(comparison)["image_changes"]
    found = changes(comparison)
    assert facts["count"] == 20
    assert len(facts["images"]) == SHOWN_IMAGES
    assert facts["images"][0] == {
        "name": found.images[0].name,
        "digest": found.images[0].digest,
        "label": found.images[0].label,
        "contribution": found.images[0].contribution,
        "baseline_psi": found.images[0].baseline_psi.tolist(),
        "candidate_psi": found.images[0].candidate_psi.tolist(),
        **dict.fromkeys(ANSWERED),
    }


ANSWERED = [
    f"{role}_{what}" for role in ("baseline", "candidate") for what in ("right", "probability")
]


def test_what_both_models_answer_is_told_by_image() -> None:
    """Image i gives its label i/20 before, and half of that after: none is right any more."""
    measured = profiles()
    both = []
    for profile, scale in zip(measured, (0.5, 1.0), strict=True):
        share = scale * np.arange(20) / 20
        known = {"accuracy, clean": share > 0.5, "probability of the label, clean": share}
        quantities = answer_quantities(())
        answers = Measurement(
            kind=ANSWERS,
            quantities=quantities,
            values=np.stack([known.get(each.name, 1 + 0 * share) for each in quantities], axis=1),
            digests=profile.digests,
            names=profile.names,
            labels=profile.labels,
            settings={"panel": []},
            reference=profile.reference,
            model=profile.model,
            forward_passes=0,
        )
        both.append(replace(profile, answers=answers))
    comparison = compare(*both)
    told = comparison_record(comparison)["image_changes"]
    assert told is not None
    for image in told["images"]:
        share = both[1].names.index(image["name"]) / 20
        assert image["baseline_probability"] == pytest.approx(share)
        assert image["candidate_probability"] == pytest.approx(share / 2)
        assert (image["baseline_right"], image["candidate_right"]) == (share > 0.5, False)
