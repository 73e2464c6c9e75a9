"""Models whose answers change by themselves, and what measuring must leave as it was."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import Classifier, Execution, ReferenceSample, measure
from pytest_iaside.errors import ModelError
from pytest_iaside.measure.answers import answers
from pytest_iaside.models.parts import modules_of

CLASSES, SIDE = 4, 8


class Net(nn.Module):
    """A network with batch normalisation and dropout, in training mode as after training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten()
        )
        self.head = nn.Linear(4 * (SIDE - 2) ** 2, CLASSES)
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.head(self.layers(images))
        return found


def sample(count: int = 12) -> ReferenceSample:
    pictures = torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return ReferenceSample(pictures, (torch.arange(count) % CLASSES).tolist())


# ------------------------------------------------------------------ not the same twice


class StaysInTraining(Net):
    def train(self, mode: bool = True) -> StaysInTraining:
        super().train(True)
        return self


def functional_dropout() -> Any:
    net = Net().eval()
    return Classifier(lambda x: net(nn.functional.dropout(x, 0.2, training=True)))


def noise() -> Any:
    net = Net().eval()
    net.register_forward_hook(lambda module, given, logits: logits + torch.randn_like(logits))
    return net


def counted() -> Any:
    net, calls = Net().eval(), itertools.count()
    return Classifier(lambda x: net(x) * (1 + 0.01 * next(calls)))


def by_batch() -> Any:
    net = Net().eval()
    return Classifier(lambda x: net(x - x.mean(dim=0, keepdim=True)))


def by_place() -> Any:
    net = Net().eval()
    return Classifier(
        lambda x: net(x) + 0.1 * torch.arange(len(x))[:, None] * torch.eye(CLASSES)[0]
    )


def seeded() -> Any:
    def forward(images: Tensor) -> Tensor:
        torch.manual_seed(0)
        found: Tensor = net(nn.functional.dropout(images, 0.3, training=True))
        return found

    net = Net().eval()
    return Classifier(forward)


def batch_statistics() -> Any:
    net = Net().eval()
    net.layers[1] = nn.BatchNorm2d(4, track_running_stats=False)
    return net


UNSTEADY: dict[str, Callable[[], Any]] = {
    "train() that stays in training mode": StaysInTraining,
    "dropout by a function": functional_dropout,
    "a hook that adds noise": noise,
    "answers that change with every call": counted,
    "the batch's mean taken off": by_batch,
    "an answer by the place in the batch": by_place,
    "dropout with a seed of its own": seeded,
    "normalised by the batch's statistics": batch_statistics,
}


@pytest.mark.parametrize("trick", list(UNSTEADY))
@pytest.mark.parametrize("how", ["game", "answers"])
def test_it_is_refused(trick: str, how: str) -> None:
    model = UNSTEADY[trick]()
    with pytest.raises(ModelError, match=r"answered image \d differently .* expected the same"):
        if how == "game":
            measure(model, sample(), bands=3)
        else:
            answers(model, sample(), [None, ("contrast", 3)])


def test_the_message_names_what_stays_in_training_mode() -> None:
    with pytest.raises(ModelError, match=r"stay in training mode .* StaysInTraining, .*Dropout"):
        measure(StaysInTraining(), sample(), bands=3)


# ------------------------------------------------------------------ modules that hide


class Holder(nn.Module):
    """Holds a network where PyTorch does not look for one."""

    def __init__(self, holds: Any, call: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.holds, self.call = holds, call

    def forward(self, images: Tensor) -> Tensor:
        return self.call(self.holds, images)


class Callable_:
    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, images: Tensor) -> Tensor:
        found: Tensor = self.net(images)
        return found

    def method(self, images: Tensor) -> Tensor:
        return self(images)


GLOBAL: dict[str, nn.Module] = {}


def by_global(images: Tensor) -> Tensor:
    found: Tensor = GLOBAL["net"](images)
    return found


def with_default(net: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(images: Tensor, model: nn.Module = net) -> Tensor:
        found: Tensor = model(images)
        return found

    return forward


def wrapped(net: nn.Module) -> Callable[[Tensor], Tensor]:
    @functools.lru_cache(maxsize=1)
    def network() -> nn.Module:
        return net

    return lambda images: network()(images)


def in_globals(net: nn.Module) -> Callable[[Tensor], Tensor]:
    GLOBAL["net"] = net
    return by_global


HIDING: dict[str, Callable[[nn.Module], Any]] = {
    "in a list": lambda net: Holder([net], lambda nets, x: nets[0](x)),
    "in a tuple in a dict": lambda net: Holder({"a": (net,)}, lambda nets, x: nets["a"][0](x)),
    "in a set": lambda net: Holder({net}, lambda nets, x: next(iter(nets))(x)),
    "in an object": lambda net: Holder(Callable_(net), lambda held, x: held(x)),
    "in a function": lambda net: Holder(None, lambda _, x: net(x)),
    "behind a lambda": lambda net: lambda x: net(x),
    "behind a lambda in a lambda": lambda net: (lambda f: lambda x: f(x))(lambda x: net(x)),
    "behind a partial": lambda net: functools.partial(lambda model, x: model(x), net),
    "behind a callable object": Callable_,
    "behind a bound method": lambda net: Callable_(net).method,
    "behind a default argument": with_default,
    "behind a cached function": wrapped,
    "behind a global dict": in_globals,
    "behind its own forward": lambda net: net.forward,
}


@pytest.mark.parametrize("where", list(HIDING))
def test_a_hidden_network_is_found_and_handed_back_as_it_was(where: str) -> None:
    net = Net()
    net.layers[2].eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    flags = [part.training for part in net.modules()]
    model = HIDING[where](net)
    assert net in modules_of(model)
    found = measure(model, sample(), bands=3)
    assert [part.training for part in net.modules()] == flags
    for name, value in net.state_dict().items():
        assert torch.equal(value, state[name]), name
    expected = measure(net, sample(), bands=3)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)


def test_statistics_are_handed_back_where_training_mode_stays() -> None:
    net = StaysInTraining()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ModelError):
        measure(net, sample(), bands=3)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


# ------------------------------------------------------------------ threads


@pytest.mark.parametrize("run", range(5))
def test_threads_find_the_same_numbers_and_leave_the_model_alone(run: int) -> None:
    net = Net()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    expected = measure(net, sample(32), bands=3)
    with ThreadPoolExecutor(4) as executor:
        found = measure(net, sample(32), bands=3, execution=Execution(executor=executor))
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
    assert all(part.training for part in net.modules())
    for name, value in net.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_measurements_of_one_model_in_two_threads() -> None:
    net = Net()
    expected = measure(net, sample(), bands=3)
    with ThreadPoolExecutor(4) as executor:
        jobs = [executor.submit(measure, net, sample(), bands=3) for _ in range(8)]
        for job in jobs:
            np.testing.assert_allclose(job.result().values, expected.values, atol=1e-6)
    assert all(part.training for part in net.modules())


def test_parts_of_one_network_in_two_threads() -> None:
    net = Net()
    models = [
        net,
        Classifier(lambda x: net.head(net.layers(x))),
        Holder([net], lambda n, x: n[0](x)),
    ]
    expected = measure(net, sample(), bands=3)
    with ThreadPoolExecutor(3) as executor:
        for found in executor.map(lambda model: measure(model, sample(), bands=3), models * 2):
            np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
    assert all(part.training for part in net.modules())


class Counting(Net):
    """Counts its calls in a buffer, and draws a number it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        torch.rand(1)
        return super().forward(images)


def test_what_a_network_counts_and_draws_is_handed_back() -> None:
    net = Counting().eval()
    torch.manual_seed(7)
    measure(net, sample(), bands=3)
    assert float(net.calls) == 0
    found = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(found, torch.rand(3))


def test_one_at_a_time_a_network_need_not_stand_others() -> None:
    """Such as dynamic quantisation, whose scale is of the whole batch."""
    net = Net().eval()
    model = Classifier(lambda x: net(x) * (1 + 9 * x.mean()))
    with pytest.raises(ModelError, match=r"depend on the rest of the batch.*batch_size=1"):
        measure(model, sample(), bands=3)
    found = measure(model, sample(), bands=3, execution=Execution(batch_size=1))
    assert np.isfinite(found.values).all()
