"""``iaside explain``: all diagnoses of one picture, as a page and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pytest_iaside import ReferenceSample
from pytest_iaside.cli.main import main
from pytest_iaside.explain import wcam

MODULE = """
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.GELU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(54, 4)).eval()

def plain():
    found = network()
    def answer(images):
        with torch.no_grad():
            return found(images)
    return answer
"""
SMALL = ["--resize", "none", "--crop", "16", "--grid", "4", "--levels", "1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "explained_nets.py").write_text(MODULE)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def explained(*arguments: str) -> int:
    return main(["explain", *arguments, *SMALL])


def test_a_page_and_pictures_are_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explained("explained_nets:network", "photo.png", "--output", "out") == 0
    files = {path.name for path in (folder / "out").iterdir()}
    names = ("image", "wcam", "spatial", "sufficient", "fam", "sl2", "arglens", "sg2", "ig2")
    assert files == {"index.html", *(f"{name}.png" for name in names)}
    page = (folder / "out" / "index.html").read_text(encoding="utf-8")
    for title in ("WCAM", "Sufficient image", "FAM", "SpectralLens", "ArgLens", "Faithfulness"):
        assert f">{title}</h2>" in page
    shown = capsys.readouterr().out
    pixels = np.asarray(Image.open(folder / "photo.png"))[2:18, 4:20].transpose(2, 0, 1)[None]
    import explained_nets

    found = wcam(explained_nets.network(), ReferenceSample(pixels), grid=4, wavelet_levels=1)
    assert f"{100 * found.levels[0, 0]:.1f}%" in shown
    with Image.open(folder / "out" / "image.png") as image:
        np.testing.assert_array_equal(
            np.asarray(image.convert("RGB"))[::14, ::14], pixels[0].transpose(1, 2, 0)
        )


def test_a_model_without_gradients_says_so(folder: Path) -> None:
    assert explained("explained_nets:plain", "photo.png") == 0
    page = (folder / "iaside-explanation" / "index.html").read_text(encoding="utf-8")
    assert "has no gradient" in page
    assert not (folder / "iaside-explanation" / "sl2.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("explained_nets:network", "none.png"), "none.png is no file"),
        (("explained_nets:network", "photo.png", "--class", "4"), "model has 4 classes (0 to 3)"),
        (("explained_nets:network", "photo.png", "--crop", "0"), "--crop=0: expected a number"),
        (("explained_nets:network", "photo.png", "--crop", "64"), "too small for crop=64"),
        (("explained_nets:network", "photo.png", "--grid", "3"), "grid=3 does not fit"),
        (("explained_nets:network", "explained_nets.py"), "cannot be read as an image"),
    ],
)
def test_bad_input_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    first, rest = arguments[:2], arguments[2:]
    options = list(SMALL)
    if rest and rest[0] in options:
        at = options.index(rest[0])
        del options[at : at + 2]
    assert main(["explain", *first, *rest, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "iaside-explanation").exists()


def test_beside_the_image_under_a_perturbation(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained("explained_nets:network", "photo.png", "--perturb", "contrast:3") == 0
    told = capsys.readouterr().out
    assert "under contrast 3 the answer comes" in told
    page = (folder / "iaside-explanation" / "index.html").read_text()
    assert "Under contrast 3" in page and "WCAM in place, perturbed" in page
    assert explained("explained_nets:network", "photo.png", "--perturb", "contrast") == 2
    assert "expected a corruption and its severity" in capsys.readouterr().err
    assert explained("explained_nets:network", "photo.png", "--perturb", "mist:3") == 2
    assert "mist" in capsys.readouterr().err


def test_several_images_have_a_page_each(folder: Path) -> None:
    (folder / "other").mkdir()
    for name in ("second.png", "other/photo.png"):
        (folder / name).write_bytes((folder / "photo.png").read_bytes())
    images = ("photo.png", "second.png", "other/photo.png")
    assert explained("explained_nets:plain", *images, "--output", "out") == 0
    pages = sorted(path.parent.name for path in (folder / "out").glob("*/index.html"))
    assert pages == ["photo-1", "photo-3", "second"]
    # What cannot be read is told before the first is explained.
    assert explained("explained_nets:plain", "photo.png", "none.png", "--output", "more") == 2
    assert not (folder / "more").exists()
