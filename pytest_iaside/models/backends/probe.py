"""Which backend runs a module: the fastest that is installed and agrees with PyTorch."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import platform
import re
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytest_iaside.checks import is_whole
from pytest_iaside.errors import SpectralRobustnessError, one_line
from pytest_iaside.models.backends.base import Backend, Setup, Unfit, usual_batch
from pytest_iaside.models.backends.eager import CompiledBackend, EagerBackend
from pytest_iaside.models.backends.openvino import OpenVinoBackend, convert
from pytest_iaside.models.backends.others import backend_of_others, names_of_others
from pytest_iaside.models.tasks import SOFTMAX, Task
from pytest_iaside.store.machine import age, forget, recall, remember

# The most that a log-probability may differ from PyTorch's.
AGREEMENT = 1e-3
# Floating-point operations for each thread, some five seconds of PyTorch: below them a
# conversion and the probes, three to five seconds, cost more than they can win.
WORTHWHILE = 5e11
# Seconds after which no further setup is probed.
PATIENCE = 1.2
# What takes longer than the best by this factor is not looked at any further.
HOPELESS = 1.5
# PyTorch starts ahead of the others by this factor: their conversion costs time, too.
LEAD = 0.9
# More than any probe tries.
LARGEST_BATCH = 4096
# Seconds for which a choice holds: a machine and its load change. Shorter where it was busy.
LASTS = 7 * 86_400.0
WHEN_BUSY = 3600.0
# Raised whenever a probe changes so that what is remembered of older ones no longer holds.
VERSION = 2


@dataclass(eq=False)
class Workshop:
    """Makes backends for one network on one device; converts it once at most."""

    network: nn.Module
    device: torch.device
    label: str
    dtype: str
    inputs: Tensor | None = None
    task: Task = SOFTMAX
    _converted: Any = None

    def build(self, setup: Setup, dtype: str | None = None) -> Backend:
        """Raises ModelError where the backend cannot be made."""
        dtype = dtype or self.dtype
        if setup.backend in ("eager", "compile"):
            kind = EagerBackend if setup.backend == "eager" else CompiledBackend
            return kind(self.network, setup, self.device, self.label, dtype, self.task)
        if self.task.scored and not self._gives_a_tensor():
            raise Unfit(self.label, "it returns more than one tensor, which only PyTorch hands on")
        if self.inputs is None:
            raise ValueError("a network can be converted only for inputs of a known size")
        if setup.backend in names_of_others():
            return self._of_others(setup, dtype, self.inputs)
        if self._converted is None:
            self._converted = convert(self.network, self.inputs, self.label)
        return OpenVinoBackend(self._converted, setup, self.label, dtype, self.task)

    def _of_others(self, setup: Setup, dtype: str, inputs: Tensor) -> Backend:
        made = backend_of_others(setup.backend)
        where = self.device, self.label, dtype
        try:
            found = made(self.network, setup, *where, inputs, self.task)
        except SpectralRobustnessError:
            raise
        except Exception as error:  # Whatever the other package raises.
            why = f"backend={setup.backend!r} failed ({one_line(error)})"
            raise Unfit(self.label, why) from error
        if not isinstance(found, Backend):
            why = f"backend={setup.backend!r} made a {type(found).__name__}, expected a Backend"
            raise Unfit(self.label, why)
        return found

    def _gives_a_tensor(self) -> bool:
        """Whether what the network returns, of which a score knows what it is, is a tensor."""
        if self.inputs is None:
            return False
        plain = self.build(Setup("eager", 1, False))
        return isinstance(plain.forward(self.inputs[:1]), Tensor)

    def build_checked(self, setup: Setup) -> Backend:
        """``build``, if the backend agrees with PyTorch; else raises ModelError."""
        backend = self.build(setup)
        # Two ways to compute in bfloat16 differ by more than a wrong conversion might: what is
        # compared is the network in float32. Compiling it once more for that takes a minute.
        comparable = self.dtype == "float32" or setup.backend == "openvino"
        if setup.backend == "eager" or self.inputs is None or not comparable:
            return backend
        exact = backend if self.dtype == "float32" else self.build(setup, "float32")
        plain = self.build(replace(setup, backend="eager"), "float32")
        found, expected = (
            torch.cat(list(each.forward_many(torch.split(self.inputs, each.chunk))))
            for each in (exact, plain)
        )
        if not expected.isfinite().all():
            # Another backend may give finite numbers there, and so hide it.
            raise Unfit(self.label, "PyTorch's own logits are not finite")
        gap = _gap(found, expected, self.task)
        if gap > AGREEMENT:
            why = f"{setup.backend} disagrees with PyTorch by {gap:.1g} in log-probabilities"
            raise Unfit(self.label, f"{why}, at most {AGREEMENT:g} is allowed")
        return backend


def choose(workshop: Workshop, asked: str, batch_size: int | str, passes: int) -> Backend:
    """The backend ``asked`` for, or the best one (``"auto"``), in the setup that suits it.

    Raises ModelError when a backend that was asked for by name cannot be made or disagrees.
    """
    setups, note = _ranking(workshop, asked, batch_size, passes)
    for setup in setups:
        try:
            backend = workshop.build_checked(setup)
        except Unfit as unfit:
            if asked != "auto":
                raise
            note = unfit.why
        else:
            backend.note = note
            return backend
    raise AssertionError("PyTorch itself is always among the setups of 'auto'")


def _ranking(
    workshop: Workshop, asked: str, batch_size: int | str, passes: int
) -> tuple[list[Setup], str]:
    """The setups to try, fastest first, and why another one is not among them."""
    inputs, device = workshop.inputs, workshop.device
    usual = usual_batch(device, *(() if inputs is None else inputs.shape[-2:]))
    plain = _setup("eager" if asked == "auto" else asked, batch_size, usual)
    if inputs is None or device.type != "cpu" or asked == "compile":
        return [plain], ""
    if _operations(workshop, inputs[:1]) * passes < WORTHWHILE * torch.get_num_threads():
        return [plain], ""
    names = [asked]
    if asked == "auto":
        names = ["openvino", "eager"] if importlib.util.find_spec("openvino") else ["eager"]
    key = _key(workshop, inputs, names, batch_size)
    known = recall(key)
    if age(key) > (WHEN_BUSY if isinstance(known, dict) and known.get("busy") else LASTS):
        forget(key)
        known = None
    if known is None:
        known = remember(key, _probe(workshop, inputs, names, batch_size, usual))
    # Nothing can be kept here, or something else is in the way. What is not kept would be decided
    # anew each time, and not always alike.
    usual_setups = [_setup(name, batch_size, usual) for name in names]
    return _remembered(known, names, batch_size) or (usual_setups, "")


def _remembered(
    known: Any, names: Sequence[str], batch_size: int | str
) -> tuple[list[Setup], str] | None:
    """The setups and the note that ``_probe`` found; None where ``known`` is something else."""
    with suppress(TypeError, KeyError):
        found = [Setup(**fields) for fields in known["setups"]]
        usable = all(
            setup.backend in names
            and is_whole(setup.batch_size)
            and (setup.batch_size == batch_size or 1 <= setup.batch_size <= LARGEST_BATCH)
            and isinstance(setup.channels_last, bool)
            for setup in found
        )
        if found and usable and isinstance(known["note"], str):
            return found, known["note"]
    return None


def _probe(
    workshop: Workshop, inputs: Tensor, names: Sequence[str], batch_size: int | str, usual: int
) -> dict[str, Any]:
    """The fastest setup of each backend, fastest first, as JSON can keep it."""
    seconds: dict[Setup, float] = {}
    note, spent = "", 0.0
    setups = [_setup(name, batch_size, usual) for name in names]
    while setups and spent < PATIENCE:
        setup = setups.pop(0)
        try:
            backend = workshop.build(setup)
        except Unfit as unfit:
            if len(names) == 1:
                raise
            note = unfit.why
            continue
        began = time.perf_counter()
        seconds[setup] = _seconds_per_image(backend, inputs, min(seconds.values(), default=None))
        spent += time.perf_counter() - began
        if setup.channels_last and seconds[setup] < HOPELESS * min(seconds.values()):
            setups.append(replace(setup, channels_last=False))
        if not setups and batch_size == "auto":
            best = min(seconds, key=seconds.__getitem__)
            # Never more than usual: what it takes is memory.
            sizes = (best.batch_size // 2, best.batch_size * 2)
            near = [replace(best, batch_size=size) for size in sizes if 1 <= size <= usual]
            setups = [setup for setup in near if setup not in seconds]
    # Of each backend the best, for where the first one turns out not to agree.
    best_of = {setup.backend: setup for setup in sorted(seconds, key=seconds.__getitem__)[::-1]}
    lead = {"eager": LEAD}
    ranked = sorted(best_of.values(), key=lambda s: seconds[s] * lead.get(s.backend, 1.0))
    found = {"setups": [asdict(setup) for setup in ranked], "note": note}
    return found | ({"busy": True} if _busy() else {})


def _busy() -> bool:
    """Whether others compute here, too: what was timed then may be wrong later."""
    try:
        return os.getloadavg()[0] > (os.cpu_count() or 1) + 0.5
    except (OSError, AttributeError):  # Not on every platform.
        return False


def _seconds_per_image(backend: Backend, inputs: Tensor, best: float | None) -> float:
    """The least of a few runs; only one where that is hopeless against ``best``."""
    size = backend.chunk
    batch = inputs.repeat(math.ceil(size / len(inputs)), 1, 1, 1)[:size]
    batches = [batch] * 2
    deque(backend.forward_many(batches[:1]), maxlen=0)  # What is set up on first use.
    least = math.inf
    for _ in range(3):
        began = time.perf_counter()
        deque(backend.forward_many(batches), maxlen=0)
        least = min(least, (time.perf_counter() - began) / (size * len(batches)))
        if best and least > HOPELESS * best:
            break
    return least


def _gap(found: Tensor, expected: Tensor, task: Task) -> float:
    """The largest difference of two batches of answers; of logits in log-probabilities."""
    one, other = map(task.comparable, (found, expected))
    gap = float((one - other).abs().max())
    return math.inf if math.isnan(gap) else gap


def _setup(name: str, batch_size: int | str, usual: int) -> Setup:
    """How ``name`` is run where nothing was measured."""
    # OpenVINO takes images channel by channel, as a module is converted, and runs several
    # batches at once.
    converted = name == "openvino"
    if not isinstance(batch_size, int):
        batch_size = max(1, usual // 2) if converted else usual
    return Setup(name, batch_size, not converted)


def _operations(workshop: Workshop, image: Tensor) -> float:
    """Floating-point operations of the convolutions and linear layers on one image."""
    total = 0.0

    def count(module: nn.Module, _: Any, output: Any) -> None:
        nonlocal total
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim >= 2 and isinstance(output, Tensor):
            total += 2.0 * output.numel() * weight[0].numel()

    handles = []
    try:
        handles = [module.register_forward_hook(count) for module in workshop.network.modules()]
        workshop.build(Setup("eager", 1, True)).forward(image)
    except Exception:  # Modules that take no hooks; a network that fails does so again.
        return 0.0
    finally:
        for handle in handles:
            handle.remove()
    return total


def _key(workshop: Workshop, inputs: Tensor, names: Sequence[str], batch_size: int | str) -> str:
    """What a choice depends on: the architecture, not the weights, so that two versions of a
    model are run alike."""
    # Functions in a module's description come with their address.
    architecture = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(workshop.network))
    state = [(name, *tensor.shape) for name, tensor in workshop.network.state_dict().items()]
    versions = [f"{name} {version_of(name)}" for name in ("torch", "openvino")]
    facts = (architecture, state, tuple(inputs.shape[1:]), workshop.dtype, names, batch_size)
    machine = (_processor(), torch.get_num_threads(), versions, VERSION)
    return hashlib.sha256(repr((facts, machine)).encode()).hexdigest()[:24]


def version_of(package: str) -> str:
    """The version of an installed package, or ``none``."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return "none"


def _processor() -> str:
    with suppress(OSError):
        if found := re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M):
            return found[1].strip()
    return platform.processor() or platform.machine()
