"""Labels in a CSV file: which images there are, and of which class."""

from __future__ import annotations

import csv
import io
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pytest_iaside.errors import ReferenceSampleError, one_line, quoted, shortened, visible
from pytest_iaside.store.files import read_bytes

LABEL_COLUMNS = ("label", "class", "imagenet_index")
LISTED = 3
LARGEST_CSV = 2**26
# Calls from a warning in sources.py up to who called ReferenceSample.from_folder.
CALLER = 4


def read_labels(
    root: Path, path: Path, group_column: str | None = None, groups: dict[str, str] | None = None
) -> list[tuple[str, int | None]]:
    """The files and labels that the CSV file ``path``, of images below ``root``, names.

    With a ``group_column`` what stands there is put into ``groups``, by file.
    """
    # As given, or else beside the images: both are what people write.
    source = path if path.exists() else root / path
    if not source.is_file():
        raise ReferenceSampleError(
            f"there is no file {path}; give labels='folder', None, or the path of a CSV file with "
            "the columns file and label"
        )
    try:
        text = read_bytes(source, LARGEST_CSV).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, ""), skipinitialspace=True)
        entries = _entries(source, rows, group_column, {} if groups is None else groups)
    except UnicodeDecodeError as error:
        raise ReferenceSampleError(
            f"{source} is not UTF-8 (byte {error.start}); save it as CSV in UTF-8"
        ) from error
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise ReferenceSampleError(
            f"{source} cannot be read: {reason}; give a CSV file with the columns file and label"
        ) from error
    if not entries:
        raise ReferenceSampleError(f"{source} names no images; give it one row for each image")
    return entries


def _entries(
    source: Path, rows: csv.DictReader[str], group_column: str | None, groups: dict[str, str]
) -> list[tuple[str, int | None]]:
    """The files and labels of ``rows``, each file once; ReferenceSampleError for two labels."""
    columns = list(rows.fieldnames or [])
    counted: Counter[str | None] = Counter(columns)
    if twice := [each for each in ("file", *LABEL_COLUMNS, group_column) if counted[each] > 1]:
        raise ReferenceSampleError(
            f"{source} has more than one column {twice[0]}; give each column a name of its own"
        )
    if group_column == "file":
        raise ReferenceSampleError(
            "groups='file' puts every image into a group of its own; leave groups out, or give "
            "the name of a column that says which images belong together"
        )
    if group_column is not None and group_column not in columns:
        raise ReferenceSampleError(
            f"{source} has the columns {', '.join(columns)}; groups={group_column!r} names none of "
            "them: give the name of the column that says which images belong together"
        )
    # The classes may be the groups; a column of groups is no column of classes.
    others = [each for each in columns if each != group_column]
    named = group_column in LABEL_COLUMNS or len(others) < 2
    column = _label_column(source, columns if named else others)
    found: dict[str, int] = {}
    again: list[str] = []
    for row in rows:
        given, label = row["file"], row[column]
        try:
            path, index = Path(given), int(label)
        except (TypeError, ValueError):
            raise ReferenceSampleError(
                f"{source}, line {rows.line_num}: file {quoted(given)} has {column} "
                f"{quoted(label)}; expected a file and a class index (a whole number)"
            ) from None
        if path.is_absolute() or ".." in path.parts:
            raise ReferenceSampleError(
                f"{source}, line {rows.line_num}: {quoted(given)} leaves the folder; expected a "
                "path relative to it, without .."
            )
        file = path.as_posix()
        again += [file] * (file in found)
        if found.setdefault(file, index) != index:
            # One of the two is wrong, and nobody here can tell which.
            raise ReferenceSampleError(
                f"{source}, line {rows.line_num}: {quoted(file)} has {column} {quoted(index)}, and "
                f"{quoted(found[file])} above; leave one of the two lines out"
            )
        if group_column is not None:
            group = (row[group_column] or "").strip()
            if not group or groups.setdefault(file, group) != group:
                told = quoted(groups.get(file, "")) + " above" if group else "no group"
                raise ReferenceSampleError(
                    f"{source}, line {rows.line_num}: {quoted(file)} has {group_column} "
                    f"{quoted(group)}, and {told}; give each image one group, and one that stands "
                    "alone a name of its own"
                )
    if again:
        warn(f"{source} names {listed(again)} more than once; each was taken once", CALLER + 2)
    return list(found.items())


def _label_column(source: Path, columns: list[str]) -> str:
    others = [column for column in columns if column != "file"]
    usual = [column for column in LABEL_COLUMNS if column in others]
    if "file" in columns and (usual or len(others) == 1):
        return (usual or others)[0]
    raise ReferenceSampleError(
        f"{source} has the columns {', '.join(columns) or '(none)'}; expected a header row with "
        f"a column file and a column {', '.join(LABEL_COLUMNS[:-1])} or {LABEL_COLUMNS[-1]}"
    )


def warn(text: str, level: int) -> None:
    """Warn with ``text`` who stands so many calls above."""
    warnings.warn(visible(text), stacklevel=level)


def listed(files: Sequence[str], one: str = "image", several: str = "images") -> str:
    """How many ``files`` there are, and the first of them by name."""
    few = ", ".join(map(shortened, files[:LISTED]))
    more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
    return f"{len(files)} {several if len(files) != 1 else one} ({few}{more})"
