"""An .onnx file, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pytest_iaside.checks import library
from pytest_iaside.errors import ModelError, one_line
from pytest_iaside.models.answering import picked
from pytest_iaside.models.backends.base import Backend, Setup, in_batches_of
from pytest_iaside.models.outputs import Output, check_answers
from pytest_iaside.models.tasks import SOFTMAX, Task


class OnnxBackend(Backend):
    """An .onnx file with one float32 input of images and one output of logits."""

    own_threads = True

    def __init__(
        self, path: Path, setup: Setup, label: str, output: Output = None, task: Task = SOFTMAX
    ) -> None:
        super().__init__(setup, torch.device("cpu"), label, task)
        runtime = library("onnxruntime", f"to run {path}", error=ModelError)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        try:
            self._session = runtime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own kinds, one for each stage of loading.
            raise ModelError(
                f"ONNX Runtime cannot load {path} ({one_line(error)}); export the model again"
            ) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            found = ", ".join(f"{i.name}: {i.type} {_size(i.shape)}" for i in inputs)
            raise ModelError(
                f"{path} takes {found}; expected one float32 input of (batch, channels, height, "
                "width): export the model again with such an input"
            )
        self._input, self._shape = inputs[0].name, inputs[0].shape
        self._outputs = [each.name for each in self._session.get_outputs()]
        self._read = output

    def _run(self, inputs: Tensor) -> Tensor:
        wanted, found = self._shape[1:], inputs.shape[1:]
        if any(isinstance(w, int) and w != f for w, f in zip(wanted, found, strict=True)):
            raise ModelError(
                f"{self._label} takes images of {_size(wanted)}, but they are {_size(found)} "
                "(channels×height×width); resize the reference sample or export the model again"
            )
        batch = inputs.to("cpu", torch.float32)
        fixed = self._shape[0]
        if isinstance(fixed, int):
            return in_batches_of(fixed, batch, self._feed)
        return self._feed(batch)

    def _feed(self, batch: Tensor) -> Tensor:
        feed = {self._input: batch.contiguous().numpy(force=True)}
        try:
            found = self._session.run(self._outputs, feed)
        except Exception as error:  # ONNX Runtime's own kinds.
            raise self._failure(batch, error) from error
        arrays = dict(zip(self._outputs, map(torch.tensor, found), strict=True))
        single = len(arrays) == 1 and not isinstance(self._read, str)
        answers = picked(next(iter(arrays.values())) if single else arrays, self._read, self.task)
        checked: Tensor = check_answers(answers, len(batch), self.task, self.device)
        return checked


def _size(shape: Sequence[object]) -> str:
    return "×".join(str(side) for side in shape)
