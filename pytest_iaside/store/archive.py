"""Two files as one record: YAML for people, NPZ for numbers, replaced together or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from pytest_iaside.errors import BaselineError, one_line

Arrays = Mapping[str, NDArray[Any]]


def write(path: Path, document: Mapping[str, Any], arrays: Arrays) -> None:
    """Write ``document`` to the YAML file ``path`` and ``arrays`` to the NPZ beside it.

    Killed at any moment, either the old record stands or the new one. Raises BaselineError
    when the folder cannot be written; what was there is then untouched.
    """
    packed = io.BytesIO()
    # Plainly typed: numpy's own signature takes a name `allow_pickle` for an option.
    named: dict[str, Any] = dict(arrays)
    np.savez_compressed(packed, **named)
    content = packed.getvalue()
    store = path.with_suffix(".npz")
    label = {"file": store.name, "sha256": hashlib.sha256(content).hexdigest()}
    text = yaml.safe_dump(
        {**document, "arrays": label}, sort_keys=True, allow_unicode=True, width=100
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(store, content) as new_arrays, _temporary(path, text.encode()) as new_text:
            # Between the two replacements the YAML still names the old arrays: they stay
            # findable under a second name until the new YAML is in place.
            spare = _spare_path(store)
            if store.exists():
                spare.unlink(missing_ok=True)
                os.link(store, spare)
            os.replace(new_arrays, store)
            os.replace(new_text, path)
            spare.unlink(missing_ok=True)
    except OSError as error:
        raise BaselineError(
            f"cannot write {path}: {error.strerror or error}; make the folder writable or choose "
            "another path (nothing was overwritten)"
        ) from error


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The document and arrays that ``write`` put at ``path``.

    Raises BaselineError when either file is missing, truncated, corrupt, or not the other's.
    """
    advice = "restore it from version control or create it anew"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        digest = document["arrays"]["sha256"]
    except OSError as error:
        raise BaselineError(f"cannot read {path}: {error.strerror or error}; {advice}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path} is not valid YAML ({one_line(error)}); {advice}") from error
    except (KeyError, TypeError) as error:
        raise BaselineError(
            f"{path} was not written by pytest-iaside (it names no arrays); {advice}"
        ) from error
    store = path.with_suffix(".npz")
    for candidate in (store, _spare_path(store)):
        with contextlib.suppress(OSError):
            content = candidate.read_bytes()
            if hashlib.sha256(content).hexdigest() == digest:
                return document, _unpack(candidate, content, advice)
    if not store.exists():
        raise BaselineError(f"{store} is missing, and {path.name} needs it; {advice}")
    raise BaselineError(
        f"{store} is not the file that {path.name} was written with (truncated, edited, or from "
        f"another commit: its sha256 is not {digest[:12]}…); {advice}"
    )


def remove(path: Path) -> None:
    """Delete the record at ``path``, both files; folders left empty go with it."""
    store = path.with_suffix(".npz")
    for file in (path, store, _spare_path(store)):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
        path.parent.parent.rmdir()


def _unpack(path: Path, content: bytes, advice: str) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as packed:
            return {name: packed[name] for name in packed.files}
    except (
        *(ValueError, OSError, EOFError, TypeError, AttributeError, NotImplementedError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        raise BaselineError(f"{path} cannot be unpacked ({one_line(error)}); {advice}") from error


def _spare_path(store: Path) -> Path:
    return store.with_name(f".{store.name}.old")


@contextlib.contextmanager
def _temporary(path: Path, content: bytes) -> Iterator[str]:
    # In the same folder, so that the rename that follows is atomic.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        yield name
    finally:
        Path(name).unlink(missing_ok=True)
