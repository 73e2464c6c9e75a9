"""What a function of the user's own computes, as a digest of its code and what that names."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor, nn

from pytest_iaside.models.fingerprint import state_contents

LENGTH = 16
# Where a walk ends: steps from the function, and entries of one container.
DEPTH = 8
WIDTH = 1000
PLAIN = (type(None), bool, int, float, complex, str, bytes)
# Folders of what others wrote: a newer version of a library is no edit of the user's.
INSTALLED = ("site-packages", "dist-packages")
DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

Parts = Iterator[str | bytes]


def code_digest(function: Any) -> str:
    """16 hexadecimal digits that change when the code of ``function`` does; empty where unknown.

    The code is its source without comments, docstrings and layout, or its bytecode where there is
    no source; of an object that can be called that of its ``__call__`` or ``forward``. What it
    closes over, its defaults, and the functions, classes and plain values of the same program that
    it names belong to it. Of a function in C or of a library only the name is known.
    """
    digest = hashlib.sha256()
    try:
        for part in _Walk(function).of(function, DEPTH):
            digest.update(part.encode() if isinstance(part, str) else part)
            digest.update(b"\0")
    except Exception:  # Objects of the user's own may raise anything when they are looked at.
        return ""
    return digest.hexdigest()[:LENGTH]


class _Walk:
    """One walk through a function and what it refers to, each once."""

    def __init__(self, function: Any) -> None:
        # Code of the package that the function is in belongs to it wherever that is installed.
        self.package = _home(function).partition(".")[0]
        self.seen: list[object] = []

    def of(self, thing: Any, steps: int) -> Parts:
        """What identifies ``thing``, and within so many ``steps`` what it refers to."""
        if isinstance(thing, PLAIN):
            yield f"{type(thing).__name__} {thing!r}"
        elif isinstance(thing, Tensor):
            yield from state_contents("", thing)
        elif isinstance(thing, np.ndarray):
            yield f"{thing.dtype} {thing.shape}"
            yield thing.tobytes() if thing.dtype.kind != "O" else repr(thing)
        elif steps and not any(thing is each for each in self.seen):
            self.seen.append(thing)
            yield from self._inside(thing, steps - 1)

    def _inside(self, thing: Any, steps: int) -> Parts:
        if isinstance(thing, functools.partial):
            for each in (thing.func, thing.args, thing.keywords):
                yield from self.of(each, steps)
        elif isinstance(thing, types.FunctionType):
            yield from self._function(thing, steps)
        elif isinstance(thing, types.MethodType):
            yield from self._method(thing.__func__, thing.__self__, steps)
        elif isinstance(thing, type):
            yield thing.__qualname__
            yield "" if self._of_others(thing) else _source(thing)
        elif isinstance(thing, Mapping):
            for key, value in islice(thing.items(), WIDTH):
                yield from self.of(key, steps)
                yield from self.of(value, steps)
        elif isinstance(thing, (list, tuple)):
            yield f"{len(thing)} of"
            for each in islice(thing, WIDTH):
                yield from self.of(each, steps)
        elif callable(getattr(thing, "__wrapped__", None)):  # Such as a cached function.
            yield from self.of(thing.__wrapped__, steps)
        elif hasattr(thing, "__qualname__"):
            yield f"{_home(thing)}.{thing.__qualname__}"
        else:
            yield type(thing).__qualname__
            call = getattr(type(thing), "forward" if isinstance(thing, nn.Module) else "__call__")
            yield from self._method(call, thing, steps)

    def _method(self, function: Any, owner: object, steps: int) -> Parts:
        """A method, and the methods and plain values of its ``owner`` that it names."""
        yield from self.of(function, steps)
        for name in _names(function):
            value = getattr(owner, "__dict__", {}).get(name)
            method = inspect.getattr_static(type(owner), name, None)
            if isinstance(value, (*PLAIN, Tensor, tuple)) and value is not None:
                yield name
                yield from self.of(value, steps)
            elif isinstance(method, types.FunctionType) and steps:
                yield name
                if not any(method is each for each in self.seen):
                    yield from self._method(method, owner, steps - 1)

    def _function(self, function: types.FunctionType, steps: int) -> Parts:
        yield function.__qualname__
        if self._of_others(function):
            return
        yield _source(function) or _bytecode(function.__code__)
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # Nothing was put into it yet.
                continue
            yield from self.of(content, steps)
        yield from self.of(function.__defaults__ or (), steps)
        yield from self.of(function.__kwdefaults__ or {}, steps)
        names = _names(function)
        for name in names:
            value = function.__globals__.get(name)
            if not isinstance(value, types.ModuleType):
                yield from self._named(name, value, steps)
            elif not self._of_others(value):
                for each in names:
                    yield from self._named(f"{name}.{each}", vars(value).get(each), steps)

    def _named(self, name: str, value: Any, steps: int) -> Parts:
        """A global that code names: a function, a class, or a value that is no state."""
        kinds = (*PLAIN, Tensor, np.ndarray, tuple, type, types.FunctionType, functools.partial)
        if isinstance(value, kinds) and value is not None:
            yield name
            yield from self.of(value, steps)

    def _of_others(self, thing: Any) -> bool:
        """Whether somebody else wrote ``thing``: a library, or Python itself."""
        home = _home(thing)
        top = home.partition(".")[0]
        if top in (self.package, "__main__"):
            return False
        file = getattr(sys.modules.get(home), "__file__", None) or ""
        return top in sys.stdlib_module_names or any(folder in file for folder in INSTALLED)


def _home(thing: Any) -> str:
    """The module that ``thing`` is in, of an object that of its class."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    if isinstance(thing, types.ModuleType):
        return thing.__name__
    return str(getattr(thing, "__module__", None) or type(thing).__module__)


def _names(function: Any) -> list[str]:
    """The globals and attributes that the code of ``function`` names, sorted."""
    code = getattr(function, "__code__", None)
    return sorted(set() if code is None else set(_of_code(code)))


def _of_code(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _of_code(constant)


def _source(thing: Any) -> str:
    """The source of ``thing`` without comments, docstrings and layout; empty without one."""
    try:
        text = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        return ""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # Of a lambda these may be lines that are no whole statement.
        return text
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _bytecode(code: types.CodeType) -> bytes:
    """Instructions and constants, of code within it too; no names of files, no lines."""
    found = [code.co_code, repr((code.co_names, code.co_varnames)).encode()]
    for constant in code.co_consts:
        inner = isinstance(constant, types.CodeType)
        found.append(_bytecode(constant) if inner else repr(constant).encode())
    return b"\0".join(found)
