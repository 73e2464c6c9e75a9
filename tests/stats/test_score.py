"""SPEC.md 1.5: the tables and facts that a gate must respect."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_iaside.stats.score import sid, signed_src, src, src_range

values = hnp.arrays(np.float64, 8, elements=st.floats(-10, 10))


def test_scores_of_one_band_alone():
    expected = [0.5217, 0.2846, 0.1068, -0.0266, -0.1267, -0.2017, -0.2580, -0.3002]
    np.testing.assert_allclose(signed_src(np.eye(8)), expected, atol=5e-5)
    np.testing.assert_allclose(src(np.eye(8)), np.abs(expected), atol=5e-5)
    assert src_range(8) == pytest.approx((-0.3002, 0.5217), abs=5e-5)


def test_the_sign_tells_apart_what_the_papers_score_confuses():
    highest, second = np.eye(8)[7], np.eye(8)[1]
    assert src(highest) > src(second)
    assert signed_src(highest) < signed_src(second)
    assert src(0.365 * np.eye(8)[0] + 0.635 * highest) == pytest.approx(0, abs=5e-4)


def test_the_reference_values():
    psi = [4.7532, 1.4708, 0.4992, 0.2033, 0.1561, -0.0463, -0.3049, -0.2342]
    shares = [0.5660, 0.1987, 0.0900, 0.0569, 0.0516, 0.0289, 0, 0.0079]
    np.testing.assert_allclose(sid(psi), shares, atol=5e-5)
    assert float(signed_src(sid(psi))) == pytest.approx(0.34521, abs=5e-5)


@given(psi=values, scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_sid_is_a_distribution_whatever_the_scale_and_origin(psi, scale, shift):
    # Below that, shifting rounds the differences away.
    if np.ptp(psi) < 1e-3:
        return
    shares = sid(psi)
    assert shares.sum() == pytest.approx(1)
    assert shares.min() == 0
    np.testing.assert_allclose(sid(scale * psi + shift), shares, atol=1e-8)
    assert src_range(8)[0] - 1e-9 <= signed_src(shares) <= src_range(8)[1] + 1e-9


def test_equal_values_have_no_distribution():
    assert np.isnan(sid(np.full(8, 2.5))).all()
    assert np.isnan(signed_src(sid(np.full(8, 2.5))))


def test_noise_scores_as_the_specification_says():
    noise = np.random.default_rng(0).normal(size=(200_000, 8))
    scores = src(sid(noise))
    assert scores.mean() == pytest.approx(0.056, abs=1e-3)
    assert np.quantile(scores, [0.95, 0.99]) == pytest.approx([0.133, 0.172], abs=2e-3)


def test_another_beta_weighs_bands_otherwise() -> None:
    """β = ½ and M = 2: the slope is (1, ½)/√1.25, the uniform share 1.5/(2·√1.25)."""
    length = np.sqrt(1.25)
    uniform = 0.75 / length
    expected = [(1 / length - uniform) / (1 - uniform), (0.5 / length - uniform) / (1 - uniform)]
    np.testing.assert_allclose(signed_src(np.eye(2), 0.5), expected)
    shares = np.array([0.4, 0.3, 0.2, 0.1, 0, 0, 0, 0])
    assert signed_src(shares, 0.75) == signed_src(shares)
