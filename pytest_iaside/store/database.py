"""SQLite files that hold plain tables: opened within limits of size and time."""

from __future__ import annotations

import sys
from collections.abc import Collection
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_iaside.errors import quoted
from pytest_iaside.store import files

if TYPE_CHECKING:
    import sqlite3

# Bytes of a file, and of one row of it: more than a measurement has.
LARGEST = 2**35
LARGEST_ROW = 2**26
# Seconds to wait for another process that writes.
PATIENCE = 30.0
# Steps of SQLite, some seconds of its work, after which a query is none of ours; and how many of
# them lie between two counts.
MOST_STEPS = 300_000_000
STEPS = 100_000


def connect(path: Path, *, mode: str) -> sqlite3.Connection:
    """The database in the file ``path``; ``mode`` as in SQLite's addresses: rw, rwc.

    Raises OSError where there is something else than a file, sqlite3.Error as SQLite does: for a
    value that is too large and for a query that takes too long, too.
    """
    import sqlite3

    try:
        files.check_file(path, LARGEST)
    except FileNotFoundError:
        if mode != "rwc":
            raise
    place = f"{path.absolute().as_uri()}?mode={mode}"
    database = sqlite3.connect(place, uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        # Before, a value may be as large as SQLite itself allows: 1 GB; nothing is attached here.
        if sys.version_info >= (3, 11):
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_ROW)
            database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        # Text need not be UTF-8 in a file that somebody else wrote.
        database.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
        looks = count(1)
        database.set_progress_handler(lambda: next(looks) * STEPS > MOST_STEPS, STEPS)
        # Nothing that a schema names is run: no functions of views, triggers or indices.
        database.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        database.close()
        raise
    return database


def odd_parts(database: sqlite3.Connection, known: Collection[str]) -> str:
    """What the schema of ``database`` holds besides the statements ``known``; empty for nothing.

    A view in the place of a table can take for ever to read, and a trigger writes what it likes.
    """
    allowed = {_plain(each) for each in known}
    rows = database.execute("SELECT type, name, sql FROM sqlite_master LIMIT 100")
    for kind, name, sql in rows:
        if sql is None and kind == "index" and str(name).startswith("sqlite_autoindex_"):
            continue
        if not isinstance(sql, str) or _plain(sql) not in allowed:
            return f"the {kind} {quoted(name)}"
    return ""


def _plain(sql: str) -> str:
    return " ".join(sql.replace("IF NOT EXISTS", "").split())
