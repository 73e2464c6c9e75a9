"""WCAM: the whole attribution against masks made by PyWavelets, and closed forms (SPEC.md 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pywt
import torch
from explained_models import mixed
from numpy.typing import NDArray
from torch import Tensor, nn

from pytest_iaside import Classifier, ModelError, ReferenceSample, ReferenceSampleError
from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.sobol import (
    Evaluations,
    Points,
    group_shares,
    sobol_points,
    total_indices,
)
from pytest_iaside.explain.sobol_runs import rescaled
from pytest_iaside.explain.wavelets import cell_levels
from pytest_iaside.explain.wcam import wcam

GRID, LEVELS, POINTS = 4, 2, 8
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
Scalar = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def sample(count: int = 2, side: int = 16) -> ReferenceSample:
    generator = torch.Generator().manual_seed(7)
    return ReferenceSample(torch.rand(count, 3, side, side, generator=generator))


def weights(side: int = 16, classes: int = 3) -> NDArray[np.float64]:
    found = np.random.default_rng(3).normal(size=(classes, 3, side, side)) / side
    return found.astype(np.float32).astype(np.float64)


class Linear(nn.Module):
    """Logits linear in the input; squared where ``curved``."""

    def __init__(self, curved: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weights()).float())
        self.curved = curved

    def forward(self, x: Tensor) -> Tensor:
        found = torch.einsum("nchw,kchw->nk", x, self.weight)
        return found.square() if self.curved else found


def linear(curved: bool = False) -> Classifier:
    return Classifier(Linear(curved), mean=MEAN, std=STD)


def coefficients(images: NDArray[np.float64], wavelet: str) -> NDArray[np.float64]:
    """PyWavelets' coefficients of (…, 16, 16), packed."""
    found = pywt.wavedec2(images, wavelet, mode="periodization", level=LEVELS, axes=(-2, -1))
    arrays = [found[0]]
    for below, right, corner in found[1:]:
        top = np.concatenate([arrays[-1], right], axis=-1)
        arrays.append(np.concatenate([top, np.concatenate([below, corner], axis=-1)], axis=-2))
    return arrays[-1]


def pictures(packed: NDArray[np.float64], wavelet: str) -> NDArray[np.float64]:
    """The images (…, 16, 16) of packed coefficients, by PyWavelets."""
    side = packed.shape[-1] >> LEVELS
    parts: list[Any] = [packed[..., :side, :side]]
    while side < packed.shape[-1]:
        low, high = slice(0, side), slice(side, 2 * side)
        parts.append((packed[..., high, low], packed[..., low, high], packed[..., high, high]))
        side *= 2
    return pywt.waverec2(parts, wavelet, mode="periodization", axes=(-2, -1))


def points_of(images: ReferenceSample, image: int, seed: int = 0) -> Points:
    return sobol_points(GRID**2, POINTS, [seed, int(images.digests[image], 16)])


def by_pywavelets(
    image: NDArray[np.float64], points: Points, wavelet: str, f: Scalar
) -> Evaluations:
    """f of images under each mask, made one by one."""

    def of(masks: NDArray[np.float64]) -> NDArray[np.float64]:
        cell = image.shape[-1] // GRID
        full = np.kron(masks.reshape(-1, GRID, GRID), np.ones((cell, cell)))
        return f(pictures(coefficients(image, wavelet) * full[:, None], wavelet))

    return Evaluations(
        a=of(points.a), b=of(points.b), c=np.stack([of(mixed(points, k)) for k in range(GRID**2)])
    )


def normalised(images: NDArray[np.float64]) -> NDArray[np.float64]:
    mean, std = (np.array(x)[:, None, None] for x in (MEAN, STD))
    return (images - mean) / std


def by_authors(images: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = (g(images, axis=(1, 2, 3), keepdims=True) for g in (np.min, np.max))
    return ((images - low) / (high - low) * 255).astype(np.uint8) / 255


def curved_logit(inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("nchw,chw->n", inputs, weights()[1]) ** 2


@pytest.mark.filterwarnings("ignore:Level value of 2 is too high")
class TestWhole:
    @pytest.mark.parametrize("wavelet", ["haar", "db2", "sym4"])
    @pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
    def test_map_is_that_of_masks_made_one_by_one(self, wavelet: str, batch_size: int) -> None:
        images = sample()
        found = wcam(
            linear(curved=True), images, 1, grid=GRID, wavelet_levels=LEVELS, wavelet=wavelet,
            output="logit", execution=Execution(backend="eager", batch_size=batch_size),
        )  # fmt: skip
        for i, image in enumerate(images.images.double().numpy()):
            expected = by_pywavelets(
                image, points_of(images, i), wavelet, lambda x: curved_logit(normalised(x))
            )
            indices = total_indices(expected).reshape(GRID, GRID)
            np.testing.assert_allclose(found.map[i], indices, rtol=1e-3, atol=1e-5)
            groups = cell_levels(GRID, LEVELS).ravel()
            shares, errors = group_shares(expected, groups, LEVELS + 1)
            np.testing.assert_allclose(found.levels[i], shares, rtol=1e-3)
            np.testing.assert_allclose(found.level_errors[i], errors, rtol=1e-3)

    @pytest.mark.parametrize(
        ("settings", "f"),
        [
            ({"mask_space": "input"}, lambda x: curved_logit(x)),
            ({"rescale": "authors"}, lambda x: curved_logit(normalised(by_authors(x)))),
            ({"variance": "paper"}, lambda x: curved_logit(normalised(x))),
            ({"seed": 5}, lambda x: curved_logit(normalised(x))),
        ],
        ids=["space", "rescale", "variance", "seed"],
    )
    def test_settings(self, settings: dict[str, Any], f: Scalar) -> None:
        images = sample(1)
        found = wcam(
            linear(curved=True),
            images,
            1,
            grid=GRID,
            wavelet_levels=LEVELS,
            output="logit",
            **settings,
        )
        image = images.images[0].double().numpy()
        if settings.get("mask_space") == "input":
            image = normalised(image)
        points = points_of(images, 0, settings.get("seed", 0))
        expected = total_indices(
            by_pywavelets(image, points, "haar", f), settings.get("variance", "both")
        )
        # A pixel on the edge of two of the authors' 256 steps may fall to either side.
        tolerance = 0.02 if "rescale" in settings else 1e-3
        np.testing.assert_allclose(
            found.map[0].ravel(), expected, rtol=tolerance, atol=tolerance * expected.max()
        )

    def test_probability_of_the_predicted_class(self) -> None:
        images = sample()
        found = wcam(linear(), images, grid=GRID, wavelet_levels=LEVELS)
        inputs = normalised(images.images.double().numpy())
        logits = np.einsum("nchw,kchw->nk", inputs, weights())
        np.testing.assert_array_equal(found.classes, logits.argmax(axis=1))

        def probability(x: NDArray[np.float64], target: int) -> NDArray[np.float64]:
            odds = np.exp(np.einsum("nchw,kchw->nk", normalised(x), weights()))
            return odds[:, target] / odds.sum(axis=1)

        for i, image in enumerate(images.images.double().numpy()):
            target = int(found.classes[i])
            expected = by_pywavelets(
                image, points_of(images, i), "haar", lambda x, t=target: probability(x, t)
            )
            np.testing.assert_allclose(
                found.map[i].ravel(), total_indices(expected), rtol=1e-3, atol=1e-5
            )


class TestLinearModel:
    """SPEC.md 6, WCAM 4: ST_k = c_k²/Σc², c_k = Σ_{cell k} (Wg)(Wx)."""

    @pytest.mark.parametrize("wavelet", ["haar", "db2"])
    @pytest.mark.filterwarnings("ignore:Level value of 2 is too high")
    def test_indices_and_level_sums(self, wavelet: str) -> None:
        images, points = sample(1), 512
        found = wcam(
            linear(), images, [2], grid=GRID, wavelet_levels=LEVELS, wavelet=wavelet, points=points,
            output="logit",
        )  # fmt: skip
        gradient = weights()[2] / np.array(STD)[:, None, None]
        image = images.images[0].double().numpy()
        product = coefficients(gradient, wavelet) * coefficients(image, wavelet)
        c = product.sum(axis=0).reshape(GRID, 4, GRID, 4).sum(axis=(1, 3))
        expected = c**2 / (c**2).sum()
        # (u − u′)²/2 has the mean 1/12 and the deviation 0.0986: of 512, 5 % of the index. V
        # comes from 1024 values.
        np.testing.assert_allclose(found.map[0], expected, rtol=0.2, atol=1e-6)
        levels = cell_levels(GRID, LEVELS)
        shares = np.array([expected[levels == level].sum() for level in range(3)])
        assert (np.abs(found.levels[0] - shares) < 4 * found.level_errors[0]).all()
        np.testing.assert_allclose(found.levels[0], shares, atol=0.05)
        assert found.map[0].sum() == pytest.approx(1, rel=0.1)

    def test_a_cell_that_the_model_does_not_see_has_an_index_of_exactly_0(self) -> None:
        def corner(x: Tensor) -> Tensor:
            seen = x[:, :, :8, :8].square().flatten(1).sum(dim=1)
            return torch.stack([seen, -seen], dim=1)

        found = wcam(corner, sample(1), grid=GRID, wavelet_levels=LEVELS, output="logit")
        # The finest sub-bands have 2 × 2 cells, and the first of each lies in that corner.
        finest = cell_levels(GRID, LEVELS) == LEVELS
        within = np.tile([[False, True], [True, True]], (2, 2))
        np.testing.assert_array_equal(found.map[0] == 0, finest & within)


class TestResult:
    def test_shapes_names_and_passes(self) -> None:
        images = sample(3)
        found = wcam(linear(), images, grid=8, wavelet_levels=3, points=4)
        assert found.map.shape == (3, 8, 8)
        assert found.levels.shape == found.level_errors.shape == (3, 4)
        assert found.spatial.shape == (3, 16, 16)
        assert found.forward_passes == 3 * 4 * (8 * 8 + 2)
        assert (found.grid, found.depth, found.shape) == (8, 3, (16, 16))
        assert found.names == images.names
        np.testing.assert_allclose(found.levels.sum(axis=1), 1)
        assert "array" not in repr(found).replace("classes=array", "")

    def test_the_network_is_run_that_often_and_in_batches(self) -> None:
        sizes: list[int] = []

        def counted(x: Tensor) -> Tensor:
            sizes.append(len(x))
            return torch.stack([x.mean(dim=(1, 2, 3)), x.amax(dim=(1, 2, 3))], dim=1)

        found = wcam(
            counted, sample(2), grid=GRID, wavelet_levels=LEVELS, execution=Execution(batch_size=20)
        )
        # And once for each clean image, which decides its class.
        assert sum(sizes) == found.forward_passes + 2
        assert max(sizes) <= 20

    @pytest.mark.parametrize("mean", [None, MEAN])
    def test_a_network_may_write_to_its_input(self, mean: Any) -> None:
        inner = Linear()

        def overwriting(x: Tensor) -> Tensor:
            found = inner(x)
            x.fill_(7.0)
            return found

        settings: dict[str, Any] = {
            "grid": GRID,
            "wavelet_levels": LEVELS,
            "execution": Execution(batch_size=8),
        }
        std = None if mean is None else STD
        for space in ("pixel", "input"):
            expected, found = (
                wcam(
                    Classifier(each, mean=mean, std=std), sample(1), mask_space=space, **settings
                ).map
                for each in (inner.forward, overwriting)
            )
            np.testing.assert_array_equal(found, expected)

    def test_an_image_does_not_depend_on_the_others(self) -> None:
        images = sample(3)
        together = wcam(
            linear(), images, grid=GRID, wavelet_levels=LEVELS, execution=Execution(batch_size=8)
        )
        alone = wcam(
            linear(),
            images.images[1],
            grid=GRID,
            wavelet_levels=LEVELS,
            execution=Execution(batch_size=8),
        )
        np.testing.assert_allclose(together.map[1:2], alone.map, rtol=1e-6)
        again = wcam(
            linear(),
            images.take([2, 1]),
            grid=GRID,
            wavelet_levels=LEVELS,
            execution=Execution(batch_size=8),
        )
        np.testing.assert_array_equal(again.map, together.map[[2, 1]])

    def test_errors_are_nearer_with_more_designs(self) -> None:
        few, many = (
            wcam(linear(), sample(4), grid=GRID, wavelet_levels=LEVELS, points=n).level_errors
            for n in (8, 128)
        )
        # A quarter, by √16.
        assert many.mean() / few.mean() == pytest.approx(1 / 4, rel=0.4)

    def test_rescaled(self) -> None:
        images = torch.stack([torch.linspace(-1, 3, 3 * 64).view(3, 8, 8), torch.ones(3, 8, 8)])
        found = rescaled(images)
        expected = torch.floor((images[0] + 1) / 4 * 255) / 255
        torch.testing.assert_close(found[0], expected)
        assert (found[0].min(), found[0].max(), found[1].abs().max()) == (0, 1, 0)


class TestRefusals:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"grid": 6}, r"grid=6 does not fit .*multiple of 4.*use 4 or 8"),
            (
                {"wavelet_levels": 5, "grid": 32},
                r"16×16 pixels cannot be halved 5 times; use at most wavelet_levels=4",
            ),
            ({"points": 6}, "points=6 must be a power of two"),
            ({"wavelet": "bior2.2"}, "not orthonormal"),
            ({"output": "loss"}, "output='loss' is unknown; use one of probability, logit"),
            ({"variance": "a"}, "variance='a' is unknown"),
            ({"mask_space": "rgb"}, "mask_space='rgb' is unknown; use one of pixel, input"),
            ({"rescale": "min"}, "rescale='min' is unknown; use one of None, authors"),
            ({"seed": -1}, "seed=-1 must be a whole number of at least 0"),
            ({"labels": [0, 3]}, r"labels\[1\] is 3, but the model has 3 classes"),
            ({"labels": [-1, 0]}, r"labels\[0\] is -1"),
            ({"labels": [0, 1, 2]}, "labels are int64 of shape"),
        ],
        ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
    )
    def test_settings(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            wcam(linear(), sample(), **{"grid": GRID, "wavelet_levels": LEVELS} | settings)

    @pytest.mark.parametrize("output", ["probability", "logit"])
    def test_a_constant_model(self, output: Any) -> None:
        def constant(x: Tensor) -> Tensor:
            return torch.tensor([[0.1, 0.7]]).repeat(len(x), 1)

        message = rf"the {output} of class 1 is 0\.\d+ for image 0 under every mask: there is no"
        with pytest.raises(ModelError, match=message):
            wcam(constant, sample(1), grid=GRID, wavelet_levels=LEVELS, output=output)

    @pytest.mark.parametrize("output", ["probability", "logit"])
    def test_a_model_that_is_constant_but_for_rounding(self, output: Any) -> None:
        def nearly(x: Tensor) -> Tensor:
            noise = 1e-10 * x.sum(dim=(1, 2, 3), dtype=torch.float64)
            return torch.stack([0.1 + noise, 0.7 + 0 * noise], dim=1)

        with pytest.raises(ModelError, match="there is no variance to attribute"):
            wcam(nearly, sample(1), 0, grid=GRID, wavelet_levels=LEVELS, output=output)

    @pytest.mark.parametrize(
        ("bright", "how"), [(0.9, "as it is"), (0.2, "under a mask")], ids=["clean", "masked"]
    )
    def test_logits_that_are_not_finite(self, bright: float, how: str) -> None:
        def fragile(x: Tensor) -> Tensor:
            mean = x.mean(dim=(1, 2, 3))
            # The second image breaks it, whole or as long as it is dimmed.
            broken = mean > 0.8 if bright > 0.8 else (mean < 0.1) & (mean > 0.001)
            return torch.stack([torch.where(broken, torch.nan, mean), -mean], dim=1)

        images = torch.stack([torch.full((3, 16, 16), 0.0005), torch.full((3, 16, 16), bright)])
        images[0, 0, 0, 0] = 0.001
        with pytest.raises(ModelError, match=f"NaN or infinite logits for image 1 {how}"):
            wcam(fragile, images, [0, 0], grid=GRID, wavelet_levels=LEVELS)

    def test_images(self) -> None:
        with pytest.raises(ReferenceSampleError, match="expected \\[0, 1\\]"):
            wcam(linear(), torch.full((1, 3, 16, 16), 2.0), grid=GRID, wavelet_levels=LEVELS)


@pytest.mark.parametrize("keys", [["0a"], ["0a", "no"], ["0a", 3]])
def test_keys_are_hexadecimal_numbers_one_for_each_image(keys: Any) -> None:
    with pytest.raises(SettingsError, match="must be 2 hexadecimal numbers"):
        wcam(Linear(), sample(), grid=GRID, wavelet_levels=LEVELS, points=POINTS, keys=keys)
