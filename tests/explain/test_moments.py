"""Errors of means, and when enough points have been drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.moments import LEAST, Moments, Sampling, relative_error, sample_moments

NUMBERS = st.floats(0, 1e6, allow_subnormal=False)


def sampling(**settings: Any) -> Sampling:
    usual: dict[str, Any] = {
        "scales": (0.0, 0.5, 1.0),
        "noise": 0.3,
        "mixing": "convex",
        "tolerance": 0.1,
        "max_samples": 64,
        "seed": 0,
    }
    return Sampling(**usual | settings)


def cubic(x: Tensor, classes: Tensor) -> Tensor:
    return (x**3).flatten(1).sum(dim=1)


def moments(
    f: Any = cubic, keys: tuple[str, ...] = ("a", "b"), batch_size: int = 8, **settings: Any
) -> list[list[Moments]]:
    inputs = torch.linspace(-1, 1, 24, dtype=torch.float64).view(2, 2, 2, 3)[: len(keys)]
    classes = torch.zeros(len(keys), dtype=torch.int64)
    return sample_moments(f, inputs, classes, keys, sampling(**settings), batch_size=batch_size)


class TestRelativeError:
    @given(st.lists(NUMBERS, min_size=2, max_size=30))
    def test_is_numpys(self, numbers: list[float]) -> None:
        values = np.array(numbers)
        if values.mean() > 1e-3:
            expected = values.std(ddof=1) / len(values) ** 0.5 / values.mean()
            assert relative_error(values) == pytest.approx(expected, rel=1e-4, abs=1e-5)

    def test_of_what_does_not_vary(self) -> None:
        assert relative_error(np.full(7, 0.1)) == 0
        assert relative_error(np.zeros(1)) == 0

    def test_of_what_cannot_be_known(self) -> None:
        assert relative_error(np.ones(1)) == math.inf
        for wrong in (math.nan, math.inf):
            assert math.isnan(relative_error(np.array([1.0, wrong, wrong, 1.0])))


class TestStopping:
    def test_once_the_error_is_small_enough(self) -> None:
        for row in moments(tolerance=0.05, max_samples=100_000):
            assert row[0].samples == 1
            assert row[0].relative_error == 0
            for found in row[1:]:
                assert LEAST < found.samples < 100_000
                assert 0.02 < found.relative_error <= 0.05

    def test_at_the_most_samples(self) -> None:
        for row in moments(tolerance=1e-6, max_samples=50):
            assert [found.samples for found in row] == [1, 50, 50]
            assert all(found.relative_error > 1e-6 for found in row[1:])

    def test_where_nothing_varies(self) -> None:
        for row in moments(lambda x, classes: x.flatten(1).sum(dim=1) * 0.3):
            assert [found.samples for found in row] == [1, LEAST, LEAST]
            assert [found.relative_error for found in row] == [0, 0, 0]

    def test_where_nothing_is_finite(self) -> None:
        for row in moments(lambda x, classes: (x.flatten(1) * math.inf).sum(dim=1)):
            assert [found.samples for found in row] == [1, LEAST, LEAST]
            assert not any(math.isfinite(found.norm) for found in row)


class TestStreams:
    @pytest.mark.parametrize("batch_size", [1, 3, 8, 1000])
    def test_batches_do_not_matter(self, batch_size: int) -> None:
        expected = moments(batch_size=8)
        for row, wanted in zip(moments(batch_size=batch_size), expected, strict=True):
            for found, known in zip(row, wanted, strict=True):
                assert found.samples == known.samples
                torch.testing.assert_close(found.second, known.second, rtol=1e-12, atol=0)

    def test_neighbours_do_not_matter(self) -> None:
        alone, both = moments(keys=("a",))[0], moments()[0]
        for found, known in zip(alone, both, strict=True):
            assert found.samples == known.samples
            torch.testing.assert_close(found.second, known.second, rtol=1e-12, atol=0)

    def test_other_scales_do_not_matter(self) -> None:
        found, known = moments(scales=(0.5,))[0][0], moments()[0][1]
        assert found.samples == known.samples
        torch.testing.assert_close(found.second, known.second, rtol=1e-12, atol=0)

    def test_keys_scales_and_seeds_do(self) -> None:
        def noise(key: str, scale: float, seed: int) -> Tensor:
            # Around 0 and additively the first moment of ½x² is the mean of the noise.
            found = sample_moments(
                lambda x, classes: (x**2).flatten(1).sum(dim=1) / 2,
                torch.tensor([0.0, 1.0]).view(1, 1, 1, 2),
                torch.zeros(1, dtype=torch.int64),
                [key],
                sampling(mixing="additive", scales=(scale,), seed=seed, max_samples=LEAST),
                batch_size=8,
            )
            return found[0][0].first / scale

        base = noise("a", 0.5, 0)
        assert torch.equal(noise("a", 0.5, 0), base)
        for other in (noise("b", 0.5, 0), noise("a", 0.25, 0), noise("a", 0.5, 1)):
            assert not torch.isclose(other, base, rtol=1e-3).any()

    def test_noise_is_standard_normal(self) -> None:
        draws: list[Tensor] = []

        def looks(x: Tensor, classes: Tensor) -> Tensor:
            draws.append(x.detach())
            return (x**2).flatten(1).sum(dim=1)

        moments(looks, scales=(1.0,), noise=1.0, tolerance=1e-9, max_samples=4000)
        values = torch.cat(draws).flatten()
        assert len(values) == 2 * 4000 * 12
        error = len(values) ** -0.5
        assert abs(values.mean()) < 4 * error
        assert abs(values.square().mean() - 1) < 4 * 2**0.5 * error
        assert abs(values.pow(4).mean() - 3) < 4 * 96**0.5 * error


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": 0}, "noise=0 must be a finite number above 0"),
        ({"noise": math.nan}, "noise=nan"),
        ({"tolerance": -1}, "tolerance=-1"),
        ({"tolerance": True}, "tolerance=True"),
        ({"mixing": "mixed"}, "mixing='mixed' is unknown; use one of convex, additive"),
        ({"max_samples": 15}, "max_samples=15 must be a whole number of at least 16"),
        ({"max_samples": 20.0}, "max_samples=20.0"),
        ({"seed": 0.5}, "seed=0.5 must be a whole number"),
        ({"scales": (0, 1.5)}, "scales has 1.5; expected at least one number in"),
    ],
)
def test_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        sampling(**settings)
