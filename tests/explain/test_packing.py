"""The packed wavelet transform against PyWavelets, and closed forms (SPEC.md 6, WCAM 1)."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.wavelets import Packing, analysis_filters

ORTHONORMAL = [w for w in pywt.wavelist(kind="discrete") if pywt.Wavelet(w).orthogonal]


def images(height: int, width: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64)


def packing(height: int, width: int, levels: int, wavelet: str = "haar") -> Packing:
    return Packing(height, width, levels, wavelet, dtype=torch.float64)


def pywt_packed(image: np.ndarray, levels: int, wavelet: str) -> np.ndarray:
    packed = np.empty_like(image)
    for _ in range(levels):
        (height, width), before = image.shape[-2:], image
        image, (below, right, corner) = pywt.dwt2(before, wavelet, mode="periodization")
        top, left = slice(0, height // 2), slice(0, width // 2)
        bottom, beside = slice(height // 2, height), slice(width // 2, width)
        packed[..., top, beside], packed[..., bottom, left] = right, below
        packed[..., bottom, beside], packed[..., top, left] = corner, image
    return packed


@pytest.mark.parametrize("wavelet", ORTHONORMAL)
def test_pywavelets_computes_the_same(wavelet: str) -> None:
    # The last level has 6 and 2 samples: shorter than nearly every filter.
    x = images(24, 8)
    transform = packing(24, 8, 3, wavelet)
    found = transform.forward(x)
    np.testing.assert_allclose(found.numpy(), pywt_packed(x.numpy(), 3, wavelet), atol=1e-12)
    torch.testing.assert_close(transform.inverse(found), x, atol=1e-9, rtol=0)


@pytest.mark.parametrize("wavelet", ORTHONORMAL)
def test_pywavelets_inverts_the_same(wavelet: str) -> None:
    coefficients = images(32, 32, seed=1)
    found = packing(32, 32, 1, wavelet).inverse(coefficients).numpy()
    parts = coefficients.numpy()
    details = parts[..., 16:, :16], parts[..., :16, 16:], parts[..., 16:, 16:]
    expected = pywt.idwt2((parts[..., :16, :16], details), wavelet, mode="periodization")
    # PyWavelets brings an image under dmey, whose taps are cut off, back to 0.5 % only.
    np.testing.assert_allclose(found, expected, atol=0.02 if wavelet == "dmey" else 1e-9)


@given(
    unit=st.sampled_from([(1, 2), (3, 1), (2, 5)]),
    levels=st.integers(1, 4),
    wavelet=st.sampled_from(["haar", "db3", "sym6", "coif2"]),
)
def test_energy_is_kept_and_the_transform_is_linear(
    unit: tuple[int, int], levels: int, wavelet: str
) -> None:
    height, width = (side << levels for side in unit)
    transform, x = packing(height, width, levels, wavelet), images(height, width)
    found = transform.forward(x)
    assert float(found.square().sum() / x.square().sum()) == pytest.approx(1, abs=1e-9)
    one, other = found
    torch.testing.assert_close(transform.forward(x[0] - 2 * x[1]), one - 2 * other)


def test_a_constant_is_all_approximation() -> None:
    found = packing(16, 24, 3).forward(torch.full((1, 16, 24), 0.3, dtype=torch.float64))
    expected = torch.zeros(1, 16, 24, dtype=torch.float64)
    expected[0, :2, :3] = 0.3 * 2**3
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("pattern", "where"),
    [
        (lambda y, x: y, (slice(8, 16), slice(0, 8))),
        (lambda y, x: x, (slice(0, 8), slice(8, 16))),
        (lambda y, x: x + y, (slice(8, 16), slice(8, 16))),
    ],
    ids=["rows", "columns", "checkerboard"],
)
def test_stripes_lie_in_one_finest_sub_band(pattern, where) -> None:
    stripes = torch.from_numpy((-1.0) ** np.fromfunction(pattern, (16, 16)))
    found = packing(16, 16, 3).forward(stripes)
    assert found[where].square().sum().item() == pytest.approx(256)
    assert found.square().sum().item() == pytest.approx(256)


@pytest.mark.parametrize("wavelet", ["haar", "db4", "dmey"])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_patch_is_the_inverse_of_one_block_alone(wavelet: str, level: int) -> None:
    transform = packing(16, 32, 3, wavelet)
    coefficients = transform.forward(images(16, 32))[0]
    # Blocks of 2 × 4: a grid of 8, of which a level fills the corner of 8, 4 or 2.
    across = 8 >> (level - 1)
    top, left = torch.tensor([across - 1, 0]), torch.tensor([0, across - 1])
    blocks, expected = [], []
    for row, column in zip(top.tolist(), left.tolist(), strict=True):
        part = slice(2 * row, 2 * row + 2), slice(4 * column, 4 * column + 4)
        blocks.append(coefficients[(..., *part)])
        alone = torch.zeros_like(coefficients)
        alone[(..., *part)] = blocks[-1]
        expected.append(transform.inverse(alone))
    found = transform.patch(torch.stack(blocks), top, left, level)
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("sides", "levels", "advice"),
    [
        ((299, 299), 3, "resize or crop them to multiples of 8, such as 296×296"),
        ((12, 20), 3, "use at most wavelet_levels=2, or resize or crop .* of 8, such as 16×16"),
        ((4, 4), 3, "use at most wavelet_levels=2, or .*, such as 8×8"),
        ((30, 32), 2, "use at most wavelet_levels=1, or "),
    ],
)
def test_sides_that_cannot_be_halved(sides: tuple[int, int], levels: int, advice: str) -> None:
    found = f"images of {sides[0]}×{sides[1]} pixels cannot be halved {levels} times; {advice}"
    with pytest.raises(SettingsError, match=found):
        packing(*sides, levels)


@pytest.mark.parametrize("levels", [0, -1, 1.5, True, "3"])
def test_levels_is_a_whole_number(levels) -> None:
    with pytest.raises(SettingsError, match=r"levels=.* must be a whole number of at least 1"):
        packing(16, 16, levels)


class TestFilters:
    def test_haar_is_that_of_pywavelets(self) -> None:
        expected = pywt.Wavelet("haar").filter_bank[:2]
        np.testing.assert_allclose(analysis_filters("haar"), expected, rtol=1e-15)

    def test_haar_needs_no_pywavelets_and_others_say_so(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "pywt", None)
        packing(8, 8, 1, "haar")
        with pytest.raises(
            SettingsError, match=r"PyWavelets is needed for wavelet='db2'.*pip install"
        ):
            packing(8, 8, 1, "db2")

    @pytest.mark.parametrize(
        ("wavelet", "what"),
        [("bior2.2", "is not orthonormal"), ("mexh", "no discrete"), ("nonsense", "no discrete")],
    )
    def test_only_orthonormal_ones(self, wavelet: str, what: str) -> None:
        with pytest.raises(SettingsError, match=f"wavelet='{wavelet}' is .*{what[3:]}.*use an"):
            packing(8, 8, 1, wavelet)
