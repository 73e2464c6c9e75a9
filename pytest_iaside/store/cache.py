"""What was found for an image is kept: the same model on the same image is not run again.

One SQLite file in ``cache_folder()``. A row is one image of one game: the model's identity, the
rules, and what they are played with. Several processes may use it at once; one that is killed
in the middle leaves it as it was; what is damaged is measured again. Where nothing can be kept,
nothing is, and the measurement goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pytest_iaside.errors import SettingsError, printable, shortened
from pytest_iaside.stats.arrays import Floats
from pytest_iaside.store.database import connect, odd_parts
from pytest_iaside.store.machine import cache_folder

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

FILE = "results.sqlite"
# Raised whenever a change of this package changes what is found, or how it is kept.
VERSION = 3
LIMIT_VARIABLE = "IASIDE_CACHE_MB"
LIMIT_MB = 500
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS games (game TEXT PRIMARY KEY, title TEXT)",
    """CREATE TABLE IF NOT EXISTS found (
        game TEXT, image TEXT, label TEXT, predicted TEXT, used REAL, size INTEGER,
        facts TEXT, checksum INTEGER, content BLOB, PRIMARY KEY (game, image, label)
    )""",
    "CREATE INDEX IF NOT EXISTS by_use ON found (used, size)",
)


@dataclass(frozen=True)
class Entry:
    """What a row is found by: an image and its label, None for what the model itself predicts."""

    image: str
    label: str | None


@dataclass(frozen=True, eq=False)
class Found:
    """What was found for one image: rows of numbers (C,) float64 by name, and plain values."""

    arrays: Mapping[str, Floats]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Contents:
    """What the cache holds of one game: ``size`` in bytes, last ``used`` in seconds since 1970."""

    title: str
    images: int
    size: int
    used: float


class ResultCache:
    """The kept results in ``folder``, of at most ``limit`` bytes: the latest used ones stay.

    Raises SettingsError where the environment variable IASIDE_CACHE_MB is no number.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self._folder = folder
        self.limit = _limit() if limit is None else limit
        self.broken = ""
        """Why nothing can be kept here; empty where it can."""

    @property
    def path(self) -> Path:
        return (self._folder or cache_folder()) / FILE

    def get(self, game: str, entries: Sequence[Entry]) -> list[Found | None]:
        """What was found for each of ``entries`` in ``game``, one image each, or None."""
        nothing: list[Found | None] = [None] * len(entries)
        return self._try(lambda database: [_look_up(database, game, e) for e in entries], nothing)

    def put(
        self,
        game: str,
        title: str,
        entries: Sequence[Entry],
        predicted: Sequence[str],
        found: Sequence[Found],
    ) -> None:
        """Keep what was ``found`` for each of ``entries``; ``title`` is for people.

        ``predicted`` are the classes that the model itself predicts.
        """
        records = []
        for entry, label, one in zip(entries, predicted, found, strict=True):
            columns = {name: len(array) for name, array in one.arrays.items()}
            text = json.dumps({"columns": columns, "values": dict(one.values)})
            content = b"".join(array.astype("<f8").tobytes() for array in one.arrays.values())
            key = (game, entry.image, entry.label or label)
            size, checksum = len(content) + len(text), zlib.crc32(text.encode() + content)
            records.append((*key, label, time.time(), size, text, checksum, content))

        def keep(database: sqlite3.Connection) -> None:
            database.execute("INSERT OR REPLACE INTO games VALUES (?, ?)", (game, title))
            database.executemany(
                "INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", records
            )
            self._shrink(database)

        self._try(keep, None, create=True)

    def contents(self) -> list[Contents]:
        """What is kept, the latest used first."""

        def list_games(database: sqlite3.Connection) -> list[Contents]:
            rows = database.execute(
                "SELECT title, COUNT(*), SUM(size), MAX(used) FROM found NATURAL JOIN games "
                "GROUP BY game ORDER BY MAX(used) DESC"
            )
            return [
                Contents(title, images, int(size), float(used))
                for title, images, size, used in rows
                if isinstance(title, str)
            ]

        return self._try(list_games, [])

    def forget(self, beginning: str) -> None:
        """Forget all rows of games whose key begins so."""
        delete = "DELETE FROM found WHERE substr(game, 1, ?) = ?"
        self._try(lambda database: database.execute(delete, (len(beginning), beginning)), None)

    def clear(self) -> None:
        """Forget all that is kept; raises OSError where the file cannot be removed."""
        for ending in ("", "-journal"):
            Path(f"{self.path}{ending}").unlink(missing_ok=True)

    def _try(
        self, work: Callable[[sqlite3.Connection], T], otherwise: T, *, create: bool = False
    ) -> T:
        """``work`` as a transaction: kept as a whole, or not at all and ``otherwise`` returned."""
        try:
            import sqlite3
        except ImportError as error:  # Python can be built without.
            self.broken = str(error)
            return otherwise
        try:
            if not create and not self.path.exists():
                return otherwise
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(connect(self.path, mode="rwc")) as database:
                # Whoever is killed leaves the file whole. Where the machine itself fails it may
                # be damaged, which costs a measurement: no reason to wait for the disk here.
                database.execute("PRAGMA synchronous = OFF")
                database.execute("BEGIN IMMEDIATE")
                if odd := odd_parts(database, SCHEMA):
                    raise sqlite3.DatabaseError(f"{odd} is not of pytest-iaside")
                for statement in SCHEMA:
                    database.execute(statement)
                found = work(database)
                database.execute("COMMIT")
                return found
        except Exception as error:  # There is no home; rows of wrong types: whatever it is.
            self.broken = shortened(printable(" ".join(str(error).split())))
            operational = isinstance(error, sqlite3.OperationalError)
            interrupted = str(error) == "interrupted"  # It would take for ever.
            if isinstance(error, sqlite3.DatabaseError) and (interrupted or not operational):
                # Not a database, or a damaged one: the next measurement begins a new one.
                with suppress(OSError):
                    self.clear()
            return otherwise

    def _shrink(self, database: sqlite3.Connection) -> None:
        (total,) = database.execute("SELECT COALESCE(SUM(size), 0) FROM found").fetchone()
        if total <= self.limit:
            return
        # A tenth more than has to go, so that the next ones do not all end here.
        surplus = total - 0.9 * self.limit
        oldest = database.execute("SELECT rowid, size FROM found ORDER BY used").fetchall()
        for rowid, size in oldest:
            if surplus > 0:
                database.execute("DELETE FROM found WHERE rowid = ?", (rowid,))
            surplus -= size
        database.execute("DELETE FROM games WHERE game NOT IN (SELECT game FROM found)")


def game_key(facts: Mapping[str, Any]) -> str:
    """The key of a game that ``facts``, plain values, describe."""
    text = json.dumps({"version": VERSION, **facts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _look_up(database: sqlite3.Connection, game: str, entry: Entry) -> Found | None:
    row = database.execute(
        "SELECT rowid, facts, checksum, content FROM found "
        "WHERE game = ? AND image = ? AND label = COALESCE(?, predicted)",
        (game, entry.image, entry.label),
    ).fetchone()
    if row is None:
        return None
    rowid, *content = row
    found = _unpacked(*content)
    if found is None:
        database.execute("DELETE FROM found WHERE rowid = ?", (rowid,))
    else:
        database.execute("UPDATE found SET used = ? WHERE rowid = ?", (time.time(), rowid))
    return found


def _unpacked(facts: Any, checksum: Any, content: Any) -> Found | None:
    """What a row holds; None where it is not what ``put`` wrote."""
    try:
        if zlib.crc32(facts.encode() + content) != checksum:
            return None
        plain = json.loads(facts)
        columns, values = plain["columns"], plain["values"]
        numbers = np.frombuffer(content, "<f8").astype(np.float64)
        whole = sum(columns.values()) == len(numbers) and isinstance(values, dict)
        if not whole or min(columns.values(), default=0) < 0:
            return None
        parts = np.split(numbers, np.cumsum([*columns.values()]))
        return Found(dict(zip(columns, parts, strict=False)), values)
    except Exception:  # Of other types than ours, in as many ways as there are.
        return None


def _limit() -> int:
    text = os.environ.get(LIMIT_VARIABLE, str(LIMIT_MB))
    try:
        return int(float(text) * 1e6)
    except (ValueError, OverflowError):
        raise SettingsError(
            f"the environment variable {LIMIT_VARIABLE} is {text!r}; expected the megabytes that "
            f"kept results may take, such as {LIMIT_MB}"
        ) from None
