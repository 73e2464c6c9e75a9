"""Integrated gradients against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from explained_models import linear, pictures, quadratic, sine, small_network

from pytest_iaside import Classifier, ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.gradients import IntegratedGradients, integrated_gradients

MEAN, STD = 0.5, 0.25


def found_of(model: Any, images: Any, **settings: Any) -> IntegratedGradients:
    return integrated_gradients(Classifier(model, mean=MEAN, std=STD), images, 0, **settings)


def standardised(images: torch.Tensor) -> np.ndarray:
    return ((images.double() - MEAN) / STD).numpy()


def test_of_a_linear_function() -> None:
    weight = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    images = pictures(2, 3, 4, 5)
    for baseline, start in (("zero", 0.0), ("black", -MEAN / STD)):
        found = found_of(linear(weight), images, steps=3, baseline=baseline)
        w = weight.numpy()
        both = (2, 4, 5)
        np.testing.assert_allclose(found.ig, np.broadcast_to(w.sum(axis=0), both), rtol=1e-10)
        np.testing.assert_allclose(found.ig2, np.broadcast_to((w**2).sum(axis=0), both), rtol=1e-12)
        shares = (w * (standardised(images) - start)).sum(axis=1)
        np.testing.assert_allclose(found.xig, shares, rtol=1e-10, atol=1e-12)
        squares = ((w * (standardised(images) - start)) ** 2).sum(axis=1)
        np.testing.assert_allclose(found.xig2, squares, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.gap, 0, atol=1e-11)


def test_of_a_quadratic_function() -> None:
    matrix = torch.randn(12, 12, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    matrix = (matrix + matrix.T) / 6
    images = pictures(3, 1, 3, 4)
    x = standardised(images).reshape(3, 12)
    gradient = x @ matrix.numpy()
    found = found_of(quadratic(matrix), images, steps=2)
    np.testing.assert_allclose(found.ig.reshape(3, 12), gradient / 2, rtol=1e-10)
    np.testing.assert_allclose(found.ig2.reshape(3, 12), gradient**2 / 3, rtol=1e-10)
    np.testing.assert_allclose(found.xig.sum(axis=(1, 2)), (x * gradient).sum(axis=1) / 2)
    np.testing.assert_allclose(found.gap, 0, atol=1e-11)
    # From black, b: g is linear between g(b) and g(x).
    start = np.full(12, -MEAN / STD) @ matrix.numpy()
    found = found_of(quadratic(matrix), images, steps=2, baseline="black")
    np.testing.assert_allclose(found.ig.reshape(3, 12), (gradient + start) / 2, rtol=1e-9)
    squares = (gradient**2 + gradient * start + start**2) / 3
    np.testing.assert_allclose(found.ig2.reshape(3, 12), squares, rtol=1e-9)


def test_of_a_sine() -> None:
    images, omega = pictures(1, 1, 3, 4), 2.5
    x = standardised(images)[:, 0]
    found = found_of(sine(omega), images)
    np.testing.assert_allclose(found.ig, np.sin(omega * x) / x, rtol=1e-9)
    squares = omega**2 / 2 * (1 + np.sinc(2 * omega * x / np.pi))
    np.testing.assert_allclose(found.ig2, squares, rtol=1e-9)


def test_too_few_steps_leave_a_gap_that_is_told() -> None:
    images = pictures(2, 1, 3, 4)
    gaps = [np.abs(found_of(sine(4.0), images, steps=n).gap).max() for n in (2, 8, 24)]
    assert gaps[0] > 0.1
    assert gaps[2] < 1e-9
    found = found_of(sine(4.0), images, steps=2)
    x = standardised(images)
    lacks = np.sin(4 * x).sum(axis=(1, 2, 3)) - found.xig.sum(axis=(1, 2))
    np.testing.assert_allclose(found.gap, lacks, rtol=1e-9)


def test_batches_and_neighbours_do_not_matter() -> None:
    network, images = small_network(), pictures(3)
    whole = integrated_gradients(network, images)
    for size in (1, 5):
        other = integrated_gradients(network, images, execution=Execution(batch_size=size))
        np.testing.assert_allclose(other.ig2, whole.ig2, rtol=1e-4)
    np.testing.assert_allclose(
        integrated_gradients(network, images[1:2]).ig, whole.ig[1:2], rtol=1e-3, atol=1e-7
    )
    assert (whole.ig**2 <= 3 * whole.ig2 * (1 + 1e-9)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
        ({"steps": 2.0}, "steps=2.0"),
        ({"baseline": "white"}, "baseline='white' is unknown; use one of zero, black"),
    ],
)
def test_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        integrated_gradients(small_network(), pictures(), **settings)


def test_gradients_that_are_not_finite() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        value = torch.sqrt(x).mean(dim=(1, 2, 3)) * (x.amax(dim=(1, 2, 3)) > 0)
        return torch.stack([value, -value], dim=1)

    images = pictures(2)
    images[1, 0, 0, 0] = 0
    with pytest.raises(ModelError, match="NaN or infinite around image 1"):
        integrated_gradients(model, images)
