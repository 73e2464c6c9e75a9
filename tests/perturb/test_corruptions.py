"""Corruptions: their values, against closed forms and the package imagecorruptions-imaug."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional

from pytest_iaside import (
    CORRUPTIONS,
    ReferenceSample,
    SettingsError,
    corrupt,
    energy_spectral_density,
    power_law_exponent,
    stored_corruption,
)
from pytest_iaside.errors import ReferenceSampleError
from pytest_iaside.perturb.corruptions import IMAGENET_C
from pytest_iaside.perturb.weather import FROST_VARIABLE

BANDS = 6
# Without random numbers: what the package computes must come out.
EXACT = (
    "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression",
)  # fmt: skip
RANDOM = tuple(name for name in IMAGENET_C if name not in (*EXACT, "frost"))
# Their parameters do not grow from every severity to the next: glass blurs more but displaces
# less, flakes of snow become fewer, fog becomes smoother, frost draws another texture.
UNEVEN = ("glass_blur", "snow", "frost", "fog")


@pytest.fixture(autouse=True)
def no_textures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FROST_VARIABLE, raising=False)


def pictures(count: int, height: int = 64, width: int = 64, channels: int = 3) -> Tensor:
    """uint8 images whose spectra fall like those of photographs, with coloured shapes."""
    random = np.random.default_rng(7)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    radius[0, 0] = np.inf
    noise = np.fft.fft2(random.standard_normal((count, channels, height, width)))
    fields = np.fft.ifft2(noise / radius).real
    fields = 0.45 + 0.18 * fields / fields.std(axis=(2, 3), keepdims=True)
    return torch.from_numpy((fields.clip(0, 1) * 255).astype(np.uint8))


def squared_error(images: Tensor, corrupted: Tensor) -> float:
    return float((images.double() - corrupted.double()).square().mean())


class TestEveryCorruption:
    """Values; what every corruption promises is in tests/contract/test_corruptions.py."""

    @pytest.mark.parametrize("corruption", (*EXACT, "gaussian_blur"))
    def test_float_equals_uint8_up_to_a_grey_level(self, corruption: str) -> None:
        images = pictures(2, 33, 40)
        bright = corrupt(images, corruption, 2)
        for dtype in (torch.float32, torch.float64):
            result = corrupt(images.to(dtype) / 255, corruption, 2)
            assert (result * 255 - bright).abs().max() < 1.01

    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    def test_the_error_grows_with_severity(self, corruption: str) -> None:
        images = pictures(24)
        errors = [squared_error(images, corrupt(images, corruption, s)) for s in range(1, 6)]
        if corruption in UNEVEN:
            errors = [errors[0], errors[-1]]
        assert np.all(np.diff(errors) > 0), errors

    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    def test_smallest_size_works_and_one_pixel_less_is_refused(self, corruption: str) -> None:
        least = {"glass_blur": 9, "pixelate": 4, "fog": 2, "zoom_blur": 2}.get(corruption, 1)
        assert corrupt(pictures(1, least, 11), corruption, 5).shape == (1, 3, least, 11)
        if least > 1:
            message = f"at least {least}×{least} pixels, but these have 11×{least - 1}"
            with pytest.raises(SettingsError, match=message):
                corrupt(pictures(1, 11, least - 1), corruption, 5)

    def test_two_channels_are_refused_only_where_colour_matters(self) -> None:
        images = pictures(1, 32, 32, 2)
        refused = []
        for corruption in CORRUPTIONS:
            try:
                assert corrupt(images, corruption, 1).shape == images.shape
            except SettingsError as error:
                assert "1 (grey) or 3" in str(error) and "have 2" in str(error)
                refused.append(corruption)
        assert refused == ["snow", "frost", "brightness", "jpeg_compression"]

    def test_images_have_their_own_noise_and_copies_the_same(self) -> None:
        images = pictures(2).repeat(2, 1, 1, 1) // 4 + 96
        noise = corrupt(images, "white_noise", 1).float() - images
        assert torch.equal(noise[:2], noise[2:])
        assert abs(float(torch.corrcoef(noise[:2].flatten(1))[0, 1])) < 0.05


class TestClassical:
    """Means and deviations known in closed form, on images far from black and white."""

    grey = torch.full((1, 3, 256, 256), 0.5, dtype=torch.float64)

    @pytest.mark.parametrize("severity", range(1, 6))
    def test_white_noise_has_its_deviation(self, severity: int) -> None:
        changed = corrupt(self.grey, "white_noise", severity) - 0.5
        expected = (0.1, 0.125, 0.15, 0.175, 0.2)[severity - 1]
        # Clipping at 2.5 deviations or more takes at most 2 % of the deviation.
        assert float(changed.std()) == pytest.approx(expected, rel=0.025)
        assert float(changed.mean()) == pytest.approx(0, abs=0.002)

    @pytest.mark.parametrize("severity", range(1, 6))
    def test_poisson_counts_photons(self, severity: int) -> None:
        photons = (255, 128, 64, 32, 16)[severity - 1]
        counts = corrupt(self.grey, "poisson", severity) * photons
        assert float((counts - counts.round()).abs().max()) < 1e-4
        assert float(counts.mean()) == pytest.approx(photons / 2, rel=0.01)
        assert float(counts.var()) == pytest.approx(photons / 2, rel=0.05)

    @pytest.mark.parametrize("severity", range(1, 6))
    def test_salt_and_pepper_strikes_whole_pixels(self, severity: int) -> None:
        result = corrupt(self.grey, "salt_and_pepper", severity)
        assert (result == result[:, :1]).all()
        half = (0.01, 0.02, 0.05, 0.1, 0.2)[severity - 1] / 2
        tolerance = 5 * (half / 256**2) ** 0.5
        assert float((result == 0).double().mean()) == pytest.approx(half, abs=tolerance)
        assert float((result == 1).double().mean()) == pytest.approx(half, abs=tolerance)
        assert float((result == 0.5).double().mean()) == pytest.approx(
            1 - 2 * half, abs=2 * tolerance
        )

    @pytest.mark.parametrize(
        ("severity", "width", "deviation"),
        [(1, 3, 0.8), (2, 3, 0.95), (3, 5, 1.1), (4, 5, 1.25), (5, 7, 1.4)],
    )
    def test_gaussian_blur_is_that_of_torchvision(
        self, severity: int, width: int, deviation: float
    ) -> None:
        images = pictures(2).float() / 255
        expected = functional.gaussian_blur(images, [width, width], [deviation, deviation])
        result = corrupt(images, "gaussian_blur", severity)
        assert float((result - expected).abs().max()) < 1e-6


def test_motion_draws_trails_within_45_degrees_of_the_horizontal() -> None:
    point = torch.zeros((1, 1, 65, 65), dtype=torch.float64)
    point[0, 0, 32, 32] = 1
    weights = np.exp(-(np.arange(21) ** 2) / 18)
    angles = []
    for seed in range(60):
        trail = corrupt(point, "motion_blur", 1, seed=seed)[0, 0].numpy()
        assert trail[32, 32] == pytest.approx(1 / weights.sum(), rel=1e-5)
        assert trail.sum() == pytest.approx(1, abs=1e-6)
        rows, columns = np.nonzero(trail)
        # Twenty pixels to the left of the point lies the end.
        end = np.argmin(columns)
        angles.append(np.degrees(np.arctan2(rows[end] - 32, 32 - columns[end])))
    assert -45 <= min(angles) < -38 and 38 < max(angles) <= 45


class TestFrost:
    def test_a_texture_of_the_images_size_is_laid_over_them(self, tmp_path: Path) -> None:
        texture = pictures(1, 20, 30)[0].permute(1, 2, 0).numpy()
        PIL.Image.fromarray(texture).save(tmp_path / "frost.png")
        images = pictures(2, 20, 30)
        result = corrupt(images, "frost", 4, frost_textures=tmp_path)
        ice = torch.from_numpy(texture).permute(2, 0, 1).double()
        expected = (0.65 * images.double() + 0.7 * ice).clamp(0, 255)
        assert torch.equal(result, (expected + 1e-6).floor().to(torch.uint8))

    def test_the_variable_names_the_folder_and_the_argument_goes_before_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, level in (("black", 0), ("white", 255)):
            (tmp_path / name).mkdir()
            PIL.Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / name / "ice.png")
        monkeypatch.setenv(FROST_VARIABLE, str(tmp_path / "black"))
        images = torch.full((1, 3, 40, 24), 0.2, dtype=torch.float64)
        # 0.8 · 0.2 + 0.6 · texture; the 8×8 textures are enlarged.
        dark = corrupt(images, "frost", 2)
        bright = corrupt(images, "frost", 2, frost_textures=tmp_path / "white")
        assert torch.allclose(dark, torch.full_like(dark, 0.16), atol=1e-6)
        assert torch.allclose(bright, torch.full_like(bright, 0.76), atol=1e-6)

    def test_generated_textures_are_bright_bluish_and_like_photographs(self) -> None:
        black = torch.zeros((40, 3, 48, 48), dtype=torch.float64)
        black[:, 0, 0, 0] = torch.arange(40) / 1000  # Each image its own texture.
        ice = corrupt(black, "frost", 1) / 0.4
        red, green, blue = ice.mean(dim=(0, 2, 3)).tolist()
        assert 0.5 < green < 0.65 and blue - green == pytest.approx(green - red, abs=0.003)
        assert 0.03 < blue - green < 0.045
        # Cutting off what is darker than black or brighter than white roughens them a little.
        exponent = power_law_exponent(*energy_spectral_density(ice))
        assert exponent == pytest.approx(2.0, abs=0.15)

    def test_a_folder_without_textures_or_with_a_broken_one_is_refused(
        self, tmp_path: Path
    ) -> None:
        images = pictures(1)
        for folder in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(SettingsError, match="holds no textures of frost; give a folder"):
                corrupt(images, "frost", 1, frost_textures=folder)
        (tmp_path / "ice.png").write_bytes(b"no picture")
        with pytest.raises(SettingsError, match=r"ice\.png cannot be read as a texture"):
            corrupt(images, "frost", 1, frost_textures=tmp_path)


@pytest.fixture(scope="module")
def package() -> Any:
    """The corruptions of imagecorruptions-imaug, glass blur without the 9 s of compiling it."""
    reason = "imagecorruptions-imaug is not installed: the corruptions are held against nothing"
    pytest.importorskip("imagecorruptions", reason=reason, exc_type=ImportError)
    from imagecorruptions import corruptions

    compiled = corruptions._shuffle_pixels_njit_glass_blur

    def shuffle(height: int, width: int, x: Any, level: Any, seed: int) -> Any:
        # The seed is drawn anew in every run; the same one in every run makes this a test.
        return compiled.py_func(height, width, x, level, np.random.randint(2**31))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corruptions, "_shuffle_pixels_njit_glass_blur", shuffle)
        yield corruptions


def theirs(package: Any, images: Tensor, corruption: str, severity: int) -> NDArray[np.float64]:
    """What the package makes of uint8 images, in 0 to 255, before it is rounded down."""
    function: Callable[..., Any] = getattr(package, corruption)
    made = [
        np.asarray(function(PIL.Image.fromarray(image.permute(1, 2, 0).numpy()), severity))
        for image in images
    ]
    return np.stack(made).transpose(0, 3, 1, 2).astype(np.float64)


def statistics(images: Tensor, corrupted: NDArray[Any]) -> NDArray[np.float64]:
    """Of each image's difference: mean, log deviation, direction, log energy in each band."""
    change = corrupted.astype(np.float64) - images.numpy()
    energy = (np.abs(np.fft.fft2(change)) ** 2).mean(axis=1)
    rows, columns = (np.abs(np.fft.fftfreq(size)) for size in change.shape[2:])
    bands = np.minimum((2 * BANDS * np.maximum(rows[:, None], columns)).astype(int), BANDS - 1)
    energies = [energy[:, bands == band].mean(axis=1) for band in range(BANDS)]
    means, deviations = change.mean(axis=(1, 2, 3)), change.std(axis=(1, 2, 3))
    # 1 where neighbours differ as much below as beside each other: where does motion go?
    down, right = ((np.diff(change, axis=axis) ** 2).mean(axis=(1, 2, 3)) for axis in (2, 3))
    return np.stack([means, *np.log([deviations, down / right, *energies])], axis=1)


class TestAgainstThePackage:
    @pytest.mark.parametrize("severity", range(1, 6))
    @pytest.mark.parametrize("corruption", EXACT)
    def test_equal_without_random_numbers(
        self, package: Any, corruption: str, severity: int
    ) -> None:
        images = pictures(3, 64, 72)
        expected = theirs(package, images, corruption, severity)
        result = corrupt(images, corruption, severity).numpy()
        # Rounded down; what is a whole grey level up to rounding error may fall on either side.
        assert np.all(result >= np.floor(expected - 1e-4))
        assert np.all(result <= np.floor(expected + 1e-4))
        if corruption not in ("pixelate", "jpeg_compression"):
            result = corrupt(images.double() / 255, corruption, severity).numpy()
            assert np.abs(result - expected / 255).max() < 1e-6

    @pytest.mark.parametrize("severity", [1, 3, 5])
    @pytest.mark.parametrize("corruption", RANDOM)
    def test_the_same_distribution_with_random_numbers(
        self, package: Any, corruption: str, severity: int
    ) -> None:
        images = pictures(2)
        images[1] //= 2  # Without white.
        draws = 30
        np.random.seed(severity)
        ours, other = [], []
        for seed in range(draws):
            made = np.floor(theirs(package, images, corruption, severity))
            other.append(statistics(images, made))
            ours.append(
                statistics(images, corrupt(images, corruption, severity, seed=seed).numpy())
            )
        for picture in range(len(images)):
            a, b = (np.stack(values)[:, picture] for values in (ours, other))
            difference = a.mean(axis=0) - b.mean(axis=0)
            error = np.sqrt((a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / draws)
            # The package rounds glass blur down halfway as well, which costs half a level.
            allowed = np.array([0.6, 0.02, 0.02, *[0.04] * BANDS])
            assert np.all(np.abs(difference) < 4 * error + allowed), (difference, error)

    def test_frost_with_its_textures(self, package: Any) -> None:
        folder = Path(package.__file__).parent / "frost"
        images = pictures(2)
        np.random.seed(0)
        draws = range(60)
        other = np.stack([statistics(images, theirs(package, images, "frost", 3)) for _ in draws])
        ours = np.stack(
            [
                statistics(
                    images, corrupt(images, "frost", 3, seed=seed, frost_textures=folder).numpy()
                )
                for seed in draws
            ]
        )
        # Mean and deviation only: the package enlarges every texture by a tenth, which takes
        # some of its finest structure.
        a, b = (values[..., :2].reshape(-1, 2) for values in (ours, other))
        error = np.sqrt((a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / len(a))
        assert np.all(np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4 * error + [1, 0.03])
        assert error[0] < 6 and error[1] < 0.1


class TestWrongSettings:
    def test_an_unknown_corruption_names_the_nearest(self) -> None:
        message = "no corruption 'gausian_noise'; did you mean 'gaussian_noise'"
        with pytest.raises(SettingsError, match=message):
            corrupt(pictures(1), "gausian_noise", 1)
        with pytest.raises(SettingsError, match="Use one of white_noise, poisson, "):
            corrupt(pictures(1), "xyz", 1)

    @pytest.mark.parametrize("severity", [-1, 2.0, True, None])
    def test_what_is_no_severity(self, severity: Any) -> None:
        with pytest.raises(SettingsError, match="must be 1, 2, 3, 4 or 5"):
            corrupt(pictures(1), "fog", severity)

    @pytest.mark.parametrize("seed", [-1, 0.5, True, None])
    def test_seed(self, seed: Any) -> None:
        with pytest.raises(SettingsError, match=r"seed=.* must be a whole number of at least 0"):
            corrupt(pictures(1), "fog", 1, seed=seed)

    def test_what_is_no_images_is_refused_like_a_reference_sample(self) -> None:
        with pytest.raises(ReferenceSampleError, match="expected a tensor or array"):
            corrupt(pictures(1)[0], "fog", 1)
        with pytest.raises(ReferenceSampleError, match="expected \\[0, 1\\]"):
            corrupt(pictures(1).float(), "fog", 1)


class TestStored:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Three clean images in two classes, and their corrupted copies."""
        images = pictures(3, 24, 32)
        files = ("n01/a.png", "n01/b.png", "n02/a.png")
        versions = {"clean": images, "c/fog/2": corrupt(images, "fog", 2)}
        versions["c/own/4"] = 255 - images
        for version, stack in versions.items():
            for name, image in zip(files, stack, strict=True):
                path = tmp_path / version / name
                path.parent.mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
        return tmp_path

    def test_images_labels_and_names_pair_with_the_clean_ones(self, folder: Path) -> None:
        clean = ReferenceSample.from_folder(folder / "clean", resize=None, crop=None)
        fog = stored_corruption(folder / "c", "fog", 2, crop=None)
        assert fog.names == clean.names == ("n01/a.png", "n01/b.png", "n02/a.png")
        assert fog.labels is not None and fog.labels.tolist() == [0, 0, 1]
        assert torch.equal(fog.images, corrupt(clean.images, "fog", 2))
        drawn = stored_corruption(folder / "c", "own", 4, crop=20, limit=2, seed=3)
        pair = ReferenceSample.from_folder(folder / "clean", resize=None, crop=20, limit=2, seed=3)
        assert drawn.names == pair.names and torch.equal(drawn.images, 255 - pair.images)

    def test_what_is_not_there_is_named(self, folder: Path) -> None:
        with pytest.raises(SettingsError, match=r"no corruption 'fogg'; did you mean 'fog'"):
            stored_corruption(folder / "c", "fogg", 2)
        with pytest.raises(SettingsError, match="severity=7 must be 1, 2, 3, 4 or 5"):
            stored_corruption(folder / "c", "fog", 7)
        with pytest.raises(ReferenceSampleError, match=r"fog.3 does not exist"):
            stored_corruption(folder / "c", "fog", 3)
        with pytest.raises(ReferenceSampleError, match="corruption/severity/class/file"):
            stored_corruption(folder / "clean", "fog", 2)
        with pytest.raises(ReferenceSampleError, match="nowhere does not exist"):
            stored_corruption(folder / "nowhere", "fog", 2)


class TestStoredArrays:
    """CIFAR-10-C's layout: five severities one after the other in one array."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        images = torch.cat([pictures(4, 8, 8) // severity for severity in range(1, 6)])
        np.save(tmp_path / "fog.npy", images.permute(0, 2, 3, 1).numpy())
        np.save(tmp_path / "labels.npy", np.tile([3, 1, 4, 1], 5))
        return tmp_path

    def test_a_severity_is_a_fifth_and_pairs_with_the_clean_dataset(self, folder: Path) -> None:
        clean = [
            (image, label) for image, label in zip(pictures(4, 8, 8), (3, 1, 4, 1), strict=True)
        ]
        for limit, seed in ((None, None), (2, None), (3, 7)):
            expected = ReferenceSample.from_dataset(clean, limit=limit, seed=seed)
            found = stored_corruption(folder, "fog", 3, limit=limit, seed=seed)
            assert torch.equal(found.images, expected.images // 3)
            assert found.names == expected.names
            assert found.labels is not None and expected.labels is not None
            assert torch.equal(found.labels, expected.labels)

    def test_what_is_no_such_array_is_told(self, folder: Path) -> None:
        with pytest.raises(SettingsError, match="no corruption 'fogg'; did you mean 'fog'"):
            stored_corruption(folder, "fogg", 1)
        np.save(folder / "own.npy", np.zeros((11, 8, 8, 3), dtype=np.uint8))
        with pytest.raises(ReferenceSampleError, match=r"own.npy holds uint8 of shape \(11, 8"):
            stored_corruption(folder, "own", 1)
        np.save(folder / "labels.npy", np.zeros(7, dtype=np.int64))
        with pytest.raises(ReferenceSampleError, match=r"labels.npy has shape \(7,\) for 20"):
            stored_corruption(folder, "fog", 1)
        (folder / "fog.npy").write_bytes(b"no array")
        with pytest.raises(ReferenceSampleError, match=r"fog.npy cannot be read as an array"):
            stored_corruption(folder, "fog", 1)
