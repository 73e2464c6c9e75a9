"""Proposed baselines: measured where nobody may write to the repository, accepted where one may.

A proposal is a baseline's two files under the path that they would have in the repository, and a
JSON file beside them that says what they are proposed for. Whoever wrote it is not trusted: what a
proposal says is compared with the repository that is to take it.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_iaside.errors import BaselineError, printable, quoted
from pytest_iaside.store import archive, files, numbers_file, plain_yaml
from pytest_iaside.store.baselines import PROPOSED, Owner, owner_of, path_for

FORMAT = "iaside-proposal/1"
# Of a JSON file, of the files of an archive, and of all of them together.
LARGEST = 100_000
MOST_FILES = 10_000
MOST_BYTES = 4 * 2**30
# How zipfile fails on files that are damaged; names that are no UTF-8 are ValueErrors.
UNREADABLE = (
    *(OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError),
    *(ValueError, OverflowError, MemoryError),
)
ADVICE = "give the artifact as it was downloaded: a folder, or a .zip file"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a baseline is proposed for, as its JSON file says."""

    path: str
    """Of the baseline's YAML file in the repository, with slashes."""
    node_id: str
    name: str | None
    sha256: str
    """Of the YAML file, which names that of the numbers."""
    replaces: str | None
    """The SHA-256 of the YAML file that it was compared with; None where there was none."""
    fingerprint: str | None
    """Of the model that was measured."""
    verdict: str = ""
    summary: str = ""

    @property
    def owner(self) -> Owner:
        return Owner(self.node_id, self.name)


def propose(
    folder: Path,
    root: Path,
    path: Path,
    owner: Owner,
    save: Callable[[Path], Path],
    *,
    fingerprint: str | None,
    verdict: str,
    summary: str,
) -> Path:
    """Let ``save(path)`` write to ``folder`` what the baseline ``path`` below ``root`` may become.

    The path of what was written. Raises BaselineError where ``path`` lies elsewhere.
    """
    try:
        place = path.relative_to(root)
    except ValueError:
        raise BaselineError(
            f"{path} lies outside of {root}, so its baseline cannot be proposed; run pytest from "
            "the root of the repository"
        ) from None
    target = folder / place
    note = target.with_suffix(PROPOSED)
    if os.path.lexists(target.parent.parent.parent / owner.key[0]):
        raise BaselineError(
            f"{folder} holds tests, and {target} would be the baseline of one; give "
            "--iaside-propose a folder of its own, such as iaside-report/proposals"
        )
    written = save(target)
    proposal = Proposal(
        path=place.as_posix(),
        node_id=owner.node_id,
        name=owner.name,
        sha256=digest_of(written) or "",
        replaces=digest_of(path),
        fingerprint=fingerprint,
        verdict=verdict,
        summary=summary,
    )
    text = json.dumps({"format": FORMAT, **asdict(proposal)}, indent=1) + "\n"
    files.write_bytes(note, text.encode("utf-8", "backslashreplace"))
    return written


def withdraw(folder: Path, root: Path, path: Path) -> None:
    """Remove what an earlier run wrote to ``folder`` for the baseline ``path`` below ``root``."""
    with contextlib.suppress(ValueError, OSError):
        target = folder / path.relative_to(root)
        note = target.with_suffix(PROPOSED)
        if note.is_file():
            archive.remove(target)
            note.unlink()


def proposals(folder: Path) -> list[Proposal]:
    """All that ``folder`` holds, by their paths; raises BaselineError where one cannot be read."""
    found = [_read(path) for path in sorted(_below(folder)) if path.name.endswith(PROPOSED)]
    if twice := [path for path, count in Counter(each.path for each in found).items() if count > 1]:
        raise BaselineError(f"{folder} proposes {quoted(twice[0])} twice; {ADVICE}")
    if not found:
        raise BaselineError(
            f"{folder} holds no proposed baselines (no file ends with {PROPOSED}); {ADVICE}"
        )
    return found


def check(proposal: Proposal, folder: Path, root: Path) -> Path:
    """Where ``proposal`` in ``folder`` belongs in the repository ``root``.

    Raises BaselineError where its path is not its test's, leads elsewhere or over links, where its
    test is not there, where the file is another than it says, or where the repository's baseline is
    not the one that it was compared with.
    """
    place = _plain(proposal.path)
    target = root.joinpath(*place.parts)
    file = proposal.owner.key[0]
    test_file = target.parent.parent.parent / file
    if not file or path_for(test_file, proposal.owner) != target:
        raise BaselineError(f"{proposal.path} is not where the baseline of {proposal.owner} lies")
    expected = place.parent.parent.parent.joinpath(file).as_posix()
    if proposal.node_id.partition("::")[0] != expected:
        raise BaselineError(
            f"{proposal.owner} is not the test whose baseline lies there, which is in {expected}; "
            "run pytest in the folder that is given as --root"
        )
    for top, what in ((root, "written"), (folder, "read")):
        at = top
        for part in place.parts:
            at = at / part
            if at.is_symlink():
                raise BaselineError(f"{at} is a link; nothing is {what} through links")
    if not _holds(test_file, proposal.owner):
        raise BaselineError(
            f"{test_file} holds no test {proposal.owner.key[1]!r}; check out the commit that the "
            "baseline was measured at"
        )
    proposed = folder.joinpath(*place.parts)
    if proposed.with_suffix(".npz").is_symlink():
        raise BaselineError(f"the arrays of {proposed} are a link; nothing is read through links")
    if not proposed.exists():
        raise BaselineError(f"{proposed} is missing; {ADVICE}")
    if digest_of(proposed) != proposal.sha256:
        raise BaselineError(f"{proposed} is not the file that was proposed: its SHA-256 differs")
    owner = owner_of(proposed)
    if owner is None or owner.key != proposal.owner.key:
        raise BaselineError(f"{proposed} belongs to {owner}, expected {proposal.owner}")
    if digest_of(target) != proposal.replaces:
        was = "there was none" if proposal.replaces is None else "that was another one"
        raise BaselineError(
            f"{target} is not the baseline that the proposal was compared with ({was}); measure "
            "the proposal anew, at the commit that is to take it"
        )
    return target


def unpacked(artifact: Path, into: Path) -> Path:
    """The folder ``artifact``, or what the .zip file ``artifact`` holds, put into ``into``.

    Raises BaselineError where it is neither, leads out of the folder, or is too large.
    """
    if artifact.is_dir():
        return artifact
    try:
        with zipfile.ZipFile(artifact) as packed:
            members = packed.infolist()
            size = sum(member.file_size for member in members)
            if len(members) > MOST_FILES or size > MOST_BYTES:
                raise BaselineError(
                    f"{artifact} holds {len(members)} files of {size / 1e6:,.0f} MB, more than "
                    f"baselines take; {ADVICE}"
                )
            for member in members:
                if not member.is_dir():
                    _unpack(packed, member, into)
    except UNREADABLE as error:
        raise BaselineError(f"cannot read {artifact}: {error}; {ADVICE}") from error
    return into


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a baseline's YAML file; None where there is none."""
    try:
        content = files.read_bytes(path, plain_yaml.LARGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BaselineError(f"cannot read {path}: {error.strerror or error}") from error
    # As the repository has it: git may have written its line breaks in another way.
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def gone_beside(target: Path) -> Iterator[tuple[Path, Owner]]:
    """Baselines in the folder of ``target`` whose test is gone, and those tests.

    A test that was given another name leaves such a one behind.
    """
    for path in sorted(target.parent.glob("*.yaml")):
        owner = None if path == target or path.is_symlink() else owner_of(path)
        if owner is None or not owner.key[0]:
            continue
        if not _holds(target.parent.parent.parent / owner.key[0], owner):
            yield path, owner


@contextlib.contextmanager
def all_or_none(paths: Iterable[Path]) -> Iterator[None]:
    """The baselines ``paths`` are as they were where anything goes wrong in here."""
    before = {}
    for path in paths:
        for file in (path.with_suffix(".npz"), path):  # The YAML file says which record stands.
            before[file] = file.read_bytes() if file.exists() else None
    try:
        yield
    except BaseException:
        for file, content in before.items():
            with contextlib.suppress(OSError):
                if content is not None:
                    files.write_bytes(file, content)
                elif file.suffix == ".yaml":
                    archive.remove(file)
        raise


def _unpack(packed: zipfile.ZipFile, member: zipfile.ZipInfo, into: Path) -> None:
    place = _plain(member.filename)
    if stat.S_ISLNK(member.external_attr >> 16):
        raise BaselineError(f"{quoted(member.filename)} is a link; {ADVICE}")
    if member.compress_type not in numbers_file.COMPRESSIONS:
        raise BaselineError(f"{quoted(member.filename)} is packed as no artifact is; {ADVICE}")
    most = max(numbers_file.LARGEST, plain_yaml.LARGEST)
    if member.file_size > most:
        raise BaselineError(f"{quoted(member.filename)} is larger than a baseline; {ADVICE}")
    target = into.joinpath(*place.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(member) as source, target.open("xb") as file:
        shutil.copyfileobj(_Limited(source, member.file_size), file)


class _Limited:
    """A stream that ends with an error where it holds more than was said."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._left = stream, most

    def read(self, size: int = -1) -> bytes:
        content: bytes = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise zipfile.BadZipFile("a file is larger than the archive says")
        return content


def _read(path: Path) -> Proposal:
    try:
        document = json.loads(files.read_bytes(path, LARGEST))
        if document.pop("format", None) != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        found = Proposal(**document)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # Of an artifact, the names of folders as well.
        raise BaselineError(
            f"{printable(path)} is no proposal ({printable(error)}); {ADVICE}"
        ) from error
    texts = (found.path, found.node_id, found.sha256, found.verdict, found.summary)
    may_be_none = (found.name, found.replaces, found.fingerprint)
    if not all(isinstance(each, str) for each in texts) or not all(
        isinstance(each, str | None) for each in may_be_none
    ):
        raise BaselineError(
            f"{printable(path)} is no proposal (a value is of the wrong type); {ADVICE}"
        )
    return found


def _plain(text: str) -> PurePosixPath:
    """``text`` as a path below a folder; raises BaselineError where it may lead elsewhere."""
    path = PurePosixPath(text)
    odd = not text or path.is_absolute() or not path.parts or ".." in path.parts
    if odd or any(character in text for character in "\\:\0") or len(text) > 1000:
        raise BaselineError(f"the path {quoted(text)} leads out of the folder; {ADVICE}")
    if not text.isprintable():  # A line break in it would begin a line of every message.
        raise BaselineError(f"the path {quoted(text)} is not one of plain characters; {ADVICE}")
    return path


def _below(folder: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(folder):
        yield from (Path(directory) / name for name in names)


def _holds(test_file: Path, owner: Owner) -> bool:
    """Whether ``test_file`` holds the test of ``owner``; it is read, never run."""
    if not test_file.is_file() or test_file.is_symlink():
        return False
    if test_file.suffix != ".py":
        return True
    *classes, test = owner.key[1].partition("[")[0].split("::")
    try:
        tree: ast.AST = ast.parse(files.read_bytes(test_file, 10 * plain_yaml.LARGEST))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    defined = {node.name: node for node in ast.walk(tree) if isinstance(node, kinds)}
    if not all(name in defined for name in classes):
        return False
    # A class may have its tests from another one.
    return test in defined or any(getattr(defined[name], "bases", None) for name in classes)
