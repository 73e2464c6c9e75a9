"""Reconstruction depth and sufficient images (SPEC.md 3.2), of models that count cells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside import Classifier, ModelError
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.sobol_runs import rescaled
from pytest_iaside.explain.wavelets import CellParts
from pytest_iaside.explain.wcam import WaveletAttribution, reconstruct, reconstruction_depth, wcam

GRID, LEVELS, SIDE = 4, 2, 16
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def distance_below(share: float) -> Any:
    """Class 1 for an image as near as ``share`` of its norm to one of ``images()``, else 0."""
    whole = images()

    def network(x: Tensor) -> Tensor:
        gaps = (x[:, None] - whole).flatten(2).norm(dim=2) / whole.flatten(1).norm(dim=1)
        near = share - gaps.amin(dim=1)
        return torch.stack([torch.zeros_like(near), near], dim=1)

    return network


def attribution(**changes: Any) -> WaveletAttribution:
    """Of ``images()``; which cells matter is drawn."""
    found = wcam(lambda x: x.mean(dim=(2, 3)), images(), grid=GRID, wavelet_levels=LEVELS, points=2)
    maps = np.random.default_rng(4).random((3, GRID, GRID))
    # Of class 1, whatever that network predicts.
    return replace(found, **{"map": maps, "classes": np.ones(3, dtype=np.int64), **changes})


def rebuilt(order: NDArray[Any], image: Tensor, count: int) -> Tensor:
    mask = torch.zeros(1, GRID**2)
    mask[0, order[:count].copy()] = 1
    return CellParts(image, GRID, LEVELS, "haar").masked(mask)[0]


@pytest.mark.parametrize("share", [0.9, 0.3, 0.05])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_cells_in_descending_order_until_the_prediction_is_back(
    share: float, batch_size: int
) -> None:
    explained, whole, network = attribution(), images(), distance_below(share)
    found = reconstruct(network, whole, explained, execution=Execution(batch_size=batch_size))
    for i, image in enumerate(whole):
        order = np.argsort(-explained.map[i].ravel())
        series = torch.stack([rebuilt(order, image, n) for n in range(1, GRID**2 + 1)])
        hits = network(series).argmax(dim=1).numpy()
        depth = int(hits.argmax()) + 1
        assert found.depth[i] == depth
        torch.testing.assert_close(found.images[i], series[depth - 1], atol=1e-6, rtol=0)
    np.testing.assert_array_equal(reconstruction_depth(network, whole, explained), found.depth)


def test_a_network_may_write_to_its_input() -> None:
    inner = distance_below(0.3)

    def overwriting(x: Tensor) -> Tensor:
        found = inner(x)
        x.fill_(7.0)
        return found

    expected, found = (
        reconstruct(each, images(), attribution(), execution=Execution(batch_size=3))
        for each in (inner, overwriting)
    )
    np.testing.assert_array_equal(found.depth, expected.depth)
    assert (found.depth > 3).any()


def test_the_last_reconstruction_is_the_image() -> None:
    found = reconstruct(distance_below(1e-5), images(), attribution())
    np.testing.assert_array_equal(found.depth, [16, 16, 16])
    torch.testing.assert_close(found.images, images(), atol=2e-6, rtol=0)


def test_one_cell_may_be_enough() -> None:
    found = reconstruct(
        lambda x: torch.tensor([[0.0, 1.0]]).repeat(len(x), 1), images(), attribution()
    )
    np.testing.assert_array_equal(found.depth, [1, 1, 1])


def test_an_image_that_no_reconstruction_is_predicted_as_has_them_all() -> None:
    whole = images()

    def exact(x: Tensor) -> Tensor:
        same = (x[:, None] == whole).flatten(2).all(dim=2).any(dim=1).float()
        return torch.stack([0.5 - same, same - 0.5], dim=1)

    np.testing.assert_array_equal(reconstruct(exact, whole, attribution()).depth, [16, 16, 16])


def test_the_search_is_for_the_class_that_the_map_explains() -> None:
    """Not for the one that is predicted, which the whole image is here: class 1."""
    network, whole = distance_below(0.3), images()
    depths = reconstruct(network, whole, attribution()).depth
    assert (depths > 1).all()
    other = reconstruct(network, whole, attribution(classes=np.array([0, 1, 0])))
    # A single cell is far from the image: class 0.
    np.testing.assert_array_equal(other.depth, [1, depths[1], 1])
    assert other.reached.all()


def test_a_class_that_is_never_predicted_is_said() -> None:
    found = reconstruct(
        lambda x: torch.tensor([[0.0, 1.0]]).repeat(len(x), 1),
        images(),
        attribution(classes=np.array([0, 1, 1])),
    )
    np.testing.assert_array_equal(found.depth, [16, 1, 1])
    np.testing.assert_array_equal(found.reached, [False, True, True])


def test_the_gain_that_a_wcam_brings() -> None:
    """By its own order an image is back sooner than by the opposite one."""
    weight = torch.zeros(2, 3, SIDE, SIDE)
    weight[1, :, :8, :8] = 1.0

    def network(x: Tensor) -> Tensor:
        seen = torch.einsum("nchw,kchw->nk", x, weight)
        return torch.stack([seen.new_full((len(x),), 60.0), seen[:, 1]], dim=1)

    whole = images() / 2 + 0.5
    explained = wcam(network, whole, grid=GRID, wavelet_levels=LEVELS, output="logit", points=64)
    reverse = replace(explained, map=-explained.map)
    assert (explained.classes == 1).all()
    assert (reconstruction_depth(network, whole, explained) == 1).all()
    assert (reconstruction_depth(network, whole, reverse) == 16).all()


@pytest.mark.parametrize("settings", [{"mask_space": "input"}, {"rescale": "authors"}])
def test_images_are_masked_as_they_were_explained(settings: dict[str, str]) -> None:
    explained = attribution()
    explained = replace(explained, rules=replace(explained.rules, **settings))
    seen: list[Tensor] = []

    def network(x: Tensor) -> Tensor:
        seen.append(x.clone())
        return torch.tensor([[0.0, 1.0]]).repeat(len(x), 1)

    classifier = Classifier(network, mean=MEAN, std=STD)
    found = reconstruct(classifier, images()[:1], replace(explained, map=explained.map[:1]))
    mean, std = (torch.tensor(x).view(-1, 1, 1) for x in (MEAN, STD))
    order = np.argsort(-explained.map[0].ravel())
    if "mask_space" in settings:
        expected = rebuilt(order, (images()[0] - mean) / std, 1)
        pixels = expected * std + mean
    else:
        pixels = rescaled(rebuilt(order, images()[0], 1)[None])[0]
        expected = (pixels - mean) / std
    torch.testing.assert_close(seen[-1][0], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.images[0], pixels, atol=1e-5, rtol=0)


def test_other_images_are_refused() -> None:
    network, explained = distance_below(0.5), attribution()
    with pytest.raises(SettingsError, match=r"2 images of 16×16 pixels .* of 3 of 16×16; give the"):
        reconstruct(network, images()[:2], explained)
    with pytest.raises(SettingsError, match=r"3 images of 16×8 pixels .* of 3 of 16×16"):
        reconstruct(network, images()[..., :8], explained)


def test_logits_that_are_not_finite() -> None:
    whole = images()

    def fragile(x: Tensor) -> Tensor:
        clean = (x[:, None] == whole).flatten(2).all(dim=2).any(dim=1)
        return torch.stack([torch.where(clean, 1.0, torch.nan), torch.zeros(len(x))], dim=1)

    with pytest.raises(ModelError, match="infinite logits for image 0 reconstructed from some"):
        reconstruct(fragile, whole, attribution())
