"""Backends: what runs a classifier's network on prepared inputs, and where."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from pytest_iaside.checks import check_choice
from pytest_iaside.errors import SettingsError
from pytest_iaside.models.backends.base import Backend, Setup, Unfit, usual_batch
from pytest_iaside.models.backends.devices import (
    alone,
    in_eval_mode,
    module_device,
    moved,
    randomness_kept,
    usable_device,
)
from pytest_iaside.models.backends.eager import EagerBackend
from pytest_iaside.models.backends.onnx import OnnxBackend
from pytest_iaside.models.backends.others import names_of_others
from pytest_iaside.models.backends.probe import Workshop, choose
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.tuning import keep_freed_memory, limited_threads, no_trace_in_logs

__all__ = [
    "Backend",
    "BackendName",
    "ComputeType",
    "Setup",
    "Unfit",
    "available_backends",
    "open_backend",
]

# While a network is converted PyTorch itself is patched, for all threads.
_PREPARING = threading.RLock()

BackendName = Literal["auto", "eager", "compile", "openvino", "onnx"]
ComputeType = Literal["float32", "bfloat16"]


def available_backends() -> tuple[str, ...]:
    """The backends that this environment can run, those of other packages last."""
    packages = {"openvino": "openvino", "onnx": "onnxruntime"}
    found = (name for name, package in packages.items() if importlib.util.find_spec(package))
    return ("eager", "compile", *found, *names_of_others())


@contextmanager
def open_backend(
    classifier: Classifier,
    *,
    backend: str = "auto",
    device: str | torch.device = "auto",
    dtype: str = "float32",
    batch_size: int | str = "auto",
    inputs: Tensor | None = None,
    passes: int = 0,
    setup: Setup | None = None,
) -> Iterator[Backend]:
    """Make ``classifier`` ready to run, and put its module back as it was afterwards.

    ``device="auto"``: where the module's weights lie if that is not the CPU, else CUDA where
    there is one. A plain function stays on the CPU unless a device is named.
    ``backend="auto"``: for a module on the CPU the fastest one that is installed and agrees
    with PyTorch on ``inputs``, some of what the network will be fed, if so many ``passes`` are
    worth the choice; else PyTorch. A ``setup`` that was chosen elsewhere is taken as it is.

    Raises SettingsError when the backend, device or dtype is unknown, unavailable or does not
    fit the network; ModelError when the network cannot be prepared.
    """
    if backend not in names_of_others():
        check_choice("backend", backend, BackendName)
    check_choice("dtype", dtype, ComputeType)
    network = classifier.network
    _check_fits(classifier, backend, dtype)
    keep_freed_memory()
    # What a network draws at random is not missing from what the caller draws afterwards.
    with alone(network), limited_threads(), randomness_kept(), no_trace_in_logs():
        if isinstance(network, nn.Module):
            target = module_device(network, device)
            if backend == "openvino" and target.type != "cpu":
                raise SettingsError(
                    f"backend='openvino' runs on the CPU, not on {target}; use device='cpu', or "
                    "backend='auto'"
                )
            with moved(network, target, classifier.name), in_eval_mode(network):
                answering = classifier.answering
                assert isinstance(answering, nn.Module)
                workshop = Workshop(
                    answering, target, classifier.name, dtype, inputs, classifier.task
                )
                with _PREPARING:
                    if setup is None:
                        chosen = choose(workshop, backend, batch_size, passes)
                    else:
                        chosen = workshop.build_checked(setup)
                _leave_cores_to(chosen)
                yield chosen
            return
        if isinstance(network, Path):
            if device != "auto" and usable_device(device).type != "cpu":
                raise SettingsError(
                    f"device={str(device)!r} is not available for .onnx files; use 'cpu' or 'auto'"
                )
            target = torch.device("cpu")
        else:
            # What a function holds inside is unknown, so "auto" cannot move it.
            target = torch.device("cpu") if device == "auto" else usable_device(device)
        sides = () if inputs is None else inputs.shape[-2:]
        size = usual_batch(target, *sides) if isinstance(batch_size, str) else batch_size
        if isinstance(network, Path):
            onnx = OnnxBackend(
                network,
                Setup("onnx", size, False),
                classifier.name,
                classifier.output,
                classifier.task,
            )
            _leave_cores_to(onnx)
            yield onnx
        else:
            setup = Setup("eager", size, True)
            with in_eval_mode(network):
                yield EagerBackend(
                    classifier.answering, setup, target, classifier.name, dtype, classifier.task
                )


def _leave_cores_to(backend: Backend) -> None:
    # PyTorch only makes the batches then. More of its threads would wait for each other by
    # spinning, on cores that the backend needs: a tenth of the speed and more.
    if backend.own_threads:
        torch.set_num_threads(1)


def _check_fits(classifier: Classifier, backend: str, dtype: str) -> None:
    network = classifier.network
    kind = "not an .onnx file"
    fitting = ["eager", "compile", "openvino", *names_of_others()]
    if isinstance(network, Path):
        kind, fitting = "an .onnx file", ["onnx"]
    elif not isinstance(network, nn.Module):
        kind, fitting = "a plain function", ["eager"]
    if backend not in ("auto", *fitting):
        raise SettingsError(
            f"backend={backend!r} cannot run {classifier.name}, which is {kind}; "
            f"use backend={' or '.join(map(repr, fitting))} or 'auto'"
        )
    if dtype != "float32" and isinstance(network, Path):
        raise SettingsError(
            f"dtype={dtype!r} cannot be had of {classifier.name}, which is an .onnx file; use "
            "dtype='float32', or give the PyTorch module"
        )
