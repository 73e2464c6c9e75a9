"""Predictive entropies, and the noise at which they stop rising."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from explained_models import pictures, small_network
from scipy import special, stats
from torch import Tensor

from pytest_iaside import Classifier, ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.entropy import entropy_cutoff, first_flat_step


class TestFirstFlatStep:
    def test_is_the_first_that_hardly_rises(self) -> None:
        assert first_flat_step(np.array([0, 1.0, 1.5, 1.6, 3]), 0.15) == 3
        assert first_flat_step(np.array([0, 1.0, 1.5, 1.6, 3]), 0.05) is None
        assert first_flat_step(np.array([0, 1.0, 0.9]), 0) == 2
        assert first_flat_step(np.array([1.0, 1.0]), 0) == 1

    def test_after_a_rise(self) -> None:
        entropies = np.array([0.5, 0.5, 0.6, 2, 3, 3.1])
        assert first_flat_step(entropies, 0.15) == 1
        assert first_flat_step(entropies, 0.15, after_a_rise=True) == 5
        assert first_flat_step(entropies[:5], 0.15, after_a_rise=True) is None
        assert first_flat_step(entropies[:2], 0.15, after_a_rise=True) is None


def sign(x: Tensor) -> Tensor:
    """Two classes: whether the one pixel is above or below 0, for certain."""
    value = 1e4 * x.flatten(1).sum(dim=1)
    return torch.stack([value, -value], dim=1)


class TestCutoff:
    def test_entropies_of_a_known_model(self) -> None:
        # x = (0.7 − 0.5)/0.25 = 0.8: under noise σ class 0 has probability Φ(0.8/σ).
        noises, samples = (0.0, 0.4, 0.8, 1.6, 3.2), 4000
        model = Classifier(sign, mean=0.5, std=0.25)
        found = entropy_cutoff(
            model, torch.full((1, 1, 1, 1), 0.7), noises=noises, samples=samples, rise=0.06
        )
        chance = np.array([1, *special.ndtr(0.8 / np.array(noises[1:]))])
        exact = special.entr(chance) + special.entr(1 - chance)
        slope = np.abs(np.log(chance[1:] / (1 - chance[1:])))
        errors = np.array([0, *(slope * np.sqrt((chance * (1 - chance))[1:] / samples))])
        assert (np.abs(found.image_entropies[:, 0] - exact) <= 4 * errors + 1e-9).all()
        np.testing.assert_array_equal(found.entropies, found.image_entropies.mean(axis=1))
        # Exactly 0, 0.11, 0.44, 0.62, 0.67 nats.
        assert (found.cutoff, found.reached, found.plateau) == (3.2, True, 3.2)

    def test_without_noise_it_is_the_entropy_of_the_answer(self) -> None:
        network = small_network().eval()
        found = entropy_cutoff(network, pictures(), noises=(0, 1e-9), samples=2)
        answers = torch.softmax(network(pictures()), dim=1).detach().numpy()
        expected = stats.entropy(answers, axis=1)
        np.testing.assert_allclose(found.image_entropies, [expected, expected], atol=1e-6)
        assert (found.cutoff, found.reached, found.plateau) == (1e-9, True, None)

    def test_where_it_never_stops_rising(self) -> None:
        model = Classifier(sign, mean=0.5, std=0.25)
        found = entropy_cutoff(model, torch.full((1, 1, 1, 1), 0.7), noises=(0.4, 0.8), rise=0.05)
        assert (found.cutoff, found.reached, found.plateau) == (0.8, False, None)

    def test_does_not_depend_on_batches_or_neighbours(self) -> None:
        network, images = small_network(), pictures(4)
        whole = entropy_cutoff(network, images, noises=(0, 0.5, 1), samples=5)
        for size in (1, 7):
            other = entropy_cutoff(
                network, images, noises=(0, 0.5, 1), samples=5, execution=Execution(batch_size=size)
            )
            np.testing.assert_allclose(other.image_entropies, whole.image_entropies, atol=1e-6)
        part = entropy_cutoff(network, images[[2]], noises=(0, 0.5, 1), samples=5)
        np.testing.assert_allclose(
            part.image_entropies[:, 0], whole.image_entropies[:, 2], atol=1e-6
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noises": (0.1,)}, "expected at least two finite numbers from 0 upwards"),
        ({"noises": (0.2, 0.1)}, "noises=.0.2, 0.1.; expected"),
        ({"noises": (-0.1, 0.1)}, "expected at least two"),
        ({"noises": "much"}, "noises='much'; expected"),
        ({"samples": 0}, "samples=0 must be a whole number of at least 1"),
        ({"rise": -1}, "rise=-1 must be a finite number of nats"),
    ],
)
def test_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        entropy_cutoff(small_network(), pictures(), **settings)


def test_answers_that_are_not_finite_under_noise() -> None:
    def model(x: Tensor) -> Tensor:
        value = torch.log((x > 0).all(dim=3).all(dim=2).to(x.dtype))
        return value.expand(-1, 2) + 0

    images = torch.full((2, 1, 4, 4), 0.5)
    with pytest.raises(ModelError, match="NaN or infinite logits for image 0"):
        entropy_cutoff(model, images, noises=(0, 5))
