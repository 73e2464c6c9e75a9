"""What a classifier computes, as a key under which its results can be kept.

Weights alone are not enough: whoever edits ``forward``, or sets ``model.temperature = 2``,
has another model. So the key covers weights, normalisation, every plain attribute, every hook,
and the code: the source files of the user's own modules that a network's classes and functions
come from, with those that they import and the constants in them, and the versions of
libraries. Where anything cannot be looked into there is no key, and nothing is kept.
"""

from __future__ import annotations

import contextlib
import copyreg
import hashlib
import sys
import sysconfig
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_iaside.models.classifier import Classifier

LENGTH = 32
# Parts of a module's state that are taken up by themselves, or say nothing of what it computes.
APART = {"_parameters", "_buffers", "_modules", "training", "_is_torch_compile"}
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), torch.dtype)
PLAIN_TORCH = (torch.device, torch.layout, torch.memory_format)


class Opaque(Exception):
    """Something that cannot be looked into; the message says what."""


def identity(classifier: Classifier) -> str | None:
    """A key that changes whenever ``classifier`` may compute something else.

    32 hexadecimal digits; None where that cannot be told: for plain functions and modules that
    hold anything opaque, unless ``version=`` names what they are.
    """
    try:
        lines = list(_Description().of(classifier))
    except Opaque:
        return None
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:LENGTH]


def why_opaque(classifier: Classifier) -> str:
    """Why there is no ``identity``; empty where there is one."""
    try:
        list(_Description().of(classifier))
    except Opaque as opaque:
        return str(opaque)
    return ""


class _Description:
    """One walk through a network and all that it holds; what was met before is only referred to."""

    def __init__(self) -> None:
        self._met: dict[int, int] = {}
        self._keep: list[object] = []  # An id says something only while its object lives.
        self._sources: dict[str, str] = {}

    def of(self, classifier: Classifier) -> Iterator[str]:
        network = classifier.network
        for name, values in (("mean", classifier.mean), ("std", classifier.std)):
            yield f"{name} {None if values is None else values.tolist()}"
        if classifier.version is not None:
            kind = network if hasattr(network, "__qualname__") else type(network)
            yield f"version {classifier.version!r} of {kind.__module__}.{kind.__qualname__}"
            yield f"weights {classifier.fingerprint()}"
        elif isinstance(network, Path):
            yield f"file {classifier.fingerprint()}"
        elif isinstance(network, nn.Module):
            yield from self._value(_uncompiled(network))
            yield from (f"source {name} {digest}" for name, digest in sorted(self._sources.items()))
        else:
            raise Opaque("it is a plain function, and what that holds inside cannot be seen")

    def _value(self, value: Any) -> Iterator[str]:
        if isinstance(value, PLAIN) and type(value).__module__ in ("builtins", "torch"):
            yield repr(value)
            return
        if isinstance(value, PLAIN_TORCH):
            yield repr(value)
            return
        if id(value) in self._met:
            yield f"met {self._met[id(value)]}"
            return
        self._met[id(value)] = len(self._met)
        self._keep.append(value)
        yield from self._new(value)

    def _new(self, value: Any) -> Iterator[str]:
        if isinstance(value, Tensor):
            yield _contents(value)
        elif isinstance(value, np.ndarray) and value.dtype != object:
            content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
            yield f"array {value.dtype} {value.shape} {content}"
        elif isinstance(value, nn.Module):
            yield from self._module(value)
        elif isinstance(value, type):
            yield self._class(value)
        elif isinstance(value, types.ModuleType):
            yield f"module {value.__name__}"
            self._source(value.__name__)
        elif isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif isinstance(value, types.BuiltinFunctionType):
            yield f"built in {value.__module__}.{value.__qualname__}"
            if not isinstance(value.__self__, types.ModuleType | None):
                yield from self._value(value.__self__)
        elif isinstance(value, types.MethodType):
            yield f"method {value.__func__.__qualname__}"
            yield from self._each(value.__self__, value.__func__)
        elif isinstance(value, (list, tuple, dict, set, frozenset)) and _is_plain_container(value):
            yield from self._container(value)
        else:
            yield from self._reduced(value)

    def _each(self, *values: Any) -> Iterator[str]:
        for value in values:
            yield from self._value(value)

    def _container(self, value: Any) -> Iterator[str]:
        yield f"{type(value).__qualname__} {len(value)}"
        if isinstance(value, dict):
            for key, part in value.items():
                yield from self._each(key, part)
        elif isinstance(value, (set, frozenset)):
            # Sets have no order of their own: it changes from process to process.
            if not all(isinstance(part, PLAIN) for part in value):
                raise Opaque("it holds a set of objects, which has no order")
            yield from sorted(map(repr, value))
        else:
            yield from self._each(*value)

    def _module(self, module: nn.Module) -> Iterator[str]:
        if isinstance(module, torch.jit.ScriptModule):
            raise Opaque(f"{type(module).__qualname__} is compiled code")
        if module is not (plain := _uncompiled(module)):
            yield from self._value(plain)
            return
        yield self._class(type(module))
        if isinstance(module, torch.fx.GraphModule):
            yield str(module.code)  # Its class is made of this text, on the fly.
        else:
            # Found through its class, which a test may have patched.
            yield from self._value(type(module).forward)
        for name, held in vars(module).items():
            if name in APART or (name == "_graph" and isinstance(module, torch.fx.GraphModule)):
                continue
            if "_hooks" in name and isinstance(held, dict):
                held = list(held.values())  # Their keys count up over the whole process.
            if not isinstance(held, (dict, list, set)) or held:
                yield f"attribute {name}"
                yield from self._value(held)
        for kind in ("_parameters", "_buffers", "_modules"):
            for name, part in vars(module)[kind].items():
                yield f"{kind} {name}"
                yield from self._value(part)

    def _function(self, function: types.FunctionType) -> Iterator[str]:
        yield f"function {function.__module__}.{function.__qualname__}"
        self._source(function.__module__)
        yield from self._each(function.__defaults__, function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                yield from self._value(cell.cell_contents)
            except ValueError:  # Not filled yet.
                yield "empty"

    def _class(self, kind: type) -> str:
        for base in kind.__mro__:
            self._source(base.__module__)
        return f"class {kind.__module__}.{kind.__qualname__}"

    def _reduced(self, value: Any) -> Iterator[str]:
        """Any other object: as pickle would take it apart."""
        yield self._class(type(value))
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            parts = value.__reduce_ex__(4) if reduce is None else reduce(value)
        except Exception as error:  # Whatever an object raises that cannot be pickled.
            raise Opaque(f"it holds a {type(value).__qualname__}, which is opaque") from error
        if isinstance(parts, str):
            yield parts
            return
        for part in parts:
            yield from self._value(list(part) if isinstance(part, Iterator) else part)

    def _source(self, name: str) -> None:
        """Take up the source of module ``name``, and of the user's modules that it refers to."""
        if name in self._sources:
            return
        module = sys.modules.get(name)
        if module is None:
            raise Opaque(f"the module {name} is gone, so its code cannot be read")
        root = sys.modules.get(name.partition(".")[0])
        if _is_library(module):
            # A library's code is as its version says.
            self._sources[name] = f"library {getattr(root, '__version__', '')} {_content(module)}"
            return
        content = _content(module)
        if content is None:
            raise Opaque(f"the module {name} has no source file")
        self._sources[name] = f"{content} {_constants(module)}"
        for value in list(vars(module).values()):
            other = ""
            with contextlib.suppress(Exception):  # Whatever an object does when it is looked at.
                is_module = isinstance(value, types.ModuleType)
                other = value.__name__ if is_module else str(value.__module__)
            if other in sys.modules and not _is_library(sys.modules[other]):
                self._source(other)


def _is_plain_container(value: Any) -> bool:
    return type(value).__module__ in ("builtins", "collections")


def _uncompiled(module: nn.Module) -> nn.Module:
    """What ``torch.compile`` was given."""
    if type(module).__qualname__ == "OptimizedModule":
        return getattr(module, "_orig_mod", module)
    return module


def _contents(value: Tensor) -> str:
    if nn.parameter.is_lazy(value):
        raise Opaque("some of its weights do not exist yet")
    if value.is_meta or value.is_quantized or value.layout != torch.strided:
        raise Opaque("it holds a tensor without plain contents")
    plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    digest = hashlib.sha256(plain.numpy().data).hexdigest()
    return f"tensor {value.dtype} {tuple(value.shape)} {digest}"


@cache
def _library_folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple(Path(sysconfig.get_path(name)).resolve() for name in names)


def _is_library(module: types.ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if file is None:
        # Part of the interpreter, or made by hand: the latter are nobody's library.
        return getattr(module.__spec__, "origin", None) in ("built-in", "frozen")
    path = Path(file).resolve()
    return any(folder in path.parents for folder in _library_folders())


def _constants(module: types.ModuleType) -> str:
    """The plain values that a module holds: they may come from the environment, or be set."""
    found = {
        name: repr(value)
        for name, value in vars(module).items()
        if not name.startswith("__")
        and all(type(part) in PLAIN for part in (value if type(value) is tuple else (value,)))
    }
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


def _content(module: types.ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    path = Path(file)
    try:
        if path.suffix != ".py":  # An extension, which may be large.
            return str(path.stat().st_size)
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
