"""assert_preprocessing_robustness: faults by band, and pipelines that cannot be compared."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deployed_models import SIDE, WAVES, images, network
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from pytest_iaside import (
    Classifier,
    ReferenceSampleError,
    SettingsError,
    assert_preprocessing_robustness,
)
from pytest_iaside.errors import UndecidedWarning
from pytest_iaside.execute.execution import Execution
from pytest_iaside.settings import Settings
from pytest_iaside.testing.equivalence import USUAL
from pytest_iaside.testing.preprocessing import Preprocessed, preprocessed
from pytest_iaside.thresholds import Thresholds

LARGE, SMALL = 128, 32


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 JPEG files in colour whose spectrum falls as photographs' does."""
    folder = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    radius = np.hypot(np.fft.fftfreq(LARGE)[:, None], np.fft.rfftfreq(LARGE))
    fall = 1 / np.maximum(radius, 1 / LARGE)
    for number in range(24):
        planes = []
        for _ in range(3):
            waves = np.fft.rfft2(generator.normal(size=(LARGE, LARGE))) * fall
            plane = np.fft.irfft2(waves, s=(LARGE, LARGE))
            planes.append(0.5 + 0.15 * plane / plane.std() + generator.uniform(-0.15, 0.15))
        picture = (np.clip(np.stack(planes, -1), 0, 1) * 255).round().astype(np.uint8)
        place = folder / f"{number % 3}"
        place.mkdir(exist_ok=True)
        Image.fromarray(picture).save(place / f"{number:02}.jpg", quality=92)
    return folder


def usual(picture: Image.Image) -> Tensor:
    """A float image, resized with antialias."""
    pixels = v2.functional.to_dtype(v2.functional.pil_to_tensor(picture), scale=True)
    return v2.functional.resize(pixels, [SMALL, SMALL], antialias=True)


def without_antialias(picture: Image.Image) -> Tensor:
    pixels = v2.functional.to_dtype(v2.functional.pil_to_tensor(picture), scale=True)
    return v2.functional.resize(pixels, [SMALL, SMALL], antialias=False)


def bgr(picture: Image.Image) -> Tensor:
    return usual(picture).flip(0)


def normalised_otherwise(picture: Image.Image) -> Tensor:
    return (usual(picture) - 0.485) / 0.229 * 0.5 + 0.5


def decoded_otherwise(picture: Image.Image) -> Tensor:
    """As a decoder that does not interpolate colour: chroma in blocks of two by two pixels."""
    planes = np.array(picture.convert("YCbCr"))
    for plane in (1, 2):
        planes[..., plane] = planes[::2, ::2, plane].repeat(2, 0).repeat(2, 1)
    return usual(Image.fromarray(planes, "YCbCr").convert("RGB"))


def rounded(picture: Image.Image) -> Tensor:
    return (usual(picture) * 255).round() / 255


class Colours(nn.Module):
    """Three classes by what is in a picture's colours and at a few scales."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * SMALL * SMALL, 3)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.layer.weight.copy_(0.05 * torch.randn(3, 3 * SMALL**2, generator=generator))

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.layer(pixels.flatten(1))
        return logits


def found(pipeline: Callable[..., Any], files: Path, **more: Any) -> Preprocessed:
    settings = Settings(
        measure={"execution": Execution(), "design": "antithetic"}, thresholds=Thresholds()
    )
    more = {"labels": None, **more}
    return preprocessed(Colours().eval(), pipeline, usual, files, settings, **more)


# Where each fault lies, written down before it was measured: most of its energy is in these
# bands, or the largest part of what was there is changed in these.
PLANTED: dict[Callable[..., Any], tuple[set[int], set[int]]] = {
    without_antialias: (set(range(8)), {4, 5, 6, 7}),
    bgr: ({0}, set(range(8))),
    normalised_otherwise: ({0}, set(range(8))),
    decoded_otherwise: (set(range(8)), {4, 5, 6, 7}),
    rounded: ({4, 5, 6, 7}, {6, 7}),
}


@pytest.mark.parametrize("pipeline", PLANTED, ids=lambda each: each.__name__)
def test_a_planted_fault_is_found_and_named_by_band(
    pipeline: Callable[..., Any], photographs: Path
) -> None:
    difference = found(pipeline, photographs).difference
    energy, most = PLANTED[pipeline]
    assert difference.identical == 0
    assert set(difference.main_bands) <= energy
    assert difference.most_changed in most
    assert "the images differ by" in difference.sentence
    for band in difference.main_bands:
        assert f"{band} ({difference.labels[band]})" in difference.sentence


def test_the_loss_through_bands_is_the_whole_loss_and_the_shares_sum_to_one(
    photographs: Path,
) -> None:
    one = found(bgr, photographs)
    whole = one.original["L(all)"] - one.changed["L(all)"]
    np.testing.assert_allclose(one.spectrum.image_loss(), whole, atol=1e-5)
    assert one.difference.shares.sum() == pytest.approx(1)
    files = sorted(photographs.rglob("*.jpg"))
    pairs = [(usual(picture), bgr(picture)) for picture in map(Image.open, files)]
    first, second = (torch.stack(each).double() for each in zip(*pairs, strict=True))
    energy = (second - first).square().sum(dim=(1, 2, 3))
    assert one.difference.energy.sum() == pytest.approx(float(energy.mean()), rel=1e-5)
    own = (first - first.mean(dim=(1, 2, 3), keepdim=True)).square().sum(dim=(1, 2, 3))
    np.testing.assert_allclose(one.difference.relative, (energy / own).sqrt(), rtol=1e-4)


def test_a_network_is_fed_what_the_pipelines_return_normalised_or_not(photographs: Path) -> None:
    def normalised(picture: Image.Image) -> Tensor:
        return (usual(picture) - 0.5) / 0.25

    def otherwise(picture: Image.Image) -> Tensor:
        return (usual(picture) - 0.485) / 0.229

    settings = Settings(
        measure={"execution": Execution(), "design": "antithetic"}, thresholds=Thresholds()
    )
    model = Colours().eval()
    one = preprocessed(model, otherwise, normalised, photographs, settings, labels=None)
    files = sorted(photographs.rglob("*.jpg"))
    for measured, pipeline in ((one.original, normalised), (one.changed, otherwise)):
        fed = torch.stack([pipeline(Image.open(each)) for each in files])
        logits = model(fed).log_softmax(dim=1).detach()
        expected = logits[torch.arange(len(files)), torch.from_numpy(one.original.labels)]
        np.testing.assert_allclose(measured["L(all)"], expected, atol=1e-4)


def read(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path))


def waves_in(folder: Path, count: int = 60) -> tuple[list[Path], list[int]]:
    sample = images(count)
    assert sample.labels is not None
    for place, image in enumerate(sample.pixels()):
        np.save(folder / f"{place:02}.npy", image.numpy())
    return sorted(folder.glob("*.npy")), sample.labels.tolist()


def test_the_same_pipeline_is_equivalent_and_one_that_loses_a_band_is_red_by_it(
    tmp_path: Path,
) -> None:
    files, labels = waves_in(tmp_path)
    same = assert_preprocessing_robustness(
        network(),
        lambda path: read(path),
        read,
        files,
        labels=labels,
        reads="path",
        max_image_difference=0.0,
    )
    assert {check.verdict for check in same.checks} == {"pass"}
    assert same.notes[0] == "both pipelines make the same images of all files"

    def smooth(path: Path) -> Tensor:
        # Without the wave of class 2: seven periods in 16 pixels, in the top band.
        pixels = read(path)
        wave = WAVES[2]
        part = (pixels * wave).sum(dim=-1, keepdim=True) / wave.square().sum()
        return pixels - part * wave

    with pytest.raises(AssertionError) as raised:
        assert_preprocessing_robustness(network(), smooth, read, files, labels=labels, reads="path")
    told = " ".join(str(raised.value).split())
    assert told.startswith("different from the original preprocessing read: ")
    assert "log-likelihood lost in band 7 (0.44–0.50 cycles/px)" in told
    assert "100.0% of it lies in band 7 (0.44–0.50 cycles/px)" in told


def test_a_harmless_difference_is_told_and_limited_where_that_is_asked(tmp_path: Path) -> None:
    files, labels = waves_in(tmp_path)

    def eight_bits(path: Path) -> Tensor:
        return (read(path) * 255).round() / 255

    settings: dict[str, Any] = {"labels": labels, "reads": "path", "fail_on": "drift"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndecidedWarning)
        kept = assert_preprocessing_robustness(network(), eight_bits, read, files, **settings)
    assert kept.verdict in ("pass", "inconclusive")
    # Rounding has 1/255/√12 of deviation, in all bands alike.
    contrast = images().pixels().flatten(1).std(dim=1)
    told = re.match(r"the images differ by (\d+\.\d+)%", kept.notes[0])
    assert told is not None
    expected = 100 / 255 / 12**0.5 * float((1 / contrast).mean())
    assert float(told[1]) == pytest.approx(expected, rel=0.05)
    with pytest.raises(AssertionError, match="difference of the images, most changed in band"):
        assert_preprocessing_robustness(
            network(), eight_bits, read, files, max_image_difference=0.001, **settings
        )


def again(path: Path) -> Tensor:
    return read(path)


def wrong(tmp_path: Path, pipeline: Any, match: str, original: Any = read, **more: Any) -> None:
    files, labels = waves_in(tmp_path, 24)
    settings = {"labels": labels, "reads": "path", **more}
    model = settings.pop("model", network())
    with pytest.raises((SettingsError, ReferenceSampleError), match=match):
        assert_preprocessing_robustness(
            model, pipeline, original, settings.pop("files", files), **settings
        )


def test_pipelines_that_cannot_be_compared_are_told(tmp_path: Path) -> None:
    wrong(
        tmp_path,
        lambda path: read(path)[:, ::2, ::2],
        r"the original preprocessing makes images of 1×16×16, the other of 1×8×8",
    )
    wrong(tmp_path, lambda path: read(path) + torch.rand(1), "another image of .* called again")
    wrong(tmp_path, lambda path: Image.new("L", (SIDE, SIDE)), "returned a Image for .*ToDtype")
    wrong(tmp_path, lambda path: (read(path) * 255).byte(), r"returned uint8 of shape \(1, 16, 16")
    wrong(tmp_path, lambda path: read(path) / 0, "returned NaN or infinity")
    wrong(tmp_path, lambda path: path.nothing, "the preprocessing failed on .*called with a path")
    wrong(tmp_path, read, r"both pipelines are the same function \(read\)")
    wrong(tmp_path, 3, "the preprocessing is a int; expected a function from one path")
    wrong(tmp_path, again, "cannot be read as an image", reads="image")
    wrong(tmp_path, again, "reads='file' is unknown", reads="file")
    wrong(tmp_path, again, "there is no file .*gone", files=[tmp_path / "gone.png"], labels=None)
    wrong(tmp_path, again, "labels are int64 of shape", labels=[0, 1])
    wrong(
        tmp_path,
        lambda path: (read(path) - 0.5) / 0.1,
        "normalises pixels in .0, 1. by itself",
        original=lambda path: (read(path) - 0.5) / 0.1,
        model=Classifier(network(), mean=0.5, std=0.1),
    )
    wrong(tmp_path, again, "unknown setting 'panel'", panel="none")
    wrong(
        tmp_path,
        again,
        "every limit is None",
        **{
            f"max_{each}": None
            for each in (
                "accuracy_difference",
                "log_likelihood_difference",
                "probability_difference",
                "confidence_difference",
                "band_loss",
            )
        },
    )


def test_a_folder_has_the_labels_of_its_sub_folders(photographs: Path) -> None:
    one = found(usual, photographs, labels="folder")
    assert one.original.names[:2] == ("0/00.jpg", "0/03.jpg")
    assert one.original.labels.tolist() == sorted([0, 1, 2] * 8)
    listed = photographs / "labels.csv"
    listed.write_text("file,label\n1/01.jpg,1\n0/00.jpg,0\n2/02.jpg,2\n0/03.jpg,0\n")
    one = found(usual, photographs, labels=listed)
    assert one.original.labels.tolist() == [1, 0, 2, 0]


def test_what_the_pipelines_are_given(photographs: Path) -> None:
    for reads, kind in (("image", Image.Image), ("path", Path), ("bytes", bytes)):
        given: list[Any] = []

        def look(what: Any, given: list[Any] = given) -> Tensor:
            given.append(what)
            return torch.rand(3, SMALL, SMALL, generator=torch.Generator().manual_seed(0))

        settings = Settings(
            measure={"execution": Execution(), "design": "antithetic"}, thresholds=Thresholds()
        )
        preprocessed(Colours().eval(), look, look, photographs, settings, labels=None, reads=reads)
        assert all(isinstance(each, kind) for each in given)
    assert USUAL.values["fail_on"] == "inconclusive"
