"""Images that look alike: copies and frames are found, digits and other photographs are not."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_iaside import ReferenceSample
from pytest_iaside.images.selection import notes_on

EXAMPLE = Path(__file__).parents[2] / "example_project"
SIDE, MARGIN = 224, 16


@pytest.fixture(scope="module")
def data():
    sys.path.insert(0, str(EXAMPLE))
    try:
        from scrapbook import data

        yield data
    finally:
        sys.path.remove(str(EXAMPLE))


@pytest.fixture(scope="module")
def photographs(data):
    """One crop of each of the example's photographs."""
    return data.photographs().images[::2]


def jpeg(images):
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=30)
        found.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))
    return torch.stack(found)


def framed(images, down=0, right=0):
    some = slice(MARGIN + down, SIDE - MARGIN + down), slice(MARGIN + right, SIDE - MARGIN + right)
    return images[(..., *some)]


def video(images):
    noise = torch.randn(framed(images).shape, generator=torch.Generator().manual_seed(0)) * 8
    return (framed(images, 3, -2) + noise).clamp(0, 255).to(torch.uint8)


COPIES = {
    "shifted": lambda x: (framed(x), framed(x, 7, -9)),
    "compressed": lambda x: (x, jpeg(x)),
    "lightened": lambda x: (x, (x * 0.8 + 40).to(torch.uint8)),
    "mirrored": lambda x: (x, x.flip(-1)),
    "a frame later": lambda x: (framed(x), video(x)),
}
# Textures, and the moon's even grey, have no low bands that would tell where they lie.
TEXTURES = ("brick", "grass", "gravel", "moon")


@pytest.mark.parametrize("copies", COPIES.values(), ids=COPIES)
def test_copies_and_frames_are_found(data, photographs, copies):
    pictured = [at for at, name in enumerate(data.PHOTOGRAPHS) if name not in TEXTURES]
    first, second = copies(photographs[pictured])
    count = len(first)
    found = ReferenceSample(torch.cat([first, second])).similar_images
    assert found == tuple((image, image + count) for image in range(count))


def test_other_photographs_and_digits_do_not_look_alike(data, photographs):
    assert ReferenceSample(photographs).similar_images == ()
    digits = data.digits()[1].images
    assert ReferenceSample(digits).similar_images == ()
    # Nor do digits that a project enlarged for its network.
    large = torch.nn.functional.interpolate(digits[:60].float(), size=(96, 96), mode="bilinear")
    assert ReferenceSample(large.to(torch.uint8)).similar_images == ()


def test_a_digit_moved_by_a_pixel_is_found(data):
    digits = data.digits()[1].images[:50]
    found = ReferenceSample(torch.cat([digits, digits.roll((1, -1), (-2, -1))])).similar_images
    assert found == tuple((image, image + 50) for image in range(50))


def test_exact_copies_and_images_of_one_group_say_nothing_new(photographs):
    images = torch.cat([photographs[:3], photographs[:3].flip(-1)])
    assert ReferenceSample(images, groups=[0, 1, 2, 0, 1, 2]).similar_images == ()
    assert len(ReferenceSample(images, groups=range(6)).similar_images) == 3
    assert ReferenceSample(torch.cat([photographs[:3]] * 2)).similar_images == ()


def test_the_note_says_which_and_what_to_do(photographs):
    images = torch.cat([photographs[:4], photographs[:4].flip(-1)])
    (note,) = notes_on(ReferenceSample(images))
    assert note.startswith("near copies: 8 images look alike and count as independent (image 0 and")
    assert "image 2 and image 6 and 1 more pairs)" in note
    assert note.endswith("give ReferenceSample groups=")
    (note,) = notes_on(ReferenceSample(images, groups=range(8)))
    assert "look alike and are in different groups" in note
    assert notes_on(ReferenceSample(photographs)) == ()


@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (3, 3, 4, 40), (1, 3, 64, 64), (5, 4, 9, 300)])
def test_any_size_is_looked_at(shape):
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    assert ReferenceSample(images).similar_images == ()
    assert ReferenceSample(np.ones(shape, dtype=np.float32)).similar_images == ()


def test_two_hundred_photographs_take_no_time():
    images = np.random.default_rng(0).integers(0, 256, (200, 3, 224, 224), dtype=np.uint8)
    sample = ReferenceSample(images)
    assert sample.digests
    began = time.process_time()
    assert sample.similar_images == ()
    assert time.process_time() - began < 1.0  # 0.08 s by itself; other work shares the cores.
