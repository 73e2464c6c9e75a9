"""OpenVINO: the same logits as PyTorch, in order, and a module that is left alone."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import ReferenceSample, measure
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.models.backends import open_backend
from pytest_iaside.models.backends.base import Unfit
from pytest_iaside.models.backends.openvino import convert
from pytest_iaside.models.classifier import Classifier

openvino = pytest.importorskip("openvino")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(8 * 7 * 7, 5),
    )


def pictures(count: int, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def opened(model: Any, backend: str = "openvino", **settings: Any) -> Any:
    return open_backend(
        Classifier(model), backend=backend, inputs=pictures(4), passes=1, **settings
    )


def eager(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(inputs)


def test_its_threads_are_tied_to_no_core() -> None:
    """Two processes with one thread each would share the first core: half the speed for both."""
    with opened(network()) as backend:
        assert backend._compiled.get_property("ENABLE_CPU_PINNING") is False


SIGNALLED = """
import gc, os, signal, threading
import torch
from pytest_iaside.models.backends import open_backend
from pytest_iaside.models.classifier import Classifier

network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2))
images = torch.rand(2, 3, 1, 1)
opened = open_backend(Classifier(network), backend="openvino", inputs=images, passes=1)
held = [opened, opened.__enter__()]
held[1].forward(images)
del opened
thread = threading.Thread(target=held.clear)
thread.start()
thread.join()
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("came"))
os.kill(os.getpid(), signal.SIGTERM)
print("went on")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="stacks of signals")
def test_a_signal_that_comes_afterwards_is_no_end() -> None:
    """OpenVINO frees the stack that signals run on where another thread lets go of it."""
    command = [sys.executable, "-c", SIGNALLED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "came\nwent on\n"), done.stderr


@pytest.mark.parametrize("count", [1, 3, 8, 20])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_same_logits_for_batches_of_any_size(count: int, layout: torch.memory_format) -> None:
    module = network()
    with opened(module) as backend:
        assert backend.name == "openvino"
        found = backend.forward(pictures(count).to(memory_format=layout))
    torch.testing.assert_close(found, eager(module, pictures(count)), atol=1e-5, rtol=0)


def test_many_batches_come_back_in_their_order_and_are_not_drawn_far_ahead() -> None:
    module, drawn, ahead = network(), 0, []

    def batches() -> Iterator[Tensor]:
        nonlocal drawn
        for seed in range(40):
            drawn += 1
            yield pictures(1 + seed % 3, seed)

    with opened(module) as backend:
        under_way = len(backend._requests)
        for seed, logits in enumerate(backend.forward_many(batches())):
            ahead.append(drawn - seed)
            expected = eager(module, pictures(1 + seed % 3, seed))
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    assert len(ahead) == 40
    assert max(ahead) == under_way + 1
    assert min(ahead) == 1


def test_pytorch_leaves_the_cores_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_iaside.models.tuning.usable_threads", lambda: 2)
    before = torch.get_num_threads()
    with opened(network()) as backend:
        assert backend._compiled.get_property("INFERENCE_NUM_THREADS") == backend.threads == 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with opened(network(), backend="eager"):
        assert torch.get_num_threads() == 2


def test_a_caller_that_stops_in_the_middle_can_begin_again() -> None:
    module = network()
    with opened(module) as backend:
        stream = backend.forward_many(pictures(2, seed) for seed in range(10))
        next(stream)
        stream.close()
        found = backend.forward(pictures(2, 99))
    torch.testing.assert_close(found, eager(module, pictures(2, 99)), atol=1e-5, rtol=0)


def test_logits_are_the_callers_own() -> None:
    with opened(network()) as backend:
        first = backend.forward(pictures(2, 1))
        before = first.clone()
        backend.forward(pictures(2, 2))
        assert torch.equal(first, before)


def test_the_module_comes_back_as_it_was() -> None:
    class Counts(nn.Module):
        """Keeps what it sees, as modules with caches do."""

        def __init__(self) -> None:
            super().__init__()
            self.body = network()
            self.calls = 0
            self.last: Tensor | None = None

        def forward(self, inputs: Tensor) -> Tensor:
            self.calls += 1
            self.last = inputs.mean(0)
            found: Tensor = self.body(inputs)
            return found

    module = Counts().train()
    identity = [id(p) for p in module.parameters()]
    with opened(module) as backend:
        backend.forward(pictures(2))
    assert all(part.training for part in module.modules())
    assert [id(p) for p in module.parameters()] == identity
    # The module itself ran twice, on real numbers: to count operations, and to be compared.
    assert module.calls == 2
    assert type(module.last) is Tensor
    module(pictures(2)).sum().backward()


def test_nothing_is_reported_to_anyone(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = pytest.importorskip("openvino_telemetry")

    def reports(*_: Any, **__: Any) -> None:
        pytest.fail("a report was sent")

    monkeypatch.setattr(telemetry.Telemetry, "__init__", reports)
    with opened(network()) as backend:
        backend.forward(pictures(1))


def test_float32_is_float32_even_where_the_processor_has_less() -> None:
    """Σ of 4,096 ones and one 1e-3: bfloat16 loses the last one altogether."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    linear = module[1]
    assert isinstance(linear, nn.Linear)
    nn.init.constant_(linear.weight, 1.0)
    nn.init.zeros_(linear.bias)
    inputs = torch.ones(1, 3, 16, 16)
    inputs[0, 0, 0, 0] = 1.001
    with opened(module) as backend:
        assert backend.forward(inputs)[0, 0].item() == pytest.approx(768.001, abs=2e-4)


def test_bfloat16_is_a_setting_of_its_own() -> None:
    module = network()
    expected = eager(module, pictures(4))
    try:
        with opened(module, dtype="bfloat16") as backend:
            found = backend.forward(pictures(4))
    except Unfit as unfit:
        pytest.skip(str(unfit))  # This processor has no bfloat16.
    gap = (found - expected).abs().max().item()
    assert 1e-5 < gap < 0.05


class Branches(nn.Module):
    """Computes something else for bright images: what a trace would miss."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        means = inputs.mean((2, 3))
        found: Tensor = self.head(means if means.mean() < 0.6 else means**2)
        return found


def test_what_cannot_be_converted_says_why_and_nothing_else(
    capfd: pytest.CaptureFixture[str],
) -> None:
    message = r"Branches cannot be run so: openvino cannot convert it .*; use backend='auto'"
    with pytest.raises(ModelError, match=message), opened(Branches()):
        pytest.fail("it was opened")
    assert capfd.readouterr() == ("", "")


def test_it_runs_on_the_cpu_and_runs_modules() -> None:
    with (
        pytest.raises(SettingsError, match="backend='openvino' runs on the CPU, not on meta"),
        opened(nn.Linear(3, 2, device="meta")),
    ):
        pytest.fail("it was opened")
    with (
        pytest.raises(SettingsError, match="is a plain function; use backend='eager' or 'auto'"),
        opened(lambda x: x),
    ):
        pytest.fail("it was opened")


def test_a_missing_openvino_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", import_module)
    with (
        pytest.raises(ModelError, match=r"cannot be imported.*pip install 'pytest-iaside\[cpu\]'"),
        opened(network()),
    ):
        pytest.fail("it was opened")


@pytest.mark.parametrize("absence", ["zero", "gaussian"])
def test_a_game_on_it_is_the_same_game(absence: Any) -> None:
    module = network()
    images = torch.rand(9, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    model, sample = Classifier(module, mean=0.5, std=0.25), ReferenceSample(images)
    first, again, plain = (
        measure(
            model,
            sample,
            bands=4,
            absence=absence,
            execution=Execution(backend=backend, batch_size=5),
        )
        for backend in ("openvino", "openvino", "eager")
    )
    assert first.environment["backend"] == "openvino"
    assert first.environment["memory_format"] == "contiguous"
    assert first.environment["batch_size"] == "5"
    assert (first.log_likelihood == again.log_likelihood).all()
    assert np.abs(first.log_likelihood - plain.log_likelihood).max() < 1e-5
    assert first.labels.tolist() == plain.labels.tolist()


class Attention(nn.Module):
    """Attention over the rows of an image, as transformers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(16, 2, batch_first=True)
        self.last = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        rows = images.mean(dim=1)
        found: Tensor = self.last(self.inner(rows, rows, rows, need_weights=False)[0].mean(dim=1))
        return found


def test_weights_of_attention_are_not_copied_for_each_place() -> None:
    """Taken apart, its first layer had them once for every row: 8 GiB for a ViT-S."""
    converted = convert(Attention().eval(), torch.rand(2, 3, 16, 16), "attention")
    fixed = converted.clone()
    fixed.reshape([2, 3, 16, 16])
    products = [each for each in fixed.get_ops() if each.get_type_name() == "MatMul"]
    assert products
    assert all(len(each.input(1).get_partial_shape()) == 2 for each in products)
    kinds = [each.get_type_name() for each in fixed.get_ops()]
    assert kinds.count("ScaledDotProductAttention") == 1
