"""FAM: bands of the Fourier plane, and the whole attribution against closed forms (SPEC.md 3.3)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pytest_iaside import Classifier, ModelError, ReferenceSample
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.fam import BandParts, band_index, fam
from pytest_iaside.explain.sobol import Evaluations, group_shares, sobol_points, total_indices
from pytest_iaside.images.bands import BandPartition

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
MASKS = ("circle", "square", "grid")


def sample(count: int = 2, height: int = 16, width: int = 15) -> ReferenceSample:
    generator = torch.Generator().manual_seed(7)
    return ReferenceSample(torch.rand(count, 3, height, width, generator=generator))


class TestBands:
    def test_circles_and_squares_are_the_bands_of_the_game(self) -> None:
        for mask, norm in (("circle", "l2"), ("square", "linf")):
            expected = BandPartition(16, 15, 4, norm).index
            np.testing.assert_array_equal(band_index(16, 15, mask, 4), expected)

    @given(height=st.integers(4, 21), width=st.integers(4, 21), cells=st.sampled_from([2, 4, 6, 8]))
    def test_a_grid_has_no_empty_cell_and_is_symmetric(
        self, height: int, width: int, cells: int
    ) -> None:
        if cells > min(height, width) / 2:
            with pytest.raises(SettingsError, match=f"bands={cells} cells a side do not fit"):
                band_index(height, width, "grid", cells)
            return
        found = band_index(height, width, "grid", cells)
        assert (np.bincount(found.ravel(), minlength=cells**2 // 2) > 0).all()
        assert found.max() == cells**2 // 2 - 1
        # At (−u, −v) as at (u, v).
        mirrored = np.roll(found[::-1, ::-1], (1, 1), axis=(0, 1))
        np.testing.assert_array_equal(found, mirrored)

    def test_a_grid_tells_directions_apart(self) -> None:
        found = band_index(16, 16, "grid", 4)
        # Halves of 0 to Nyquist along each axis; (u, v) and (u, −v) are different cells.
        assert [int(found[u, v]) for u, v in ((1, 1), (1, 5), (6, 3), (7, 7))] == [0, 1, 2, 3]
        assert [int(found[u, -v]) for u, v in ((1, 1), (1, 5), (6, 3), (7, 7))] == [4, 5, 6, 7]
        assert (found[0] < 4).all() and (found[8] < 4).all()

    @pytest.mark.parametrize(
        ("mask", "bands", "message"),
        [
            ("circle", 16, r"band \d+ of 16 holds no frequency for 8×8 images; use at most"),
            ("square", 9, r"band \d+ of 9 holds no frequency"),
            ("grid", 3, "bands=3 cells a side .* an even number, at most half .* side: 4"),
            ("grid", 6, "bands=6 cells a side .*: 4"),
            ("ring", 4, "mask='ring' is unknown; use one of circle, square, grid"),
            ("circle", 2.0, "bands=2.0 must be a whole number"),
        ],
    )
    def test_empty_bands_are_refused(self, mask: str, bands: int, message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            band_index(8, 8, mask, bands)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("sides", [(16, 15), (15, 16), (12, 12)])
def test_masked_images_are_those_of_the_full_transform(mask: str, sides: tuple[int, int]) -> None:
    index = band_index(*sides, mask, 4)
    bands = int(index.max()) + 1
    image = torch.rand(3, *sides, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pictures = BandParts(image, torch.from_numpy(index))
    masks = np.random.default_rng(0).random((5, bands))
    masks[0] = 1
    expected = np.fft.ifft2(np.fft.fft2(image.numpy()) * masks[:, index][:, None])
    assert np.abs(expected.imag).max() < 1e-14
    found = pictures.masked(torch.from_numpy(masks)).numpy()
    np.testing.assert_allclose(found, expected.real, atol=1e-13)
    np.testing.assert_allclose(found[0], image.numpy(), atol=1e-13)
    alone = pictures.alone(torch.arange(bands)).numpy()
    np.testing.assert_allclose(np.einsum("nk,kchw->nchw", masks, alone), found, atol=1e-13)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("space", ["pixel", "input"])
@pytest.mark.parametrize("batch_size", [5, 64])
def test_a_linear_model_has_known_indices(mask: str, space: str, batch_size: int) -> None:
    weight = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 3, 16, 15)) / 10).float()

    def network(x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", x, weight)

    images = sample()
    found = fam(
        Classifier(network, mean=MEAN, std=STD), images, 1, mask=mask, bands=4, points=16,
        output="logit", mask_space=space, execution=Execution(batch_size=batch_size),
    )  # fmt: skip
    std, mean = (np.array(x)[:, None, None] for x in (STD, MEAN))
    for i, image in enumerate(images.images.double().numpy()):
        if space == "input":
            image, gradient = (image - mean) / std, weight[1].double().numpy()
        else:
            gradient = weight[1].double().numpy() / std
        bands = int(found.band.max()) + 1
        spectrum = np.fft.fft2(image)
        parts = [np.fft.ifft2(spectrum * (found.band == band)).real for band in range(bands)]
        c = np.array([(gradient * part).sum() for part in parts])
        points = sobol_points(bands, 16, [0, int(images.digests[i], 16)])
        a, b = points.a @ c, points.b @ c
        expected = Evaluations(a=a, b=b, c=(a[:, None] + (points.b - points.a) * c).T)
        np.testing.assert_allclose(found.indices[i], total_indices(expected), rtol=1e-3, atol=1e-6)
        shares, errors = group_shares(expected, np.arange(bands), bands)
        np.testing.assert_allclose(found.shares[i], shares, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(found.share_errors[i], errors, rtol=1e-3, atol=1e-6)
    assert found.forward_passes == 2 * 16 * (bands + 2)


def test_a_model_of_the_mean_pixel_uses_the_lowest_band_alone() -> None:
    def network(x: Tensor) -> Tensor:
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack([mean, -mean], dim=1)

    found = fam(network, sample(), bands=4, points=64)
    np.testing.assert_allclose(found.shares, [[1, 0, 0, 0]] * 2, atol=1e-9)
    # The additive function of one input: the index is 1 up to the noise of the estimate.
    np.testing.assert_allclose(found.indices[:, 0], 1, atol=0.3)
    assert found.map.shape == (2, 16, 15)
    assert found.map[0, 8, 7] == found.indices[0, 0]
    assert found.map[0, 0, 0] == found.indices[0, 3]
    np.testing.assert_array_equal(found.classes, [0, 0])


def test_a_constant_model_is_refused() -> None:
    with pytest.raises(ModelError, match=r"is 0\.5 for image 0 under every mask"):
        fam(lambda x: torch.zeros(len(x), 2), sample(), bands=4)
