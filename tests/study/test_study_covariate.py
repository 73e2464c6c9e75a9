"""SIDs and robustness against a number, over models that are known to follow it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from profiles import make_profile
from scipy import stats
from torch import nn
from waves import Waves, without_high

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.stats.score import signed_src
from pytest_iaside.study import covariate_page
from pytest_iaside.study.compared import ComparedModel, comparing
from pytest_iaside.study.covariate import CovariateStudy, covariate_study, flatness
from pytest_iaside.study.models import MeasuredModel, Measuring, StudyModel


def noisy(shares: dict[float, float], *, copies: int = 2) -> list[StudyModel]:
    """Models of a share of wrong labels that put such a weight on the low wave."""
    return [
        StudyModel(partial(Waves, low + 0.01 * copy), name=f"{noise}-{copy}", noise=noise)
        for noise, low in shares.items()
        for copy in range(copies)
    ]


def sized(sizes: dict[float, float]) -> list[StudyModel]:
    """Models of so many training images that put such a weight on the low wave."""
    return [
        StudyModel(partial(Waves, low), name=f"{size:g}", covariates={"images": size})
        for size, low in sizes.items()
    ]


CONSTANT = [StudyModel(partial(Waves, 0.5, 0.0), name=f"constant{i}", noise=1.0) for i in range(2)]


def measured(psi: list[float]) -> MeasuredModel:
    profile = make_profile(np.array(psi), images=12)
    return MeasuredModel(model=StudyModel(None), profile=profile, accuracy=None)


def test_flatness_is_0_for_one_band_and_greatest_for_equal_ones() -> None:
    assert flatness(measured([3, 0, 0, 0])) == pytest.approx(0)
    assert flatness(measured([2, 2, 0, 0])) == pytest.approx(np.log(2) / np.log(4))
    assert flatness(measured([1, 1, 1, 0])) == pytest.approx(np.log(3) / np.log(4))


def test_flatter_sids_are_found_flatter(measuring: Measuring) -> None:
    study = covariate_study(noisy({0.4: 0.6, 0.0: 0.95, 0.2: 0.8}), measuring, "noise")
    assert [level.value for level in study.levels] == [0.0, 0.2, 0.4]
    assert [len(level.models) for level in study.levels] == [2, 2, 2]
    flat = [level.means["flatness of the SID"] for level in study.levels]
    assert flat == sorted(flat)
    scores = [level.means["signed SRC"] for level in study.levels]
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
    assert "SIDs get flatter with label noise: ρ = +" in covariate_page.sentence(study)


def test_unstructured_models_are_kept_in_and_marked(measuring: Measuring) -> None:
    study = covariate_study([*noisy({0.0: 0.9, 0.4: 0.6}), *CONSTANT], measuring, "noise")
    assert [one.name for one in study.unstructured] == ["constant0", "constant1"]
    assert [(level.value, level.unstructured) for level in study.levels] == [
        (0.0, 0),
        (0.4, 0),
        (1.0, 2),
    ]
    last = study.levels[-1]
    assert np.isnan(last.sid).all() and np.isnan(last.means["signed SRC"])
    assert last.means["v(all)"] == pytest.approx(0, abs=1e-6)
    assert last.means["clean accuracy"] == 0.5
    # What is read off the SID is over the four others, all else over six.
    counts = {name: one.units for name, one in study.follows.items()}
    assert (counts["signed SRC"], counts["flatness of the SID"]) == (4, 4)
    assert (counts["v(all)"], counts["clean accuracy"]) == (6, 6)
    places = [one.covariates["noise"] for one in study.measured]
    right = [one.accuracy for one in study.measured]
    assert study.follows["clean accuracy"].pearson == pytest.approx(
        stats.pearsonr(places, right).statistic
    )
    page = covariate_page.page(study)
    assert "Marked, and left out of what is read off SIDs" in page.warnings[0]
    (scores,) = [each for each in page.figures if each.title == "v(all) against label noise"]
    assert scores.table is not None
    marked = [row[0].text for row in scores.table.rows if row[-1].text == "unstructured"]
    assert marked == ["constant0", "constant1"]
    assert "unstructured: no SID" in str(scores.chart)


def test_a_set_without_any_structure_is_not_refused(measuring: Measuring) -> None:
    models = [replace(CONSTANT[0], name=f"{x}", noise=x) for x in (0.2, 0.6, 1.0)]
    study = covariate_study(models, measuring, "noise")
    assert (study.models, len(study.unstructured)) == ([], 3)
    assert np.isnan(study.follows["signed SRC"].spearman)
    assert "3 of 3 models have no SID" in covariate_page.sentence(study)
    assert covariate_page.page(study).title == "label noise"
    assert max(map(len, covariate_page.lines(study))) <= 80


@pytest.fixture(scope="module")
def robust() -> CovariateStudy:
    import contextlib

    from waves import images

    from pytest_iaside.execute.execution import Execution

    measuring = Measuring(
        reference=images(),
        settings={"bands": 4, "execution": Execution(backend="eager")},
        cache=False,
        showing=lambda _: contextlib.nullcontext(),
    )
    sizes = {100.0: 0.2, 1000.0: 0.4, 10_000.0: 0.6, 100_000.0: 0.8}
    compared = comparing(measuring, {"without high": without_high})
    return covariate_study(
        sized(sizes), measuring, "images", measured=compared, betas=(0.5,), logarithm=True
    )


def test_robustness_against_the_logarithm_of_a_size(robust: CovariateStudy) -> None:
    assert robust.places == [2, 3, 4, 5]
    errors = robust.values["mean mPE"]
    models: list[Any] = robust.measured
    assert errors == pytest.approx([one.robustness.errors.mean() for one in models])
    assert all(isinstance(one, ComparedModel) for one in models)
    found = robust.follows["mean mPE"]
    assert found.pearson == pytest.approx(stats.pearsonr([2, 3, 4, 5], errors).statistic)
    assert found.spearman == pytest.approx(-1)
    drops = [one.robustness.drops.mean() for one in models]
    assert robust.values["accuracy drop"] == pytest.approx(drops)
    scores = [float(signed_src(one.profile.sid, 0.5)) for one in models]
    assert robust.values["signed SRC, β = 0.5"] == pytest.approx(scores)


def test_what_models_find_of_the_labels_is_a_share_of_their_entropy(robust: CovariateStudy) -> None:
    """Two classes of twelve images: H(Y) = ln 2, and the bound is ln 2 + E log Q(y|x)."""
    for one, found in zip(robust.measured, robust.values["information share"], strict=True):
        likelihood = one.profile.by_size[:, -1].mean()
        assert found == pytest.approx(1 + likelihood / np.log(2))
        told = one.as_dict()
        assert told["label_entropy"] == pytest.approx(np.log(2))
        assert told["error_bound"] == pytest.approx(8 * told["tight_error_bound"])
        assert told["covariates"] == {"images": one.covariates["images"]}
    page = covariate_page.page(robust)
    (figure,) = [each for each in page.figures if each.title == "Information and convergence"]
    assert figure.table is not None
    share = f"{100 * robust.values['information share'][0]:.1f}%"
    assert figure.table.rows[0][3].text == share
    assert "log10 of images" in str(page.figures[1].chart)


class Sized(nn.Module):
    """A wave reader with ``count`` parameters that do nothing."""

    def __init__(self, low: float, count: int) -> None:
        super().__init__()
        self.waves, self.idle = Waves(low), nn.Linear(count - 1, 1)

    def forward(self, pixels: Any) -> Any:
        return self.waves(pixels)


def test_parameters_are_counted(measuring: Measuring) -> None:
    models = [
        StudyModel(partial(Sized, low, count), name=str(count))
        for low, count in ((0.2, 10), (0.5, 40), (0.8, 90))
    ]
    study = covariate_study(models, measuring, "parameters")
    assert [level.value for level in study.levels] == [10, 40, 90]
    assert study.follows["signed SRC"].spearman == pytest.approx(1)
    with pytest.raises(SettingsError, match=r"low0.2 and 2 more models do not say how many param"):
        covariate_study(
            [StudyModel(partial(Waves, low), name=f"low{low}") for low in (0.2, 0.5, 0.8)],
            measuring,
            "parameters",
        )


def test_models_have_to_say_their_covariate(measuring: Measuring) -> None:
    silent = [*noisy({0.0: 0.9, 0.2: 0.8}), StudyModel(Waves(0.5), name="silent")]
    with pytest.raises(SettingsError, match="silent and 0 more models do not say what share"):
        covariate_study(silent, measuring, "noise")
    with pytest.raises(SettingsError, match=r"all 3 models have noise 0.2; this study compares"):
        covariate_study(noisy({0.2: 0.5}, copies=3), measuring, "noise")
    with pytest.raises(SettingsError, match=r"1 and 2 more models do not say their size; give St"):
        covariate_study(sized({1: 0.2, 2: 0.4, 3: 0.6}), measuring, "size")
    with pytest.raises(SettingsError, match=r"images 0 has no logarithm; leave out --log"):
        covariate_study(sized({0: 0.2, 2: 0.4, 3: 0.6}), measuring, "images", logarithm=True)
    broken = [StudyModel(lambda: None, name=f"none{i}", noise=0.5) for i in range(2)]
    with pytest.raises(ModelError, match="2 of 4 models could be measured"):
        covariate_study([*noisy({0.0: 0.9}), *broken], measuring, "noise")


@pytest.mark.parametrize(
    ("covariates", "message"),
    [
        ({"size": float("inf")}, r"covariates=\{'size': inf\} cannot be used; expected a finite"),
        ({"size": "many"}, "expected a finite number"),
        ({"noise": 0.2}, "noise is an argument of its own"),
        ({"parameters": 5.0}, "parameters are counted"),
    ],
)
def test_a_covariate_is_a_finite_number(covariates: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        StudyModel(None, covariates=covariates)
