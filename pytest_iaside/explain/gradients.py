"""Gradients of a class's log-likelihood with respect to what the network is fed (SPEC.md 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.explain.scores import check_logits_finite
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.targets import classes_of, sample_of
from pytest_iaside.models.backends.base import usual_batch
from pytest_iaside.models.backends.devices import module_device, moved, usable_device
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.models.gradients import PixelNetwork, with_gradients
from pytest_iaside.models.tuning import keep_freed_memory, limited_threads, return_freed_memory

Explained = Callable[[Tensor, Tensor], Tensor]
"""f: inputs (B, channels, height, width) and the classes (B,) to explain, to values (B,)."""


def gradients(f: Explained, inputs: Tensor, classes: Tensor) -> Tensor:
    """∇f at and with respect to each of ``inputs`` (B, channels, height, width), in their dtype.

    Raises ModelError where f does not depend on its inputs in a way that PyTorch can follow.
    """
    # Pixel by pixel in memory, convolutions on CPUs are half again as fast.
    leaf = inputs.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    values = f(leaf, classes)
    gradient = None
    if values.requires_grad:
        (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
    if gradient is None:
        raise ModelError(
            "the model has no gradient with respect to its input; an explanation by gradients "
            "needs a network that computes in PyTorch from end to end, without no_grad, detach or "
            "numpy"
        )
    return gradient


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A classifier that is open to gradients, and the images and classes to explain."""

    model: PixelNetwork
    sample: ReferenceSample
    classes: Tensor
    """(K,) int64, on ``device``."""
    device: torch.device
    dtype: torch.dtype
    batch_size: int

    def inputs(self, some: slice) -> Tensor:
        """What the network is fed for the images ``some``: standardised pixels."""
        return self.standardised(self.sample.pixels(some.start, some.stop))

    def standardised(self, pixels: Tensor) -> Tensor:
        """What the network is fed for ``pixels`` (batch, channels, height, width) in [0, 1]."""
        return self.model.classifier.normalise(pixels.to(self.device, self.dtype))

    def log_likelihood(self, inputs: Tensor, classes: Tensor) -> Tensor:
        """f: the log-softmax of ``classes`` (B,) at ``inputs``, (B,)."""
        logits = self.model.answer(inputs)
        return torch.log_softmax(logits, dim=1).gather(1, classes[:, None])[:, 0]

    def check_gradients(self, finite: bool, image: int) -> None:
        """Raise ModelError naming ``image`` unless its gradients are ``finite``."""
        if not finite:
            raise ModelError(
                f"the gradients of the model's log-likelihood are NaN or infinite around "
                f"{self.sample.names[image]}; check that its logits are finite under noise"
            )


@contextmanager
def opened(
    classifier: Any, images: Any, labels: Any, *, device: str, batch_size: int | str
) -> Iterator[Subject]:
    """Make ``classifier`` ready for gradients at ``images``, and put it back as it was afterwards.

    ``labels`` as in ``classes_of``; ``device`` as in ``open_backend``. A network of float64
    weights is fed float64, any other float32.
    """
    chosen = as_classifier(classifier)
    PixelNetwork(chosen, "to explain with")  # Says at once where there are none.
    network = chosen.network
    with ExitStack() as stack:
        keep_freed_memory()
        stack.callback(return_freed_memory)
        stack.enter_context(limited_threads())
        target = torch.device("cpu") if device == "auto" else usable_device(device)
        if isinstance(network, nn.Module):
            target = module_device(network, device)
            stack.enter_context(moved(network, target, chosen.name))
        model = stack.enter_context(with_gradients(chosen, "to explain with"))
        sample = sample_of(images)
        dtype = _dtype(network)
        size = _checked_batch(batch_size, target, sample.shape[1] * sample.shape[2])
        clean = _clean_logits(model, sample, target, dtype, size)
        yield Subject(
            model=model,
            sample=sample,
            classes=classes_of(labels, clean).to(target),
            device=target,
            dtype=dtype,
            batch_size=size,
        )


def _clean_logits(
    model: PixelNetwork,
    sample: ReferenceSample,
    device: torch.device,
    dtype: torch.dtype,
    size: int,
) -> Tensor:
    with torch.no_grad():
        found = [
            model(sample.pixels(start, start + size).to(device, dtype)).cpu()
            for start in range(0, len(sample), size)
        ]
    logits = torch.cat(found)
    check_logits_finite(logits, sample.names)
    return logits


def _checked_batch(batch_size: int | str, device: torch.device, pixels: int) -> int:
    if batch_size == "auto":
        # A backward pass keeps the activations of every layer: less fits on a GPU.
        return usual_batch(device, pixels) // (1 if device.type == "cpu" else 4)
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise SettingsError(f"batch_size={batch_size!r} must be 'auto' or a whole number above 0")
    return batch_size


def _dtype(network: Any) -> torch.dtype:
    if not isinstance(network, nn.Module):
        return torch.float32
    state = chain(network.parameters(), network.buffers())
    return torch.float64 if any(v.dtype == torch.float64 for v in state) else torch.float32
