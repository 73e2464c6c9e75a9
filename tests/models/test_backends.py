"""Backends: right logits, and modules that come back exactly as they went."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import ReferenceSample, measure
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.models.backends import available_backends, open_backend
from pytest_iaside.models.backends.eager import exact_float32
from pytest_iaside.models.classifier import Classifier


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 5)
    )


def pictures(count: int = 4) -> Tensor:
    images = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return images.to(memory_format=torch.channels_last)


def run(model: Any, inputs: Tensor, **settings: Any) -> Tensor:
    with open_backend(Classifier(model), device="cpu", **settings) as backend:
        return backend.forward(inputs)


class TestEager:
    def test_feeds_float32_in_channels_last(self) -> None:
        seen: list[Tensor] = []

        def spy(inputs: Tensor) -> Tensor:
            seen.append(inputs)
            return inputs.mean((2, 3))

        run(spy, pictures().double().contiguous())
        assert seen[0].dtype == torch.float32
        assert seen[0].is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(seen[0], pictures())

    def test_name_and_device(self) -> None:
        with open_backend(Classifier(network()), device="cpu") as backend:
            assert backend.name == "eager"
            assert backend.device == torch.device("cpu")

    def test_logits_are_the_callers_own(self) -> None:
        buffer = torch.zeros(4, 3)

        def reuses(inputs: Tensor) -> Tensor:
            return buffer.add_(1)

        with open_backend(Classifier(reuses), device="cpu") as backend:
            first, second = backend.forward(pictures()), backend.forward(pictures())
        assert set(first.flatten().tolist()) == {1.0}
        assert set(second.flatten().tolist()) == {2.0}
        assert not run(network(), pictures()).requires_grad
        run(network(), pictures()).sub_(1)

    @pytest.mark.parametrize(
        ("dtype", "expected"),
        [
            (torch.float16, torch.float32),
            (torch.bfloat16, torch.float32),
            (torch.float32, torch.float32),
            (torch.float64, torch.float64),
        ],
    )
    def test_type_of_the_logits(self, dtype: torch.dtype, expected: torch.dtype) -> None:
        assert run(lambda x: x.mean((2, 3)).to(dtype), pictures()).dtype == expected

    def test_numpy_functions(self) -> None:
        found = run(lambda x: x.numpy().mean((2, 3), dtype=np.float64), pictures())
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, pictures().double().mean((2, 3)))

    def test_failure_names_the_inputs_and_keeps_the_cause(self) -> None:
        message = r"Sequential failed on float32 inputs of shape \(2, 3, 9, 9\) on cpu \(RuntimeEr"
        with pytest.raises(ModelError, match=message) as caught:
            run(network(), torch.zeros(2, 3, 9, 9))
        assert isinstance(caught.value.__cause__, RuntimeError)

    def test_what_are_no_logits_are_refused(self) -> None:
        with pytest.raises(
            ModelError, match=r"returned a tuple of 2: .* none of them is floating 2-D"
        ):
            run(lambda x: (x, x), pictures())

    def test_a_function_stays_on_the_cpu(self) -> None:
        with open_backend(Classifier(lambda x: x.mean((2, 3)))) as backend:
            assert backend.device == torch.device("cpu")


class TestOutOfMemory:
    """What does not fit into memory is run in halves, from then on."""

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory"),
            MemoryError(),
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        ],
    )
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_halves_until_it_fits(self, error: Exception, wrapped: bool) -> None:
        sizes: list[int] = []

        def small(inputs: Tensor) -> Tensor:
            sizes.append(len(inputs))
            if len(inputs) > 3:
                if wrapped:
                    raise ValueError("layer 3 failed") from error
                raise error
            return inputs.mean((2, 3))

        with open_backend(Classifier(small), device="cpu", batch_size=9) as backend:
            found = backend.forward(pictures(9))
            torch.testing.assert_close(found, pictures(9).mean((2, 3)))
            assert sizes == [9, 5, 3, 3, 3]
            assert backend.setup.batch_size == 3
            backend.forward(pictures(4))
            assert sizes[5:] == [3, 1]

    def test_one_image_that_does_not_fit_is_an_error(self) -> None:
        def large(inputs: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

        with pytest.raises(ModelError, match="OutOfMemoryError: CUDA out of memory"):
            run(large, pictures(9))

    def test_other_errors_are_not_tried_again(self) -> None:
        calls: list[int] = []

        def broken(inputs: Tensor) -> Tensor:
            calls.append(len(inputs))
            raise RuntimeError("shapes do not match")

        with pytest.raises(ModelError, match="shapes do not match"):
            run(broken, pictures(9))
        assert calls == [9]

    def test_memory_is_free_before_the_next_attempt(self) -> None:
        alive: list[int] = []

        class Activation:
            def __init__(self) -> None:
                alive.append(1)

            def __del__(self) -> None:
                alive.pop()

        def large(inputs: Tensor) -> Tensor:
            assert not alive
            kept = Activation()
            if len(inputs) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            del kept
            return inputs.mean((2, 3))

        assert run(large, pictures(8)).shape == (8, 3)


class TestPrecision:
    def test_bfloat16_is_autocast(self) -> None:
        seen: list[torch.dtype] = []

        class Spy(nn.Linear):
            def forward(self, inputs: Tensor) -> Tensor:
                found = super().forward(inputs)
                seen.append(found.dtype)
                return found

        torch.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), Spy(108, 5))
        exact = run(module, pictures())
        found = run(module, pictures(), dtype="bfloat16")
        assert seen == [torch.float32, torch.bfloat16]
        assert found.dtype == torch.float32
        assert 1e-5 < (found - exact).abs().max().item() < 0.05

    def test_float32_on_cuda_is_no_tensorfloat(self) -> None:
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        named = hasattr(cudnn, "conv")  # since PyTorch 2.9

        def precisions() -> tuple[object, object]:
            if named:
                return matmul.fp32_precision, cudnn.conv.fp32_precision
            return matmul.allow_tf32, cudnn.allow_tf32

        before = precisions()
        with pytest.raises(KeyError), exact_float32():
            assert precisions() == (("ieee", "ieee") if named else (False, False))
            assert torch.backends.cudnn.deterministic
            raise KeyError
        assert precisions() == before
        assert not torch.backends.cudnn.deterministic

    def test_an_onnx_file_has_the_precision_it_was_written_with(self, tmp_path: Path) -> None:
        (tmp_path / "n.onnx").write_bytes(b"")
        with pytest.raises(SettingsError, match="dtype='bfloat16' cannot be had of n"):
            run(tmp_path / "n.onnx", pictures(), dtype="bfloat16")


class TestCompiled:
    def test_same_logits_for_one_size_of_batch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes: list[int] = []

        def compile(module: nn.Module, **settings: Any) -> Any:
            assert settings == {"dynamic": False, "options": {"freezing": True}}
            return lambda inputs: (sizes.append(len(inputs)), module(inputs))[1]

        monkeypatch.setattr(torch, "compile", compile)
        module = network()
        with open_backend(
            Classifier(module), device="cpu", backend="compile", batch_size=4
        ) as backend:
            assert backend.name == "compile"
            found = backend.forward(pictures(10))
        assert sizes == [4, 4, 4]
        torch.testing.assert_close(found, run(module, pictures(10)))


class CustomTrain(nn.Module):
    """A module whose train() and eval() do more than set flags."""

    def __init__(self) -> None:
        super().__init__()
        self.merged = False
        self.head = nn.Linear(3, 2)

    def train(self, mode: bool = True) -> CustomTrain:
        self.merged = not mode
        return super().train(mode)

    def forward(self, inputs: Tensor) -> Tensor:
        assert self.merged
        found: Tensor = self.head(inputs.mean((2, 3)))
        return found


class TestPutsBack:
    def test_through_the_modules_own_train(self) -> None:
        module = CustomTrain()
        run(module, pictures())
        assert not module.merged
        assert module.training

    def test_a_module_that_caches_can_still_be_trained(self) -> None:
        class Caches(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = nn.Linear(3, 2)
                self.cache: Tensor | None = None

            def forward(self, inputs: Tensor) -> Tensor:
                if self.cache is None:
                    self.cache = torch.ones(3) / 2
                found: Tensor = self.head(inputs.mean((2, 3)) * self.cache)
                return found

        module = Caches()
        run(module, pictures())
        module(pictures().requires_grad_()).sum().backward()
        assert module.head.weight.grad is not None

    def test_an_exported_program_runs(self) -> None:
        exported = torch.export.export(network().eval(), (pictures(),)).module()
        torch.testing.assert_close(run(exported, pictures()), run(network(), pictures()))

    @pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
    def test_a_scripted_module_runs(self) -> None:
        scripted = torch.jit.trace(network().eval(), pictures())  # type: ignore[no-untyped-call]
        torch.testing.assert_close(run(scripted, pictures()), run(network(), pictures()))

    def test_moves_there_and_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # A second device is not at hand: the moves are recorded instead of made.
        moves: list[str] = []
        module = network()
        monkeypatch.setattr(module, "to", lambda device: moves.append(str(device)))
        with open_backend(Classifier(module), device="meta") as backend:
            assert backend.device == torch.device("meta")
            assert moves == ["meta"]
        assert moves == ["meta", "cpu"]

    def test_a_move_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        moves: list[str] = []
        module = network()

        def to(device: torch.device) -> None:
            moves.append(str(device))
            if device.type == "meta":
                raise RuntimeError("out of memory")

        monkeypatch.setattr(module, "to", to)
        with (
            pytest.raises(ModelError, match=r"cannot be moved from cpu to meta.*use device='cpu'"),
            open_backend(Classifier(module), device="meta"),
        ):
            pytest.fail("it was opened")
        assert moves == ["meta", "cpu"]


class TestDevice:
    def test_auto_is_where_the_weights_are(self) -> None:
        module = nn.Linear(3, 2, device="meta")
        with open_backend(Classifier(module)) as backend:
            assert backend.device == torch.device("meta")

    @pytest.mark.parametrize("cuda", [False, True])
    def test_auto_on_the_cpu_prefers_cuda(
        self, monkeypatch: pytest.MonkeyPatch, cuda: bool
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        asked: list[Any] = []

        def usable(device: Any) -> torch.device:
            asked.append(device)
            return torch.device("cpu")

        monkeypatch.setattr("pytest_iaside.models.backends.devices.usable_device", usable)
        with open_backend(Classifier(network())):
            pass
        assert asked == ["cuda" if cuda else "cpu"]

    def test_a_model_on_several_devices_stays(self) -> None:
        module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2, device="meta"))
        with open_backend(Classifier(module)) as backend:
            assert backend.device == torch.device("cpu")
        assert module[1].weight.device == torch.device("meta")
        with (
            pytest.raises(SettingsError, match="spread over cpu, meta; use device='auto'"),
            open_backend(Classifier(module), device="cpu"),
        ):
            pytest.fail("it was opened")

    @pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:x"])
    def test_devices_that_are_not_there(self, device: str) -> None:
        for model in (network(), lambda x: x):
            with (
                pytest.raises(SettingsError, match=f"device='{device}' cannot be used here"),
                open_backend(Classifier(model), device=device),
            ):
                pytest.fail("it was opened")


class TestChoice:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"backend": "tpu"},
                "backend='tpu' is unknown; use one of auto, eager, compile, openvino, onnx",
            ),
            ({"dtype": "int8"}, "dtype='int8' is unknown; use one of float32, bfloat16"),
            (
                {"backend": "onnx"},
                "which is not an .onnx file; use backend='eager' or 'compile' or 'openvino'",
            ),
        ],
    )
    def test_what_does_not_exist_or_fit(self, settings: dict[str, str], message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            run(network(), pictures(), **settings)

    def test_available(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
        assert available_backends() == ("eager", "compile", "openvino", "onnx")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert available_backends() == ("eager", "compile")


@pytest.fixture
def onnx_file(tmp_path: Path) -> Any:
    """Writes ``network()`` with a batch dimension that is free (None) or fixed."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT

    def write(batch: int | None = None, *, outputs: tuple[str, ...] = ("z",)) -> Path:
        module = network()
        conv, last = module[0], module[4]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(last, nn.Linear)
        weights: dict[str, Any] = {
            "cw": conv.weight,
            "cb": conv.bias,
            "lw": last.weight,
            "lb": last.bias,
        }
        # The batch norm of an untrained module in eval mode divides by √(1 + 1e-5).
        scale = 1 / (1 + 1e-5) ** 0.5
        nodes = [
            helper.make_node("Conv", ["x", "cw", "cb"], ["c"]),
            helper.make_node("Mul", ["c", "s"], ["n"]),
            helper.make_node("Flatten", ["n"], ["f"]),
            helper.make_node("Gemm", ["f", "lw", "lb"], [outputs[0]], transB=1),
        ]
        nodes += [helper.make_node("Neg", [outputs[0]], [name]) for name in outputs[1:]]
        initial = [
            onnx.numpy_helper.from_array(w.detach().numpy(), name) for name, w in weights.items()
        ]
        initial.append(onnx.numpy_helper.from_array(np.array([scale], dtype=np.float32), "s"))
        size = (batch or "batch", 3, 6, 6)
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", kind, size)],
            [helper.make_tensor_value_info(name, kind, (size[0], 5)) for name in outputs],
            initial,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path = tmp_path / "net.onnx"
        onnx.save(model, path)
        return path

    return write


class TestOnnx:
    @pytest.mark.parametrize("batch", [None, 1, 3, 4, 7])
    @pytest.mark.parametrize("backend", ["auto", "onnx"])
    def test_same_logits_as_the_module(
        self, onnx_file: Any, batch: int | None, backend: str
    ) -> None:
        with open_backend(Classifier(onnx_file(batch)), backend=backend) as opened:
            assert opened.name == "onnx"
            assert opened.device == torch.device("cpu")
            found = opened.forward(pictures(4))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, run(network(), pictures(4)), atol=1e-6, rtol=1e-5)

    def test_from_onnx(self, onnx_file: Any) -> None:
        classifier = Classifier.from_onnx(onnx_file(), mean=0.5, std=0.25, name="mine")
        assert classifier.name == "mine"
        assert classifier.mean is not None
        assert classifier.mean.tolist() == [0.5]

    def test_several_outputs_need_one_named_logits(self, onnx_file: Any) -> None:
        found = run(onnx_file(outputs=("z", "logits")), pictures())
        torch.testing.assert_close(found, -run(network(), pictures()), atol=1e-6, rtol=1e-5)
        with pytest.raises(
            ModelError, match=r"'z' .*'y' .*2 of them may be the logits; say .*output='z'"
        ):
            run(onnx_file(outputs=("z", "y")), pictures())

    def test_images_of_another_size(self, onnx_file: Any) -> None:
        message = "net takes images of 3×6×6, but they are 3×8×8"
        with pytest.raises(ModelError, match=message):
            run(onnx_file(), torch.zeros(1, 3, 8, 8))

    def test_an_input_that_is_no_image(self, tmp_path: Path) -> None:
        onnx = pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        kind = onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Neg", ["x"], ["z"])],
            "net",
            [onnx.helper.make_tensor_value_info("x", kind, (1, 5))],
            [onnx.helper.make_tensor_value_info("z", kind, (1, 5))],
        )
        opset = [onnx.helper.make_opsetid("", 17)]
        onnx.save(
            onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "n.onnx"
        )
        with pytest.raises(ModelError, match=r"takes x: tensor\(float\) 1×5; expected one float32"):
            run(tmp_path / "n.onnx", pictures())

    def test_a_broken_file(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        (tmp_path / "n.onnx").write_bytes(b"no graph")
        with pytest.raises(ModelError, match=r"cannot load .*n\.onnx .*export the model again"):
            run(tmp_path / "n.onnx", pictures())

    def test_settings_that_do_not_fit(self, onnx_file: Any) -> None:
        classifier = Classifier(onnx_file())
        for settings, message in (
            ({"backend": "eager"}, "net, which is an .onnx file; use backend='onnx'"),
            ({"device": "meta"}, "device='meta' is not available for .onnx files"),
        ):
            with pytest.raises(SettingsError, match=message), open_backend(classifier, **settings):
                pytest.fail("it was opened")

    def test_a_missing_runtime_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def import_module(name: str) -> Any:
            raise ModuleNotFoundError(f"No module named {name!r}")

        (tmp_path / "n.onnx").write_bytes(b"")
        monkeypatch.setattr(importlib, "import_module", import_module)
        with pytest.raises(ModelError, match=r"onnxruntime is needed.*pip install onnxruntime"):
            run(tmp_path / "n.onnx", pictures())


def test_weights_that_hold_no_numbers_are_named() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    reference = ReferenceSample(torch.rand(4, 3, 2, 2))
    with pytest.raises(ModelError, match=r"weights of Sequential hold no numbers: .* load them"):
        measure(model, reference, bands=2)


def test_a_sparse_buffer_is_part_of_the_weights() -> None:
    class Masked(nn.Module):
        def __init__(self, at: int) -> None:
            super().__init__()
            dense = torch.zeros(3, 12)
            dense[at % 3, at] = 1.0
            self.register_buffer("weight", dense.to_sparse())

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = torch.sparse.mm(self.weight, images.flatten(1).T).T
            return found

    one, same, other = (Classifier(Masked(at)).fingerprint() for at in (1, 1, 2))
    assert one == same != other
    with open_backend(Classifier(Masked(1))) as backend:
        images = torch.rand(2, 3, 2, 2)
        expected = torch.zeros(2, 3)
        expected[:, 1] = images.flatten(1)[:, 1]
        torch.testing.assert_close(backend.forward(images), expected)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_several_types_are_named(kind: torch.dtype) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 3).to(kind))
    name = ", ".join(sorted(["float32", str(kind).removeprefix("torch.")]))
    with (
        open_backend(Classifier(model), backend="eager") as backend,
        pytest.raises(ModelError, match=rf"its weights are {name}: measure model\.float\(\)"),
    ):
        backend.forward(torch.rand(2, 3, 2, 2))
