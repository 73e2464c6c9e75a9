"""What is wrong with the set-up of a project: its ini file, baselines, cache and workers."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_iaside.cli.doctor.finding import Finding
from pytest_iaside.cli.doctor.threads import threads
from pytest_iaside.errors import (
    LONGEST_VALUE,
    SpectralRobustnessError,
    one_line,
    printable,
    shortened,
)
from pytest_iaside.settings import READING, ini_value
from pytest_iaside.store import baselines as store

SHOWN = 10
"""Baselines of one kind that are named."""


class Collected:
    """What pytest collects in the folder, without running it."""

    def __init__(self) -> None:
        self.config: pytest.Config | None = None
        self.tests: set[str] = set()
        self.broken: list[str] = []
        self.workers: Any = None

    def pytest_configure(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            said = [line[1:].strip() for line in report.longreprtext.split("\n") if line[:1] == "E"]
            why = f" ({shortened(' '.join(said), 4 * LONGEST_VALUE)})" if said else ""
            self.broken.append(f"{report.nodeid or 'the project'} cannot be collected{why}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.tests |= {item.nodeid for item in session.items}


def collected() -> tuple[Collected, str]:
    """What pytest collects, and why it could not; empty where it could."""
    found, said = Collected(), io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            arguments = ["--collect-only", "-q", "-p", "no:cacheprovider"]
            status = pytest.main(arguments, plugins=[found])
    except SystemExit as ended:  # Of a conftest, which would end the doctor as well.
        return found, f"code of the project ended pytest by sys.exit({ended.code!r})"
    lines = [line for line in said.getvalue().splitlines() if line.strip()]
    if status == pytest.ExitCode.USAGE_ERROR:
        errors = [line for line in lines if line.startswith("ERROR: ")]
        return found, printable(" ".join(errors).removeprefix("ERROR: ") or _of_conftest(lines))
    if status == pytest.ExitCode.INTERNAL_ERROR:
        inside = [line for line in lines if line.startswith("INTERNALERROR>")]
        last = " ".join((inside or lines or ["it does not say why"])[-1].split())
        told = last.removeprefix("INTERNALERROR> ")
        return found, printable(f"pytest failed while it collected ({told})")
    return found, ""


def _of_conftest(lines: list[str]) -> str:
    """What failed as pytest loaded a conftest.py, of the lines that it printed."""
    where = [line for line in lines if "while loading conftest" in line]
    what = [line[1:].strip() for line in lines if line[:1] == "E"]
    return " ".join([*where[:1], *(what or lines[-1:])])


def set_up(found: Collected, refused: str) -> Iterator[Finding]:
    """Findings on the project whose tests are ``found``; pytest ``refused`` to read it, or not."""
    if refused:
        yield Finding("pytest's settings", refused, "wrong")
        return
    config = found.config
    if config is None:
        yield Finding("tests", "pytest did not start here", "wrong")
        return
    if not config.pluginmanager.hasplugin("iaside") and not config.pluginmanager.hasplugin(
        "pytest_iaside.plugin"
    ):
        yield Finding(
            "plugin",
            "pytest does not load pytest-iaside here, so no gate runs; look for -p no:iaside "
            "(addopts) and PYTEST_DISABLE_PLUGIN_AUTOLOAD",
            "wrong",
        )
        return
    name = config.inipath.name if config.inipath else "no ini file"
    yield Finding("settings", f"read ({name})")
    for each in found.broken[:SHOWN]:
        yield Finding("tests", f"{printable(each)}; run pytest on it", "wrong")
    if found.tests or found.broken:
        yield Finding("tests", f"{len(found.tests)} collected")
    else:
        yield Finding("tests", "none here; run the doctor in the folder of your project", "note")
    yield from _named(config)
    yield from _baselines(config, found)


def _named(config: pytest.Config) -> Iterator[Finding]:
    """The reference sample and the model that the ini file names."""
    from pytest_iaside.testing.factories import named_reference

    if text := ini_value(config, "reference"):
        how = {
            name: value
            for name in READING
            if (value := ini_value(config, f"reference_{name}")) is not None
        }
        made = partial(named_reference, text, config.rootpath, **how)
        yield tried("iaside_reference", lambda: repr(made()))
    for key in ("model", "baseline_model"):
        if text := ini_value(config, key):
            yield tried(f"iaside_{key}", partial(_names, text, config.rootpath))


def _names(text: str, base: Path) -> str:
    from pytest_iaside.testing.factories import named_models

    return ", ".join(printable(model.name) for model in named_models(text, base))


def tried(what: str, work: Callable[[], str]) -> Finding:
    """What ``work`` found, or how it failed: it may run the user's own code."""
    try:
        return Finding(what, work())
    except SpectralRobustnessError as error:
        return Finding(what, str(error), "wrong")
    except SystemExit as ended:
        return Finding(what, f"it called sys.exit({ended.code!r}); it must return", "wrong")
    except Exception as error:
        return Finding(what, one_line(error), "wrong")


def _baselines(config: pytest.Config, found: Collected) -> Iterator[Finding]:
    from pytest_iaside.measure.measurement import Measurement

    paths = list(store.baselines([config.rootpath], config.getini("norecursedirs")))
    if not paths:
        yield Finding("baselines", "none yet; pytest --iaside-update=new makes them", "note")
        return
    good = 0
    for path in paths:
        shown = os.path.relpath(path, config.rootpath)
        try:
            Measurement.load(path)
        except SpectralRobustnessError as error:
            yield Finding(shown, f"cannot be used: {error}", "wrong")
            continue
        owner = store.owner_of(path)
        if owner is None:
            yield Finding(shown, "names no test; a gate reads it where it is named", "note")
        elif not found.broken and _is_gone(owner, path, config.rootpath, found.tests):
            yield Finding(
                shown, f"belongs to no test ({owner} is gone): pytest --iaside-prune", "wrong"
            )
        else:
            good += 1
    yield Finding("baselines", f"{good} of {len(paths)} belong to a test and can be read")
    for path in _ignored(paths, config.rootpath)[:SHOWN]:
        shown = os.path.relpath(path, config.rootpath)
        yield Finding(shown, "git ignores it, so that it is never committed: .gitignore", "wrong")
    for path in _uncommitted(paths, config.rootpath)[:SHOWN]:
        shown = os.path.relpath(path, config.rootpath)
        yield Finding(
            shown, "is not in git as it is here, so CI compares with another or none", "note"
        )


def _is_gone(owner: store.Owner, path: Path, root: Path, tests: set[str]) -> bool:
    """Whether the test file is gone, or was collected without that test."""
    file, test, _ = owner.key
    module = path.parent.parent.parent / file
    if not os.path.exists(module):
        return True
    split = [name.partition("::") for name in tests]
    there = {name for at, _, name in split if (root / at) == module}
    return bool(there) and test not in there


def _ignored(paths: Sequence[Path], root: Path) -> list[Path]:
    """Those of ``paths`` that git ignores, their arrays included; none where there is no git."""
    asked = "\0".join(map(str, _files(paths))).encode()
    return [Path(each) for each in _git(root, "check-ignore", "-z", "--stdin", asked=asked)]


def _uncommitted(paths: Sequence[Path], root: Path) -> list[Path]:
    """Those of ``paths`` that git does not have, or has otherwise, they or their arrays."""
    files = [str(each) for each in _files(paths)]
    known = ("ls-files", "-z", "--others", "--modified", "--exclude-standard")
    changed = [root / each for each in _git(root, *known, "--", *files)]
    staged = _git(root, "diff", "--cached", "--name-only", "--relative", "-z", "--", *files)
    other = {each.with_suffix("") for each in [*changed, *(root / each for each in staged)]}
    return [path for path in paths if path.with_suffix("") in other]


def _files(paths: Sequence[Path]) -> list[Path]:
    return [each for path in paths for each in (path, path.with_suffix(".npz"))]


def _git(root: Path, *arguments: str, asked: bytes = b"") -> list[str]:
    """The names that git tells, ended by NUL each; none where it is missing or no repository."""
    git = shutil.which("git")
    if git is None:
        return []
    done = subprocess.run([git, *arguments], cwd=root, input=asked, capture_output=True)
    return [os.fsdecode(each) for each in done.stdout.split(b"\0") if each]


def machine(found: Collected) -> Iterator[Finding]:
    """Findings on the machine, as the project whose tests are ``found`` uses it."""
    yield cache()
    workers = executor = None
    if found.config is not None:
        workers = found.config.getoption("numprocesses", None)
        with contextlib.suppress(SpectralRobustnessError, ValueError):  # Told of the settings.
            executor = ini_value(found.config, "executor")
    yield from threads(int(workers) if workers else None, executor)


def cache() -> Finding:
    """Whether what is found can be kept for the next run."""
    from pytest_iaside.store.cache import ResultCache
    from pytest_iaside.store.machine import FOLDER_VARIABLE, cache_folder

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        results = ResultCache()
        kept = sum(game.size for game in results.contents())
    except (OSError, SpectralRobustnessError) as error:
        told = str(error) if isinstance(error, SpectralRobustnessError) else one_line(error)
        return Finding(
            "cache", f"{folder} cannot be written ({told}); set {FOLDER_VARIABLE}", "wrong"
        )
    if results.broken:
        return Finding("cache", f"{results.path} cannot be used ({results.broken})", "wrong")
    return Finding("cache", f"{folder}, {kept / 1e6:.1f} MB")
