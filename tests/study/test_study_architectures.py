"""SIDs in a plane, and whether architectures can be told by them."""

from __future__ import annotations

import math
import sys
from functools import partial

import numpy as np
import pytest
from waves import Waves

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.study.architectures import architectures_study, nearest_agreement, project
from pytest_iaside.study.models import Measuring, StudyModel

CLUSTERS = np.repeat(np.eye(3), 4, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(12, 3))
GROUPS = ["a"] * 4 + ["b"] * 4 + ["c"] * 4


class TestProjection:
    def test_tsne_keeps_neighbours_and_is_repeatable(self) -> None:
        pytest.importorskip("sklearn")
        found = project(CLUSTERS, seed=3)
        assert found.method == "tsne"
        assert found.how == "t-SNE, perplexity 3.67, seed 3"
        np.testing.assert_array_equal(found.points, project(CLUSTERS, seed=3).points)
        distances = np.linalg.norm(found.points[:, None] - found.points[None], axis=-1)
        np.fill_diagonal(distances, np.inf)
        assert (distances.argmin(axis=1) // 4 == np.arange(12) // 4).all()

    def test_pca_is_the_rotation_of_the_largest_variances(self) -> None:
        found = project(CLUSTERS, method="pca")
        values, vectors = np.linalg.eigh(np.cov(CLUSTERS.T))
        np.testing.assert_allclose(found.points.var(axis=0, ddof=1), values[:0:-1])
        expected = (CLUSTERS - CLUSTERS.mean(axis=0)) @ vectors[:, :0:-1]
        np.testing.assert_allclose(np.abs(found.points), np.abs(expected), atol=1e-12)
        assert (found.points[np.abs(found.points).argmax(axis=0), [0, 1]] > 0).all()
        assert found.how == f"PCA, {100 * values[1:].sum() / values.sum():.0f}% of the variance"

    def test_points_that_are_all_the_same_stay_so(self) -> None:
        found = project(np.ones((4, 3)), method="pca")
        np.testing.assert_array_equal(found.points, np.zeros((4, 2)))

    def test_without_scikit_learn_it_is_pca_and_says_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
        found = project(CLUSTERS)
        assert found.method == "pca"
        assert found.how.startswith("scikit-learn is not installed, so no t-SNE; PCA, ")
        with pytest.raises(SettingsError, match="scikit-learn is needed for t-SNE"):
            project(CLUSTERS, method="tsne")

    @pytest.mark.parametrize("perplexity", [0.0, 12.0, -1.0, float("nan")])
    def test_perplexities_out_of_range(self, perplexity: float) -> None:
        pytest.importorskip("sklearn")
        with pytest.raises(SettingsError, match="below the number of models, 12"):
            project(CLUSTERS, perplexity=perplexity)

    def test_what_cannot_be_projected(self) -> None:
        with pytest.raises(SettingsError, match="2 points need no projection"):
            project(CLUSTERS[:2])
        with pytest.raises(SettingsError, match="projection='umap' is unknown"):
            project(CLUSTERS, method="umap")  # type: ignore[arg-type]


class TestAgreement:
    def test_of_clusters(self) -> None:
        found = nearest_agreement(CLUSTERS, GROUPS)
        assert found is not None
        assert (found.models, found.agreeing) == (12, 12)
        # Of 11 others 3 are of the same group.
        assert found.by_chance == pytest.approx(12 * 3 / 11)
        assert found.p_value == pytest.approx(1e-4)

    def test_by_chance_is_the_mean_over_shuffled_groups_and_p_fair(self) -> None:
        rng = np.random.default_rng(0)
        found = [nearest_agreement(rng.random((12, 3)), GROUPS, seed=i) for i in range(40)]
        agreeing = [one.agreeing for one in found if one is not None]
        assert np.mean(agreeing) == pytest.approx(12 * 3 / 11, abs=0.8)
        assert 0.3 < np.mean([one.p_value for one in found if one is not None]) < 0.8

    def test_one_group_or_models_alone_agree_in_nothing(self) -> None:
        assert nearest_agreement(CLUSTERS, ["a"] * 12) is None
        assert nearest_agreement(CLUSTERS, [str(i) for i in range(12)]) is None


def test_models_of_a_kind_lie_together(measuring: Measuring) -> None:
    models = [
        StudyModel(partial(Waves, low + 0.01 * copy), name=f"{kind}{copy}", group=kind)
        for kind, low in (("low", 0.9), ("high", 0.1), ("both", 0.5))
        for copy in range(3)
    ]
    study = architectures_study(models, measuring, projection="pca")
    assert study.groups == ["low", "high", "both"]
    assert study.agreement is not None
    assert study.agreement.agreeing == 9
    assert len(study.of("high")) == 3
    assert study.projection.points.shape == (9, 2)
    document = study.as_dict()
    assert [one["point"] for one in document["models"]] == study.projection.points.tolist()


def test_a_perplexity_is_refused_before_anything_is_measured(measuring: Measuring) -> None:
    models = [StudyModel(partial(math.floor, 1), name=name) for name in "abc"]
    with pytest.raises(SettingsError, match="perplexity=3 must be above 0 and below"):
        architectures_study(models, measuring, perplexity=3)


def test_models_that_mean_nothing_are_not_enough(measuring: Measuring) -> None:
    models = [StudyModel(partial(Waves, 0.5, 0.0), name=name) for name in "abc"]
    with pytest.raises(ModelError, match="0 of 3 models have ψ"):
        architectures_study(models, measuring)
