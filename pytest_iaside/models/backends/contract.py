"""What a backend promises, to be run against one of another package (docs/explanation/speed.md)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError
from pytest_iaside.models.backends import open_backend
from pytest_iaside.models.backends.probe import AGREEMENT
from pytest_iaside.models.classifier import Classifier

BATCH = 4
COUNTS = (1, 3, BATCH, 10)
"""One image, less than a batch, a whole one, and more than two."""


def check_backend(name: str, *, batch_size: int = BATCH) -> None:
    """Raise AssertionError where the backend ``name`` breaks a promise, which it names.

    Logits are PyTorch's to 1e-3 in log-probabilities for any number of images; batches come back
    in their order; the network comes back as it went, also after an error; what it fails on is a
    ModelError, and it runs on after that.
    """
    network = _network()
    before = _state(network)
    settings = {"backend": name, "device": "cpu", "batch_size": batch_size}
    with open_backend(Classifier(network), inputs=_images(2), passes=10, **settings) as backend:  # type: ignore[arg-type]
        for count in COUNTS:
            images = _images(count)
            found = backend.forward(images)
            assert found.shape == (count, 5), f"{name}: {count} images gave {tuple(found.shape)}"
            assert found.dtype in (torch.float32, torch.float64), f"{name} returned {found.dtype}"
            assert not found.requires_grad, f"{name} returned logits with gradients"
            assert found.device.type == "cpu", f"{name} returned logits on {found.device}"
            _check_near(name, found, images, f"of {count} images")
        batches = [_images(30)[a:b] for a, b in ((0, 10), (10, 11), (11, 15), (15, 30))]
        many = list(backend.forward_many(iter(batches)))
        assert len(many) == len(batches), f"{name}: {len(batches)} batches gave {len(many)}"
        for found, images in zip(many, batches, strict=True):
            _check_near(name, found, images, "of several batches, in their order")
        try:
            backend.forward(torch.zeros(2, 3, 9, 9))
        except ModelError:
            pass
        except Exception as error:
            raise AssertionError(
                f"{name} raised {type(error).__name__} for images that the network fails on, "
                "expected a ModelError that names their shape"
            ) from error
        else:
            raise AssertionError(f"{name} answered images that the network fails on")
        _check_near(name, backend.forward(_images(BATCH)), _images(BATCH), "after a failure")
    assert _state(network) == before, f"{name} did not put the network back as it was"


def _network() -> nn.Sequential:
    """A network in a mode of its own, part by part; answers differ by several nats."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norm, last = nn.BatchNorm1d(108), nn.Linear(108, 5)
        layers = nn.Sequential(nn.Flatten(), norm, nn.Dropout(0.5), last)
    with torch.no_grad():
        last.weight.mul_(10)
    norm.eval().requires_grad_(False)
    return layers


def _images(count: int) -> Tensor:
    return torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def _state(network: nn.Module) -> object:
    tensors = [*network.parameters(), *network.buffers()]
    return (
        [part.training for part in network.modules()],
        [(id(each), each.requires_grad, str(each.dtype), str(each.device)) for each in tensors],
        [each.detach().tolist() for each in tensors],
        [len(part._forward_hooks) for part in network.modules()],
    )


def _check_near(name: str, found: Tensor, images: Tensor, what: str) -> None:
    assert len(found) == len(images), f"{name}: {len(found)} rows for {len(images)} images, {what}"
    with torch.no_grad():
        expected = torch.log_softmax(_network().eval()(images).double(), dim=1)
    gap = float((torch.log_softmax(found.double(), dim=1) - expected).abs().max())
    assert gap <= AGREEMENT, (
        f"{name}: logits {what} are {gap:.2g} from PyTorch's in log-probabilities, at most "
        f"{AGREEMENT:g} is allowed"
    )
