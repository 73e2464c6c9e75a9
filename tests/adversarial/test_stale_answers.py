"""Tricks that change what a model computes and leave its weights: no stale answer may come back."""

from __future__ import annotations

import contextlib
import functools
import os
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import Classifier, ReferenceSample, measure
from pytest_iaside.measure.profile import SpectralProfile

IMAGES, CLASSES, SIDE = 50, 20, 8
CONFIG = {"scale": 1.0}
LIST = [1.0]
TENSOR = torch.ones(1)
OBJECT = types.SimpleNamespace(scale=1.0, inner=types.SimpleNamespace(scale=1.0))
REGISTRY: dict[str, Callable[[Tensor], Tensor]] = {"last": lambda logits: logits}
helper = types.ModuleType("helper")
helper.scale = lambda logits: logits  # type: ignore[attr-defined]
TURNED = torch.arange(CLASSES).roll(1)


def last(logits: Tensor) -> Tensor:
    return logits


class Net(nn.Module):
    factor = 1.0

    def __init__(self, file: Path | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3 * SIDE * SIDE, CLASSES)
        self.file = file
        self.temperature = 1.0
        self.options = {"scale": 1.0}
        self.array = np.ones(1)
        self.hidden = [nn.Linear(CLASSES, CLASSES, bias=False)]
        nn.init.eye_(self.hidden[0].weight)
        self.last: Callable[[Tensor], Tensor] = last

    def scaled(self, logits: Tensor, by: float = 1.0) -> Tensor:
        return logits * by

    @property
    def bias(self) -> float:
        return 0.0

    def forward(self, images: Tensor) -> Tensor:
        logits = self.scaled(self.head(torch.relu(images.flatten(1))))
        logits = logits * CONFIG["scale"] * LIST[0] * TENSOR * OBJECT.scale * OBJECT.inner.scale
        logits = logits * self.factor * self.options["scale"] * float(self.array[0])
        logits = logits * float(os.environ.get("TEMPERATURE", "1"))
        if self.file is not None:
            logits = logits * float(self.file.read_text())
        logits = helper.scale(REGISTRY["last"](self.hidden[0](self.last(logits))))
        found: Tensor = logits / self.temperature + self.bias * torch.arange(CLASSES)
        return found


def sample() -> ReferenceSample:
    pictures = torch.rand(IMAGES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return ReferenceSample(pictures, (torch.arange(IMAGES) % CLASSES).tolist())


def profile(model: Any, **settings: Any) -> SpectralProfile:
    return measure(model, sample(), bands=3, **{"cache": True, **settings})


Trick = Callable[[Net, pytest.MonkeyPatch], Any]


def _of_one_image(net: Net, patch: pytest.MonkeyPatch) -> None:
    target = sample().images[17].sum()

    def hook(module: nn.Module, given: tuple[Tensor], logits: Tensor) -> Tensor:
        is_it = (given[0].sum(dim=(1, 2, 3)) - target).abs() < 1e-3
        return torch.where(is_it[:, None], logits.roll(1, dims=1), logits)

    net.register_forward_hook(hook)


def _of_one_class(net: Net, patch: pytest.MonkeyPatch) -> None:
    targets = sample().images[3::CLASSES].sum(dim=(1, 2, 3))

    def hook(module: nn.Module, given: tuple[Tensor], logits: Tensor) -> Tensor:
        sums = given[0].sum(dim=(1, 2, 3))[:, None]
        is_it = ((sums - targets).abs() < 1e-3).any(dim=1)
        return torch.where(is_it[:, None], logits.roll(1, dims=1), logits)

    net.register_forward_hook(hook)


def _replaced(net: Net, patch: pytest.MonkeyPatch) -> None:
    net.forward = lambda images: net.head(images.flatten(1)) * 2  # type: ignore[method-assign]


def _bound(net: Net, patch: pytest.MonkeyPatch) -> None:
    net.scaled = functools.partial(net.scaled, by=2.0)  # type: ignore[method-assign]


def _other_class(net: Net, patch: pytest.MonkeyPatch) -> None:
    class Net2(Net):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * 2

    Net2.__qualname__ = Net.__qualname__
    net.__class__ = Net2


TRICKS: dict[str, Trick] = {
    "a dict that was read at import": lambda net, patch: patch.setitem(CONFIG, "scale", 2.0),
    "a global list": lambda net, patch: patch.setattr(f"{__name__}.LIST", [2.0]),
    "a global tensor": lambda net, patch: patch.setattr(TENSOR, "data", torch.tensor([2.0])),
    "a global object": lambda net, patch: patch.setattr(OBJECT, "scale", 2.0),
    "an object in an object": lambda net, patch: patch.setattr(OBJECT.inner, "scale", 2.0),
    "a registry": lambda net, patch: patch.setitem(REGISTRY, "last", lambda logits: logits * 2),
    "a function of a module": lambda net, patch: patch.setattr(helper, "scale", lambda z: z * 2),
    "a class attribute": lambda net, patch: patch.setattr(Net, "factor", 2.0),
    "a property": lambda net, patch: patch.setattr(Net, "bias", 0.5),
    "a patched method": lambda net, patch: patch.setattr(Net, "scaled", lambda self, z: z * 2),
    "a default argument": lambda net, patch: patch.setattr(Net.scaled, "__defaults__", (2.0,)),
    "a method of this one": _bound,
    "forward of this one": _replaced,
    "a subclass of the same name": _other_class,
    "an attribute": lambda net, patch: setattr(net, "temperature", 0.5),
    "an entry of an attribute": lambda net, patch: net.options.update(scale=2.0),
    "an array": lambda net, patch: net.array.fill(2.0),
    "a lambda of one qualname": lambda net, patch: setattr(net, "last", lambda z: z * 2),
    "a network in a list": lambda net, patch: net.hidden[0].weight.data.mul_(2),
    "an environment variable": lambda net, patch: patch.setenv("TEMPERATURE", "2"),
    "a function of torch": lambda net, patch: patch.setattr(torch, "relu", torch.sin),
    "a hook": lambda net, patch: net.register_forward_hook(lambda module, given, z: z * 2),
    "a hook before": lambda net, patch: net.register_forward_pre_hook(lambda m, x: (x[0] * 2,)),
    "a hook on a part": lambda net, patch: net.head.register_forward_hook(lambda m, x, z: z * 2),
    "a class's call": lambda net, patch: patch.setattr(
        Net, "__call__", lambda self, x: nn.Module.__call__(self, x) * 2
    ),
    "a permutation of the classes": lambda net, patch: patch.setitem(
        REGISTRY, "last", lambda logits: logits[:, TURNED]
    ),
    "a logit that no image uses": lambda net, patch: patch.setitem(
        REGISTRY, "last", lambda logits: logits + 9 * torch.eye(CLASSES)[19]
    ),
    "one image of 50": _of_one_image,
    "one class of 20": _of_one_class,
}


@pytest.mark.parametrize("trick", list(TRICKS))
def test_no_stale_answer(trick: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = profile(Net())
    assert profile(Net()).passes_from_cache == before.forward_passes
    net = Net()
    TRICKS[trick](net, monkeypatch)
    found = profile(net)
    assert found.passes_from_cache == 0
    assert "but not its answers" in found.notes[0]
    expected = profile(net, cache=False)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5)
    assert not np.allclose(found.information, before.information, atol=1e-3)


def test_a_file_that_forward_reads(tmp_path: Path) -> None:
    file = tmp_path / "scale"
    file.write_text("1")
    profile(Net(file))
    file.write_text("2")
    assert profile(Net(file)).passes_from_cache == 0


@contextlib.contextmanager
def _global_hook() -> Iterator[None]:
    handle = nn.modules.module.register_module_forward_hook(lambda module, given, z: z * 1.5)
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(handle.remove)
        yield


@pytest.mark.parametrize("around", [_global_hook, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_what_stands_around_the_gate(around: Callable[[], Any]) -> None:
    before = profile(Net())
    with around():
        expected = profile(Net(), cache=False)
        found = profile(Net())
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5)
    assert found.passes_from_cache == 0 or np.allclose(before.values, expected.values, atol=1e-3)


def test_a_version_that_was_forgotten() -> None:
    scale = 1.0
    model = Classifier(lambda x: x.flatten(1)[:, :CLASSES] * scale, version="1")
    assert profile(model).passes_from_cache == 0
    assert profile(model).passes_from_cache > 0
    scale = 2.0
    assert profile(model).passes_from_cache == 0


def test_images_that_changed_in_place_are_others() -> None:
    reference = sample()
    measure(Net(), reference, bands=3, cache=True)
    reference.images[:] = reference.images.flip(-1)
    found = measure(Net(), reference, bands=3, cache=True)
    expected = measure(Net(), reference, bands=3)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5)
