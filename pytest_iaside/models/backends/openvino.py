"""A module converted for OpenVINO, run in the background on the CPU."""

from __future__ import annotations

import copy
import importlib
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError, one_line
from pytest_iaside.models.backends.base import Backend, Setup, Unfit
from pytest_iaside.models.classifier import check_logits

PRECISION = {"float32": "f32", "bfloat16": "bf16"}
# Compilers explain themselves on pages; the beginning says what it is about.
REASON = 200


class OpenVinoBackend(Backend):
    """A converted module; batches of any size, a few of them under way at once."""

    own_threads = True

    def __init__(self, converted: Any, setup: Setup, label: str, dtype: str = "float32") -> None:
        super().__init__(setup, torch.device("cpu"), label)
        self._openvino = _openvino()
        asked = PRECISION[dtype]
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            # By default it takes bfloat16 for float32 where the CPU has it.
            "INFERENCE_PRECISION_HINT": asked,
            "INFERENCE_NUM_THREADS": self.threads,
        }
        try:
            self._compiled = self._openvino.Core().compile_model(converted, "CPU", settings)
        except Exception as error:  # OpenVINO's own kinds.
            raise Unfit(
                label, f"openvino cannot compile it ({one_line(error)[:REASON]})"
            ) from error
        taken = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if taken != asked:
            raise Unfit(label, f"openvino computes in {taken} on this CPU, not in {asked}")
        # One more than can run at once, so that none has to wait for us.
        at_once = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
        self._requests = [self._compiled.create_infer_request() for _ in range(at_once)]

    def _run(self, inputs: Tensor) -> Tensor:
        return next(self.forward_many([inputs]))

    def forward_many(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        idle = list(self._requests)
        busy: deque[tuple[Any, Tensor]] = deque()
        try:
            for batch in batches:
                if not idle:
                    yield self._finish(*busy[0])
                    idle.append(busy.popleft()[0])
                request = idle.pop()
                batch = batch.to("cpu", torch.float32).contiguous()
                busy.append((request, batch))
                # It reads from where the batch lies, which is kept until it is done.
                request.set_input_tensor(self._openvino.Tensor(batch.numpy(), shared_memory=True))
                request.start_async()
            while busy:
                yield self._finish(*busy[0])
                busy.popleft()
        finally:
            # The caller stopped in the middle, or a batch failed: what is under way still reads.
            for request, _ in busy:
                request.wait()

    def _finish(self, request: Any, batch: Tensor) -> Tensor:
        try:
            request.wait()
            found = request.get_output_tensor(0).data
        except Exception as error:  # OpenVINO's own kinds.
            raise self._failure(batch, error) from error
        # check_logits copies: the request writes its next results to the same place.
        return check_logits(found, len(batch))


def convert(network: nn.Module, inputs: Tensor, label: str) -> Any:
    """``network`` as an OpenVINO model for batches of any number of images like ``inputs``.

    Raises ModelError when OpenVINO is not installed, and its kind Unfit when PyTorch cannot
    export the network or OpenVINO not take what was exported.
    """
    _openvino()
    # By the frontend itself: openvino.convert_model does the same, and reports it to Intel's
    # servers unless told not to.
    frontends = importlib.import_module("openvino.frontend")
    decoders = importlib.import_module("openvino.frontend.pytorch.fx_decoder")
    try:
        with _quietly():
            exported = torch.export.export(
                _double(network),
                (inputs.to("cpu", torch.float32).contiguous(),),
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            ).run_decompositions()
            decoder = decoders.TorchFXPythonDecoder(
                exported.module(check_guards=False), dynamic_shapes=True
            )
            frontend = frontends.FrontEndManager().load_by_framework("pytorch")
            converted = frontend.convert(frontend.load(decoder))
            converted.reshape([-1, *inputs.shape[1:]])
    except Exception as error:  # What can go wrong in two compilers.
        # OpenVINO names what it cannot convert at the end of a report.
        why = one_line(error).rpartition(" Summary: -- ")[2][:REASON]
        raise Unfit(label, f"openvino cannot convert it ({why})") from error
    if len(converted.outputs) != 1:
        raise Unfit(label, f"it returns {len(converted.outputs)} tensors to openvino, expected 1")
    return converted


def _double(network: nn.Module) -> nn.Module:
    """A copy that shares the tensors: an export runs the network on pretended ones, and what
    it keeps of them must not stay in the user's own."""
    shared: list[Tensor] = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in shared})


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the pages that PyTorch prints about an export: that it fails is no alarm."""
    with redirect_stderr(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _openvino() -> Any:
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise ModelError(
            f"openvino is needed for backend='openvino' and cannot be imported ({error}); "
            "pip install 'pytest-iaside[cpu]', or use backend='auto'"
        ) from error
