"""Band dropout and band noise, against the bands that they are of."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import pickle
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from pytest_iaside.errors import SettingsError
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.filters import band_energies, split
from pytest_iaside.train import BandDropout, BandNoise

PARTITION = BandPartition(16, 12, 6, "linf")


def images(count: int = 64, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, 16, 12, generator=torch.Generator().manual_seed(3))


def test_dropout_leaves_out_whole_bands_and_never_the_lowest() -> None:
    before = images()
    after = BandDropout(6, p=1.0, share=0.5, seed=0)(before)
    parts, left = split(before, PARTITION), split(after, PARTITION)
    gone = left.square().sum(dim=(2, 3, 4)) < 1e-6 * parts.square().sum(dim=(2, 3, 4))
    same = (left - parts).abs().amax(dim=(2, 3, 4)) < 1e-5
    assert (gone | same).all() and not gone[:, 0].any()
    assert 0.4 < float(gone[:, 1:].double().mean()) < 0.6
    # Drawn anew for every image.
    assert len({tuple(row.tolist()) for row in gone}) > 10


def test_images_that_are_not_chosen_stay_as_they_are() -> None:
    before = images(400)
    after = BandDropout(6, p=0.25, share=1.0, seed=1)(before)
    changed = (after != before).flatten(1).any(dim=1)
    assert 0.15 < float(changed.double().mean()) < 0.35
    assert torch.equal(BandDropout(6, p=0.0)(before), before)


def test_noise_lies_in_one_band_and_has_the_energy_that_is_drawn() -> None:
    before = images()
    noise = BandNoise(6, p=1.0, energies=(0.2, 0.2), seed=0)(before) - before
    energies = band_energies(noise, PARTITION)
    most = energies.max(dim=1)
    assert (most.values > (1 - 1e-5) * energies.sum(dim=1)).all()
    assert set(most.indices.tolist()) == set(range(6))
    own = (before - before.mean(dim=(2, 3), keepdim=True)).square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(energies.sum(dim=1), 0.2 * own.double(), rtol=1e-3, atol=0)


def test_energies_are_drawn_evenly_in_their_logarithm() -> None:
    before = images(600, 1)
    noise = BandNoise(6, p=1.0, energies=(0.01, 1.0), seed=0)(before) - before
    own = (before - before.mean(dim=(2, 3), keepdim=True)).square().sum(dim=(1, 2, 3))
    energy = noise.square().sum(dim=(1, 2, 3)) / own
    assert 0.0099 < float(energy.min()) < float(energy.max()) < 1.01
    assert float(energy.log10().mean()) == pytest.approx(-1, abs=0.1)


def test_an_image_of_one_colour_gets_no_noise() -> None:
    even = torch.full((2, 3, 16, 12), 0.4)
    torch.testing.assert_close(BandNoise(6, p=1.0)(even), even)


@pytest.mark.parametrize("kind", [BandDropout, BandNoise])
def test_the_seed_decides_and_nothing_else(kind: Any) -> None:
    torch.manual_seed(1)
    one = kind(6, seed=5)(images())
    torch.manual_seed(2)
    torch.testing.assert_close(kind(6, seed=5)(images()), one)
    assert not torch.equal(kind(6, seed=6)(images()), one)
    twice = kind(6, seed=5)
    twice(images())
    assert not torch.equal(twice(images()), one)  # The next batch is drawn anew.


@pytest.mark.parametrize("kind", [BandDropout, BandNoise])
def test_it_is_a_torchvision_transform(kind: Any) -> None:
    pipeline = v2.Compose([v2.ToDtype(torch.float32, scale=True), kind(4, p=1.0, seed=0)])
    raw = tv_tensors.Image(torch.randint(0, 256, (3, 16, 12), dtype=torch.uint8))
    label = 3
    found, same = pipeline(raw, label)
    assert isinstance(found, tv_tensors.Image) and found.shape == raw.shape and same == 3
    with pytest.raises(SettingsError, match=r"torch.uint8 .*ToDtype"):
        kind(4)(raw)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BandDropout(1), "bands=1"),
        (lambda: BandDropout(99), "at most 32"),
        (lambda: BandDropout(p=50), "p=50"),
        (lambda: BandDropout(share=-1), "share=-1"),
        (lambda: BandDropout(partition="l3"), "partition='l3'"),  # type: ignore[arg-type]
        (lambda: BandNoise(energies=(1.0, 0.1)), "in order"),
        (lambda: BandNoise(energies=(0.0, 0.1)), "energies=0.0"),
        (lambda: BandNoise(energies=0.1), "such as"),  # type: ignore[arg-type]
        (lambda: BandDropout(16)(torch.rand(3, 8, 8)), "use at most"),
    ],
)
def test_settings(make: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make()


class Drawn(torch.utils.data.Dataset[Tensor]):
    """One image as often as is asked for, transformed."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, at: int) -> Tensor:
        found: Tensor = self.transform(images(1)[0])
        return found


def context() -> multiprocessing.context.BaseContext:
    """How workers are started: from a process of their own that has imported all once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["torch", "pytest_iaside.train.augment"])
    return found


@pytest.mark.parametrize("seed", [None, 3])
def test_every_worker_and_every_epoch_draws_anew(seed: int | None) -> None:
    def epochs() -> list[Tensor]:
        torch.manual_seed(0)
        drawn = Drawn(BandNoise(6, p=1.0, seed=seed))
        # Not forked from here: what other tests have left in this process is no business of theirs.
        loader = torch.utils.data.DataLoader(
            drawn, batch_size=4, num_workers=2, multiprocessing_context=context()
        )
        return [torch.cat(list(loader)) for _ in range(2)]

    found = epochs()
    assert len({tuple(each.flatten().tolist()) for each in torch.cat(found)}) == 16
    # torch.manual_seed decides what workers draw, so a run can be repeated.
    torch.testing.assert_close(epochs(), found)


@pytest.mark.parametrize("kind", [BandDropout, BandNoise])
def test_a_copy_goes_on_where_it_was(kind: Any) -> None:
    """As what is sent to a worker that is not forked."""
    transform = kind(6, p=1.0, seed=3)
    first = transform(images())
    copy = pickle.loads(pickle.dumps(transform))
    found, expected = copy(images()), transform(images())
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found, first)


@pytest.mark.parametrize("kind", [BandDropout, BandNoise])
def test_without_a_seed_pytorch_s_counts(kind: Any) -> None:
    transform = kind(6, p=1.0)
    found = []
    for _ in range(2):
        torch.manual_seed(4)
        found.append(transform(images()))
    torch.testing.assert_close(*found)
    assert not torch.equal(transform(images()), found[0])


@pytest.mark.parametrize("kind", [BandDropout, BandNoise])
def test_no_image_is_handed_back_as_it_is_without_a_word(kind: Any) -> None:
    picture = PIL.Image.new("RGB", (12, 16))
    for given, found in [
        ((picture, 3), "a PIL image"),
        ((picture, torch.rand(3, 16, 12)), "a PIL image"),
        ((np.zeros((16, 12, 3), np.float32),), "ndarray"),
    ]:
        with pytest.raises(SettingsError, match=rf"was given {found}; .*v2\.ToImage\(\)"):
            kind(4)(*given)


@pytest.mark.parametrize("kind", [BandDropout, BandNoise])
def test_masks_and_boxes_pass(kind: Any) -> None:
    image = tv_tensors.Image(images(1)[0])
    mask = tv_tensors.Mask(torch.ones(1, 16, 12, dtype=torch.uint8))
    changed, same = kind(4, p=1.0, seed=1)(image, mask)
    assert not torch.equal(changed, image) and torch.equal(same, mask)


@pytest.mark.parametrize("kind", [BandDropout, BandNoise])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(kind: Any, dtype: torch.dtype) -> None:
    before = images().to(dtype)
    expected = kind(6, p=1.0, seed=2)(before.float()).to(dtype)
    assert torch.equal(kind(6, p=1.0, seed=2)(before), expected)


@pytest.mark.parametrize("kind", [BandDropout, BandNoise])
def test_an_empty_batch_stays_empty(kind: Any) -> None:
    assert kind(6)(torch.rand(0, 3, 16, 12)).shape == (0, 3, 16, 12)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", 2**70])
def test_seeds_that_no_generator_takes(seed: Any) -> None:
    with pytest.raises(SettingsError, match=f"seed={seed!r} must be"):
        BandNoise(seed=seed)
