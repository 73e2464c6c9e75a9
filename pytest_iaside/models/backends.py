"""Backends: what runs a classifier's network on prepared inputs, and where."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.models.classifier import Classifier, check_logits
from pytest_iaside.models.tuning import keep_freed_memory

BackendName = Literal["auto", "eager", "onnx"]
ComputeType = Literal["float32"]


class Backend(Protocol):
    """A network that is ready to run; valid until its ``open_backend`` ends."""

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> torch.device: ...

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (batch, classes), float32 or float64, on ``device``, without gradients.

        ``inputs`` (batch, channels, height, width) float32 are what the network is fed,
        normalised already. Raises ModelError when the network fails or returns no logits.
        """


def available_backends() -> tuple[str, ...]:
    """The backends that this environment can run."""
    onnx = ("onnx",) if importlib.util.find_spec("onnxruntime") else ()
    return ("eager", *onnx)


@contextmanager
def open_backend(
    classifier: Classifier,
    *,
    backend: str = "auto",
    device: str | torch.device = "auto",
    dtype: str = "float32",
) -> Iterator[Backend]:
    """Make ``classifier`` ready to run, and put its module back as it was afterwards.

    ``device="auto"``: where the module's weights lie if that is not the CPU, else CUDA where
    there is one. A plain function stays on the CPU unless a device is named.

    Raises SettingsError when the backend, device or dtype is unknown, unavailable or does not
    fit the network; ModelError when the network cannot be prepared.
    """
    for what, found, choices in (
        ("backend", backend, get_args(BackendName)),
        ("dtype", dtype, get_args(ComputeType)),
    ):
        if found not in choices:
            raise SettingsError(f"{what}={found!r} is unknown; use one of {', '.join(choices)}")
    keep_freed_memory()
    network = classifier.network
    fitting = "onnx" if isinstance(network, Path) else "eager"
    if backend not in ("auto", fitting):
        kind = "an .onnx file" if fitting == "onnx" else "not an .onnx file"
        raise SettingsError(
            f"backend={backend!r} cannot run {classifier.name}, which is {kind}; "
            f"use backend='{fitting}' or 'auto'"
        )
    if isinstance(network, Path):
        if device != "auto" and _usable_device(device).type != "cpu":
            raise SettingsError(
                f"device={str(device)!r} is not available for .onnx files; use 'cpu' or 'auto'"
            )
        yield _OnnxBackend(network, classifier.name)
    elif isinstance(network, nn.Module):
        target = _module_device(network, device)
        with _moved(network, target, classifier.name), _in_eval_mode(network):
            yield _EagerBackend(network, target, classifier.name)
    else:
        # What a function holds inside is unknown, so "auto" cannot move it.
        target = torch.device("cpu") if device == "auto" else _usable_device(device)
        yield _EagerBackend(network, target, classifier.name)


class _EagerBackend:
    """The network itself, called by PyTorch."""

    name = "eager"

    def __init__(self, network: Callable[[Tensor], Any], device: torch.device, label: str) -> None:
        self.device = device
        self._network = network
        self._label = label

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = inputs.to(
            self.device, torch.float32, memory_format=torch.channels_last, non_blocking=True
        )
        # Not inference_mode: tensors that a module keeps from it (a lazily filled cache) can
        # never be trained with again, and the module is the user's.
        with torch.no_grad():
            try:
                found = self._network(inputs)
            except Exception as error:  # Whatever the user's network raises.
                raise _failure(self._label, inputs, self.device, error) from error
            logits = check_logits(found, len(inputs)).detach()
            if logits.dtype not in (torch.float32, torch.float64):
                logits = logits.float()
            # A copy: a network may hand out the same tensor each time.
            return logits.to(self.device, copy=True)


class _OnnxBackend:
    """An .onnx file, run by ONNX Runtime on the CPU."""

    name = "onnx"

    def __init__(self, path: Path, label: str) -> None:
        self.device = torch.device("cpu")
        self._label = label
        try:
            runtime = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise ModelError(
                f"onnxruntime is needed to run {path} and cannot be imported ({error}); "
                "pip install onnxruntime"
            ) from error
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = runtime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own kinds, one for each stage of loading.
            raise ModelError(
                f"ONNX Runtime cannot load {path} ({_one_line(error)}); export the model again"
            ) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            found = ", ".join(f"{i.name}: {i.type} {_size(i.shape)}" for i in inputs)
            raise ModelError(
                f"{path} takes {found}; expected one float32 input of (batch, channels, height, "
                "width): export the model again with such an input"
            )
        self._input, self._shape = inputs[0].name, inputs[0].shape
        outputs = [output.name for output in self._session.get_outputs()]
        if len(outputs) > 1 and "logits" not in outputs:
            raise ModelError(
                f"{path} has the outputs {', '.join(outputs)}; expected a single one, or one "
                "named logits: export the model again with that name"
            )
        self._output = "logits" if "logits" in outputs else outputs[0]

    def forward(self, inputs: Tensor) -> Tensor:
        wanted, found = self._shape[1:], inputs.shape[1:]
        if any(isinstance(w, int) and w != f for w, f in zip(wanted, found, strict=True)):
            raise ModelError(
                f"{self._label} takes images of {_size(wanted)}, but they are {_size(found)} "
                "(channels×height×width); resize the reference sample or export the model again"
            )
        batch = inputs.to("cpu", torch.float32)
        fixed = self._shape[0]
        if not isinstance(fixed, int):
            return self._run(batch)
        # A file of fixed batch size is fed that many each time; the last ones are made up by
        # repeating an image, and what it returns for them is dropped.
        missing = -len(batch) % fixed
        filled = torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)])
        starts = range(0, len(filled), fixed)
        return torch.cat([self._run(filled[i : i + fixed]) for i in starts])[: len(batch)]

    def _run(self, batch: Tensor) -> Tensor:
        feed = {self._input: batch.contiguous().numpy(force=True)}
        try:
            (found,) = self._session.run([self._output], feed)
        except Exception as error:  # ONNX Runtime's own kinds.
            raise _failure(self._label, batch, self.device, error) from error
        logits = check_logits(found, len(batch))
        return logits if logits.dtype in (torch.float32, torch.float64) else logits.float()


@contextmanager
def _in_eval_mode(module: nn.Module) -> Iterator[None]:
    flags = {part: part.training for part in module.modules()}
    try:
        if any(flags.values()):
            # Exported programs have one mode, which the export fixed, and refuse eval().
            with suppress(NotImplementedError):
                module.eval()
        yield
    finally:
        # The module's own train() first, which may do more than set flags; then every flag
        # by itself: a network may hold parts in another mode than its own.
        if flags[module] and not module.training:
            module.train()
        for part, training in flags.items():
            if part.training != training:
                part.training = training


@contextmanager
def _moved(module: nn.Module, target: torch.device, label: str) -> Iterator[None]:
    home = next((tensor.device for tensor in _state(module)), target)
    if home == target:
        yield
        return
    try:
        try:
            module.to(target)
        except Exception as error:  # Out of memory, or a module that cannot be moved.
            raise ModelError(
                f"{label} cannot be moved from {home} to {target} ({_one_line(error)}); "
                f"use device='{home}'"
            ) from error
        yield
    finally:
        module.to(home)


def _module_device(module: nn.Module, device: str | torch.device) -> torch.device:
    homes = list(dict.fromkeys(tensor.device for tensor in _state(module)))
    if len(homes) > 1:
        # Spread over several devices on purpose: it is run as it stands.
        if device == "auto":
            return homes[0]
        raise SettingsError(
            f"device={str(device)!r} was asked for, but the model is spread over "
            f"{', '.join(map(str, homes))}; use device='auto'"
        )
    if device != "auto":
        return _usable_device(device)
    if homes and homes[0].type != "cpu":
        return homes[0]
    return _usable_device("cuda" if torch.cuda.is_available() else "cpu")


def _usable_device(device: str | torch.device) -> torch.device:
    try:
        # The tensor's own device carries the index: cuda:0 for "cuda".
        return torch.empty(0, device=device).device
    except Exception as error:  # RuntimeError, AssertionError and others, by kind of device.
        raise SettingsError(
            f"device={str(device)!r} cannot be used here ({_one_line(error)}); use 'auto', 'cpu' "
            "or a device that this machine has"
        ) from error


def _state(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _failure(label: str, inputs: Tensor, device: torch.device, error: Exception) -> ModelError:
    return ModelError(
        f"{label} failed on float32 inputs of shape {tuple(inputs.shape)} on {device} "
        f"({_one_line(error)}); check that it takes a batch of such images"
    )


def _size(shape: Sequence[object]) -> str:
    return "×".join(str(side) for side in shape)


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
