"""SpectralLens against the closed forms of SPEC.md 6, in float64 and through a classifier."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from explained_models import LogLikelihood, linear, pictures, quadratic, sine, small_network, step
from numpy.typing import NDArray
from scipy import special, stats
from torch import Tensor

from pytest_iaside import Classifier, ModelError, ReferenceSample, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.lens import Lens, spectral_lens

Rows = NDArray[np.float64]
MEAN, STD = 0.5, 0.25
SCALES = (0.0, 0.25, 0.5, 1.0)
# So many draws that Monte Carlo errors are small, whatever the tolerance.
MANY: dict[str, Any] = {"tolerance": 1e-9, "max_samples": 20_000}


def grey(count: int = 1, height: int = 3, width: int = 4) -> Tensor:
    return pictures(count, 1, height, width)


def standardised(images: Tensor) -> Rows:
    """x, of images of one channel: (K, H, W)."""
    return ((images[:, 0].double() - MEAN) / STD).numpy()


def lens_of(f: LogLikelihood, images: Tensor, **settings: Any) -> Lens:
    return spectral_lens(
        Classifier(f, mean=MEAN, std=STD), images, 0, **{"scales": SCALES} | settings
    )


def within(found: Rows, expected: Rows, errors: Rows) -> None:
    """Within four standard errors everywhere, and 1e-12 for rounding."""
    assert np.maximum(np.abs(found - expected) - 4 * errors, 0).max() <= 1e-12


class TestLinear:
    """f = w·x: SG = w, SG2 = w² at every scale."""

    weight = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    @pytest.mark.parametrize("mixing", ["convex", "additive"])
    def test_everything_is_known(self, mixing: Any) -> None:
        images = pictures(2, 3, 6, 5)
        found = lens_of(linear(self.weight), images, mixing=mixing)
        squares = self.weight.square().sum(dim=0).numpy()
        shape = (4, 2, 6, 5)
        np.testing.assert_allclose(
            found.sg, np.broadcast_to(self.weight.sum(dim=0).numpy(), shape), rtol=1e-12, atol=1e-14
        )
        np.testing.assert_allclose(found.sg2, np.broadcast_to(squares, shape), rtol=1e-12)
        np.testing.assert_allclose(found.sl2, np.broadcast_to(squares, shape[1:]), rtol=1e-12)
        np.testing.assert_array_equal(found.arglens, np.zeros((2, 6, 5)))
        np.testing.assert_allclose(found.inconsistency, [0, 0], atol=1e-12)
        np.testing.assert_allclose(found.norms, squares.sum(), rtol=1e-12)
        # s^γ · ‖SG2‖₁ then rises to the end of the range, and says so.
        assert found.optimal_scale.tolist() == [1, 1]
        assert found.optimum_at_end.all()
        np.testing.assert_array_equal(found.sg2_at_optimum, found.sg2[-1])

    def test_the_smallest_scale_wins_whatever_it_is(self) -> None:
        found = lens_of(linear(self.weight), pictures(1, 3, 6, 5), scales=(0.3, 0.6))
        np.testing.assert_array_equal(found.arglens, np.full((1, 6, 5), 0.3))


class TestQuadratic:
    """f = ½xᵀAx: g = Ax̃ is normal with deviation σ‖A_i‖."""

    matrix = torch.randn(12, 12, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    matrix = (matrix + matrix.T) / 6

    def expected(self, mixing: str, noise: float, images: Tensor) -> tuple[Rows, Rows, Rows, Rows]:
        """E[g], Var g, E[g²], Var g², (S, K, H, W) each."""
        x = standardised(images)
        scales = np.array(SCALES).reshape(-1, 1, 1)
        gradient = x.reshape(len(x), 12) @ self.matrix.numpy()
        rows = self.matrix.square().sum(dim=1).numpy()
        if mixing == "convex":
            mean, spread = (1 - scales) * gradient, np.broadcast_to(scales * noise, (4, len(x), 1))
        else:
            reach = np.ptp(x, axis=(1, 2)).reshape(1, -1, 1)
            mean, spread = gradient + 0 * scales, scales * noise * reach
        variance = spread**2 * rows
        fields = (mean, variance, mean**2 + variance, 4 * mean**2 * variance + 2 * variance**2)
        return tuple(each.reshape(4, len(x), 3, 4) for each in fields)  # type: ignore[return-value]

    @pytest.mark.parametrize("mixing", ["convex", "additive"])
    def test_moments(self, mixing: Any) -> None:
        images = grey(2)
        found = lens_of(quadratic(self.matrix), images, mixing=mixing, noise=0.4, **MANY)
        first, variance, second, spread = self.expected(mixing, 0.4, images)
        np.testing.assert_array_equal(found.samples[1:], 20_000)
        within(found.sg, first, np.sqrt(variance / 20_000))
        within(found.sg2, second, np.sqrt(spread / 20_000))
        # At scale 0 nothing is drawn: it is the squared gradient itself.
        np.testing.assert_allclose(found.sg2[0], first[0] ** 2, rtol=1e-10)

    def test_the_error_is_that_of_the_norm(self) -> None:
        images = grey(1)
        norms = []
        for seed in range(60):
            found = lens_of(quadratic(self.matrix), images, seed=seed, tolerance=1e-9)
            assert (found.samples[1:] == 64).all()
            norms.append((found.norms[:, 0], found.relative_errors[:, 0]))
        values, errors = np.array(norms).transpose(1, 0, 2)
        second = self.expected("convex", 0.3, images)[2].sum(axis=(1, 2, 3))
        within(values.mean(axis=0)[1:], second[1:], values.std(axis=0, ddof=1)[1:] / 60**0.5)
        actual = values.std(axis=0, ddof=1)[1:] / second[1:]
        # A deviation of 60 numbers is known to 9 %.
        np.testing.assert_allclose(errors.mean(axis=0)[1:], actual, rtol=0.35)


class TestSine:
    """f = Σ sin ωx_i: SG = ω cos(ωx)·e^{−σ²ω²/2}, SG2 = ω²/2·(1 + cos(2ωx)·e^{−2σ²ω²})."""

    def harmonic(self, multiple: int, x: Rows, sigma: Rows, omega: float) -> Rows:
        """E cos(multiple·ωx̃) for x̃ normal around x."""
        wave = np.cos(multiple * omega * x) * np.exp(-((multiple * omega * sigma) ** 2) / 2)
        return np.asarray(wave)

    @pytest.mark.parametrize("omega", [0.8, 3.0])
    @pytest.mark.parametrize("mixing", ["convex", "additive"])
    def test_moments(self, omega: float, mixing: Any) -> None:
        images = grey(2)
        found = lens_of(sine(omega), images, mixing=mixing, noise=0.5, **MANY)
        scales = np.array(SCALES).reshape(-1, 1, 1, 1)
        x = standardised(images)[None]
        if mixing == "convex":
            x, sigma = (1 - scales) * x, 0.5 * scales
        else:
            sigma = 0.5 * scales * np.ptp(x, axis=(2, 3), keepdims=True)
        first = omega * self.harmonic(1, x, sigma, omega)
        second = omega**2 / 2 * (1 + self.harmonic(2, x, sigma, omega))
        fourth = omega**4 * (
            3 / 8 + self.harmonic(2, x, sigma, omega) / 2 + self.harmonic(4, x, sigma, omega) / 8
        )
        within(
            found.sg,
            first,
            np.sqrt(np.maximum(second - first**2, 0) / found.samples[..., None, None]),
        )
        within(
            found.sg2,
            second,
            np.sqrt(np.maximum(fourth - second**2, 0) / found.samples[..., None, None]),
        )


class TestStep:
    """f = Σ Φ((x_i − b_i)/τ): SG2 = N(δ; 0, σ² + τ²/2)/(2√π·τ), δ = x − b."""

    width = 0.1
    # The first two have their optimum at scales 0.5 and 1, the last one at none: √(δ² − τ²/2).
    distance = np.array([0.505, 1.0025, 0.05])

    def found(self, scales: tuple[float, ...]) -> tuple[Lens, Rows]:
        images = torch.tensor([0.25, 0.5, 0.5]).view(1, 1, 1, 3)
        x = standardised(images)
        at = torch.from_numpy(x - self.distance)
        # The range of x is 1, so noise of 1 is σ = s.
        assert np.ptp(x) == 1
        settings = {"mixing": "additive", "noise": 1.0, "tolerance": 1e-9, "max_samples": 100_000}
        return lens_of(step(at, self.width), images, scales=scales, **settings), self.distance

    def density(self, sigma: Rows, share: float) -> Rows:
        variance = sigma[:, None] ** 2 + self.width**2 / share
        return np.asarray(stats.norm.pdf(self.distance, scale=np.sqrt(variance)))

    def test_moments_and_arglens(self) -> None:
        scales = (0.0, 0.25, 0.5, 0.75, 1.0)
        found, distance = self.found(scales)
        sigma = np.array(scales)
        second = self.density(sigma, 2) / (2 * math.sqrt(math.pi) * self.width)
        fourth = (
            self.density(sigma, 4) * math.sqrt(math.pi / 2) / (2 * math.pi) ** 2 / self.width**3
        )
        errors = np.sqrt(np.maximum(fourth - second**2, 0) / found.samples)
        within(found.sg2[:, 0, 0], second, errors)
        exact = np.sqrt(np.maximum(distance**2 - self.width**2 / 2, 0))
        assert exact.tolist() == pytest.approx([0.5, 1.0, 0], abs=2e-3)
        np.testing.assert_array_equal(found.arglens[0, 0], [0.5, 1.0, 0])

    def test_arglens_of_exact_maps_on_a_fine_grid(self) -> None:
        sigma = np.arange(1001) / 1000
        second = self.density(sigma, 2)
        exact = np.sqrt(np.maximum(self.distance**2 - self.width**2 / 2, 0))
        np.testing.assert_allclose(sigma[second.argmax(axis=0)], exact, atol=5e-4)


class TestProperties:
    def test_second_moments_are_no_less_than_squared_first_ones(self) -> None:
        found = spectral_lens(small_network(), pictures())
        # Summed over three channels, by Cauchy and Schwarz.
        assert (3 * found.sg2 >= found.sg**2 * (1 - 1e-12)).all()
        one = spectral_lens(small_network(channels=1), grey(3))
        assert (one.sg2 >= one.sg**2 * (1 - 1e-12)).all()
        assert (one.sg2[5] > one.sg[5] ** 2).any()

    def test_scale_0_is_the_squared_gradient(self) -> None:
        network = small_network().double().eval()
        found = spectral_lens(network, pictures(), [0, 1, 2], scales=[0])
        leaf = pictures().double().requires_grad_()
        values = torch.log_softmax(network(leaf), dim=1)[range(3), [0, 1, 2]]
        (gradient,) = torch.autograd.grad(values.sum(), leaf)
        np.testing.assert_allclose(found.sg2[0], gradient.square().sum(dim=1), rtol=1e-10)
        np.testing.assert_allclose(found.sg[0], gradient.sum(dim=1), rtol=1e-9, atol=1e-14)
        assert found.gradients == 3
        assert found.forward_passes == 6
        assert np.isnan(found.inconsistency).all()

    def test_read_from_the_maps(self) -> None:
        found = spectral_lens(small_network(), pictures(), scales=SCALES)
        np.testing.assert_allclose(found.sl2, found.sg2.mean(axis=0))
        np.testing.assert_allclose(found.sl, found.sg.mean(axis=0))
        last = np.eye(len(found.scales))[-1]
        np.testing.assert_allclose(found.over_scales(3 * last), found.sg2[-1])
        np.testing.assert_allclose(found.over_scales(last, squared=False), found.sg[-1])
        for wrong in ([1.0], -last, 0 * last, "much"):
            with pytest.raises(SettingsError, match="one for each scale"):
                found.over_scales(wrong)
        np.testing.assert_allclose(found.norms, found.sg2.sum(axis=(2, 3)), rtol=1e-6)
        weighted = np.array(SCALES)[:, None] ** 2.5 * found.norms
        np.testing.assert_array_equal(
            found.optimal_scale, np.array(SCALES)[weighted.argmax(axis=0)]
        )
        assert found.gradients == found.samples.sum()
        assert found.forward_passes == found.gradients + 3
        np.testing.assert_array_equal(found.converged, found.relative_errors <= 0.1)
        assert found.sl2.shape == found.arglens.shape == (3, 13, 12)


def test_whether_the_optimal_scale_is_at_an_end() -> None:
    found = spectral_lens(small_network(), pictures(3), scales=(0.0, 0.5, 1.0))
    norms = np.array([[6, 4, 1], [0, 1, 5], [0, 0, 0]], dtype=float).T
    known = replace(found, norms=norms, exponent=1)
    assert known.optimal_scale.tolist() == [0.5, 1, 0]
    assert known.optimum_at_end.tolist() == [False, True, True]


class TestIndependence:
    def test_of_batches_neighbours_and_order(self) -> None:
        images = pictures(5)
        model = Classifier(small_network(), mean=MEAN, std=STD)
        whole = spectral_lens(model, images, scales=SCALES, execution=Execution(batch_size=64))
        for size in (1, 7):
            other = spectral_lens(
                model, images, scales=SCALES, execution=Execution(batch_size=size)
            )
            np.testing.assert_array_equal(other.samples, whole.samples)
            np.testing.assert_allclose(other.sg2, whole.sg2, rtol=1e-4)
        order = [3, 0]
        part = spectral_lens(model, images[order], scales=SCALES)
        np.testing.assert_array_equal(part.samples, whole.samples[:, order])
        np.testing.assert_allclose(part.sg2, whole.sg2[:, order], rtol=1e-4)
        assert not np.allclose(
            spectral_lens(model, images, scales=SCALES, seed=1).sg2[1:], whole.sg2[1:], rtol=1e-3
        )

    def test_of_the_random_state_around(self) -> None:
        network = small_network()
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = spectral_lens(network, pictures(1), scales=[0.5])
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        second = spectral_lens(network, pictures(1), scales=[0.5])
        np.testing.assert_array_equal(first.sg2, second.sg2)

    def test_samples_and_arrays_are_the_same_images(self) -> None:
        sample = ReferenceSample(pictures(2), names=["cat", "dog"])
        by_sample = spectral_lens(small_network(), sample, scales=[0.5])
        by_array = spectral_lens(small_network(), pictures(2).numpy(), scales=[0.5])
        np.testing.assert_array_equal(by_sample.sg2, by_array.sg2)
        assert by_sample.names == ("cat", "dog")


class TestErrors:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"scales": [0, 2]}, r"scales has 2; expected at least one number in \[0, 1\]"),
            ({"scales": [0.5, 0.1]}, "scales has 0.5 before 0.1"),
            ({"scales": 0.5}, "scales=0.5; expected at least one number"),
            ({"noise": -1}, "noise=-1 must be a finite number above 0"),
            ({"mixing": "none"}, "mixing='none' is unknown"),
            ({"exponent": math.inf}, "exponent=inf must be a finite number above 0"),
            ({"labels": 9}, r"labels\[0\] is 9, but the model has 5 classes"),
        ],
    )
    def test_settings(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            spectral_lens(small_network(), pictures(), **settings)

    def test_gradients_that_are_not_finite(self) -> None:
        # Finite on the images themselves: √ at 0 has an infinite slope.
        def model(x: Tensor) -> Tensor:
            value = torch.sqrt(x.mean(dim=(1, 2, 3)) - x.mean(dim=(1, 2, 3)).detach())
            return torch.stack([value, -value], dim=1)

        with pytest.raises(ModelError, match=r"gradients .* are NaN or infinite around image 0"):
            spectral_lens(model, pictures())

    def test_a_model_without_gradients(self) -> None:
        with pytest.raises(ModelError, match="has no gradient with respect to its input"):
            spectral_lens(lambda x: torch.ones(len(x), 2), pictures())


def test_the_probit_step_is_what_special_says() -> None:
    values = step(torch.zeros(1), 2.0).f(torch.tensor([[[[1.0]]]]))
    assert float(values) == pytest.approx(float(special.ndtr(0.5)))
