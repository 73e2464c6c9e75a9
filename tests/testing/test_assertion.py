"""assert_spectral_robustness outside pytest: a script, a notebook, another test runner."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_iaside import ReferenceSample, assert_spectral_robustness, measure
from pytest_iaside.errors import BaselineError, SettingsError

WAVES = torch.stack([torch.cos(2 * torch.pi * k * torch.arange(16) / 16) for k in (1, 3, 7)])


@pytest.fixture(scope="module")
def reference() -> ReferenceSample:
    labels = torch.arange(24) % 3
    images = 0.5 + 0.2 * WAVES[labels][:, None, None, :].expand(24, 1, 16, 16)
    noise = 0.05 * torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return ReferenceSample((images + noise).clamp(0, 1), labels)


def model(gain: float) -> Callable[[torch.Tensor], torch.Tensor]:
    weights = torch.tensor([2.0, 2.0 * gain, 2.0])
    return lambda images: (images.mean(dim=(1, 2)) @ WAVES.T) * weights


def outside(*arguments: Any, **keywords: Any) -> Any:
    """Call the assertion where no test is known to run."""
    return contextvars.Context().run(assert_spectral_robustness, *arguments, **keywords)


def test_a_profile_or_its_path_is_the_baseline(reference: ReferenceSample, tmp_path: Path) -> None:
    good = measure(model(1.0), reference, bands=4)
    comparison = outside(model(1.0), reference, baseline=good, bands=4)
    assert comparison.verdict == "pass"
    assert comparison.images == 24
    np.testing.assert_allclose(comparison.candidate.psi, good.psi, atol=1e-9)
    path = good.save(tmp_path / "good.yaml")
    with pytest.raises(AssertionError) as raised:
        outside(model(0.3), reference, baseline=path, bands=4, max_band_drop=0.01)
    lines = str(raised.value).splitlines()
    assert lines[0].startswith(
        "the model relies much less on coarse structures (band 1). Failed: band 1 (0.12–0.25 "
    )
    assert f"baseline: {path} (24 images)" in lines
    assert lines[-1] == f'    iaside measure MODEL REFERENCE --output "{path}"'
    assert not any("report" in line for line in lines)


def test_what_is_missing_is_asked_for(reference: ReferenceSample, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="pass baseline=, what was measured before or its path"):
        outside(model(1.0), reference)
    path = tmp_path / "none.yaml"
    with pytest.raises(BaselineError) as raised:
        outside(model(1.0), reference, baseline=path)
    assert f'iaside measure MODEL REFERENCE --output "{path}"' in str(raised.value)
    assert f"measure(model, reference).save('{path}')" in str(raised.value)
    good = measure(model(1.0), reference, bands=4)
    with pytest.raises(SettingsError, match="reference= is needed"):
        outside(model(1.0), baseline=good, bands=4)


def test_a_misfit_is_noticed_before_the_model_runs(reference: ReferenceSample) -> None:
    good = measure(model(1.0), reference, bands=4)
    with pytest.raises(BaselineError, match="bands: candidate 8, baseline 4"):
        outside(lambda images: pytest.fail("measured"), reference, baseline=good)
    with pytest.raises(SettingsError, match="did you mean 'bands'"):
        outside(model(1.0), reference, baseline=good, band=4)
