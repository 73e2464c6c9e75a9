"""Insertion, deletion and μ-fidelity: closed forms on linear models, and identities."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explained_models import pictures, small_network
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from pytest_iaside import Classifier, Estimate, ModelError, ReferenceSample, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.faithfulness import (
    Removal,
    box_blur,
    deletion,
    insertion,
    mu_fidelity,
    random_subsets,
    score_curve,
)
from pytest_iaside.measure.metrics import accuracy
from pytest_iaside.models.outputs import check_logits

deletion_curve = partial(score_curve, inserted=False)
insertion_curve = partial(score_curve, inserted=True)

BLACK = Removal(replacement="black")
WEIGHT = torch.randn(3, 13, 12, generator=torch.Generator().manual_seed(4))


def linear(x: Tensor) -> Tensor:
    """The logit of class 0 is w·x."""
    value = (x * WEIGHT).flatten(1).sum(dim=1)
    return torch.stack([value, -value], dim=1)


def contributions(images: Tensor) -> np.ndarray:
    """What each pixel adds to the logit, (K, H, W)."""
    return (images * WEIGHT).sum(dim=1).double().numpy()


def random_maps(count: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 13, 12))


class TestClosedForms:
    def test_deletion_of_a_linear_model(self) -> None:
        images = pictures()
        parts = contributions(images)
        found = deletion_curve(linear, images, 0, parts, removal=BLACK, score="logit", steps=12)
        ordered = -np.sort(-parts.reshape(3, -1), axis=1)
        left = ordered.sum(axis=1, keepdims=True) - np.cumsum(ordered, axis=1)
        expected = np.hstack([ordered.sum(axis=1, keepdims=True), left[:, 12::13]])
        np.testing.assert_allclose(found, expected, atol=1e-4)
        areas = ((expected[:, 1:] + expected[:, :-1]) / 2).sum(axis=1) / 12
        estimate = deletion(linear, images, 0, parts, removal=BLACK, score="logit", steps=12)
        np.testing.assert_allclose(estimate.image_values, areas, atol=1e-4)
        assert estimate.value == pytest.approx(areas.mean(), abs=1e-4)
        reach = stats.t.ppf(0.975, 2) * stats.sem(areas)
        assert (estimate.low, estimate.high) == pytest.approx(
            (areas.mean() - reach, areas.mean() + reach), abs=1e-3
        )

    def test_insertion_of_a_linear_model(self) -> None:
        images = pictures()
        parts = contributions(images)
        found = insertion_curve(linear, images, 0, parts, removal=BLACK, score="logit", steps=12)
        ordered = -np.sort(-parts.reshape(3, -1), axis=1)
        shown = np.cumsum(ordered, axis=1)[:, 12::13]
        expected = np.hstack([np.zeros((3, 1)), shown])
        np.testing.assert_allclose(found, expected, atol=1e-4)

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 10_000))
    def test_no_order_beats_that_of_the_contributions(self, seed: int) -> None:
        images = pictures(1)
        run = {"removal": BLACK, "score": "logit", "steps": 6}
        best, other = contributions(images), random_maps(1, seed)
        for measure, sign in ((deletion, 1), (insertion, -1)):
            area = measure(linear, images, 0, best, **run).value  # type: ignore[operator]
            assert sign * area <= sign * measure(linear, images, 0, other, **run).value  # type: ignore[operator]

    def test_probability_and_accuracy(self) -> None:
        images = pictures()
        run = partial(deletion_curve, linear, images, [0, 1, 0], random_maps(), steps=4)
        logits = run(score="logit")
        np.testing.assert_allclose(
            run(score="probability"), 1 / (1 + np.exp(-2 * logits)), atol=1e-5
        )
        np.testing.assert_allclose(
            run(score="log_probability"), -np.logaddexp(0, -2 * logits), atol=1e-4
        )
        # Where both logits are 0 the first class is taken.
        expected = np.where(np.array([[0], [1], [0]]) == 0, logits >= 0, logits > 0)
        np.testing.assert_array_equal(run(score="accuracy"), expected)

    def test_what_is_removed_is_blurred(self) -> None:
        seen: list[Tensor] = []

        def looks(x: Tensor) -> Tensor:
            seen.append(x.clone())
            return linear(x)

        images, maps = pictures(1), random_maps(1)
        deletion(looks, images, 0, maps, steps=2, removal=Removal(blur=5))
        clean, *variants = torch.cat(seen)
        assert torch.equal(clean, images[0])
        blurred = box_blur(images[0], 5)
        most = torch.from_numpy(maps[0] > np.median(maps[0]))
        expected = [images[0], torch.where(most, blurred, images[0]), blurred]
        torch.testing.assert_close(torch.stack(variants), torch.stack(expected))


class TestIdentities:
    @pytest.mark.parametrize("kind", ["pixels", "cells"])
    @pytest.mark.parametrize("steps", [7, 20])
    def test_insertion_is_the_deletion_of_the_opposite_backwards(
        self, kind: Any, steps: int
    ) -> None:
        model, images, maps = small_network(), pictures(), random_maps()
        removal = Removal(kind=kind, grid=5)
        run = {"removal": removal, "score": "probability", "steps": steps}
        shown = insertion_curve(model, images, None, maps, **run)
        removed = deletion_curve(model, images, None, -maps, **run)
        np.testing.assert_allclose(shown, removed[:, ::-1], atol=1e-6)
        by_area = insertion(model, images, None, maps, **run)  # type: ignore[arg-type]
        opposite = deletion(model, images, None, -maps, **run)  # type: ignore[arg-type]
        np.testing.assert_allclose(by_area.image_values, opposite.image_values, atol=1e-6)

    @pytest.mark.parametrize("kind", ["pixels", "cells", "erosion"])
    def test_ends(self, kind: Any) -> None:
        sample = ReferenceSample(pictures(), [0, 3, 3])
        model, maps = Classifier(small_network(), mean=0.5, std=0.25), random_maps()
        removal = Removal(kind=kind, grid=5)
        removed = deletion_curve(model, sample, sample.labels, maps, removal=removal)
        shown = insertion_curve(model, sample, sample.labels, maps, removal=removal)
        clean = accuracy(model, sample)
        np.testing.assert_array_equal(removed[:, 0], clean.image_values)
        np.testing.assert_array_equal(shown[:, -1], clean.image_values)
        np.testing.assert_array_equal(removed[:, -1], shown[:, 0])

    def test_without_labels_nothing_is_wrong_on_clean_images(self) -> None:
        # Also where the sample has labels of its own: the prediction is what is explained.
        sample = ReferenceSample(pictures(), [4, 4, 4])
        removed = deletion_curve(small_network(), sample, None, random_maps())
        np.testing.assert_array_equal(removed[:, 0], [1, 1, 1])

    def test_only_the_order_counts(self) -> None:
        model, images, maps = small_network(), pictures(), random_maps()
        for kind in ("pixels", "erosion"):
            run = partial(deletion, model, images, None, removal=kind, score="probability")
            found, other = run(maps), run(np.exp(maps))
            np.testing.assert_array_equal(found.image_values, other.image_values)

    def test_batches_and_neighbours_do_not_matter(self) -> None:
        model, images, maps = small_network(), pictures(), random_maps()
        for measure in (insertion, deletion, partial(mu_fidelity, samples=30)):
            run = partial(measure, model, score="probability")
            whole = run(images, None, maps)
            for size in (1, 5):
                other = run(images, None, maps, execution=Execution(batch_size=size))
                np.testing.assert_allclose(other.image_values, whole.image_values, atol=1e-4)
            part = run(images[1:2], None, maps[1:2])
            np.testing.assert_allclose(part.image_values, whole.image_values[1:2], atol=1e-4)


class TestMuFidelity:
    @pytest.mark.parametrize(
        "removal",
        [BLACK, Removal(kind="cells", grid=4, replacement="black"), Removal(kind="pixels", blur=3)],
    )
    def test_of_what_explains_a_linear_model_is_1(self, removal: Removal) -> None:
        images = pictures()
        # What replacing a pixel costs is its weight times by how much that changes it.
        moved = images - torch.stack([removal.replaced(image) for image in images])
        maps = contributions(moved)
        run = partial(mu_fidelity, linear, images, 0, removal=removal, score="logit", samples=40)
        assert run(maps).image_values == pytest.approx([1, 1, 1], abs=1e-6)
        assert run(-2 * maps).image_values == pytest.approx([-1, -1, -1], abs=1e-6)
        if removal.kind == "pixels":
            # Sums over as many equal parts are all moved alike.
            assert run(5 - maps).image_values == pytest.approx([-1, -1, -1], abs=1e-6)
            assert run(np.ones_like(maps)).image_values == pytest.approx([0, 0, 0], abs=0)

    def test_of_a_map_that_explains_half(self) -> None:
        # The map knows of one of two addends of equal variance: a correlation of 1/√2.
        weight = torch.ones(1, 1, 20, 20)
        images = torch.rand(8, 1, 20, 20, generator=torch.Generator().manual_seed(9))

        def model(x: Tensor) -> Tensor:
            value = (x * weight).flatten(1).sum(dim=1)
            return torch.stack([value, -value], dim=1)

        values = images[:, 0].double().numpy()
        spread = values.std(axis=(1, 2), keepdims=True)
        other = np.random.default_rng(3).normal(size=values.shape) * spread
        found = mu_fidelity(
            model, images, 0, values + other, removal=BLACK, score="logit", samples=2000
        )
        half = np.array(
            [
                np.corrcoef(a.ravel(), b.ravel())[0, 1]
                for a, b in zip(values, values + other, strict=True)
            ]
        )
        # Over random subsets sums correlate as single pixels do.
        np.testing.assert_allclose(found.image_values, half, atol=4 * 0.5 / 2000**0.5)  # type: ignore[arg-type]
        assert half.mean() == pytest.approx(0.5**0.5, abs=0.03)

    def test_of_a_model_that_nothing_moves_is_0(self) -> None:
        found = mu_fidelity(
            lambda x: torch.tensor([[2.0, 1.0]]).repeat(len(x), 1), pictures(), 0, random_maps()
        )
        assert found.image_values is not None
        assert found.image_values.tolist() == [0, 0, 0]

    def test_the_seed_decides(self) -> None:
        run = partial(mu_fidelity, small_network(), pictures(), None, random_maps(), samples=20)
        assert run().value == run().value
        assert run(seed=1).value != run().value

    def test_random_subsets(self) -> None:
        found = random_subsets(30, 6, 4000, "key")
        assert (found.sum(axis=1) == 6).all()
        # Each part is in a fifth of them.
        assert np.abs(found.mean(axis=0) - 0.2).max() < 4 * (0.2 * 0.8 / 4000) ** 0.5
        np.testing.assert_array_equal(random_subsets(30, 6, 4000, "key"), found)
        assert (random_subsets(30, 6, 4000, "other") != found).any()


class TestErrors:
    @pytest.mark.parametrize(
        ("run", "message"),
        [
            ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
            ({"score": "top5"}, "score='top5' is unknown; use one of accuracy, probability"),
            ({"removal": "rows"}, "kind='rows' is unknown"),
            ({"level": 95}, "level=95 must lie between 0 and 1"),
            ({"labels": [0, 1]}, r"labels are int64 of shape \(2,\)"),
            ({"labels": 5}, r"labels\[0\] is 5, but the model has 5 classes"),
            ({"maps": np.zeros((3, 12, 13))}, r"expected \(3, 13, 12\): one for each image"),
            ({"removal": "cells"}, "grid=16 is too fine for images of 13×12 pixels"),
        ],
    )
    def test_settings(self, run: dict[str, Any], message: str) -> None:
        given: dict[str, Any] = {"labels": None, "maps": random_maps(), **run}
        for measure in (insertion, deletion):
            with pytest.raises(SettingsError, match=message):
                measure(small_network(), pictures(), **given)

    @pytest.mark.parametrize(
        ("run", "message"),
        [
            ({"samples": 2}, "samples=2 must be a whole number of at least 3"),
            ({"subset": 1.0}, "subset=1.0 must lie between 0 and 1"),
            ({"subset": 0.001}, "subset=0.001 of 81 parts selects no part; use at least 0.0123"),
        ],
    )
    def test_settings_of_mu_fidelity(self, run: dict[str, Any], message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            mu_fidelity(small_network(), pictures(), None, random_maps(), **run)

    def test_answers_that_are_not_finite(self) -> None:
        def model(x: Tensor) -> Tensor:
            value = torch.log(x.amin(dim=(2, 3)))
            return check_logits(value, len(x))

        images = pictures() / 2 + 0.1
        with pytest.raises(ModelError, match="NaN or infinite logits for image 0"):
            deletion(model, images, 0, random_maps(), removal=BLACK)

    def test_an_onnx_file_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(b"weights")
        with pytest.raises(ModelError, match="net"):
            deletion(tmp_path / "net.onnx", pictures(), 0, random_maps())


def test_one_image_and_one_map() -> None:
    found = deletion(small_network(), pictures(1)[0], None, random_maps(1)[0])
    assert isinstance(found, Estimate)
    assert found.image_values is not None
    assert found.image_values.shape == (1,)
    assert found.low == -np.inf
