"""Another training of the same recipe: closed forms, coverage and a mixed model as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as scipy_stats

from pytest_iaside.stats.seeds import line_error, prediction_error, trend_error


def drawn(
    generator: np.random.Generator,
    trainings: int,
    images: np.ndarray,
    *,
    seeds: float,
    each: float,
    shift: float = 0.0,
) -> np.ndarray:
    """Values (S, K, 1): of the image, of the training, of each training's image."""
    of_seed = seeds * generator.standard_normal((trainings, 1))
    noise = each * generator.standard_normal((trainings, len(images)))
    return (images + of_seed + noise + shift)[..., None]


def test_of_a_mean_the_spread_is_student_s_two_sample_error() -> None:
    generator = np.random.default_rng(0)
    candidate, baseline = generator.normal(size=(3, 20, 2)), generator.normal(size=(5, 20, 2))
    found = prediction_error(candidate, baseline, np.subtract)
    means = [rows.mean(axis=1) for rows in (candidate, baseline)]
    t, _ = scipy_stats.ttest_ind(*means)
    difference = means[0].mean(axis=0) - means[1].mean(axis=0)
    assert np.sqrt(found.between) == pytest.approx(np.abs(difference / t))
    assert found.freedom == 6
    assert found.images_freedom == 19


def test_what_images_add_is_the_paired_error_of_the_means_over_trainings() -> None:
    generator = np.random.default_rng(1)
    candidate, baseline = generator.normal(size=(2, 30, 1)), generator.normal(size=(2, 30, 1))
    found = prediction_error(candidate, baseline, np.subtract)
    difference = candidate.mean(axis=0) - baseline.mean(axis=0)
    assert found.images == pytest.approx(difference.var(axis=0, ddof=1) / 30)


def test_the_part_of_each_training_s_images_is_a_two_way_residual() -> None:
    generator = np.random.default_rng(2)
    candidate, baseline = generator.normal(size=(1, 12, 1)), generator.normal(size=(4, 12, 1))
    found = prediction_error(candidate, baseline, np.subtract)
    rows = baseline[..., 0]
    residual = rows - rows.mean(axis=0) - rows.mean(axis=1, keepdims=True) + rows.mean()
    mean_square = (residual**2).sum() / (3 * 11)
    assert found.inside == pytest.approx([mean_square / 12 * (1 + 1 / 4)])


def test_a_mixed_model_finds_the_same_components() -> None:
    import pandas as pd
    from statsmodels.regression.mixed_linear_model import MixedLM

    generator = np.random.default_rng(3)
    images = generator.normal(size=40)
    rows = drawn(generator, 8, images, seeds=0.5, each=1.0)
    found = prediction_error(rows[:1], rows[1:], np.subtract)
    baseline = rows[1:, :, 0]
    count = len(baseline)
    frame = pd.DataFrame(
        {"value": baseline.ravel(), "training": np.repeat(np.arange(count), 40)}
    ).assign(image=np.tile(np.arange(40), count))
    fitted = MixedLM.from_formula("value ~ C(image)", groups="training", data=frame).fit(reml=True)
    repeats = 1 + 1 / count
    assert found.inside[0] == pytest.approx(fitted.scale / 40 * repeats, rel=1e-3)
    seeds = float(fitted.cov_re.iloc[0, 0])
    assert found.between[0] - found.inside[0] == pytest.approx(seeds * repeats, rel=1e-2)


@given(
    rows=hnp.arrays(float, (4, 6, 2), elements=st.floats(-5, 5)),
    other=hnp.arrays(float, (3, 6, 2), elements=st.floats(-5, 5)),
    level=st.floats(0.5, 0.999),
)
def test_an_interval_is_never_narrower_than_what_trainings_differ_by(
    rows: np.ndarray, other: np.ndarray, level: float
) -> None:
    found = prediction_error(rows, other, np.subtract)
    alone = scipy_stats.t.ppf(0.5 + level / 2, 5) * np.sqrt(found.between)
    assert (found.reach(level) >= alone - 1e-6).all()
    assert ((found.of_seeds(level) >= 0) & (found.of_seeds(level) <= 1)).all()
    swapped = prediction_error(other, rows, np.subtract)
    assert swapped.reach(level) == pytest.approx(found.reach(level), abs=1e-6)


@pytest.mark.parametrize(("baselines", "candidates"), [(2, 1), (3, 3), (5, 3)])
@pytest.mark.parametrize("seeds", [0.0, 0.3])
def test_of_one_recipe_an_interval_leaves_no_change_out_more_often_than_it_says(
    baselines: int, candidates: int, seeds: float
) -> None:
    generator = np.random.default_rng(4)
    missed = []
    for _ in range(2000):
        images = generator.normal(size=25)
        both = drawn(generator, baselines + candidates, images, seeds=seeds, each=1.0)
        candidate, baseline = both[:candidates], both[candidates:]
        change = candidate.mean() - baseline.mean()
        found = prediction_error(candidate, baseline, np.subtract)
        missed.append(abs(change) > found.reach(0.9)[0])
    # 10 % at the most, within three standard errors of so many draws.
    assert np.mean(missed) < 0.1 + 3 * np.sqrt(0.09 / 2000)
    if seeds:
        # Where seeds say the most it is Student's own.
        assert np.mean(missed) > 0.03


def test_the_power_is_that_of_the_noncentral_t_where_seeds_make_all_of_it() -> None:
    generator = np.random.default_rng(5)
    found = []
    for _ in range(2000):
        images = generator.normal(size=25)
        baseline = drawn(generator, 5, images, seeds=1.0, each=0.0)
        candidate = drawn(generator, 3, images, seeds=1.0, each=0.0, shift=-3.0)
        change = candidate.mean() - baseline.mean()
        reach = prediction_error(candidate, baseline, np.subtract).reach(0.95)[0]
        found.append(change + reach < 0)
    error = np.sqrt(1 / 3 + 1 / 5)
    expected = scipy_stats.nct.sf(scipy_stats.t.ppf(0.975, 6), 6, 3 / error)
    assert np.mean(found) == pytest.approx(expected, abs=3 * np.sqrt(0.25 / 2000))


def test_a_trend_counts_how_far_checkpoints_lie_off_their_line() -> None:
    generator = np.random.default_rng(6)
    points = generator.normal(size=(6, 10, 1)) * 0.1 + generator.normal(size=(1, 10, 1))
    x = np.arange(6.0)
    slope = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    at_first, at_last = (1 / 6 + (end - x.mean()) * slope for end in (0.0, 5.0))
    found = trend_error(points, at_first, at_last, np.subtract)
    line = scipy_stats.linregress(x, points.mean(axis=1)[:, 0])
    assert np.sqrt(found.between) == pytest.approx([5 * line.stderr])
    assert found.freedom == 4
    scores = points.mean(axis=1)
    assert line_error(scores, at_first, at_last) == pytest.approx([5 * line.stderr])


def test_a_trend_of_noise_is_found_no_more_often_than_it_says() -> None:
    generator = np.random.default_rng(7)
    x = np.arange(5.0)
    slope = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    at_first, at_last = (1 / 5 + (end - x.mean()) * slope for end in (0.0, 4.0))
    missed, by_images = [], []
    for _ in range(1000):
        images = generator.normal(size=25)
        points = drawn(generator, 5, images, seeds=0.3, each=0.5)
        found = trend_error(points, at_first, at_last, np.subtract)
        change = float((at_last - at_first) @ points.mean(axis=1)[:, 0])
        missed.append(abs(change) > found.reach(0.9)[0])
        by_images.append(abs(change) > scipy_stats.t.ppf(0.95, 24) * np.sqrt(found.images[0]))
    assert np.mean(missed) < 0.1 + 3 * np.sqrt(0.09 / 1000)
    # Which images alone do not know.
    assert np.mean(by_images) > 0.3


def test_groups_of_one_are_no_groups_and_others_are_left_out_whole() -> None:
    generator = np.random.default_rng(8)
    candidate, baseline = generator.normal(size=(2, 12, 1)), generator.normal(size=(3, 12, 1))
    alone = prediction_error(candidate, baseline, np.subtract)
    ones = prediction_error(candidate, baseline, np.subtract, groups=np.arange(12))
    pairs = prediction_error(candidate, baseline, np.subtract, groups=np.arange(12) // 2)
    # Equal groups are as their means.
    halves = [rows.reshape(len(rows), 6, 2, 1).mean(axis=2) for rows in (candidate, baseline)]
    means = prediction_error(halves[0], halves[1], np.subtract)
    for name in ("between", "inside", "images"):
        assert getattr(ones, name) == pytest.approx(getattr(alone, name))
        assert getattr(pairs, name) == pytest.approx(getattr(means, name))
    assert (ones.images_freedom, pairs.images_freedom) == (11, 5)
