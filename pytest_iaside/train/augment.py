"""Augmentations that take bands away, or disturb them, as torchvision v2 transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL.Image import Image as Picture
from torch import Tensor
from torch.utils.data import get_worker_info
from torchvision import tv_tensors
from torchvision.transforms import v2

from pytest_iaside.checks import check_choice, check_positive, check_range, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.bands import MAX_BANDS, Norm
from pytest_iaside.train.noise import computable, filtered, noise_in_bands

LARGEST_SEED = 2**63 - 1
"""What a generator of PyTorch takes."""


def _is_plain(value: Any) -> bool:
    """Whether ``value`` is a tensor, and none of boxes or masks."""
    return isinstance(value, Tensor) and not isinstance(value, tv_tensors.TVTensor)


class _BandTransform(v2.Transform):  # type: ignore[misc]
    """A transform of float images, each of a batch by itself, that may draw by its own seed."""

    _transformed_types = (tv_tensors.Image, tv_tensors.Video, _is_plain)

    def __init__(self, bands: int, partition: Norm, p: float, seed: int | None) -> None:
        super().__init__()
        check_whole("bands", bands, 2)
        if bands > MAX_BANDS:
            raise SettingsError(f"bands={bands} must be at most {MAX_BANDS}")
        check_choice("partition", partition, Norm)
        check_range("p", p, 0, 1, "a probability, from 0 to 1")
        check_whole("seed", seed, 0, or_none=True)
        if seed is not None and seed > LARGEST_SEED:
            raise SettingsError(f"seed={seed} must be less than 2^63")
        self.bands, self.partition, self.p, self.seed = bands, partition, p, seed
        self._drawn_in: int | None = None
        self._own = None if seed is None else torch.Generator().manual_seed(seed)

    def __getstate__(self) -> dict[str, Any]:
        # A generator cannot be sent to a process that is not forked; where it stands can.
        own = None if self._own is None else self._own.get_state().numpy().tobytes()
        return {**self.__dict__, "_own": own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = state["_own"]
        super().__setstate__({**state, "_own": None})
        if own is not None:
            self._own = torch.Generator()
            self._own.set_state(torch.frombuffer(bytearray(own), dtype=torch.uint8))

    @property
    def generator(self) -> torch.Generator | None:
        """What draws: with a seed the transform's own generator, else PyTorch's (None).

        A worker of a DataLoader gets a copy of the transform, and a new one in every epoch. Copies
        of one generator would draw the same in each worker and each epoch, so the worker's own
        seed counts as well. PyTorch's generator has it already.
        """
        worker = get_worker_info()
        if self.seed is not None and worker is not None and worker.seed != self._drawn_in:
            mixed = np.random.SeedSequence([self.seed, worker.seed]).generate_state(1, np.uint64)
            self._own = torch.Generator().manual_seed(int(mixed[0]) & LARGEST_SEED)
            self._drawn_in = worker.seed
        return self._own

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Raise SettingsError where torchvision would hand back an image as it is."""
        if any(isinstance(each, Picture) for each in flat_inputs):
            found = "a PIL image"
        elif not any(
            _is_plain(each) or isinstance(each, (tv_tensors.Image, tv_tensors.Video))
            for each in flat_inputs
        ):
            found = " and ".join(type(each).__name__ for each in flat_inputs) or "nothing"
        else:
            return
        raise SettingsError(
            f"{type(self).__name__} was given {found}; expected float images (…, channels, height, "
            "width) as a tensor: put v2.ToImage() and v2.ToDtype(torch.float32, scale=True) before "
            "it"
        )

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not inpt.is_floating_point() or inpt.ndim < 3:
            raise SettingsError(
                f"{type(self).__name__} was given {inpt.dtype} of shape {tuple(inpt.shape)}; "
                "expected float images (…, channels, height, width): put "
                "v2.ToDtype(torch.float32, scale=True) before it"
            )
        if not inpt.numel():
            return inpt
        images = inpt.as_subclass(torch.Tensor)
        flat = images.reshape(-1, *images.shape[-3:])
        found = self.changed(computable(flat)).to(images.dtype).reshape(images.shape)
        return tv_tensors.wrap(found, like=inpt)

    def changed(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) as the transform makes them."""
        raise NotImplementedError

    def chosen(self, count: int) -> Tensor:
        """Which of so many images are changed, (B,)."""
        return torch.rand(count, generator=self.generator) < self.p


class BandDropout(_BandTransform):
    """Take frequency bands out of float images (…, C, H, W), drawn anew for every image.

    An image is changed with probability ``p``; then each of its ``bands`` but the lowest, which
    holds the mean, is left out with probability ``share`` (SPEC.md 1.2, absence "zero"). Without
    a ``seed`` PyTorch's generator draws (``torch.manual_seed``); with one a generator of the
    transform's own does, the same in every run. In workers of a DataLoader both depend on the
    worker's seed as well, which ``torch.manual_seed`` decides: each worker and each epoch draws
    anew. As other transforms of torchvision it acts in eval mode, too, so it belongs into the data
    and not into the model. Raises SettingsError for settings out of range, and for images that are
    no float tensors or too small for the bands.
    """

    def __init__(
        self,
        bands: int = 8,
        partition: Norm = "linf",
        *,
        p: float = 0.5,
        share: float = 0.3,
        seed: int | None = None,
    ) -> None:
        super().__init__(bands, partition, p, seed)
        check_range("share", share, 0, 1, "a probability, from 0 to 1")
        self.share = share

    def changed(self, images: Tensor) -> Tensor:
        count = len(images)
        kept = torch.rand(count, self.bands, generator=self.generator) >= self.share
        kept[:, 0] = True
        kept |= ~self.chosen(count)[:, None]
        # What is left whole stays as it is, to the last bit.
        whole = kept.all(dim=1).to(images.device)[:, None, None, None]
        return torch.where(whole, images, filtered(images, kept, self.partition))


class BandNoise(_BandTransform):
    """Add white noise to one frequency band of float images (…, C, H, W), drawn anew for each.

    An image is changed with probability ``p``; then a band is drawn, and an energy between the two
    of ``energies``, evenly in its logarithm, in units of the image's own around its mean (SPEC.md
    8). Nothing is clipped. ``seed`` and errors as in ``BandDropout``.
    """

    def __init__(
        self,
        bands: int = 8,
        partition: Norm = "linf",
        *,
        p: float = 0.5,
        energies: tuple[float, float] = (0.01, 1.0),
        seed: int | None = None,
    ) -> None:
        super().__init__(bands, partition, p, seed)
        in_order = f"energies={energies!r} must be the least and the most, in order"
        if not isinstance(energies, (tuple, list)) or len(energies) != 2:
            raise SettingsError(f"{in_order}, such as (0.01, 1.0)")
        low, high = energies
        check_positive("energies", low)
        check_positive("energies", high)
        if low > high:
            raise SettingsError(in_order)
        self.energies = (float(low), float(high))

    def changed(self, images: Tensor) -> Tensor:
        count, (low, high) = len(images), self.energies
        band = torch.randint(self.bands, (count,), generator=self.generator)
        place = torch.rand(count, generator=self.generator)
        energy = low * (high / low) ** place * self.chosen(count)
        draws = torch.randn(images.shape, generator=self.generator).to(images)
        return images + noise_in_bands(images, band, energy, self.partition, self.bands, draws)
