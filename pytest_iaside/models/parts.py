"""The modules that a network runs, also those in lists and functions, where PyTorch looks not."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from torch import Tensor, nn

# Where a search ends: steps from the network, entries of one container, and objects in all.
DEPTH = 8
WIDTH = 1000
MOST = 50_000
LIBRARIES = ("torch", "torchvision", "numpy", "builtins", "functools", "collections")
PLAIN = (type(None), bool, int, float, complex, str, bytes, Tensor, type)


def modules_of(network: object) -> list[nn.Module]:
    """All modules that ``network``, a module or a function, holds or refers to, each once.

    Looked for in attributes, lists, dicts, what functions close over, and the globals they name.
    What lies deeper, or is made in a call, is not found.
    """
    found: dict[int, nn.Module] = {}
    # Kept, so that no id is given to another object meanwhile.
    seen: dict[int, object] = {}
    waiting = [network]
    for _ in range(DEPTH):
        ahead: list[object] = []
        for each in waiting:
            if id(each) in seen or isinstance(each, PLAIN) or len(seen) > MOST:
                continue
            seen[id(each)] = each
            if isinstance(each, nn.Module):
                # PyTorch's own children are no step deeper.
                for module in each.modules():
                    found[id(module)] = module
                    seen[id(module)] = module
                    ahead += _held(vars(module))
            else:
                ahead += _inside(each)
        waiting = ahead
    return list(found.values())


def roots_of(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Those of ``modules`` that are no part of another one."""
    every = list(modules)
    parts = {id(part) for module in every for part in islice(module.modules(), 1, None)}
    return [module for module in every if id(module) not in parts]


def _inside(thing: object) -> Iterator[object]:
    """What ``thing``, which is no module, holds or refers to."""
    if isinstance(thing, Mapping):
        yield from _held(thing)
    elif isinstance(thing, (list, tuple, set, frozenset)):
        yield from islice(thing, WIDTH)
    elif isinstance(thing, functools.partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif isinstance(thing, types.MethodType):
        yield from (thing.__self__, thing.__func__)
    elif isinstance(thing, types.FunctionType):
        yield from _named(thing)
    elif hasattr(thing, "__wrapped__"):  # Such as a cached function.
        yield thing.__wrapped__
    elif not isinstance(thing, types.ModuleType) and not _of_a_library(type(thing)):
        yield from _held(getattr(thing, "__dict__", {}))
        yield vars(type(thing)).get("__call__")


def _named(function: types.FunctionType) -> Iterator[object]:
    """What ``function`` closes over, and the globals and their attributes that its code names."""
    if _of_a_library(function):
        return
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # Nothing was put into it yet.
            continue
    yield function.__defaults__ or ()
    yield function.__kwdefaults__ or {}
    yield getattr(function, "__wrapped__", None)
    names = list(_names(function.__code__))
    for name in names:
        value = function.__globals__.get(name)
        yield value
        if isinstance(value, types.ModuleType) and not _of_a_library(value):
            yield from (vars(value).get(each) for each in names)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _held(values: Mapping[Any, Any]) -> list[object]:
    try:
        entries: Iterable[object] = list(islice(values.values(), WIDTH))
    except Exception:  # A mapping of the user's own may raise anything, and so is none of ours.
        return []
    return [value for value in entries if not isinstance(value, PLAIN)]


def _of_a_library(thing: object) -> bool:
    home = getattr(thing, "__module__", None) or getattr(thing, "__name__", "")
    return str(home).partition(".")[0] in LIBRARIES
