"""How often compare_equivalence errs: at its margin, without a difference, with skewed noise."""

from __future__ import annotations

import numpy as np
import pytest
from profiles import make_profile

from pytest_iaside import SettingsError
from pytest_iaside.compare.equivalence import Equivalence, compare_equivalence
from pytest_iaside.compare.margins import Margins
from pytest_iaside.thresholds import Limit

RUNS, IMAGES = 80, 40
MARGINS = {"value": Limit(change=0.1), "band": Limit(change=0.1)}


def compared(generator: np.random.Generator, shift: float, spread: float) -> Equivalence:
    """Two profiles of the same images, band 0 apart by ``shift`` of v(all), with skewed noise."""
    original = make_profile(images=IMAGES, seed=int(generator.integers(1 << 30)))
    noise = generator.exponential(size=(IMAGES, 8)) - 1
    moved = spread * noise
    moved[:, 0] += shift * original.value
    deployed = make_profile(image_psi=original.values + moved)
    return compare_equivalence(deployed, original, MARGINS, {})


def rate(verdict: str, shift: float, spread: float) -> float:
    generator = np.random.default_rng(0)
    return sum(compared(generator, shift, spread).verdict == verdict for _ in range(RUNS)) / RUNS


def test_a_model_at_the_margin_is_hardly_ever_called_equivalent() -> None:
    # 2.5 % each side at the usual level; skewed noise on 40 images costs a little more.
    assert rate("pass", 0.1, 0.3) <= 0.06
    assert rate("pass", -0.1, 0.3) <= 0.06
    assert rate("pass", 0.15, 0.3) == 0


def test_models_that_differ_by_noise_alone_are_never_called_different() -> None:
    assert rate("drift", 0.0, 1.0) <= 0.02
    # Nor one within its margin.
    assert rate("drift", 0.08, 0.3) <= 0.02


def test_small_differences_are_shown_and_large_ones_found() -> None:
    assert rate("pass", 0.0, 0.3) >= 0.97
    assert rate("drift", 0.25, 0.3) == 1
    assert rate("drift", -0.25, 0.3) == 1


def test_what_is_beyond_by_itself_alone_says_so() -> None:
    # 2.3 standard errors beyond: an interval of its own lies beyond, one of eight does not.
    moved = np.zeros((IMAGES, 8))
    noise = np.resize([1.0, -1.0], IMAGES)
    moved[:, 0] = noise
    original = make_profile(images=IMAGES, noise=0.0)
    error = noise.std(ddof=1) / IMAGES**0.5
    moved[:, 0] += 0.1 * original.value + 2.3 * error
    deployed = make_profile(image_psi=original.values + moved)
    found = compare_equivalence(deployed, original, {"band": MARGINS["band"]}, {})
    (check,) = [each for each in found.checks if each.name == "band"]
    assert check.verdict == "inconclusive"
    assert check.low > 0.1
    assert check.sentence.endswith("beyond by itself, but not when all checks are taken together")


def test_a_baseline_without_value_has_no_share_to_be_within() -> None:
    nothing = make_profile(psi=np.zeros(8), images=IMAGES, noise=0.1)
    found = compare_equivalence(nothing, nothing, MARGINS, {})
    assert found.verdict == "inconclusive"
    assert found.fails("drift")  # It is unstructured, which never passes.


def test_without_any_margin_nothing_is_compared() -> None:
    profile = make_profile(images=IMAGES)
    with pytest.raises(SettingsError, match="every limit is None"):
        compare_equivalence(profile, profile, {}, {})


def test_margins_under_a_single_perturbation_are_twice_as_wide() -> None:
    margins = Margins(max_accuracy_difference=0.03, max_probability_difference=None)
    assert margins.answers["clean accuracy"].change == 0.03
    assert margins.answers["mean accuracy"].change == 0.03
    assert margins.answers["perturbed accuracy"].change == 0.06
    assert "clean probability" not in margins.answers
    assert set(margins.bands) == {"value", "band"}
