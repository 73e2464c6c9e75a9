"""The test that runs now, as an assertion inside it sees it."""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_iaside.errors import SettingsError
from pytest_iaside.settings import ON_COMMAND_LINE, Layer, dashes
from pytest_iaside.testing.ranks import engine_of_ranks
from pytest_iaside.testing.session import RECORD, SESSION, is_worker, on_ci
from pytest_iaside.testing.watch import noted

if TYPE_CHECKING:
    from pytest_iaside.measure.spectral import Progress
    from pytest_iaside.report.pass_log import PassLog
    from pytest_iaside.report.record import GateRecord


@dataclass(eq=False)
class CurrentTest:
    """The test whose body is running now, once for every run of it."""

    item: pytest.Item
    names: set[str | None] = field(default_factory=set)
    thread: int = field(default_factory=threading.get_ident)
    others: frozenset[int | None] = field(
        default_factory=lambda: frozenset(each.ident for each in threading.enumerate())
    )
    """The threads that there were when it began."""

    @property
    def config(self) -> pytest.Config:
        return self.item.config

    @property
    def node_id(self) -> str:
        # Not item.nodeid: xdist appends the group to that under --dist=loadgroup.
        parent = self.item.parent
        return self.item.nodeid if parent is None else f"{parent.nodeid}::{self.item.name}"

    @property
    def layers(self) -> list[Layer]:
        """Settings from the markers, the closest first, the command line, the ini file, and the
        fixture ``spectral_executor``."""
        session = self.config.stash[SESSION]
        executor, source = self.fixture("spectral_executor"), "fixture spectral_executor"
        if executor is None:
            executor, source = engine_of_ranks(), "torchrun"
        last = Layer(source, {} if executor is None else {"executor": executor})
        return [*marker_layers(self.item), session.command_line, session.ini, last]

    def fixture(self, name: str) -> Any:
        """The value of fixture ``name``; None for items that know no fixtures."""
        # A plain function has no public way to a fixture that its test does not list. Functions
        # and doctests keep their request here.
        request = getattr(self.item, "_request", None)
        return None if request is None else request.getfixturevalue(name)

    def command(self, *options: str) -> str:
        """The command line that runs this test alone, from where pytest was started."""
        path, separator, test = self.node_id.partition("::")
        path = os.path.relpath(self.config.rootpath / path, self.config.invocation_params.dir)
        node_id = f"{Path(path).as_posix()}{separator}{test}"
        # Double quotes as long as a shell reads nothing into them: Windows knows no others.
        quoted = shlex.quote(node_id) if set(node_id) & set('"$`\\!') else f'"{node_id}"'
        return " ".join(["pytest", quoted, *self._given(), *options])

    def _given(self) -> Iterator[str]:
        """The options of this run that decide what is measured, and how."""
        for name in ON_COMMAND_LINE:
            if (value := self.config.getoption(f"iaside_{name}")) is not None:
                yield shlex.quote(f"--iaside-{dashes(name)}={value}")

    def relative(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.config.rootpath)).as_posix()

    def exported(self, failed: bool, *exports: str) -> bool:
        """Whether somebody is going to read more than the verdict."""
        return failed or any(self.config.getoption(f"iaside_{name}") for name in exports)

    def add(self, record: GateRecord) -> None:
        """Send ``record`` to the controller, and a few numbers of it to JUnit XML."""
        from pytest_iaside.report.gates import MEANINGS
        from pytest_iaside.report.numbers import printable

        status = record["status"]
        told = record["verdict"] if status == "compared" else None
        numbers: dict[str, str] = {"verdict": told or status}
        if told in MEANINGS:
            numbers["meaning"] = MEANINGS[told]
        comparison = record["comparison"]
        if comparison and (spectral := comparison["candidate"]["spectral"]):
            numbers["src"] = f"{spectral['src']:.4f}"
        for check in comparison["checks"] if comparison else ():
            if check["name"] == "src":
                numbers["src_change"] = f"{check['change']:.4f}"
                numbers["interval"] = f"[{check['low']:.4f}, {check['high']:.4f}]"
        # Of a property, pytest makes the value fit for XML but not the name.
        suffix = "" if record["name"] is None else f"[{printable(record['name'])}]"
        properties = [(f"iaside_{name}{suffix}", text) for name, text in numbers.items()]
        self.item.user_properties += [(RECORD, record), *properties]
        if self not in _bodies and record["failed"]:  # In a thread that the test did not wait for.
            self.config.stash[SESSION].swallowed[self.node_id] = None

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[Progress], None] | None]:
        """A callback that keeps one line up to date on a terminal; None where there is none."""
        reporter: Any = self.config.pluginmanager.getplugin("terminalreporter")
        if reporter is None or not reporter.isatty or on_ci() or is_worker(self.config):
            yield noted(None)
            return
        from pytest_iaside.report.terminal import ProgressLine

        def write(text: str) -> None:
            with self.uncaptured():
                reporter.ensure_newline()  # The line is erased; pytest's own is to stay.
                reporter.write(text, flush=True)

        line = ProgressLine(write, self.item.name, self.config.get_terminal_writer().fullwidth)
        with contextlib.closing(line):
            yield noted(line)

    def pass_log(self) -> PassLog | None:
        """What tells of passes as they come back; None in a worker of xdist, which nobody reads."""
        reporter: Any = self.config.pluginmanager.getplugin("terminalreporter")
        if reporter is None or is_worker(self.config):
            return None
        from pytest_iaside.report.pass_log import STEP_ON_TERMINAL, STEPS, PassLog

        def write(line: str) -> None:
            with self.uncaptured():
                reporter.ensure_newline()
                reporter.write_line(line)

        terminal = reporter.isatty and not on_ci()
        return PassLog(write, self.item.name, steps=(STEP_ON_TERMINAL,) if terminal else STEPS)

    def uncaptured(self) -> contextlib.AbstractContextManager[None]:
        """What is written in there is not captured by pytest."""
        capture: Any = self.config.pluginmanager.getplugin("capturemanager")
        found: contextlib.AbstractContextManager[None] | None = (
            capture.global_and_fixture_disabled() if capture else None
        )
        return found or contextlib.nullcontext()


STRAY = "a thread that outlived the test that started it"

_current: ContextVar[CurrentTest | None] = ContextVar("iaside_current_test", default=None)


# Threads that a test starts know nothing of its context; their assertions are the test's all the
# same.
_bodies: list[CurrentTest] = []


def current_test() -> CurrentTest | None:
    """The test whose body is running, in this thread or in another; None outside of bodies."""
    found, thread = _current.get(), threading.get_ident()
    if found is not None or not _bodies or _bodies[-1].thread == thread:
        return found
    test = _bodies[-1]
    if thread in test.others:
        # Whose it is nobody knows; what it raises nobody sees.
        test.config.stash[SESSION].swallowed[STRAY] = None
        raise SettingsError(
            "an assertion was called in a thread that an earlier test, or a fixture, started; call "
            "it in the test itself, or in a thread that the test waits for"
        )
    return test


@contextlib.contextmanager
def running_now(item: pytest.Item) -> Iterator[None]:
    # A test that is run again (reruns, flaky) starts anew.
    item.user_properties[:] = [p for p in item.user_properties if not p[0].startswith("iaside_")]
    test = CurrentTest(item)
    token = _current.set(test)
    _bodies.append(test)
    try:
        yield
    finally:
        _bodies.remove(test)
        _current.reset(token)


def marker_layers(item: pytest.Item) -> list[Layer]:
    """Settings of the ``iaside`` markers of ``item``, the closest first; raises SettingsError."""
    layers = []
    for marker in item.iter_markers("iaside"):
        source = f"{item.nodeid}: @pytest.mark.iaside"
        if marker.args:
            raise SettingsError(f"{source} takes keywords only, got {marker.args!r}")
        layers.append(Layer(source, marker.kwargs))
    return layers
