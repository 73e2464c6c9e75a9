"""Two files as one record: YAML for people, NPZ for numbers, replaced together or not at all.

The YAML names the SHA-256 of its NPZ, and is replaced in one step: which record stands is what it
says. Around that step its arrays lie under a second, hidden name, made of that hash. So whoever is
killed, and however many write at once, a whole record can be read.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pytest_iaside.errors import BaselineError
from pytest_iaside.store import files, numbers_file, plain_yaml
from pytest_iaside.store.numbers_file import Arrays

ADVICE = "restore it from version control or create it anew"
# How often a reader looks again where a writer may have been between its two files, and how long
# it waits before.
ATTEMPTS = 25
PAUSE = 0.02
IGNORED = "# Drafts of pytest-iaside, and this file.\n.*\n"


def write(path: Path, document: Mapping[str, Any], arrays: Arrays) -> None:
    """Write ``document`` to the YAML file ``path`` and ``arrays`` to the NPZ beside it.

    Killed at any moment, either the old record stands or the new one; of several writers at once,
    one. Raises BaselineError when the folder cannot be written; what was there is then untouched.
    """
    store = path.with_suffix(".npz")
    try:
        content = numbers_file.pack(arrays)
        digest = hashlib.sha256(content).hexdigest()
        label = {"file": store.name, "sha256": digest}
        text = plain_yaml.write({**document, "arrays": label}).encode()
        if len(text) > plain_yaml.LARGEST:
            raise ValueError(f"its text has {len(text) / 1e6:,.1f} MB, too much to be read")
    except (ValueError, UnicodeEncodeError) as error:
        raise BaselineError(
            f"cannot write {path}: {error}; measure fewer images (nothing was overwritten)"
        ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.locked(path.parent) as alone:
            _hide_drafts(path.parent.parent)
            files.write_bytes(_spare_path(store, digest), content)
            files.write_bytes(path, text)
            # The new record stands: what fails from here on is left to the next writer.
            with contextlib.suppress(OSError, BaselineError):
                _settle(path, content, digest)
                _sweep(path, alone=alone)
    except OSError as error:
        raise BaselineError(
            f"cannot write {path}: {error.strerror or error}; make the folder writable or choose "
            "another path (nothing was overwritten)"
        ) from error


def read(
    path: Path, known: Collection[str] | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The document and arrays that ``write`` put at ``path``, arrays under ``known`` names.

    Raises BaselineError when either file is missing, truncated, corrupt, not the other's, or
    larger than a measurement is.
    """
    before: tuple[int, int, str] | None = None
    for _ in range(ATTEMPTS):
        stamp = _stamp(path)
        document, digest = _document(path)
        for candidate in _candidates(path, digest):
            with contextlib.suppress(OSError):
                content = files.read_bytes(candidate, numbers_file.LARGEST)
                if hashlib.sha256(content).hexdigest() == digest:
                    return document, _unpacked(candidate, content, known)
        # The same record may be written again between two looks: that is another file.
        if (*stamp, digest) == before:
            break
        before = (*stamp, digest)
        time.sleep(PAUSE)
    store = path.with_suffix(".npz")
    try:
        files.check_file(store, numbers_file.LARGEST)
    except FileNotFoundError:
        raise BaselineError(f"{store} is missing, and {path.name} needs it; {ADVICE}") from None
    except OSError as error:
        raise BaselineError(f"cannot read {store}: {error.strerror}; {ADVICE}") from error
    raise BaselineError(
        f"{store} is not the file that {path.name} was written with (truncated, edited, or from "
        f"another commit: its sha256 is not {digest[:12]}…); {ADVICE}"
    )


def remove(path: Path) -> None:
    """Delete the record at ``path``, both files; folders left empty go with it."""
    path.unlink(missing_ok=True)  # First: it says which record stands.
    store = path.with_suffix(".npz")
    for file in (store, *_spares(store)):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
        folder = path.parent.parent
        if folder.name == files.STORE and [each.name for each in folder.iterdir()] == [
            ".gitignore"
        ]:
            (folder / ".gitignore").unlink()
        folder.rmdir()


def read_document(path: Path) -> dict[str, Any]:
    """The YAML file ``path`` alone; raises BaselineError as ``read`` does."""
    try:
        return plain_yaml.read(files.read_bytes(path, plain_yaml.LARGEST))
    except OSError as error:
        raise BaselineError(f"cannot read {path}: {error.strerror or error}; {ADVICE}") from error
    except ValueError as error:
        raise BaselineError(f"{path} {error}; {ADVICE}") from error


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _document(path: Path) -> tuple[dict[str, Any], str]:
    document = read_document(path)
    label = document.get("arrays")
    digest = label.get("sha256") if isinstance(label, Mapping) else None
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise BaselineError(
            f"{path} was not written by pytest-iaside (it names no arrays); {ADVICE}"
        )
    return document, digest


def _unpacked(path: Path, content: bytes, known: Collection[str] | None) -> dict[str, NDArray[Any]]:
    try:
        return numbers_file.unpack(content, known)
    except ValueError as error:
        raise BaselineError(f"{path} {error}; {ADVICE}") from error


def _settle(path: Path, content: bytes, digest: str) -> None:
    """Put the arrays of the record that stands under their plain name.

    Another writer may have replaced the YAML in between: then its arrays are those.
    """
    store = path.with_suffix(".npz")
    while True:
        files.write_bytes(store, content)
        _, now = _document(path)
        if now == digest:
            return
        content = files.read_bytes(_spare_path(store, now), numbers_file.LARGEST)
        digest = now


def _sweep(path: Path, *, alone: bool) -> None:
    """Remove what writers left that were killed, once the record that stands needs none of it."""
    files.sweep(path.parent, alone=alone)
    if path.parent.parent.name == files.STORE:  # One that was to hide drafts; nobody locks there.
        files.sweep(path.parent.parent)
    store = path.with_suffix(".npz")
    _, digest = _document(path)
    content = files.read_bytes(store, numbers_file.LARGEST)
    if hashlib.sha256(content).hexdigest() == digest:
        for spare in _spares(store):
            if alone or files.is_old(spare):
                spare.unlink(missing_ok=True)


def _candidates(path: Path, digest: str) -> Iterator[Path]:
    store = path.with_suffix(".npz")
    yield from (store, _spare_path(store, digest), store.with_name(f".{store.name}.old"))


def _spare_path(store: Path, digest: str) -> Path:
    return store.with_name(f".{store.name}.{digest[:16]}")


def _spares(store: Path) -> list[Path]:
    """All hidden copies of ``store``, also of version 0.1.0."""
    beginning = f".{store.name}."
    return [each for each in store.parent.glob(".*") if each.name.startswith(beginning)]


def _hide_drafts(folder: Path) -> None:
    if folder.name == files.STORE and not (folder / ".gitignore").exists():
        files.write_bytes(folder / ".gitignore", IGNORED.encode())
