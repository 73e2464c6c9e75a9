"""SIDs over a training run, from points made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from profiles import make_profile

from pytest_iaside.errors import SettingsError
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.study.training import training_study
from pytest_iaside.track.history import Point

LOW, HIGH = np.array([3.0, 1.0, 0.5, 0.0]), np.array([1.0, 1.0, 2.0, 0.5])


def point(step: int, psi: np.ndarray, **changes: object) -> Point:
    # The same images at every step: their own ψ do not change, but for the mean.
    profile = make_profile(psi, noise=0.1, **changes)
    return Point(step=step, name=f"epoch {step}", profile=profile, loss=1 / step)


def run(*parts: float) -> list[Point]:
    return [point(step, (1 - p) * LOW + p * HIGH) for step, p in enumerate(parts, start=1)]


def test_change_from_first_to_last_is_paired_by_image() -> None:
    study = training_study(run(0, 0.5, 0.96, 1))
    np.testing.assert_allclose(study.psi.change, HIGH - LOW)
    # Every image moved by the same, so there is no doubt by how much.
    np.testing.assert_allclose([study.psi.low, study.psi.high], [HIGH - LOW] * 2, atol=1e-12)
    first, last = study.points[0].profile, study.points[-1].profile
    assert study.signed_src.change == pytest.approx(last.signed_src - first.signed_src)
    np.testing.assert_allclose(study.sid.change, last.sid - first.sid)
    assert (study.sid.low <= study.sid.change).all()
    assert (study.sid.change <= study.sid.high).all()
    assert study.signed_src.high < 0


def test_distances_end_at_0_and_say_when_the_sid_settled() -> None:
    study = training_study(run(0, 0.5, 0.96, 1)[::-1])  # in whatever order
    assert [one.step for one in study.points] == [1, 2, 3, 4]
    sids = [one.profile.sid for one in study.points]
    expected = [np.abs(each - sids[-1]).sum() / 2 for each in sids]
    np.testing.assert_allclose(study.distances, expected)
    assert study.distances[-1] == 0
    assert study.settled.step == 3
    assert training_study(run(0, 0.5, 1)).settled.step == 3
    assert training_study(run(1, 1)).settled.step == 1


def test_checkpoints_that_mean_nothing_are_shown_but_conclude_nothing() -> None:
    untrained = point(1, LOW, information=-0.2)
    study = training_study([untrained, *run(0, 0, 1)[1:]])
    assert [one.step for one in study.structured] == [2, 3]
    np.testing.assert_allclose(study.psi.change, HIGH - LOW)
    document = study.as_dict()
    assert document["points"][0]["distance_to_last"] is None
    assert [one["step"] for one in document["points"]] == [1, 2, 3]


def other_rules(profile: SpectralProfile) -> SpectralProfile:
    return replace(profile, rules=replace(profile.rules, space="pixel"))


def test_what_cannot_be_compared_is_refused() -> None:
    points = run(0, 1)
    with pytest.raises(SettingsError, match="1 checkpoints are no training"):
        training_study(points[:1])
    with pytest.raises(SettingsError, match="of the runs other, run; choose one"):
        training_study([points[0], replace(points[1], run="other")])
    with pytest.raises(SettingsError, match="step 2 was measured with other settings"):
        training_study([points[0], replace(points[1], profile=other_rules(points[1].profile))])
    with pytest.raises(SettingsError, match="on other images than step 1"):
        training_study([points[0], replace(points[1], profile=points[1].profile.first(20))])
    silent = [point(step, LOW, information=-0.2) for step in (1, 2)]
    with pytest.raises(SettingsError, match="0 of 2 checkpoints have ψ"):
        training_study(silent)
