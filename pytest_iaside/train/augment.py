"""Augmentations that take bands away, or disturb them, as torchvision v2 transforms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from pytest_iaside.checks import check_choice, check_positive, check_range, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.bands import MAX_BANDS, Norm
from pytest_iaside.train.noise import filtered, noise_in_bands


class _BandTransform(v2.Transform):  # type: ignore[misc]
    """A transform of float images, each of a batch by itself, that draws by a seed of its own."""

    _transformed_types = (tv_tensors.Image, torch.Tensor)

    def __init__(self, bands: int, partition: Norm, p: float, seed: int | None) -> None:
        super().__init__()
        check_whole("bands", bands, 2)
        if bands > MAX_BANDS:
            raise SettingsError(f"bands={bands} must be at most {MAX_BANDS}")
        check_choice("partition", partition, Norm)
        check_range("p", p, 0, 1, "a probability, from 0 to 1")
        self.bands, self.partition, self.p, self.seed = bands, partition, p, seed
        # Its own: what else draws numbers does not change what is drawn here.
        self.generator = torch.Generator()
        if seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(seed)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not inpt.is_floating_point() or inpt.ndim < 3:
            raise SettingsError(
                f"{type(self).__name__} was given {inpt.dtype} of shape {tuple(inpt.shape)}; "
                "expected float images (…, channels, height, width): put "
                "v2.ToDtype(torch.float32, scale=True) before it"
            )
        images = inpt.as_subclass(torch.Tensor)
        flat = images.reshape(-1, *images.shape[-3:])
        return tv_tensors.wrap(self.changed(flat).reshape(images.shape), like=inpt)

    def changed(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) as the transform makes them."""
        raise NotImplementedError

    def chosen(self, count: int) -> Tensor:
        """Which of so many images are changed, (B,)."""
        return torch.rand(count, generator=self.generator) < self.p


class BandDropout(_BandTransform):
    """Take frequency bands out of float images (…, C, H, W), drawn anew for every image.

    An image is changed with probability ``p``; then each of its ``bands`` but the lowest, which
    holds the mean, is left out with probability ``share`` (SPEC.md 1.2, absence "zero"). ``seed``
    makes what is drawn the same in every run. Raises SettingsError for settings out of range, and
    for images that are not float or too small for the bands.
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
        low, high = energies
        check_positive("energies", low)
        check_positive("energies", high)
        if low > high:
            raise SettingsError(f"energies={energies!r} must be the least and the most, in order")
        self.energies = (float(low), float(high))

    def changed(self, images: Tensor) -> Tensor:
        count, (low, high) = len(images), self.energies
        band = torch.randint(self.bands, (count,), generator=self.generator)
        place = torch.rand(count, generator=self.generator)
        energy = low * (high / low) ** place * self.chosen(count)
        draws = torch.randn(images.shape, generator=self.generator).to(images)
        return images + noise_in_bands(images, band, energy, self.partition, self.bands, draws)
