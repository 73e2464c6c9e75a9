"""What every corruption promises, at every severity."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pytest_iaside.errors import SettingsError
from pytest_iaside.perturb import blur, digital, noise, weather
from pytest_iaside.perturb.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from pytest_iaside.perturb.weather import FROST_VARIABLE

every_corruption = pytest.mark.parametrize("corruption", CORRUPTIONS)
every_severity = pytest.mark.parametrize("severity", SEVERITIES)


@pytest.fixture(autouse=True)
def no_textures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The textures of frost are the generated ones, whatever this machine's user has set."""
    monkeypatch.delenv(FROST_VARIABLE, raising=False)


def pictures(count: int, height: int = 32, width: int = 32, channels: int = 3) -> Tensor:
    """uint8 images with structure at every scale, none of them black or white throughout."""
    generator = torch.Generator().manual_seed(7)
    shape = (count, channels, height, width)
    fields = torch.randn(shape, generator=generator) * 20 + torch.linspace(60, 190, width)
    return fields.clamp(0, 255).to(torch.uint8)


def functions(room: ModuleType) -> set[str]:
    """The corruptions that are written in the file ``room``, known by their first parameters."""
    return {
        name
        for name, function in inspect.getmembers(room, inspect.isfunction)
        if list(inspect.signature(function).parameters)[:3] == ["image", "severity", "random"]
    }


def test_every_corruption_that_is_written_is_listed() -> None:
    written = [functions(room) for room in (noise, blur, weather, digital)]
    assert sorted(set().union(*written)) == sorted(CORRUPTIONS)


@every_severity
@every_corruption
def test_shape_and_dtype_stay_and_the_input_too(corruption: str, severity: int) -> None:
    for images in (pictures(1, 65, 40), pictures(1, 32, 32, 1)):
        for dtype in (torch.uint8, torch.float16, torch.float32, torch.float64):
            given = images if dtype == torch.uint8 else images.to(dtype) / 255
            before = given.clone()
            result = corrupt(given, corruption, severity)
            assert (result.shape, result.dtype) == (given.shape, dtype)
            assert result.data_ptr() != given.data_ptr() and torch.equal(given, before)
            if dtype != torch.uint8:  # Whose range is the type's own.
                assert result.min() >= 0 and result.max() <= 1
            assert not torch.equal(result, given)


@every_severity
@every_corruption
def test_an_image_depends_on_no_other_image_nor_on_their_order(
    corruption: str, severity: int
) -> None:
    images = pictures(3)
    whole = corrupt(images, corruption, severity, seed=5)
    order = [2, 0, 1]
    assert torch.equal(corrupt(images[order], corruption, severity, seed=5), whole[order])
    assert torch.equal(corrupt(images[1:2], corruption, severity, seed=5), whole[1:2])
    assert torch.equal(corrupt(images.numpy(), corruption, severity, seed=5), whole)


@every_severity
@every_corruption
def test_a_seed_is_reproduced_and_another_one_differs_where_it_draws(
    corruption: str, severity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_out: list[tuple[np.random.Generator, Any]] = []
    make = np.random.default_rng

    def spied(*arguments: Any) -> np.random.Generator:
        generator = make(*arguments)
        handed_out.append((generator, generator.bit_generator.state))
        return generator

    images = pictures(1)
    monkeypatch.setattr(np.random, "default_rng", spied)
    one = corrupt(images, corruption, severity, seed=0)
    draws = any(generator.bit_generator.state != state for generator, state in handed_out)
    assert handed_out
    assert torch.equal(corrupt(images, corruption, severity, seed=0), one)
    assert torch.equal(corrupt(images, corruption, severity, seed=1), one) != draws


@pytest.mark.parametrize("severity", [0, 6])
@every_corruption
def test_a_severity_outside_the_range_is_refused(corruption: str, severity: int) -> None:
    with pytest.raises(SettingsError, match=f"severity={severity} must be 1, 2, 3, 4 or 5"):
        corrupt(pictures(1), corruption, severity)


@settings(max_examples=60, deadline=None)
@given(
    corruption=st.sampled_from(CORRUPTIONS),
    severity=st.sampled_from(SEVERITIES),
    height=st.integers(9, 50),
    width=st.integers(9, 50),
    channels=st.sampled_from([1, 3]),
)
def test_any_size_comes_back_whole(
    corruption: str, severity: int, height: int, width: int, channels: int
) -> None:
    images = pictures(1, height, width, channels).float() / 255
    result = corrupt(images, corruption, severity)
    assert result.shape == images.shape
    assert result.min() >= 0 and result.max() <= 1
