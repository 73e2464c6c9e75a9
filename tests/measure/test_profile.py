"""What is read off a profile, and that a saved one comes back whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml
from profiles import TRAINED, make_profile

from pytest_iaside.errors import BaselineError
from pytest_iaside.measure.game.coalitions import exact_coalitions
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.score import sid, signed_src


def test_means_errors_and_scores():
    profile = make_profile(images=25)
    np.testing.assert_allclose(profile.psi, TRAINED, atol=1e-12)
    expected = profile.image_psi.std(axis=0, ddof=1) / 5
    np.testing.assert_allclose(profile.standard_error, expected, rtol=1e-12)
    assert profile.value == pytest.approx(TRAINED.sum())
    np.testing.assert_allclose(profile.sid, sid(TRAINED), atol=1e-12)
    assert profile.signed_src == pytest.approx(float(signed_src(sid(TRAINED))))
    assert profile.structured and not profile.degenerate
    assert profile.partition.labels[0] == "0.00–0.06 cycles/px"


def test_the_papers_score_loses_the_sign_and_ours_keeps_it():
    profile = make_profile(TRAINED[::-1])
    assert profile.signed_src < 0
    assert profile.src == pytest.approx(-profile.signed_src)


def test_equal_bands_are_degenerate_and_never_a_number():
    profile = make_profile(np.full(8, 0.5), noise=0.0)
    assert profile.degenerate and not profile.structured
    assert np.isnan(profile.src) and np.isnan(profile.sid).all()


def test_intervals_hold_the_estimate_and_shrink_with_more_images():
    few, many = make_profile(images=30), make_profile(images=480)
    for what in ("psi", "sid", "src", "signed_src", "value"):
        value = np.asarray(getattr(few, what))
        interval = few.interval(what)
        assert (interval.low <= value).all() and (value <= interval.high).all()
        if what == "psi":
            ratio = (interval.high - interval.low) / np.subtract(
                many.interval(what).high, many.interval(what).low
            )
            assert ratio == pytest.approx(np.full(8, 4.0), rel=0.25)
    wider = few.interval("src", 0.99)
    assert wider.low < few.interval("src").low and wider.high > few.interval("src").high


def test_an_unknown_interval_names_the_known_ones():
    with pytest.raises(ValueError, match="no interval for 'colour'; ask for one of psi, sid"):
        make_profile().interval("colour")


def test_saved_profiles_come_back_bit_for_bit(tmp_path):
    made = make_profile(images=3)
    # Of an additive game, whose Shapley values are those of the profile.
    table = made.by_size[:, :1] + made.values @ exact_coalitions(8).T
    profile = replace(made, log_likelihood=table)
    path = profile.save(tmp_path / "deep" / "net.yaml")
    loaded = SpectralProfile.load(path)
    for name in ("values", "by_size", "log_likelihood", "information", "labels"):
        assert (getattr(loaded, name) == getattr(profile, name)).all()
    for name in ("digests", "names", "rules", "reference", "model", "forward_passes"):
        assert getattr(loaded, name) == getattr(profile, name)
    again = profile.save(tmp_path / "again" / "net.yaml")
    assert again.read_bytes() == path.read_bytes()
    assert again.with_suffix(".npz").read_bytes() == path.with_suffix(".npz").read_bytes()


def test_the_file_is_sorted_and_rounded_for_people(tmp_path):
    text = make_profile(images=3).save(tmp_path / "net.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    assert list(document) == sorted(document)
    assert document["summary"]["psi"] == TRAINED.tolist()


def test_other_formats_and_missing_parts_are_refused(tmp_path):
    path = make_profile(images=3).save(tmp_path / "net.yaml")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**document, "format": "iaside-profile/99"}))
    with pytest.raises(
        BaselineError, match=r"format 'iaside-profile/99'; expected 'iaside-measurement/1'"
    ):
        SpectralProfile.load(path)
    document["settings"]["colour"] = "blue"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(BaselineError, match=r"does not hold a whole SpectralProfile \(.*colour"):
        SpectralProfile.load(path)


def test_the_convergence_curve_is_the_step_of_the_running_mean():
    profile = make_profile(images=30)
    expected = [
        np.abs(profile.image_psi[: k + 1].mean(axis=0) - profile.image_psi[:k].mean(axis=0)).mean()
        for k in range(1, 30)
    ]
    np.testing.assert_allclose(profile.convergence(), expected, atol=1e-12)


def test_the_papers_bound_takes_the_most_variable_marginal_contribution():
    rows = np.zeros((5, 4))
    rows[:, 3] = [0.0, 1.0, 2.0, 3.0, 4.0]  # only both bands together vary: variance 2.5
    profile = replace(make_profile([1.0, 0.0], images=5), log_likelihood=rows)
    assert profile.error_bound() == pytest.approx(2 * np.sqrt(2.5 / 5))
    with pytest.raises(ValueError, match="measure with design='exact'"):
        make_profile().error_bound()


def test_bounds_without_the_papers_factor_and_what_is_found_of_the_labels():
    made = make_profile(images=6)
    table = made.by_size[:, :1] + made.values @ exact_coalitions(8).T
    profile = replace(made, log_likelihood=table)
    # Of an additive game every marginal contribution of a band is its ψ.
    expected = made.values.std(axis=0, ddof=1).max() / np.sqrt(6)
    assert profile.tight_error_bound() == pytest.approx(expected)
    assert profile.error_bound() == pytest.approx(128 * expected)
    with pytest.raises(ValueError, match="log-likelihoods of all coalitions"):
        made.tight_error_bound()
    shares = np.bincount(made.labels) / 6
    entropy = -sum(p * np.log(p) for p in shares if p)
    assert made.label_entropy == pytest.approx(entropy)
    assert made.information_bound == pytest.approx(entropy + made.by_size[:, -1].mean())
    soft = replace(made, labels=np.full((6, 4), 0.25))
    assert soft.label_entropy == pytest.approx(np.log(4))
