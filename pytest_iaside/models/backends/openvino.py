"""A module converted for OpenVINO, run in the background on the CPU."""

from __future__ import annotations

import copy
import importlib
import inspect
import logging
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cache
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn

from pytest_iaside.checks import library
from pytest_iaside.errors import ModelError, one_line
from pytest_iaside.models.backends.base import Backend, Setup, Unfit, filled, usual_batch
from pytest_iaside.models.outputs import check_answers
from pytest_iaside.models.tasks import SOFTMAX, Task

PRECISION = {"float32": "f32", "bfloat16": "bf16"}
# Compilers explain themselves on pages; the beginning says what it is about.
REASON = 200


class OpenVinoBackend(Backend):
    """A converted module, compiled for one size of batch; a few of them under way at once."""

    own_threads = True

    def __init__(
        self, converted: Any, setup: Setup, label: str, dtype: str = "float32", task: Task = SOFTMAX
    ) -> None:
        super().__init__(setup, torch.device("cpu"), label, task)
        self._openvino = _openvino()
        asked = PRECISION[dtype]
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            # By default it takes bfloat16 for float32 where the CPU has it.
            "INFERENCE_PRECISION_HINT": asked,
            "INFERENCE_NUM_THREADS": self.threads,
            # Threads of several processes (xdist, workers) would be tied to the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        image = [side.get_length() for side in list(converted.inputs[0].partial_shape)[1:]]
        try:
            # For one size of batch: kernels for any size are a tenth slower.
            fixed = converted.clone()
            fixed.reshape([setup.batch_size, *image])
            self._compiled = _core().compile_model(fixed, "CPU", settings)
        except Exception as error:  # OpenVINO's own kinds.
            why = f"openvino cannot compile it ({one_line(error)[:REASON]})"
            raise Unfit(label, why) from error
        taken = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if taken != asked:
            raise Unfit(label, f"openvino computes in {taken} on this CPU, not in {asked}")
        self._usual = usual_batch(self.device, *image[1:])
        # A chunk more than can run at once: none has to wait while we take an image apart.
        at_once = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        ahead = self.chunk // setup.batch_size
        self._requests = [self._compiled.create_infer_request() for _ in range(at_once + ahead)]

    @property
    def chunk(self) -> int:
        # It runs small batches best, one image even. Making and scoring images is quicker the
        # more there are.
        size = self.setup.batch_size
        return max(1, self._usual // size) * size

    def _run(self, inputs: Tensor) -> Tensor:
        return next(self.forward_many([inputs]))

    def forward_many(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        idle = list(self._requests)
        busy: deque[_UnderWay] = deque()
        done: list[Tensor] = []
        try:
            for batch in batches:
                for piece in self._pieces(batch):
                    if not idle:
                        yield from self._finish(busy, idle, done)
                    self._start(piece, idle.pop())
                    busy.append(piece)
            while busy:
                yield from self._finish(busy, idle, done)
        finally:
            # The caller stopped in the middle, or a batch failed: what is under way still reads.
            for piece in busy:
                piece.request.wait()

    def _start(self, piece: _UnderWay, request: Any) -> None:
        try:
            # It reads from where the images lie, which are kept until it is done.
            images = self._openvino.Tensor(piece.inputs.numpy(), shared_memory=True)
            request.set_input_tensor(images)
            request.start_async()
        except Exception as error:  # OpenVINO's own kinds, such as images of another size.
            raise self._failure(piece.inputs, error) from error
        piece.request = request

    def _pieces(self, batch: Tensor) -> Iterator[_UnderWay]:
        """``batch`` in pieces of the size that the model is compiled for."""
        size = self.setup.batch_size
        batch = batch.to("cpu", torch.float32).contiguous()
        for start in range(0, len(batch), size):
            piece = batch[start : start + size]
            last = start + size >= len(batch)
            yield _UnderWay(filled(piece, size), len(piece), last)

    def _finish(
        self, busy: deque[_UnderWay], idle: list[Any], done: list[Tensor]
    ) -> Iterator[Tensor]:
        """Wait for the first of ``busy``; yields the logits of a batch that it was the last of."""
        piece = busy[0]
        try:
            piece.request.wait()
            found = piece.request.get_output_tensor(0).data
        except Exception as error:  # OpenVINO's own kinds.
            raise self._failure(piece.inputs, error) from error
        # A copy: the request writes its next results to the same place.
        answers = check_answers(torch.tensor(found), len(piece.inputs), self.task, self.device)
        done.append(answers[: piece.count])
        idle.append(busy.popleft().request)
        if piece.last:
            logits = torch.cat(done)
            done.clear()
            yield logits


@dataclass(eq=False)
class _UnderWay:
    """A piece of a batch, of which the first ``count`` images count."""

    inputs: Tensor
    count: int
    last: bool
    request: Any = None


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
    # A copy that shares the tensors: an export runs the network on pretended ones, and what
    # it keeps of them must not stay in the user's own.
    shared: list[Tensor] = [*network.parameters(), *network.buffers()]
    try:
        double = copy.deepcopy(network, {id(tensor): tensor for tensor in shared})
        # Without the pages that PyTorch prints about an export: that it fails is no alarm.
        with redirect_stderr(StringIO()), warnings.catch_warnings(), _unlogged("torch.__trace"):
            warnings.simplefilter("ignore")
            exported = torch.export.export(
                double,
                (inputs.to("cpu", torch.float32).contiguous(),),
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                strict=False,  # before PyTorch 2.7 it was True, which fails on dataclasses
            ).run_decompositions(_decompositions())
            # PyTorch 2.9 put checks of the inputs into the module, which OpenVINO cannot convert.
            checks = "check_guards" in inspect.signature(exported.module).parameters
            module = exported.module(check_guards=False) if checks else exported.module()
            decoder = decoders.TorchFXPythonDecoder(module, dynamic_shapes=True)
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


def _decompositions() -> Any:
    """What is taken apart of an exported network: all that PyTorch knows but a few.

    Taken apart, a layer on sequences that lie in memory the other way round has its weights copied
    for each of their places: 8 GiB for a small transformer.
    """
    table: Any = torch.export.default_decompositions()
    aten = torch.ops.aten
    for whole in (aten.linear.default, aten.scaled_dot_product_attention.default):
        table.pop(whole, None)
    return table


@contextmanager
def _unlogged(name: str) -> Iterator[None]:
    """Without what the logger ``name`` says, which pytest would show with a failure."""
    logger = logging.getLogger(name)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = before


@cache
def _core() -> Any:
    """The one that compiles all models, and that nobody ever closes.

    The thread that makes its CPU plugin is given another stack for signals, which is freed with the
    plugin, in whichever thread that is. The next signal (Ctrl-C, a timeout) then ends the process.
    """
    return _openvino().Core()


def _openvino() -> Any:
    advice = "'pytest-iaside[cpu]', or use backend='auto'"
    return library("openvino", "for backend='openvino'", error=ModelError, install=advice)
