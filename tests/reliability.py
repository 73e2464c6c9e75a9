"""docs/reliability.md, written from what ``make soak`` found (docs/reliability.json).

python tests/reliability.py
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
SAVED, PAGE = DOCS / "reliability.json", DOCS / "reliability.md"
VERSIONS = ("pytest", "torch", "numpy", "hypothesis")
INTRODUCTION = """\
# Reliability: which faults were injected, and what came of them

<!-- Written by `make soak` (tests/reliability.py) from reliability.json. -->

A gate's verdict must not depend on a disk that is full, a process that is killed, or a file that
somebody damaged. `make soak` tries that, and writes this page. A fault counts as *wrong* where a
record that was kept is lost, where two are mixed, where half of one is read, where a temporary file
stays after the next writer came (an hour later, where nobody can lock), where an error is not one
of this package's, or where the exit status of a session changes.
"""
SECTIONS = {
    "faults": (
        "## Every call that writes",
        "The n-th call that changes a file (`open`, `write`, `fsync`, `rename`, `link`, `unlink`, "
        "`mkdir`, `ftruncate`, SQLite's own as well) fails, is cut short, or is the last one of "
        "its process, for every n until there is none left; over an old file, and where there is "
        "none. Or the writer stops there, another one writes, a reader reads, and it goes on or is "
        "killed. *refused* is a clear error, or a word about what could not be kept; with a lock "
        "that a stopped writer holds, the other one gives up and says so.",
    ),
    "sessions": (
        "## Whole sessions of pytest",
        "The same in sessions that write reports, results and baselines: *written* ends with the "
        "exit status and the verdict of a session without a fault, *refused* with a BaselineError.",
    ),
    "fuzzed": (
        "## Damaged files",
        "Whole files of each kind, damaged at random (hypothesis) or as coverage says (atheris), "
        "with hooks that see code that is started and pickles that are loaded, and at most 2 GB.",
    ),
    "processes": (
        "## Eight processes",
        "They write and read one baseline, one cache and one history, and one of them is killed "
        "again and again.",
    ),
    "sessions of others": (
        "## Beside other plugins",
        "The same gates, green and red, with pytest-xdist in each of its modes, pytest-randomly, "
        "pytest-rerunfailures, and without the cache of pytest: the same verdicts, records and "
        "exit status as without them.",
    ),
    "hangs": (
        "## Models that hang",
        "A forward pass that sleeps, waits for a lock, loops and takes every exception, waits in "
        "native code, or does that with the interpreter's own lock; stopped by `--iaside-timeout` "
        "or Ctrl-C. *test_after* is the test that comes next in the same file.",
    ),
}
NOT_RUN = """\
## What was not run

Linux alone. On **Windows** there is no `flock`: writers do as without locks, which is tried above
(*no locks*). `os.replace` fails there while another process has the file open: a clear error, and
the old file stands. Names are ASCII, at most 80 characters long, never a device's (they end in a
hash), and differ by more than upper and lower case. `--iaside-timeout` interrupts Python there
between two steps only, so that a model that sleeps ends its process. On **macOS** `fsync` does not
reach the disk itself: a record may be lost with the power, never mixed. Neither was run.

A machine that loses its power, file systems over a network, and disks that return other bytes than
were written were not tried; caches and baselines are checked by checksums when they are read.
"""


def keep(section: str, found: Mapping[str, Any]) -> None:
    """Put what was ``found`` into the saved outcome, and write the page anew."""
    known = json.loads(SAVED.read_text("utf-8")) if SAVED.exists() else {}
    versions = {"python": platform.python_version(), "system": platform.system()}
    versions |= {name: metadata.version(name) for name in VERSIONS}
    known[section] = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": versions,
        **found,
    }
    SAVED.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(page(known), "utf-8")


def page(known: Mapping[str, Any]) -> str:
    """The page of a saved outcome."""
    parts = [INTRODUCTION]
    for name, (title, what) in SECTIONS.items():
        parts.append(f"{title}\n\n{what}\n")
        parts.append(_table(known[name]) if name in known else "Not run yet.\n")
    return "\n".join([*parts, NOT_RUN])


def _table(found: Mapping[str, Any]) -> str:
    outcomes: Mapping[str, Mapping[str, int]] = found["outcomes"]
    lines = ["| | times | outcome |", "|---|---:|---|"]
    for what, counts in outcomes.items():
        told = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())
        lines.append(f"| {what} | {sum(counts.values()):,} | {told} |")
    wrong, versions = len(found["wrong"]), found["versions"]
    total = sum(sum(counts.values()) for counts in outcomes.values())
    on = ", ".join(f"{name} {version}" for name, version in versions.items())
    more = f" in {found['seconds']:.0f} s" if "seconds" in found else ""
    told = f"**{total:,} in all{more}, {wrong} of them wrong.** {found['date']}; {on}."
    return "\n".join([*lines, "", told, ""])


if __name__ == "__main__":
    sys.stdout.write(str(PAGE.write_text(page(json.loads(SAVED.read_text("utf-8"))), "utf-8")))
