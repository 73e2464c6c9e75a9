"""Backends of other packages: found by their entry point, held to the same promises."""

from __future__ import annotations

import importlib.metadata as metadata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import Classifier, Execution, ModelError, ReferenceSample, SettingsError, measure
from pytest_iaside.models.backends import (
    Backend,
    Setup,
    Unfit,
    available_backends,
    open_backend,
    others,
)
from pytest_iaside.models.backends.contract import check_backend
from pytest_iaside.models.outputs import check_answers

Run = Callable[[nn.Module, Tensor], Tensor]


class Other(Backend):
    """A backend as another package would write it."""

    def __init__(self, network: nn.Module, run: Run, *rest: Any) -> None:
        super().__init__(*rest)
        self._network, self._of = network, run

    def _run(self, inputs: Tensor) -> Tensor:
        try:
            with torch.no_grad():
                found = self._of(self._network, inputs)
        except Exception as error:
            raise self._failure(inputs, error) from error
        answers: Tensor = check_answers(found, len(inputs), self.task, self.device)
        return answers


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Offer backends: a name, and how its network is run."""

    def offer(**backends: Any) -> None:
        class Entry:
            dist = None

            def __init__(self, name: str, made: Any) -> None:
                self.name, self.made = name, made

            def load(self) -> Any:
                if isinstance(self.made, Exception):
                    raise self.made
                return self.made

        entries = [Entry(name, made) for name, made in backends.items()]
        known = metadata.entry_points

        def found(**selected: Any) -> Any:
            return entries if selected == {"group": others.GROUP} else known(**selected)

        monkeypatch.setattr(metadata, "entry_points", found)

    return offer


def made(run: Run = lambda network, inputs: network(inputs), kind: type[Other] = Other) -> Any:
    def make(
        network: nn.Module,
        setup: Setup,
        device: torch.device,
        label: str,
        dtype: str,
        inputs: Tensor,
        task: Any,
    ) -> Backend:
        return kind(network, run, setup, device, label, task)

    return make


def test_one_that_keeps_its_promises_is_run(offered: Callable[..., None]) -> None:
    offered(mine=made())
    assert available_backends()[-1] == "mine"
    check_backend("mine")
    check_backend("eager")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    sample = ReferenceSample(torch.rand(3, 1, 8, 8), [0, 1, 2])
    found = measure(network, sample, bands=3, execution=Execution(backend="mine"))
    assert found.environment["backend"] == "mine"
    expected = measure(network, sample, bands=3, execution=Execution(backend="eager"))
    assert abs(found.values - expected.values).max() < 1e-5


class Swapped(Other):
    def forward_many(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        return reversed([self.forward(batch) for batch in batches])  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (made(lambda network, inputs: network(inputs) + torch.arange(5) * 0.01), "disagrees with"),
        (made(lambda network, inputs: network(inputs)[:1]), "1 rows for a batch"),
        (made(kind=Swapped), "in their order"),
        (made(lambda network, inputs: network.train()(inputs)), "disagrees|put the network back"),
    ],
    ids=["wrong", "rows", "order", "mode"],
)
def test_one_that_breaks_them_is_told(
    offered: Callable[..., None], make: Any, message: str
) -> None:
    offered(mine=make)
    with pytest.raises((AssertionError, ModelError), match=message):
        check_backend("mine")


def test_what_cannot_be_loaded_or_run_says_so(offered: Callable[..., None]) -> None:
    def refuses(network: nn.Module, setup: Setup, device: Any, label: str, *_: Any) -> Backend:
        raise Unfit(label, "it has no convolution")

    offered(gone=ImportError("no module named fast"), refuses=refuses)
    classifier, inputs = Classifier(nn.Flatten()), torch.rand(2, 1, 2, 2)
    for name, error, message in (
        ("gone", SettingsError, r"backend='gone' .* cannot be loaded \(.*no module named fast"),
        ("refuses", ModelError, "cannot be run so: it has no convolution"),
        ("absent", SettingsError, "backend='absent' is unknown"),
    ):
        with (
            pytest.raises(error, match=message),
            open_backend(classifier, backend=name, inputs=inputs),
        ):
            pass


def failing(*_: Any) -> Backend:
    raise ValueError("no licence")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (failing, r"backend='bad' failed \(ValueError: no licence\)"),
        (5, r"backend='bad' failed \(TypeError: 'int' object is not callable\)"),
        (lambda *_: None, "backend='bad' made a NoneType, expected a Backend"),
    ],
)
def test_one_that_cannot_be_made_says_why(
    offered: Callable[..., None], make: Any, message: str
) -> None:
    offered(bad=make)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    sample = ReferenceSample(torch.rand(3, 1, 8, 8), [0, 1, 2])
    with pytest.raises(ModelError, match=message):
        measure(network, sample, bands=3, execution=Execution(backend="bad"))
