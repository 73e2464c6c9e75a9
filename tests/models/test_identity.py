"""The identity changes with weights, buffers, normalisation and version, and with nothing else."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from pytest_iaside import Classifier
from pytest_iaside.errors import SettingsError
from pytest_iaside.models.identity import identity


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 5)
        self.register_buffer("hidden", torch.ones(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(x).mean((2, 3)))
        return found


def key(model: Any, **settings: Any) -> str | None:
    return identity(Classifier(model, **settings))


def twice(x: Tensor) -> Tensor:
    return 2 * x


def thrice(x: Tensor) -> Tensor:
    return 3 * x


def _weight(net: Net) -> None:
    net.head.bias.data[0] += 1e-6


def _buffer(net: Net) -> None:
    net.hidden += 1


def _running_mean(net: Net) -> None:
    net.body[1].running_mean += 1


CHANGES: dict[str, Callable[[Net], Any]] = {
    "a weight": _weight,
    "a buffer that is not saved": _buffer,
    "a running mean": _running_mean,
    "pruning": lambda net: prune.l1_unstructured(net.head, "weight", 0.5),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_it_changes_with(what: str) -> None:
    before, net = key(Net()), Net()
    assert before is not None
    CHANGES[what](net)
    assert key(net) is not None
    assert key(net) != before


def test_it_changes_with_normalisation_and_version() -> None:
    keys = {
        key(Net()),
        key(Net(), version="1"),
        key(Net(), version="2"),
        key(Net(), mean=0.5, std=0.5),
        key(Net(), mean=0.4, std=0.5),
        key(Net(), mean=0.5, std=0.4),
        key(twice, version="1"),
        key(twice, version="1", mean=0.5, std=0.5),
        key(twice, version="2"),
        key(thrice, version="1"),
    }
    assert len(keys) == 10
    # A version speaks of what cannot be seen: weights can.
    changed = Net()
    _weight(changed)
    assert key(changed, version="1") != key(Net(), version="1")


def test_it_stays_with_everything_else() -> None:
    net = Net()
    before = key(net)
    assert before == key(Net()) == key(copy.deepcopy(net)) == key(net, name="another name")
    net.train()
    assert key(net) == before
    net.eval()
    net(torch.rand(1, 3, 8, 8))
    assert key(net) == before
    assert key(twice, version="1") == key(twice, version="1")


SCRIPT = """
import sys; sys.path.insert(0, sys.argv[1])
from test_identity import Net, key
print(key(Net()))
"""


def test_it_is_the_same_in_another_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == key(Net())


def test_functions_have_none_unless_a_version_says_what_they_are() -> None:
    assert key(twice) is None
    assert key(twice, version="1") is not None


@pytest.mark.parametrize("version", ["", 3])
def test_a_version_is_text(version: Any) -> None:
    with pytest.raises(SettingsError, match=f"version={version!r} cannot be used; expected text"):
        Classifier(twice, version=version)


def test_weights_that_do_not_exist_yet_have_none() -> None:
    assert key(nn.Sequential(nn.LazyLinear(5))) is None


def test_files_are_known_by_their_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    one.write_bytes(b"weights")
    two.write_bytes(b"weights")
    assert key(one) == key(two) is not None
    two.write_bytes(b"others")
    assert key(one) != key(two)


@pytest.mark.parametrize("name", ["m.data", "parts/weights-of-the-head.bin", "x" * 200])
def test_every_file_that_an_onnx_model_names_counts(tmp_path: Path, name: str) -> None:
    onnx = pytest.importorskip("onnx")
    weights = onnx.numpy_helper.from_array(torch.zeros(400).numpy(), "weights")
    graph = onnx.helper.make_graph([], "g", [], [], [weights])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    path = tmp_path / "m.onnx"
    onnx.save_model(
        onnx.helper.make_model(graph),
        path,
        save_as_external_data=True,
        location=name,
        size_threshold=0,
    )
    before = key(path)
    (tmp_path / name).write_bytes(b"others")
    assert key(path) != before
