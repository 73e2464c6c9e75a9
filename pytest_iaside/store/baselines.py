"""Baselines: where a test's own lies, whose it is, and which ones nobody uses.

Nothing heavy is imported: at the end of a session under xdist, the process that looks for unused
baselines has never needed numpy or torch.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_iaside.errors import BaselineError
from pytest_iaside.store import plain_yaml
from pytest_iaside.store.files import STORE as FOLDER
from pytest_iaside.store.files import read_bytes

SLUG_LENGTH = 60
# Of a file beside a baseline that is proposed only, see proposals.py.
PROPOSED = ".proposal.json"


class ForeignBaselineError(BaselineError):
    """A baseline belongs to another test; it is never overwritten."""


@dataclass(frozen=True)
class Owner:
    """The assertion that a baseline belongs to: a test and, where it has several, a name."""

    node_id: str
    name: str | None = None

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What identifies the owner wherever pytest was started: file, test, name."""
        path, _, test = self.node_id.partition("::")
        return PurePosixPath(path).name, test, self.name

    def __str__(self) -> str:
        return self.node_id if self.name is None else f"{self.node_id} (name={self.name!r})"


def path_for(test_file: Path, owner: Owner) -> Path:
    """Where the baseline of ``owner`` lies, beside ``test_file``.

    A readable part in ASCII, and a hash that tells apart what the readable part cannot.
    """
    _, test, name = owner.key
    full = test if name is None else f"{test}-{name}"
    plain = unicodedata.normalize("NFKD", full).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-")[:SLUG_LENGTH].rstrip("-") or "test"
    digest = hashlib.sha256(repr((test, name)).encode()).hexdigest()[:8]
    return test_file.parent / FOLDER / test_file.stem / f"{slug}-{digest}.yaml"


def check_owner(path: Path, owner: Owner) -> None:
    """Raise ForeignBaselineError where the baseline ``path`` is another test's or no test's."""
    found = owner_of(path)
    if found is None or found.key != owner.key:
        whose = "names no test" if found is None else f"belongs to {found}"
        raise ForeignBaselineError(
            f"{path} {whose}, expected {owner}; move it away or restore the right one from version "
            "control (it was not touched)"
        )


def owner_of(path: Path) -> Owner | None:
    """Whose baseline ``path`` is by its own words; None when it does not say."""
    try:
        document = plain_yaml.read(read_bytes(path, plain_yaml.LARGEST))
        owner = Owner(document["test"]["node_id"], document["test"]["name"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    well_formed = isinstance(owner.node_id, str) and isinstance(owner.name, str | None)
    return owner if well_formed else None


def baselines(scope: Iterable[Path], skip: Sequence[str] = ()) -> Iterator[Path]:
    """Every baseline in ``scope``, less folders that match ``skip`` and virtual environments."""
    seen: set[Path] = set()
    for place in scope:
        beside = place.parent / FOLDER / place.stem
        found = set(_below(place, skip) if place.is_dir() else beside.glob("*.yaml"))
        yield from sorted(found - seen)
        seen |= found


def _below(folder: Path, skip: Sequence[str]) -> Iterator[Path]:
    for directory, names, _ in os.walk(folder):
        here = Path(directory)
        if FOLDER in names:
            found = (here / FOLDER).glob("*/*.yaml")
            yield from (path for path in found if not path.with_suffix(PROPOSED).exists())
        names[:] = [
            name
            for name in names
            if name not in (FOLDER, "__pycache__")
            and not any(fnmatch.fnmatch(name, pattern) for pattern in skip)
            and not (here / name / "pyvenv.cfg").exists()
        ]


def unused(
    found: Iterable[Path],
    *,
    used: Collection[Path],
    tests: Mapping[tuple[Path, str], bool],
    files: Collection[Path],
) -> list[Path]:
    """Those baselines ``found`` whose test is gone, or passed without using them.

    ``used`` are the baselines that assertions asked for; ``tests`` says of each collected test
    (file, name) whether it passed; ``files`` are the test files that were collected whole. A
    baseline whose test file exists and was not collected may be used tomorrow.
    """
    result = []
    for path in found:
        if path in used or (owner := owner_of(path)) is None:
            continue
        file, test, _ = owner.key
        module = path.parent.parent.parent / file
        # Not Path.exists: that raises for a name that no file can have.
        gone = module in files or not os.path.exists(module)
        if tests.get((module, test), gone):
            result.append(path)
    return result
