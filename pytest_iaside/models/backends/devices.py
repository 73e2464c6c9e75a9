"""A user's module: put where and how it has to be to run, and back again afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError, SettingsError, one_line
from pytest_iaside.models.parts import modules_of, roots_of
from pytest_iaside.models.tuning import on_own_copy

LARGEST_BUFFER = 10_000_000  # numbers
# A network is one object with one mode, one place and its hooks: one thread at a time prepares and
# runs it. One lock for all of them, because two networks may share a part.
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def alone(network: object) -> Iterator[None]:
    """For this thread alone, if ``network`` has modules that another one could run."""
    shared = modules_of(network) and not on_own_copy()
    with _ONE_AT_A_TIME if shared else nullcontext():
        yield


@contextmanager
def randomness_kept() -> Iterator[None]:
    """What is drawn in here is not missing from what the caller draws afterwards."""
    # Of the whole process: a thread with a copy of its own leaves that to who started it.
    kept = nullcontext() if on_own_copy() else torch.random.fork_rng(devices=[])
    with kept:
        yield


@contextmanager
def in_eval_mode(network: object) -> Iterator[None]:
    """All modules of ``network`` in eval mode, and as they were afterwards.

    Those that PyTorch does not list are found too (``modules_of``). Buffers get their values back:
    batch normalisation that stays in training mode changes them, and networks that count.
    """
    parts = modules_of(network)
    flags = {part: part.training for part in parts}
    kept: list[tuple[Tensor, int, Tensor]] = []
    try:
        for root in roots_of(parts):
            if any(flags[part] for part in root.modules()):
                # Exported programs have one mode, which the export fixed, and refuse eval().
                with suppress(NotImplementedError):
                    root.eval()
        for part in parts:
            for buffer in part.buffers(recurse=False):
                # Such as a count of calls; only what a layer holds, not a table of gigabytes.
                if buffer.numel() <= LARGEST_BUFFER and not buffer.is_inference():
                    # Batch normalisation writes without counting up the version.
                    version = -1 if part.training else buffer._version
                    kept.append((buffer, version, buffer.detach().clone()))
        yield
    finally:
        # The module's own train() first, which may do more than set flags; then every flag
        # by itself: a network may hold parts in another mode than its own.
        for root in roots_of(parts):
            if flags[root] and not root.training:
                root.train()
        for part, training in flags.items():
            if part.training != training:
                part.training = training
        with torch.no_grad():
            for buffer, version, before in kept:
                if buffer._version != version:  # It was written to.
                    buffer.copy_(before)


@contextmanager
def moved(module: nn.Module, target: torch.device, label: str) -> Iterator[None]:
    """``module`` on ``target``, and back where it was afterwards."""
    home = next((tensor.device for tensor in _state(module)), target)
    if home == target:
        yield
        return
    try:
        try:
            module.to(target)
        except Exception as error:  # Out of memory, or a module that cannot be moved.
            raise ModelError(
                f"{label} cannot be moved from {home} to {target} ({one_line(error)}); "
                f"use device='{home}'"
            ) from error
        yield
    finally:
        module.to(home)


def check_loaded(module: nn.Module) -> None:
    """Raise ModelError where the weights of ``module`` hold no numbers, so that nothing can run."""
    if any(tensor.is_meta for tensor in _state(module)):
        raise ModelError(
            f"the weights of {type(module).__name__} hold no numbers: they are on the meta device; "
            "load them first: module.to_empty(device='cpu') and module.load_state_dict(…)"
        )


def module_device(module: nn.Module, device: str | torch.device) -> torch.device:
    """Where ``module`` is to run; ``"auto"`` is where it lies if not on the CPU, else CUDA.

    Raises SettingsError when ``device`` cannot be used, or the module is spread over several.
    """
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
        return usable_device(device)
    if homes and homes[0].type != "cpu":
        return homes[0]
    return usable_device("cuda" if torch.cuda.is_available() else "cpu")


def usable_device(device: str | torch.device) -> torch.device:
    """``device`` with its index; raises SettingsError where this machine has none such."""
    try:
        # The tensor's own device carries the index: cuda:0 for "cuda".
        return torch.empty(0, device=device).device
    except Exception as error:  # RuntimeError, AssertionError and others, by kind of device.
        raise SettingsError(
            f"device={str(device)!r} cannot be used here ({one_line(error)}); use 'auto', 'cpu' "
            "or a device that this machine has"
        ) from error


def _state(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
