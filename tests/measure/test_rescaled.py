"""rescale="authors": the absolute values of filtered images, stretched over the whole batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pytest_iaside import (
    BaselineError,
    Classifier,
    ReferenceSample,
    SettingsError,
    compare,
    measure,
)
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.filters import split
from pytest_iaside.measure.game.coalitions import exact_coalitions

MEAN, STD = (0.4, 0.5), (0.2, 0.3)
COALITIONS = torch.from_numpy(exact_coalitions(3)).double()


def sample() -> ReferenceSample:
    pixels = torch.rand(7, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    return ReferenceSample(pixels, torch.arange(7) % 3)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(128, 3)).eval()


def by_hand(space: str) -> Tensor:
    """Log-likelihoods (7, 8), every coalition of the whole batch at once."""
    pixels = sample().pixels().double()
    mean, std = (torch.tensor(x).double().view(-1, 1, 1) for x in (MEAN, STD))
    shown = (pixels - mean) / std if space == "input" else pixels
    parts = split(shown, BandPartition(8, 8, 3))
    found = []
    for coalition in COALITIONS:
        images = torch.einsum("m,kmchw->kchw", coalition, parts).abs()
        low, high = images.min(), images.max()
        images = (images - low) / (high - low) if high > low else images - low
        images = (images - mean) / std if space == "pixel" else images
        answers = torch.log_softmax(network()(images.float()).double(), dim=1)
        found.append(answers.gather(1, sample().labels[:, None])[:, 0])  # type: ignore[index]
    return torch.stack(found, dim=1).detach()


@pytest.mark.parametrize("space", ["input", "pixel"])
@pytest.mark.parametrize("batch_size", [2, 3, 64])
def test_it_is_what_the_authors_do_to_a_batch(space: Any, batch_size: int) -> None:
    found = measure(
        Classifier(network(), mean=MEAN, std=STD),
        sample(),
        bands=3,
        space=space,
        rescale="authors",
        execution=Execution(batch_size=batch_size, backend="eager"),
    )
    assert found.log_likelihood is not None
    np.testing.assert_allclose(found.log_likelihood, by_hand(space), atol=1e-5)
    assert found.settings["rescale"] == "authors"


def test_images_depend_on_each_other_and_only_then() -> None:
    how: dict[str, Any] = {"bands": 3, "execution": Execution(backend="eager")}
    few = sample().take(range(4))
    whole, part = (measure(network(), each, **how, rescale="authors") for each in (sample(), few))
    assert np.abs(whole.values[:4] - part.values).max() > 1e-4
    plain = measure(network(), sample(), **how)
    assert "rescale" not in plain.settings
    with pytest.raises(BaselineError, match="rescale"):
        compare(whole, plain)


def test_it_needs_exact_play() -> None:
    with pytest.raises(SettingsError, match="rescale='authors' needs design='exact', not 'latin'"):
        measure(network(), sample(), bands=3, design="latin", rescale="authors")
    with pytest.raises(SettingsError, match="rescale='all' is unknown"):
        measure(network(), sample(), bands=3, rescale="all")  # type: ignore[arg-type]


def test_a_file_comes_back(tmp_path: Any) -> None:
    found = measure(network(), sample(), bands=3, rescale="authors")
    loaded = type(found).load(found.save(tmp_path / "p"))
    assert loaded.rules.rescale == "authors" and loaded.settings == found.settings
