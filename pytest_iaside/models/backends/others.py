"""Backends of other packages, by the entry point ``pytest_iaside.backends``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

import torch
from torch import Tensor, nn

from pytest_iaside.errors import SettingsError, one_line
from pytest_iaside.models.backends.base import Backend, Setup
from pytest_iaside.models.tasks import Task

GROUP = "pytest_iaside.backends"
MakeBackend = Callable[[nn.Module, Setup, torch.device, str, str, Tensor, Task], Backend]
"""Of a network in eval mode on the device, how to run it, the device, what messages call it, the
precision, some of its inputs, and the task: what runs it. Raises Unfit where it cannot."""


def names_of_others() -> tuple[str, ...]:
    """The names under which other packages offer backends."""
    return tuple(sorted({each.name for each in _entries()}))


def backend_of_others(name: str) -> MakeBackend:
    """What makes the backend ``name``; raises SettingsError where that cannot be loaded."""
    found = [each for each in _entries() if each.name == name]
    packages = sorted({each.dist.name for each in found if each.dist is not None})
    if len(found) > 1:
        raise SettingsError(
            f"backend={name!r} is offered by {' and '.join(packages)}; uninstall one of them"
        )
    try:
        made: Any = found[0].load()
    except Exception as error:  # Whatever the other package raises.
        raise SettingsError(
            f"backend={name!r} of {' '.join(packages) or 'another package'} cannot be loaded "
            f"({one_line(error)}); use backend='auto'"
        ) from error
    return made  # type: ignore[no-any-return]


def _entries() -> list[metadata.EntryPoint]:
    return list(metadata.entry_points(group=GROUP))
