"""The identity changes with whatever may change a model's output, and with nothing else."""

from __future__ import annotations

import copy
import functools
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from pytest_iaside import Classifier
from pytest_iaside.errors import SettingsError
from pytest_iaside.models.identity import identity, why_opaque


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 5)
        self.register_buffer("hidden", torch.ones(1), persistent=False)
        self.temperature = 1.0
        self.options = {"mode": "mean", "dims": (2, 3), "flip": False}
        self.activation: Callable[[Tensor], Tensor] = torch.relu
        self.apart = [nn.Linear(5, 5)]  # Not registered: in no state dict.
        self.table = np.arange(3.0)
        self.plain = torch.zeros(2)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(x).mean(self.options["dims"])) / self.temperature
        return found


def key(model: Any, **settings: Any) -> str | None:
    return identity(Classifier(model, **settings))


def twice(x: Tensor) -> Tensor:
    return 2 * x


def _weight(net: Net) -> None:
    net.head.bias.data[0] += 1e-6


def _buffer(net: Net) -> None:
    net.hidden += 1


def _running_mean(net: Net) -> None:
    net.body[1].running_mean += 1


def _unregistered(net: Net) -> None:
    net.apart[0].weight.data[0, 0] += 1


def _hook(net: Net) -> None:
    net.register_forward_hook(lambda module, args, output: 2 * output)


def _forward(net: Net) -> None:
    net.forward = twice  # type: ignore[method-assign]


CHANGES: dict[str, Callable[[Net], Any]] = {
    "a weight": _weight,
    "a buffer that is not saved": _buffer,
    "a running mean": _running_mean,
    "a weight of a module in a list": _unregistered,
    "an attribute": lambda net: setattr(net, "temperature", 2.0),
    "an entry of an attribute": lambda net: net.options.update(flip=True),
    "a function": lambda net: setattr(net, "activation", torch.tanh),
    "a bound argument": lambda net: setattr(net, "activation", functools.partial(torch.clamp)),
    "an array": lambda net: net.table.fill(1.0),
    "a tensor that is no buffer": lambda net: net.plain.fill_(1.0),
    "a layer of the same weights": lambda net: net.body.__setitem__(2, nn.SiLU()),
    "a stride": lambda net: setattr(net.body[0], "stride", (2, 2)),
    "a hook": _hook,
    "forward of this one": _forward,
    "pruning": lambda net: prune.l1_unstructured(net.head, "weight", 0.5),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_it_changes_with(what: str) -> None:
    before, net = key(Net()), Net()
    assert before is not None
    CHANGES[what](net)
    assert key(net) is not None
    assert key(net) != before


def test_it_changes_with_the_normalisation() -> None:
    keys = {
        key(Net()),
        key(Net(), mean=0.5, std=0.5),
        key(Net(), mean=0.4, std=0.5),
        key(Net(), mean=0.5, std=0.4),
    }
    assert len(keys) == 4


def test_it_changes_with_a_patched_class(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(Net())
    monkeypatch.setattr(Net, "forward", lambda self, x: self.head(x.mean((2, 3))))
    assert key(Net()) != before


def test_it_stays_with_everything_else() -> None:
    net = Net()
    before = key(net)
    assert before == key(Net()) == key(copy.deepcopy(net)) == key(net, name="another name")
    net.train()
    assert key(net) == before
    net.eval()
    net(torch.rand(1, 3, 8, 8))
    assert key(net) == before
    assert key(torch.compile(net)) == before
    # Hooks are counted over the whole process: the number is not the hook.
    handles = [Net().register_forward_hook(_print) for _ in range(3)]
    one, two = Net(), Net()
    one.register_forward_hook(_print)
    two.register_forward_hook(_print)
    assert key(one) == key(two) != before
    assert handles


def _print(*given: Any) -> None:
    print(given)


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
    assert done.stdout.strip() == key(_imported("test_identity", Path(__file__).parent).Net())


MODEL = """
from torch import nn
from helpers import scale
class Model(nn.Module):
    def forward(self, x):
        return scale(x.mean((2, 3)))
"""


def test_it_changes_with_the_code(tmp_path: Path) -> None:
    """Whose weights are the same; the helper is another file, which the model's imports."""
    keys = []
    for model, helper in (
        (MODEL, "def scale(x): return 2 * x\n"),
        (MODEL, "def scale(x): return 3 * x\n"),
        (MODEL.replace("mean", "amax"), "def scale(x): return 3 * x\n"),
    ):
        (tmp_path / "a_model.py").write_text(model)
        (tmp_path / "helpers.py").write_text(helper)
        for name in ("a_model", "helpers"):
            sys.modules.pop(name, None)
        keys.append(key(_imported("a_model", tmp_path).Model()))
    # A constant that the environment or a test may have set.
    for factor in (2, 2, 5):
        sys.modules["helpers"].FACTOR = factor  # type: ignore[attr-defined]
        keys.append(key(sys.modules["a_model"].Model()))
    for name in ("a_model", "helpers"):
        sys.modules.pop(name, None)
    assert None not in keys
    assert len(set(keys)) == 5
    assert keys[3] == keys[4]


def _imported(name: str, folder: Path) -> Any:
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def test_functions_have_none_unless_a_version_says_what_they_are() -> None:
    assert key(twice) is None
    assert why_opaque(Classifier(twice)).startswith("it is a plain function")
    named = key(twice, version="1")
    assert named is not None
    assert named == key(twice, version="1")
    assert why_opaque(Classifier(twice, version="1")) == ""
    others = {
        key(twice, version="2"),
        key(_print, version="1"),
        key(twice, version="1", mean=0.5, std=0.5),
        key(Net(), version="1"),
        key(Net()),
    }
    assert named not in others
    assert len(others) == 5
    # A version speaks of what cannot be seen: weights can.
    changed = Net()
    _weight(changed)
    assert key(changed, version="1") != key(Net(), version="1")


@pytest.mark.parametrize("version", ["", 3])
def test_a_version_is_text(version: Any) -> None:
    with pytest.raises(SettingsError, match=f"version={version!r} cannot be used; expected text"):
        Classifier(twice, version=version)


def _lazy(net: Net) -> None:
    net.head = nn.LazyLinear(5)  # type: ignore[assignment]


def _locked(net: Net) -> None:
    import threading

    net.lock = threading.Lock()  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_lazy, "some of its weights do not exist yet"),
        (_locked, "it holds a lock, which is opaque"),
        (lambda net: setattr(net, "stuff", {object(), object()}), "it holds a set of objects"),
    ],
)
def test_what_cannot_be_looked_into_has_none(change: Callable[[Net], Any], why: str) -> None:
    net = Net()
    change(net)
    assert key(net) is None
    assert why_opaque(Classifier(net)).startswith(why)


def test_compiled_code_has_none() -> None:
    with pytest.warns(DeprecationWarning) if sys.version_info >= (3, 14) else _nothing():
        scripted = torch.jit.trace(nn.Linear(3, 4), torch.rand(1, 3))
    assert key(scripted) is None
    assert "is compiled code" in why_opaque(Classifier(scripted))


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


def test_files_are_known_by_their_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    one.write_bytes(b"weights")
    two.write_bytes(b"weights")
    assert key(one) == key(two) is not None
    two.write_bytes(b"others")
    assert key(one) != key(two)


def test_models_of_timm_torchvision_and_transformers_have_one() -> None:
    import timm
    import torchvision
    import transformers

    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    for make in (
        lambda: timm.create_model("test_vit"),
        lambda: torchvision.models.shufflenet_v2_x0_5(),
        lambda: transformers.ViTForImageClassification(config),
    ):
        keys = []
        for _ in range(2):
            torch.manual_seed(0)
            keys.append(key(make()))
        assert keys[0] == keys[1] is not None
