"""A classifier as bytes: what travels to workers, once to each."""

from __future__ import annotations

import hashlib
import importlib
import io
import pickle
import shutil
import tempfile
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import torch
from torch.jit import ScriptModule

from pytest_iaside.errors import ModelError, one_line
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.fingerprint import weight_files

_FOLDERS: set[Path] = set()


@dataclass(frozen=True)
class Parcel:
    """What is sent, and by which ``key`` it is known: its SHA-256."""

    key: str
    content: bytes


def packed(classifier: Classifier) -> Parcel:
    """``classifier`` as bytes; raises ModelError where it cannot be sent."""
    fields = dict(vars(classifier))
    network = fields.pop("network")
    # What cannot be pickled has formats of its own.
    if isinstance(network, Path):
        kind, content = "files", [(each.name, each.read_bytes()) for each in weight_files(network)]
    elif isinstance(network, ScriptModule):
        buffer = io.BytesIO()
        torch.jit.save(network, buffer)
        kind, content = "script", buffer.getvalue()  # type: ignore[assignment]
    else:
        kind, content = "object", network
    buffer = io.BytesIO()
    try:
        torch.save((kind, content, fields), buffer, pickle_module=_pickler())
    except Exception as error:  # Whatever a network's own parts raise.
        raise ModelError(
            f"{classifier.name} cannot be sent to workers ({one_line(error)}); expected a model "
            "that pickle can write: define its class and its functions in a module, not inside "
            "another function, install cloudpickle, or measure in this process"
        ) from error
    whole = buffer.getvalue()
    return Parcel(hashlib.sha256(whole).hexdigest(), whole)


def unpacked(content: bytes) -> Classifier:
    """The classifier that ``packed`` made ``content`` of, its weights on the CPU.

    Raises ModelError where it cannot be loaded here.
    """
    try:
        kind, network, fields = torch.load(
            io.BytesIO(content), map_location="cpu", weights_only=False, pickle_module=pickle
        )
    except Exception as error:  # A class that is not here, above all.
        raise ModelError(
            f"the model cannot be loaded on a worker ({one_line(error)}); expected the modules "
            "that define it there: install them on the worker, or start it in a folder from which "
            "they can be imported"
        ) from error
    folder = None
    if kind == "files":
        folder = Path(tempfile.mkdtemp(prefix="iaside-"))
        _FOLDERS.add(folder)
        for name, data in network:
            (folder / name).write_bytes(data)
        network = folder / network[0][0]
    elif kind == "script":
        network = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(network), map_location="cpu"
        )
    found: Classifier = object.__new__(Classifier)
    for name, value in {"network": network, **fields}.items():
        object.__setattr__(found, name, value)
    if folder is not None:
        # With a thread of a pool its classifiers go; with a process of a pool, what is set here.
        Finalize(found, _remove, args=(folder,), exitpriority=1)
    return found


def remove_files() -> None:
    """Remove what unpacked classifiers have as files: for a process that ends at once."""
    for folder in list(_FOLDERS):
        _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _FOLDERS.discard(folder)


def dumped(value: Any) -> bytes:
    """``value`` as bytes; with cloudpickle, where it is installed, what pickle leaves out, too."""
    found: bytes = _pickler().dumps(value, protocol=5)
    return found


def _pickler() -> Any:
    try:
        return importlib.import_module("cloudpickle")
    except ImportError:
        return pickle
