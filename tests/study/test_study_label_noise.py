"""SIDs against label noise, over models whose SIDs are known to get flatter with it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from profiles import make_profile
from waves import Waves

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.study.label_noise import flatness, label_noise_study
from pytest_iaside.study.models import MeasuredModel, Measuring, StudyModel


def noisy(shares: dict[float, float], *, copies: int = 2) -> list[StudyModel]:
    """Models of a share of wrong labels that put such a weight on the low wave."""
    return [
        StudyModel(partial(Waves, low + 0.01 * copy), name=f"{noise}-{copy}", noise=noise)
        for noise, low in shares.items()
        for copy in range(copies)
    ]


def measured(psi: list[float]) -> MeasuredModel:
    profile = make_profile(np.array(psi), images=12)
    return MeasuredModel(model=StudyModel(None), profile=profile, accuracy=None)


def test_flatness_is_0_for_one_band_and_greatest_for_equal_ones() -> None:
    assert flatness(measured([3, 0, 0, 0])) == pytest.approx(0)
    assert flatness(measured([2, 2, 0, 0])) == pytest.approx(np.log(2) / np.log(4))
    assert flatness(measured([1, 1, 1, 0])) == pytest.approx(np.log(3) / np.log(4))


def test_flatter_sids_are_found_flatter(measuring: Measuring) -> None:
    study = label_noise_study(noisy({0.4: 0.6, 0.0: 0.95, 0.2: 0.8}), measuring)
    assert [level.noise for level in study.levels] == [0.0, 0.2, 0.4]
    assert [len(level.models) for level in study.levels] == [2, 2, 2]
    flat = [level.flatness for level in study.levels]
    assert flat == sorted(flat)
    scores = [level.signed_src for level in study.levels]
    assert scores == sorted(scores, reverse=True)
    found = study.follows["flatness of the SID"]
    assert found.spearman > 0.9
    assert found.rank_low > 0
    assert study.follows["signed SRC"].spearman < -0.9
    # Every model is right on every image: accuracy says nothing.
    assert np.isnan(study.follows["clean accuracy"].pearson)
    of_level = [one.profile.sid for one in study.levels[1].models]
    np.testing.assert_allclose(study.levels[1].sid, np.mean(of_level, axis=0))
    assert study.as_dict()["levels"][1]["models"] == ["0.2-0", "0.2-1"]


def test_models_have_to_say_their_noise(measuring: Measuring) -> None:
    silent = [*noisy({0.0: 0.9, 0.2: 0.8}), StudyModel(Waves(0.5), name="silent")]
    with pytest.raises(SettingsError, match="silent and 0 more models do not say what share"):
        label_noise_study(silent, measuring)
    with pytest.raises(SettingsError, match=r"all 3 models were trained with a share 0.2 of"):
        label_noise_study(noisy({0.2: 0.5}, copies=3), measuring)


def test_models_that_mean_nothing_do_not_count(measuring: Measuring) -> None:
    constant = [
        StudyModel(partial(Waves, 0.5, 0.0), name=f"constant{i}", noise=0.8) for i in range(2)
    ]
    study = label_noise_study([*noisy({0.0: 0.9, 0.4: 0.6}), *constant], measuring)
    assert [one.name for one in study.unstructured] == ["constant0", "constant1"]
    assert [level.noise for level in study.levels] == [0.0, 0.4]
    with pytest.raises(ModelError, match="of 1 shares of wrong labels"):
        label_noise_study([*noisy({0.0: 0.9}, copies=3), *constant], measuring)
