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
from pytest_iaside.explain.entropy import entropy_cutoff, stops_rising
from pytest_iaside.explain.lens import spectral_lens


class TestStopsRising:
    def test_is_where_the_slope_is_a_share_of_the_steepest(self) -> None:
        # Slopes 1, 3, 2, 0 at 0.5, 1.5, 2.5, 3.5: a third of 3 lies half way from 2 to 0.
        noises, entropies = (0, 1, 2, 3, 4), np.array([0, 1.0, 4.0, 6.0, 6.0])
        assert stops_rising(noises, entropies, 1 / 3) == pytest.approx(3.0)
        # Before the steepest rise a weak noise leaves the model certain.
        assert stops_rising(noises, entropies, 0.5) == pytest.approx(2.75)
        assert stops_rising(noises[:4], entropies[:4], 1 / 3) is None
        assert stops_rising(noises, -entropies, 0.1) == 0

    def test_finer_steps_find_the_same(self) -> None:
        found = []
        for count in (11, 101, 1001):
            sigma = np.linspace(0, 2, count)
            found.append(stops_rising(sigma.tolist(), 3 * special.ndtr(4 * sigma - 3), 0.1))
        # The density of a normal is a tenth of its largest at √(2 ln 10).
        exact = (3 + np.sqrt(2 * np.log(10))) / 4
        assert found == pytest.approx([exact] * 3, abs=0.03)
        assert found[2] == pytest.approx(exact, abs=1e-3)


def sign(x: Tensor) -> Tensor:
    """Two classes: whether the one pixel is above or below 0, for certain."""
    value = 1e4 * x.flatten(1).sum(dim=1)
    return torch.stack([value, -value], dim=1)


class TestCutoff:
    def test_entropies_of_a_known_model(self) -> None:
        # x = (0.7 − 0.5)/0.25 = 0.8: (1−α)·x + α·σ·ε is above 0 with Φ(0.8·(1−α)/(α·σ)).
        noises, samples = (0.4, 0.8, 1.6, 3.2), 4000
        model = Classifier(sign, mean=0.5, std=0.25)
        found = entropy_cutoff(
            model, torch.full((1, 1, 1, 1), 0.7), noises=noises, samples=samples, flat=0.2
        )
        alphas = (np.arange(samples) + 0.5) / samples
        chance = special.ndtr(0.8 * (1 - alphas) / (alphas * np.array(noises)[:, None])).mean(
            axis=1
        )
        exact = special.entr(chance) + special.entr(1 - chance)
        slope = np.abs(np.log(chance / (1 - chance)))
        errors = slope * np.sqrt(chance * (1 - chance) / samples)
        assert (np.abs(found.image_entropies[:, 0] - exact) <= 4 * errors + 1e-9).all()
        np.testing.assert_array_equal(found.entropies, found.image_entropies.mean(axis=1))
        expected = stops_rising(noises, found.entropies, 0.2)
        assert (found.cutoff, found.reached) == (expected or 3.2, expected is not None)

    def test_additive_noise_is_of_the_images_range(self) -> None:
        """Two pixels 0.8 and −0.8, of which the first is looked at: Φ(0.8/(1.6·σ))."""

        def first(x: Tensor) -> Tensor:
            value = 1e4 * x[:, 0, 0, 0]
            return torch.stack([value, -value], dim=1)

        images = torch.tensor([0.7, 0.3]).view(1, 1, 1, 2)
        noises, samples = (0.25, 0.5, 1.0), 4000
        found = entropy_cutoff(
            Classifier(first, mean=0.5, std=0.25),
            images,
            noises=noises,
            samples=samples,
            mixing="additive",
        )
        chance = special.ndtr(0.5 / np.array(noises))
        exact = special.entr(chance) + special.entr(1 - chance)
        np.testing.assert_allclose(found.entropies, exact, atol=0.05)

    def test_without_noise_it_is_the_entropy_of_the_answer(self) -> None:
        network = small_network().eval()
        found = entropy_cutoff(network, pictures(), noises=(0, 1e-9), samples=2, mixing="additive")
        answers = torch.softmax(network(pictures()), dim=1).detach().numpy()
        expected = stats.entropy(answers, axis=1)
        np.testing.assert_allclose(found.image_entropies, [expected, expected], atol=1e-6)

    def test_where_it_never_stops_rising(self) -> None:
        model = Classifier(sign, mean=0.5, std=0.25)
        found = entropy_cutoff(model, torch.full((1, 1, 1, 1), 0.7), noises=(0.4, 0.8))
        assert (found.cutoff, found.reached) == (0.8, False)

    def test_is_the_noise_of_a_lens_that_asks_for_it(self) -> None:
        network, images = small_network(), pictures(2)
        found = spectral_lens(network, images, scales=[0.5, 1], noise="auto", max_samples=16)
        assert found.noise == entropy_cutoff(network, images).cutoff
        same = spectral_lens(network, images, scales=[0.5, 1], noise=found.noise, max_samples=16)
        np.testing.assert_array_equal(found.sg2, same.sg2)

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
        ({"flat": 2}, "flat=2 must be a share of the steepest rise"),
        ({"mixing": "both"}, "mixing='both'"),
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
