"""Effective robustness of a candidate: closed forms, intervals that hold, limits, what is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from pytest_iaside.compare.compare import compare
from pytest_iaside.compare.comparison import Comparison, QuantityChange
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo
from pytest_iaside.measure.quantities import Quantity
from pytest_iaside.measure.trainings import mean_of
from pytest_iaside.thresholds import Limit, Thresholds

HITS: dict[str, Any] = {"family": "accuracy", "better": "higher", "unit": "hit"}
NAMES = ("clean accuracy", "accuracy under fog 3", "accuracy under contrast 3")


def measured(*columns: Any, name: str = "model") -> Measurement:
    """Hits on the clean images, under fog, and under contrast where three columns are given."""
    values = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    count = len(values)
    return Measurement(
        kind="perturbations",
        quantities=tuple(Quantity(name=each, **HITS) for each in NAMES[: len(columns)]),
        values=values,
        digests=tuple(f"{image:064x}" for image in range(count)),
        names=tuple(f"{image}.png" for image in range(count)),
        labels=np.zeros(count, dtype=np.int64),
        settings={"seed": 0},
        reference=ReferenceInfo(
            digest="d", images=count, channels=3, height=8, width=8, labels="dataset"
        ),
        model=ModelInfo(name=name, classes=10),
        forward_passes=count,
    )


def hits(right: int, count: int, turn: int = 0) -> np.ndarray:
    """So many of ``count`` images right, the first ones, all moved on by ``turn``."""
    return np.roll(np.arange(count) < right, turn).astype(float)


def effective(candidate: Measurement, baseline: Measurement, **how: Any) -> QuantityChange:
    return compare(candidate, baseline, {}, **how).effective[0]


def odds(right: float, count: int) -> float:
    return float(np.log((right + 0.5) / (count - right + 0.5)))


def test_what_the_line_of_slope_1_explains_is_taken_away() -> None:
    """80 → 70 of 100 clean, 60 → 40 under fog: on the line 60 becomes about 47."""
    found = effective(
        measured(hits(70, 100), hits(40, 100)), measured(hits(80, 100), hits(60, 100))
    )
    moved = odds(70, 100) - odds(80, 100)
    before = odds(60, 100)
    explained = special.expit(before + moved) - special.expit(before)
    assert explained == pytest.approx(-0.1333, abs=3e-3)  # 1/(1 + 4/6·(8/2)/(7/3)) − 0.6
    assert found.change == pytest.approx(-0.2 - explained)
    assert (found.baseline, found.candidate) == (0.6, 0.4)
    assert found.low < found.change < found.high


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 95), st.integers(0, 100), st.integers(0, 100), st.integers(0, 99))
def test_with_the_clean_accuracy_as_it_was_it_is_the_change_of_accuracy(
    clean: int, before: int, after: int, turn: int
) -> None:
    found = effective(
        measured(hits(clean, 100, turn), hits(after, 100)),
        measured(hits(clean, 100), hits(before, 100)),
    )
    assert found.change == pytest.approx((after - before) / 100, abs=1e-12)
    assert -1 <= found.low <= found.change <= found.high <= 1


def test_a_candidate_on_the_line_lost_nothing_beyond_it() -> None:
    count = 8_000
    before, after = special.expit([1.2, 0.3]), special.expit([0.7, -0.2])
    found = effective(
        *(
            measured(*(hits(round(count * each), count) for each in pair))
            for pair in (after, before)
        )
    )
    assert found.change == pytest.approx(0, abs=3e-4)
    assert not found.moved


def test_the_same_answers_leave_nothing_uncertain() -> None:
    one = measured(hits(80, 100), hits(60, 100))
    comparison = compare(one, replace(one), {"effective": Limit(change=0.01)})
    (found,) = comparison.effective
    assert (found.change, found.low, found.high, found.moved) == (0, 0, 0, False)
    assert comparison.verdict == "pass"
    assert not any("clean accuracy explains" in note for note in comparison.notes)


def test_what_no_image_showed_is_not_known_for_certain() -> None:
    """The clean answers of two images changed places; under fog no answer changed."""
    clean = hits(80, 100)
    swapped = clean.copy()
    swapped[[0, 99]] = swapped[[99, 0]]
    found = effective(measured(swapped, hits(60, 100)), measured(clean, hits(60, 100)))
    assert found.change == 0
    assert found.high > 1.9 / 102
    assert found.low == pytest.approx(-found.high)


# Normal quantiles of the accuracies before and after, and how alike images are to both models.
PAIRS = [
    (200, (0.9, 0.2), (0.7, -0.3), 1),
    (200, (0.9, 0.2), (0.9, 0.2), 1),
    (50, (0.9, 0.2), (0.9, 0.2), 1),
    (50, (1.6, 0.5), (1.4, 0.2), 2),
    (200, (2.3, 1.5), (2.1, 1.0), 3),
]


@pytest.mark.parametrize(("count", "before", "after", "alike"), PAIRS)
def test_intervals_cover_as_they_say(
    count: int, before: tuple[float, float], after: tuple[float, float], alike: float
) -> None:
    """95 % intervals of 400 pairs of models of known accuracies, also near 1: at least 92.5 %."""
    old, new = (special.ndtr(np.array(each)) for each in (before, after))
    on_line = special.expit(special.logit(old[1]) + special.logit(new[0]) - special.logit(old[0]))
    held = []
    for seed in range(400):
        ease = alike * np.random.default_rng([seed, 7]).normal(size=count)
        pair = []
        for number, places in enumerate((after, before)):
            noise = np.random.default_rng([seed, number])
            scale = np.hypot(1, alike)
            pair.append(measured(*(ease + noise.normal(size=count) < x * scale for x in places)))
        found = effective(*pair)
        held.append(found.low <= new[1] - on_line <= found.high)
    assert np.mean(held) >= 0.925
    assert np.mean(held) <= 0.98


def test_other_images_have_wider_intervals_and_one_image_tells_nothing() -> None:
    old, new = (
        measured(*(np.random.default_rng(seed).random((2, 80)) < 0.7), name=str(seed))
        for seed in (1, 2)
    )
    paired = effective(new, old)
    other = replace(new, digests=tuple(f"{image + 80:064x}" for image in range(80)))
    unpaired = effective(other, old, paired=False)
    assert unpaired.change == pytest.approx(paired.change)
    assert unpaired.low < unpaired.change < unpaired.high
    row = [int((new.values != old.values).any(axis=1).argmax())]
    alone = effective(new.take(row), old.take(row))
    assert (alone.low, alone.high, alone.moved) == (-1, 1, False)


def test_images_in_groups_count_as_their_groups() -> None:
    """Every image four times over: as if there were a quarter of them."""
    few = [measured(*(np.random.default_rng(s).random((2, 60)) < 0.7)) for s in (1, 2)]
    rows = np.repeat(np.arange(60), 4)
    many = [
        replace(
            measured(*each.values[rows].T), groups=tuple(f"group {row}" for row in rows.tolist())
        )
        for each in few
    ]
    once, grouped = effective(*few), effective(*many)
    alone = effective(*(replace(each, groups=None) for each in many))
    assert grouped.change == pytest.approx(once.change, abs=0.01)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.1)
    assert alone.high - alone.low < 0.6 * (grouped.high - grouped.low)


# ------------------------------------------------------------------- several trainings

COUNT = 4_000
LINE = (0.5, -1.0)
"""Slope and intercept in log-odds."""


def training(clean: float, off: float = 0.0, turn: int = 0) -> Measurement:
    """Of so many right of the clean images, and so far from the line under fog."""
    place = LINE[0] * special.logit(clean) + LINE[1] + off
    right = [round(COUNT * each) for each in (clean, special.expit(place))]
    return measured(*(hits(each, COUNT, turn) for each in right), name=f"training {turn}")


def recipe(*cleans: float, off: float = 0.02) -> Measurement:
    signs = (1, -1, -1, 1)
    each = (training(c, off * signs[n % 4], n) for n, c in enumerate(cleans))
    return mean_of([replace(x, digests=training(0.5).digests) for x in each])


def test_the_line_is_the_baselines_own_where_three_trainings_tell_it() -> None:
    baseline = recipe(0.70, 0.75, 0.80, 0.85)
    candidate = training(0.65, turn=9)
    found = effective(candidate, baseline)
    # On a line of slope 1 the same fall of clean accuracy would have cost more than it did.
    assert found.change == pytest.approx(0, abs=4e-3)
    assert found.low < 0 < found.high
    two = effective(candidate, recipe(0.75, 0.80))
    assert two.change > 0.05
    odd = effective(training(0.65, off=-1.0, turn=9), baseline)
    on_line = special.expit(LINE[0] * special.logit(0.65) + LINE[1])
    below = special.expit(special.logit(on_line) - 1.0)
    assert odd.change == pytest.approx(below - on_line, abs=4e-3)
    assert odd.moved and odd.high < 0


def test_intervals_of_trainings_are_of_the_line_with_one_degree_of_freedom_less() -> None:
    """Nearly all images are the trainings' own: what is left is Student's prediction interval."""
    cleans, off = (0.70, 0.75, 0.80, 0.85), 0.1
    baseline = recipe(*cleans, off=off)
    found = effective(training(0.65, turn=9), baseline)
    x = special.logit(cleans)
    y = LINE[0] * x + LINE[1] + off * np.array([1, -1, -1, 1])
    slope, intercept = np.polyfit(x, y, 1)
    left = y - slope * x - intercept
    variance = (left**2).sum() / 2
    at = special.logit(0.65)
    square = variance * (1 + 1 / 4 + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    # A single candidate against four counts level_left: CHANCE_OF_ONE of 5 %.
    reach = special.stdtrit(2, 1 - 0.4 * 0.05 / 2) * np.sqrt(square)
    expected = special.expit(slope * at + intercept)
    assert (found.high - found.low) / 2 == pytest.approx(
        reach * expected * (1 - expected), rel=0.12
    )


def test_trainings_of_one_accuracy_tell_no_line() -> None:
    baseline = recipe(0.8, 0.8, 0.8)
    found = effective(training(0.7, turn=9), baseline)
    before = np.mean([each.values[:, 1].mean() for each in baseline.trainings])
    moved = special.logit(0.7) - special.logit(0.8)
    explained = special.expit(special.logit(before) + moved) - before
    after = special.expit(LINE[0] * special.logit(0.7) + LINE[1])
    assert found.change == pytest.approx(after - before - explained, abs=2e-4)


# ------------------------------------------------------------------- limits, and what is told


def against_fog(lost: int, limit: float) -> Comparison:
    """200 images; ``lost`` more than before are wrong under fog, none of the clean ones."""
    clean = hits(160, 200)
    candidate = measured(clean, hits(140 - lost, 200), hits(150, 200))
    baseline = measured(clean, hits(140, 200), hits(150, 200))
    return compare(candidate, baseline, {"effective": Limit(change=limit)})


def test_a_limit_makes_a_drift_of_what_is_beyond_it() -> None:
    comparison = against_fog(lost=60, limit=0.03)
    (check,) = comparison.checks
    assert (check.verdict, check.name) == ("drift", "effective")
    assert check.where == "effective robustness under fog 3"
    assert check.sentence.startswith(
        "beyond what clean accuracy explains: fog 3 −30.0 points (95% CI −"
    )
    assert "allowed −3.0)" in check.sentence
    # What the check tells is not told again.
    assert not any("clean accuracy explains" in note for note in comparison.notes)
    assert against_fog(lost=4, limit=0.2).verdict == "pass"


def test_without_a_limit_a_note_tells_what_was_lost() -> None:
    comparison = compare(*_sides(against_fog(lost=60, limit=1)), {})
    (note,) = [each for each in comparison.notes if "clean accuracy explains" in each]
    fog = comparison.effective[0]
    assert note.startswith("beyond what clean accuracy explains: fog 3 −30.0 points (95% CI −")
    assert note.endswith(f"…−{-100 * fog.high:.1f})")
    nothing = compare(*_sides(against_fog(lost=1, limit=1)), {})
    (note,) = [each for each in nothing.notes if "clean accuracy explains" in each]
    assert note.endswith(", which noise explains")


def test_what_lies_above_the_line_is_not_told_as_better() -> None:
    """A model that guesses, everywhere alike: the line foretold even less under fog."""
    guess = hits(20, 200)
    baseline = measured(hits(190, 200), hits(100, 200), hits(150, 200))
    comparison = compare(measured(guess, guess, guess), baseline, {})
    assert all(each.change > 0 for each in comparison.effective)
    moved = [each for each in comparison.effective if each.moved]
    notes = [each for each in comparison.notes if "clean accuracy explains" in each]
    assert len(notes) == (len(moved) < 2)
    assert all(note.endswith("which noise explains") for note in notes)


def _sides(comparison: Comparison) -> tuple[Measurement, Measurement]:
    return comparison.candidate, comparison.baseline


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert "effective" not in Thresholds().answer_limits
    assert Thresholds(max_effective_drop=0.03).answer_limits["effective"] == Limit(change=0.03)


def test_without_clean_accuracy_there_is_none() -> None:
    quantities = (Quantity(name=NAMES[1], **HITS),)
    one = replace(measured(hits(60, 100)), quantities=quantities)
    other = replace(measured(hits(50, 100)), quantities=quantities)
    assert compare(one, other, {}).effective == ()
