"""History: the profiles of training runs' checkpoints, kept in one SQLite file.

Several processes may add to it at once: a writer waits for another. Whoever is killed while
adding leaves the file as it was. No pickle is in it, and nothing lies beside it once everything
is added, so it can be copied and committed.
"""

import hashlib
import json
import math
import operator
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pytest_iaside.checks import library
from pytest_iaside.errors import BaselineError, SettingsError, one_line, quoted, shortened
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.measurement import ARRAYS, FORMAT
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.measure.provenance import ReferenceInfo
from pytest_iaside.store import database as sqlite
from pytest_iaside.store import numbers_file

FILE = "iaside-history.sqlite"
RUN = "run"
# How SQLite's header says whose a file is: "IASD".
APPLICATION = 0x49415344
# Raised whenever the table or its rows change so that an older version cannot read them. The rows
# of version 1, of 0.1.0, have no format.
VERSION = 2
TABLE = """
CREATE TABLE IF NOT EXISTS points (
    run TEXT NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, key TEXT,
    accuracy REAL, loss REAL, facts TEXT NOT NULL, arrays BLOB NOT NULL,
    PRIMARY KEY (run, step), UNIQUE (run, name)
)
"""
COLUMNS = "run, step, name, accuracy, loss, facts, arrays"


@dataclass(frozen=True, eq=False, kw_only=True)
class Point:
    """One checkpoint of one training run.

    ``run`` is the run's name, ``step`` an epoch or a step of it, ``name`` the checkpoint's path
    or what a callback calls it. ``accuracy``, from 0 to 1, is that on the reference sample where
    it is labelled, else what the trainer logged, as ``loss`` is; NaN counts as unknown.

    Raises SettingsError for a step that is no whole number and for names that are no text.
    """

    run: str = RUN
    step: int
    name: str
    profile: SpectralProfile
    accuracy: float | None = None
    loss: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", _whole(self.step))
        for what in ("run", "name"):
            found = getattr(self, what)
            if not isinstance(found, str) or not found:
                raise SettingsError(f"{what}={quoted(found)} cannot be used; expected text")
            object.__setattr__(self, what, storable(found))
        for what in ("accuracy", "loss"):
            object.__setattr__(self, what, _known(what, getattr(self, what)))


def metrics(point: Point) -> dict[str, float]:
    """The numbers of ``point`` that exist, by the names that exporters get.

    ``iaside/src``, ``iaside/signed_src`` and ``iaside/sid/<band>`` (SPEC.md 1.5) exist unless the
    profile is degenerate; ``iaside/value`` (nats) always; ``iaside/accuracy`` and ``iaside/loss``
    where they are known. Bands count from 0, with zeros in front where there are more than ten.
    """
    profile, found = point.profile, dict[str, float | None]()
    if not profile.degenerate:
        digits = len(str(profile.rules.bands - 1))
        found |= {"src": profile.src, "signed_src": profile.signed_src}
        found |= {f"sid/{band:0{digits}}": float(x) for band, x in enumerate(profile.sid)}
    found |= {"value": profile.value, "accuracy": point.accuracy, "loss": point.loss}
    return {f"iaside/{name}": value for name, value in found.items() if value is not None}


class History:
    """The points of training runs in the SQLite file ``path``, which the first one makes.

    Every method raises BaselineError where the file cannot be used: it is no history, one of a
    newer version, damaged, or may not be written. It is never overwritten.
    """

    def __init__(self, path: str | Path = FILE) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"History({str(self.path)!r})"

    def add(self, point: Point, *, key: str | None = None) -> None:
        """Keep ``point``, without its log-likelihoods, as a whole or not at all.

        It takes the place of what has the same run and step, or the same run and name. ``key``
        (``key_of``) is what ``find`` finds it by.
        """
        row = point.run, point.step, point.name, point.accuracy, point.loss, *pack(point.profile)
        with self._opened("rwc") as database:
            database.execute(
                f"INSERT OR REPLACE INTO points ({COLUMNS}, key) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, key),
            )

    def points(self, run: str | None = None) -> list[Point]:
        """The points of ``run`` by step; without it those of every run, one run after another."""
        return self._read("") if run is None else self._read("WHERE run = ?", storable(run))

    def to_dataframe(self) -> Any:
        """All points as a pandas DataFrame: a row each, in the order of runs and steps.

        Columns ``run``, ``step``, ``name`` and those of ``metrics`` without their
        prefix, NaN where a number does not exist. Raises SettingsError where pandas is missing.
        """
        pandas = library("pandas", "for to_dataframe()", error=SettingsError)
        rows = []
        for point in self.points():
            told = {name.removeprefix("iaside/"): value for name, value in metrics(point).items()}
            rows.append({"run": point.run, "step": point.step, "name": point.name, **told})
        return pandas.DataFrame(rows, columns=None if rows else ["run", "step", "name"])

    def runs(self) -> list[str]:
        """The names of all runs, in alphabetical order."""
        found = self._rows("SELECT DISTINCT run FROM points ORDER BY 1")
        return [run for (run,) in found if isinstance(run, str)]

    def find(self, key: str) -> list[Point]:
        """The points that were added under ``key``; the same weights may stand at several steps."""
        return self._read("WHERE key = ?", key)

    def at(self, run: str, step: int) -> Point | None:
        """The point of ``run`` at ``step``; None where there is none."""
        return next(iter(self._read("WHERE run = ? AND step = ?", storable(run), step)), None)

    def _read(self, where: str, *values: str | int) -> list[Point]:
        query = f"SELECT {COLUMNS} FROM points {where} ORDER BY run, step"
        return [self._point(*row) for row in self._rows(query, values)]

    def _point(
        self, run: Any, step: Any, name: Any, accuracy: Any, loss: Any, facts: Any, arrays: Any
    ) -> Point:
        try:
            profile = unpack(facts, arrays)
            return Point(
                run=run, step=step, name=name, profile=profile, accuracy=accuracy, loss=loss
            )
        except (BaselineError, SettingsError) as error:
            why = str(error) if isinstance(error, BaselineError) else _damaged(error)
            raise BaselineError(
                f"{self.path}: step {quoted(step)} of run {quoted(run)} ({shortened(str(name))}) "
                f"{why}, or add that point again"
            ) from error

    def _rows(self, query: str, values: Sequence[str | int] = ()) -> Iterator[Any]:
        # SQLite leaves an empty file where the first add is cut.
        if not self.path.exists() or (self.path.is_file() and self.path.stat().st_size == 0):
            return
        with self._opened("rw") as database:
            # Where the first add is cut later, opening the file puts it back to nothing.
            (tables,) = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            if tables:
                yield from database.execute(query, values)

    @contextmanager
    def _opened(self, mode: Literal["rw", "rwc"]) -> Iterator[sqlite3.Connection]:
        """The database in one transaction; "rwc" makes it where there is none."""
        adding = mode == "rwc"
        try:
            if adding:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            # "rw" reads a file, too, that may not be written.
            with closing(sqlite.connect(self.path, mode=mode)) as database:
                database.execute("BEGIN IMMEDIATE" if adding else "BEGIN")
                self._check(database)
                if adding:
                    database.execute(f"PRAGMA application_id = {APPLICATION}")
                    database.execute(f"PRAGMA user_version = {VERSION}")
                    database.execute(TABLE)
                yield database
                database.execute("COMMIT")
        except sqlite3.DataError as error:  # "string or blob too big"
            raise BaselineError(
                f"{self.path} holds a row of more than {sqlite.LARGEST_ROW / 1e6:.0f} MB, which "
                "no point has; restore it from a copy, or choose another path (it was not touched)"
            ) from error
        except (sqlite3.OperationalError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BaselineError(
                f"cannot use the history {self.path}: {reason}; make it and its folder writable, "
                "end what else writes to it, or choose another path"
            ) from error
        except sqlite3.DatabaseError as error:
            raise BaselineError(
                f"{self.path} is no history, or a damaged one ({error}); choose another path, or "
                "restore it from a copy (it was not touched)"
            ) from error

    def _check(self, database: sqlite3.Connection) -> None:
        """Raise BaselineError unless ``database`` is a history that this version can use."""
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if application != APPLICATION and (application or version or tables):
            raise BaselineError(
                f"{self.path} is another program's database, expected a history of "
                "pytest-iaside; choose another path (it was not touched)"
            )
        if version > VERSION:
            raise BaselineError(
                f"{self.path} is a history of version {version}, this pytest-iaside reads those "
                f"up to {VERSION}; update pytest-iaside, or choose another path (it was not "
                "touched)"
            )
        if odd := sqlite.odd_parts(database, [TABLE]):
            raise BaselineError(
                f"{self.path} holds {odd}, which no history has; restore it from a copy, or choose "
                "another path (it was not touched)"
            )


def storable(text: str) -> str:
    """``text`` as a file can hold it: a file's name need not be UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def pack(profile: SpectralProfile) -> tuple[str, bytes]:
    """Plain values as JSON and arrays as NPZ of ``profile``, without its log-likelihoods."""
    document, arrays = replace(profile, log_likelihood=None).files()
    return json.dumps(document), numbers_file.pack(arrays)


def unpack(document: str, arrays: bytes) -> SpectralProfile:
    """What ``pack`` packed, today or in version 0.1.0.

    Raises BaselineError, which says why, where it is damaged or of another format.
    """
    try:
        known: dict[str, Any] = json.loads(document)
        old = "format" not in known  # 0.1.0 wrote none.
        if not old and known["format"] != FORMAT:
            raise BaselineError(
                f"has format {quoted(known['format'])}; expected {FORMAT!r} or, of version 0.1.0, "
                "none; install the version of pytest-iaside that wrote it"
            )
        found = numbers_file.unpack(arrays, ARRAYS)
        if old:
            known |= {"kind": "spectral", "settings": known["rules"]}
            found["values"] = found.pop("image_psi")
        return SpectralProfile.of_files((known, found))
    except BaselineError:
        raise
    except Exception as error:  # Damaged files fail in as many ways as there are parsers.
        raise BaselineError(_damaged(error)) from error


def _damaged(error: Exception) -> str:
    return f"is damaged ({one_line(error)}); restore the file from a copy"


def key_of(model: str, rules: Rules, reference: ReferenceInfo, digests: Sequence[str]) -> str:
    """What tells a measurement from any other, known before it is made: 32 hexadecimal digits.

    ``model`` says what the model computes (models/identity.py, or its fingerprint); ``digests``
    are of the images to be measured.
    """
    facts = {"model": model, "rules": rules.as_dict()}
    facts |= {"reference": asdict(reference), "images": list(digests)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _whole(step: Any) -> int:
    try:
        found = operator.index(step)
    except TypeError:
        found = 2**63
    # What SQLite holds.
    if isinstance(step, bool) or not -(2**63) <= found < 2**63:
        raise SettingsError(
            f"step={quoted(step)} cannot be used; expected a whole number of 64 bits"
        )
    return found


def _known(what: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise SettingsError(
            f"{what}={quoted(value)} cannot be used; expected a number or None"
        ) from None
    return found if math.isfinite(found) else None
