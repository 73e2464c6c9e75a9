"""What every backend promises of a network and of its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError
from pytest_iaside.models.backends import Backend, BackendName, available_backends, open_backend
from pytest_iaside.models.backends.probe import AGREEMENT
from pytest_iaside.models.classifier import Classifier

BATCH = 4
# One image, less than a batch, a whole one, and more than two.
COUNTS = (1, 3, BATCH, 10)
WRONG = (2, 3, 9, 9)
"""A shape of inputs that the network fails on."""


def network() -> nn.Sequential:
    """A network in a mode of its own, part by part; answers differ by several nats."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(108), nn.Dropout(0.5), nn.Linear(108, 5))
    with torch.no_grad():
        layers[3].weight.mul_(10)
    layers[1].eval().requires_grad_(False)
    return layers


def pictures(count: int) -> Tensor:
    return torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def onnx_file(folder: Path) -> Path:
    """``network()`` in eval mode as an .onnx file, whose batches are of any size."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    last: Any = network()[3]
    # The batch norm of an untrained network in eval mode divides by √(1 + 1e-5).
    weights = {
        "scale": np.array([1 / (1 + 1e-5) ** 0.5], dtype=np.float32),
        "weight": last.weight.detach().numpy(),
        "bias": last.bias.detach().numpy(),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("Mul", ["flat", "scale"], ["normal"]),
            helper.make_node("Gemm", ["normal", "weight", "bias"], ["logits"], transB=1),
        ],
        "net",
        [helper.make_tensor_value_info("x", kind, ("batch", 3, 6, 6))],
        [helper.make_tensor_value_info("logits", kind, ("batch", 5))],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    path = folder / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def a_module(folder: Path) -> nn.Sequential:
    return network()


MODELS: dict[str, Callable[[Path], Any]] = {
    "eager": a_module,
    "compile": a_module,
    "openvino": a_module,
    "onnx": onnx_file,
}
"""What each backend runs: ``network()`` as it takes it."""


def opened(model: Any, backend: str, batch_size: int = BATCH) -> Any:
    settings = {"backend": backend, "device": "cpu", "batch_size": batch_size}
    return open_backend(Classifier(model), inputs=pictures(2), passes=10, **settings)


def state(model: Any) -> dict[str, Any]:
    """All of a model that a backend may touch and has to put back."""
    if isinstance(model, Path):
        return {"file": hashlib.sha256(model.read_bytes()).hexdigest()}
    tensors = [*model.parameters(), *model.buffers()]
    return {
        "mode": [part.training for part in model.modules()],
        "requires_grad": [tensor.requires_grad for tensor in tensors],
        "device": [tensor.device for tensor in tensors],
        "dtype": [tensor.dtype for tensor in tensors],
        "identity": [id(tensor) for tensor in tensors],
        "strides": [tensor.stride() for tensor in tensors],
        "values": [tensor.detach().tolist() for tensor in tensors],
        "gradients": [tensor.grad for tensor in tensors],
        "hooks": [len(part._forward_hooks) for part in model.modules()],
    }


@dataclass
class Found:
    """What a backend made of ``network()``, in one run: compiling takes seconds."""

    name: str
    before: dict[str, Any]
    after: dict[str, Any] = field(default_factory=dict)
    answers: dict[int, Tensor] = field(default_factory=dict)
    """By the number of images."""
    many: list[Tensor] = field(default_factory=list)
    """Of batches of 10, 1, 4, … images, all of them different."""
    failure: Exception | None = None
    """What inputs of the shape WRONG came to."""
    again: Tensor | None = None
    """The answers to 4 images after that failure."""


def batches() -> list[Tensor]:
    """The images 0 to 9, 1, 2 to 5, …: no two batches alike."""
    images = pictures(30)
    return [images[a:b] for a, b in ((0, 10), (10, 11), (11, 15), (15, 18), (18, 26), (26, 30))]


@pytest.fixture(scope="module", params=MODELS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    name = request.param
    if name not in available_backends():
        pytest.skip(f"{name} is not installed")
    model = MODELS[name](tmp_path_factory.mktemp(name))
    result = Found(name, state(model))
    with opened(model, name) as backend:
        result.answers = {count: backend.forward(pictures(count)) for count in COUNTS}
        result.many = list(backend.forward_many(iter(batches())))
        result.failure = failure(backend)
        result.again = backend.forward(pictures(BATCH))
    result.after = state(model)
    return result


def failure(backend: Backend) -> Exception | None:
    try:
        backend.forward(torch.zeros(WRONG))
    except Exception as error:
        return error
    return None


def expected(inputs: Tensor) -> Tensor:
    """The log-probabilities that PyTorch itself finds."""
    with torch.no_grad():
        return torch.log_softmax(network().eval()(inputs).double(), dim=1)


def gap(logits: Tensor, inputs: Tensor) -> float:
    """How far ``logits`` are from PyTorch's, in log-probabilities."""
    return float((torch.log_softmax(logits.double(), dim=1) - expected(inputs)).abs().max())


def test_every_backend_is_covered() -> None:
    assert set(MODELS) == set(get_args(BackendName)) - {"auto"}
    assert set(available_backends()) <= set(MODELS)


def test_the_answers_tell_images_and_classes_apart() -> None:
    # Else no test below could see answers that are mixed up.
    answers = expected(pictures(30))
    nearest = torch.cdist(answers, answers) + 1e9 * torch.eye(30)
    assert float(nearest.min()) > 100 * AGREEMENT
    assert float(answers.std(dim=1).min()) > 100 * AGREEMENT


def test_it_agrees_with_pytorch_for_any_number_of_images(found: Found) -> None:
    gaps = {count: gap(logits, pictures(count)) for count, logits in found.answers.items()}
    assert max(gaps.values()) <= (0 if found.name == "eager" else AGREEMENT), gaps


def test_logits_are_floats_of_every_image_and_class_without_gradients(found: Found) -> None:
    for count, logits in found.answers.items():
        assert logits.shape == (count, 5)
        assert logits.dtype in (torch.float32, torch.float64)
        assert logits.device == torch.device("cpu")
        assert not logits.requires_grad


def test_the_order_of_batches_is_kept(found: Found) -> None:
    assert [len(logits) for logits in found.many] == [10, 1, 4, 3, 8, 4]
    for logits, inputs in zip(found.many, batches(), strict=True):
        assert gap(logits, inputs) <= AGREEMENT


def test_the_model_comes_back_as_it_went(found: Found) -> None:
    assert found.after == found.before


def test_inputs_that_the_network_fails_on_are_named(
    found: Found, request: pytest.FixtureRequest
) -> None:
    assert isinstance(found.failure, ModelError), found.failure
    assert "9, 9)" in str(found.failure) or "3×9×9" in str(found.failure)


def test_it_works_on_after_a_failure(found: Found) -> None:
    assert found.again is not None
    assert gap(found.again, pictures(BATCH)) <= AGREEMENT


@pytest.mark.parametrize("name", MODELS)
def test_the_size_of_batches_changes_no_answer(name: str, tmp_path: Path) -> None:
    if name == "compile":
        pytest.skip("every size is compiled anew; that the last batch is filled up is tested above")
    if name not in available_backends():
        pytest.skip(f"{name} is not installed")
    model = MODELS[name](tmp_path)
    for size in (1, 3, 16):
        with opened(model, name, size) as backend:
            assert gap(backend.forward(pictures(10)), pictures(10)) <= AGREEMENT
            (logits,) = backend.forward_many([pictures(10)])
            assert gap(logits, pictures(10)) <= AGREEMENT


@pytest.mark.parametrize("mode", ["train", "eval", "mixed", "inside out"])
@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model is a_module])
def test_a_module_comes_back_in_its_mode_from_an_error_too(name: str, mode: str) -> None:
    if name not in available_backends():
        pytest.skip(f"{name} is not installed")
    module = network().train(mode in ("train", "mixed"))
    if mode in ("mixed", "inside out"):
        module[1].train(mode == "inside out")
    before = state(module)
    with pytest.raises(KeyError), opened(module, name):
        assert not any(part.training for part in module.modules())
        raise KeyError("the caller's own")
    assert state(module) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_module_comes_back_from_another_device() -> None:
    module = network()
    before = state(module)
    with open_backend(Classifier(module)) as backend:
        assert backend.device == torch.device("cuda:0")
        logits = backend.forward(pictures(BATCH))
    assert logits.device == torch.device("cuda:0")
    assert gap(logits.cpu(), pictures(BATCH)) <= AGREEMENT
    # PyTorch makes buffers anew where a module is moved.
    after = state(module)
    assert {**after, "identity": None} == {**before, "identity": None}
    parameters = len(list(module.parameters()))
    assert after["identity"][:parameters] == before["identity"][:parameters]
    module.cuda()
    with opened(module, "eager") as backend:
        backend.forward(pictures(BATCH))
    assert {parameter.device.type for parameter in module.parameters()} == {"cuda"}
