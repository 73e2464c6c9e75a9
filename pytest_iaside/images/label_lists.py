"""Labels in a CSV file: which images there are, and of which class."""

from __future__ import annotations

import codecs
import csv
import io
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_iaside.errors import ReferenceSampleError, one_line, quoted, shortened, visible
from pytest_iaside.store.files import read_bytes

FILE_COLUMNS = ("file", "path", "filename", "file_name", "filepath", "image")
LABEL_COLUMNS = ("label", "class", "imagenet_index")
GROUP_COLUMNS = ("group", "groups")
MEANING = {
    "groups": "that says which images belong together",
    "labels": "of class indices, or labels=None",
}
AUTO, NEEDED = "auto", "\0needed"
LISTED = 3
LARGEST_CSV = 2**26
# Calls from a warning in sources.py up to who called ReferenceSample.from_folder.
CALLER = 4


@dataclass(frozen=True)
class Listed:
    """An image file, relative to its folder; its class, and what it is one of."""

    file: str
    label: int | None = None
    group: str | None = None


def read_list(
    source: Path, told: Path, *, label: str | None = NEEDED, group: str | None = None
) -> list[Listed]:
    """The images that the CSV file ``source`` names; messages call it ``told`` if it is missing.

    ``label`` is the name of a column, "auto" for one of the usual name if there is one, or None;
    by default it must be there. ``group`` is a column, "auto" or None.
    """
    if not source.is_file():
        raise ReferenceSampleError(
            f"there is no file {told}; give labels='folder', None, or the path of a CSV file with "
            "the columns file and label"
        )
    try:
        text = _text(read_bytes(source, LARGEST_CSV), source)
        rows = csv.DictReader(io.StringIO(text, ""), skipinitialspace=True)
        columns = Columns.of(source, list(rows.fieldnames or []), label, group)
        entries = _entries(source, rows, columns)
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise ReferenceSampleError(
            f"{source} cannot be read: {reason}; give a CSV file with the columns file and label"
        ) from error
    if not entries:
        raise ReferenceSampleError(f"{source} names no images; give it one row for each image")
    return entries


@dataclass(frozen=True)
class Columns:
    """Which columns of a CSV file hold what."""

    file: str
    label: str | None
    group: str | None
    rivals: tuple[str, ...] = ()
    """Others that are called as columns of classes are, where nobody said which one counts."""

    @classmethod
    def of(cls, source: Path, names: list[str], label: str | None, group: str | None) -> Columns:
        """Those of a file with the columns ``names``; raises ReferenceSampleError."""
        file = _one_of(source, names, FILE_COLUMNS)
        if group == AUTO:
            group = _one_of(source, names, GROUP_COLUMNS)
        counted = Counter(names)
        wanted = ["file", *LABEL_COLUMNS, file, label, group]
        if twice := [each for each in wanted if each is not None and counted[each] > 1]:
            raise ReferenceSampleError(
                f"{source} has more than one column {twice[0]}; give each column a name of its own"
            )
        if group is not None and group == file:
            raise ReferenceSampleError(
                f"groups={group!r} puts every image into a group of its own; leave groups out, or "
                "give the name of a column that says which images belong together"
            )
        shown = ", ".join(names) or "(none)"
        others = [each for each in names if each not in (file, group)]
        for setting, column in (("groups", group), ("labels", label)):
            if column not in (NEEDED, AUTO, None) and column not in names:
                raise ReferenceSampleError(
                    f"{source} has the columns {shown}; {setting}={column!r} names none of them: "
                    f"give the name of the column {MEANING[setting]}"
                )
        needed, asked = label == NEEDED, label == AUTO
        if needed and file is not None:
            label = _label_column(source, names, file, group)
        elif asked:
            label = _one_of(source, others, LABEL_COLUMNS)
            if file is not None and label is None and others:
                raise ReferenceSampleError(
                    f"{source} has the columns {shown}, and none is called "
                    f"{', '.join(LABEL_COLUMNS[:-1])} or {LABEL_COLUMNS[-1]}; give labels=<the "
                    "name of the column of class indices>, or labels=None"
                )
        if file is None or (needed and label is None):
            one = len(names) == 1 and {";", "\t"} & set(names[0])
            raise ReferenceSampleError(
                f"{source} has the columns {shown}; expected a header row with a column file (or "
                f"{', '.join(FILE_COLUMNS[1:-1])} or {FILE_COLUMNS[-1]}) and a column "
                f"{', '.join(LABEL_COLUMNS[:-1])} or {LABEL_COLUMNS[-1]}"
                f"{', separated by commas' if one else ''}"
            )
        rivals = [name for name in others if name.strip().lower() in LABEL_COLUMNS]
        unsaid = (needed or asked) and label in rivals
        return cls(file, label, group, tuple(n for n in rivals if n != label) if unsaid else ())


def _text(content: bytes, source: Path) -> str:
    """``content`` of the file ``source`` as text; ReferenceSampleError unless it is UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte {error.start} is 0x{content[error.start]:02x}"
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            found = "it begins as UTF-16 does"
        elif (meant := content[error.start : error.start + 1].decode("cp1252", "ignore")).strip():
            found += f", which is {meant!r} in Latin-1 and Windows-1252"
        raise ReferenceSampleError(
            f"{source} is not UTF-8 ({found}); save it as CSV in UTF-8: names of files would be "
            "others"
        ) from error


def _one_of(source: Path, names: list[str], usual: Sequence[str]) -> str | None:
    """The column with one of the ``usual`` names, as it is written there; None without any."""
    if usual[0] in names:
        return usual[0]
    found = [name for name in names if name is not None and name.strip().lower() in usual]
    if len(found) > 1:
        raise ReferenceSampleError(
            f"{source} has the columns {' and '.join(found)}, and either may be meant; call the "
            f"right one {usual[0]}"
        )
    return found[0] if found else None


def _label_column(source: Path, names: list[str], file: str, group: str | None) -> str | None:
    """The column of classes: of the usual name, or the only one left; None where none is."""
    others = [name for name in names if name != file]
    # The classes may be the groups; a column of groups is no column of classes.
    if group not in LABEL_COLUMNS and len([name for name in others if name != group]) >= 1:
        others = [name for name in others if name != group]
    usual = [name for name in LABEL_COLUMNS if name in others]
    if usual:
        return usual[0]
    return _one_of(source, others, LABEL_COLUMNS) or (others[0] if len(others) == 1 else None)


def _entries(source: Path, rows: csv.DictReader[str], columns: Columns) -> list[Listed]:
    """The images of ``rows``, each file once; ReferenceSampleError for two labels."""
    found: dict[str, Listed] = {}
    again: list[str] = []
    for row in rows:
        entry = _entry(source, rows.line_num, row, columns)
        file = entry.file
        again += [file] * (file in found)
        known = found.setdefault(file, entry)
        if known.label != entry.label:
            # One of the two is wrong, and nobody here can tell which.
            raise ReferenceSampleError(
                f"{source}, line {rows.line_num}: {quoted(file)} has {columns.label} "
                f"{quoted(entry.label)}, and {quoted(known.label)} above; leave one of the two "
                "lines out"
            )
        if columns.group is not None and (not entry.group or known.group != entry.group):
            told = f"{quoted(known.group or '')} above" if entry.group else "no group"
            raise ReferenceSampleError(
                f"{source}, line {rows.line_num}: {quoted(file)} has {columns.group} "
                f"{quoted(entry.group)}, and {told}; give each image one group, and one that "
                "stands alone a name of its own"
            )
    if again:
        warn(f"{source} names {listed(again)} more than once; each was taken once", CALLER + 2)
    return list(found.values())


def _entry(source: Path, line: int, row: dict[str, str], columns: Columns) -> Listed:
    given, label = row[columns.file], row[columns.label] if columns.label else None
    try:
        path, index = Path(given), None if columns.label is None else int(label or "")
    except (TypeError, ValueError):
        raise ReferenceSampleError(
            f"{source}, line {line}: file {quoted(given)} has {columns.label} "
            f"{quoted(label)}; expected a file and a class index (a whole number)"
        ) from None
    for rival in columns.rivals:
        if _whole(row[rival]) not in (index, None):
            raise ReferenceSampleError(
                f"{source}, line {line}: {quoted(given)} has {columns.label} {index} and {rival} "
                f"{row[rival].strip()}, and either may be meant; say which with ReferenceSample."
                f"from_csv(…, labels={columns.label!r}), or leave the other column out"
            )
    if path.is_absolute() or ".." in path.parts:
        raise ReferenceSampleError(
            f"{source}, line {line}: {quoted(given)} leaves the folder; expected a path relative "
            "to it, without .."
        )
    group = None if columns.group is None else (row[columns.group] or "").strip()
    return Listed(path.as_posix(), index, group)


def _whole(text: str | None) -> int | None:
    """The whole number that ``text`` is; None where it is something else, such as a name."""
    try:
        return int(text or "")
    except ValueError:
        return None


def warn(text: str, level: int) -> None:
    """Warn with ``text`` who stands so many calls above."""
    warnings.warn(visible(text), stacklevel=level)


def listed(files: Sequence[str], one: str = "image", several: str = "images") -> str:
    """How many ``files`` there are, and the first of them by name."""
    few = ", ".join(map(shortened, files[:LISTED]))
    more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
    return f"{len(files)} {several if len(files) != 1 else one} ({few}{more})"
