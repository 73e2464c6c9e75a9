"""A limit on how long a gate may take, also where its model never returns.

The thread of the gate is interrupted from outside: the main thread by a signal, which also ends
waiting and sleeping, another one between two steps of Python. Where that does not help the model is
stuck in native code, which nothing can stop but the end of the process: pytest's results are
written first, and a worker of xdist is replaced.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

from pytest_iaside.errors import OutOfTimeError
from pytest_iaside.execute.passes import Passes, counted
from pytest_iaside.settings import seconds_of
from pytest_iaside.testing.session import is_worker

if TYPE_CHECKING:
    from pytest_iaside.measure.spectral import Progress

T = TypeVar("T")

# Seconds from one attempt to interrupt a gate to the next: what it takes to put a model back may
# last a while. And how often it is tried.
GRACE = 3.0
ATTEMPTS = 3
# Seconds that pytest has to write its results before the process ends all the same.
LAST_WORDS = 30.0
# Of no use to anybody else, and ignored where nobody handles it.
SIGNAL = getattr(signal, "SIGURG", None)
STACK = 12
"""Lines of a stack that are shown, the innermost ones."""


class WatchedTest(Protocol):
    """The test of a gate."""

    item: pytest.Item

    @property
    def config(self) -> pytest.Config: ...

    def uncaptured(self) -> contextlib.AbstractContextManager[None]: ...


class TimeIsUp(BaseException):
    """Raised in the thread of a gate; no ``except Exception`` of a model is to take it."""


@dataclass(eq=False)
class Watch:
    """A running gate of ``test``, its ``timeout`` as it was given, and how far it is."""

    timeout: str
    test: WatchedTest | None
    record: Callable[[OutOfTimeError], None]
    """Hands the gate's record to the session, where its thread cannot any more."""
    passes: Passes = field(default_factory=Passes)
    progress: Progress | None = None
    explaining: str = ""
    """The verdict, once there is one."""
    began: float = field(default_factory=time.monotonic)
    thread: int = field(default_factory=threading.get_ident)
    over: threading.Event = field(default_factory=threading.Event)
    last: threading.Lock = field(default_factory=threading.Lock)
    """Held by who decides how the gate ends."""
    signalled: bool = False
    """Whether a signal reaches the gate's thread."""

    def error(self, *, ends: bool = False) -> OutOfTimeError:
        """What is said of a gate that was stopped, or that ends its process."""
        where = f"{self.passes.done:,} forward passes"
        if self.progress is not None:
            where += f", with {self.progress.images_done} of {self.progress.images} images done"
        done = f"{self.explaining}; to explain that" if self.explaining else "the gate"
        stuck = (
            "; its model is stuck in native code, which only the end of this process could stop: "
            "tests that come after it in this process did not run"
            if ends
            else ""
        )
        return OutOfTimeError(
            f"{done} took longer than timeout={self.timeout} and was stopped, after {where}"
            f"{stuck}. What was found of whole images is in the cache, and the next run goes on "
            "there. Look where it hangs, or give it more time: --iaside-timeout=5min"
        )

    def start(self) -> None:
        threading.Thread(target=self.run, name="iaside timeout", daemon=True).start()

    def run(self) -> None:
        """Interrupt the gate once its time is up; end the process where that does not help."""
        left = (seconds_of(self.timeout) or 0.0) - (time.monotonic() - self.began)
        for pause in (left, *[GRACE] * (ATTEMPTS - 1)):
            if self.over.wait(max(0.0, pause)):
                return
            self.interrupt()
        if self.over.wait(GRACE) or self.test is None:
            return
        self.last.acquire()  # For good: a thread that comes back now waits for the end.
        if self.over.is_set():
            self.last.release()
            return
        end_process(self, self.test)

    def interrupt(self) -> None:
        if self.signalled:
            assert SIGNAL is not None
            signal.pthread_kill(self.thread, SIGNAL)
        else:
            raise_in(self.thread, TimeIsUp)

    def leave(self) -> None:
        """Nothing interrupts the gate's thread any longer."""
        while True:
            try:
                self.over.set()
                with self.last:
                    if not self.signalled:
                        raise_in(self.thread, None)
                return
            except TimeIsUp:  # It came too late.
                continue


_WATCH: ContextVar[Watch | None] = ContextVar("iaside_watch", default=None)


def within(
    timeout: str | None,
    work: Callable[[Watch | None], T],
    *,
    test: WatchedTest | None = None,
    record: Callable[[OutOfTimeError], None] = lambda error: None,
) -> T:
    """What ``work`` returns; raises OutOfTimeError once ``timeout`` is over, None is no limit.

    Where it does not end then, ``record`` is told why, and the process of ``test`` ends with the
    results of pytest. Outside of a test nothing more is done.
    """
    __tracebackhide__ = True
    if timeout is None:
        return work(None)
    watch = Watch(timeout, test, record)
    token = _WATCH.set(watch)
    try:
        with counted(watch.passes), _signals(watch), _stuck_with_the_lock(watch):
            try:
                watch.start()
                return work(watch)
            finally:
                watch.leave()
    except TimeIsUp as up:
        raise watch.error() from up
    finally:
        _WATCH.reset(token)


def noted(progress: Callable[[Progress], None] | None) -> Callable[[Progress], None] | None:
    """``progress``, and the watch of this gate told as well, where there is one."""
    watch = _WATCH.get()
    if watch is None:
        return progress

    def note(found: Progress) -> None:
        watch.progress = found
        if progress is not None:
            progress(found)

    return note


@contextlib.contextmanager
def _signals(watch: Watch) -> Iterator[None]:
    """Let a signal raise TimeIsUp in this thread, where it is the one that gets signals."""
    if SIGNAL is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def up(*_: Any) -> None:
        __tracebackhide__ = True
        if not watch.over.is_set():
            raise TimeIsUp

    before = signal.signal(SIGNAL, up)
    watch.signalled = True
    try:
        yield
    finally:
        signal.signal(SIGNAL, signal.SIG_DFL if before is None else before)


def raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Raise ``kind`` in ``thread`` before its next step of Python; None takes that back."""
    what = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)


@contextlib.contextmanager
def _stuck_with_the_lock(watch: Watch) -> Iterator[None]:
    """End the process where native code keeps Python's own lock: then nobody else can.

    All that is told is where each thread was. faulthandler has one clock: where pytest has set it
    (faulthandler_timeout), that stays.
    """
    test = watch.test
    if test is None or _clock_is_taken(test.config):
        yield
        return
    seconds = (seconds_of(watch.timeout) or 0.0) + (ATTEMPTS + 1) * GRACE
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ValueError, OverflowError):
            with test.uncaptured():
                told = os.dup(2)
            stack.callback(os.close, told)
            faulthandler.dump_traceback_later(seconds, file=told, exit=True)
            stack.callback(faulthandler.cancel_dump_traceback_later)
        yield


def _clock_is_taken(config: pytest.Config) -> bool:
    try:
        return float(config.getini("faulthandler_timeout") or 0) > 0
    except (KeyError, ValueError):  # That plugin of pytest is switched off.
        return False


def end_process(watch: Watch, test: WatchedTest) -> None:
    """Tell pytest that the gate of ``test`` failed, let it write its results, and exit with 1."""
    faulthandler.cancel_dump_traceback_later()
    threading.Timer(LAST_WORDS, os._exit, [1]).start()
    try:
        config, item = test.config, test.item
        if capture := config.pluginmanager.getplugin("capturemanager"):
            capture.suspend_global_capture(in_=True)
        error = watch.error(ends=True)
        watch.record(error)
        try:
            raise error
        except OutOfTimeError as raised:
            shown: Any = pytest.ExceptionInfo.from_exception(raised).getrepr(style="value")
        stack = traceback.format_stack(sys._current_frames().get(watch.thread))
        told: dict[str, Any] = {
            "nodeid": item.nodeid,
            "location": item.location,
            "keywords": {name: 1 for name in item.keywords},
            "user_properties": list(item.user_properties),
        }
        duration = time.monotonic() - watch.began
        failed = pytest.TestReport(
            **told,
            outcome="failed",
            longrepr=shown,
            when="call",
            duration=duration,
            sections=[("where it was", "".join(stack[-STACK:]))],
        )
        config.hook.pytest_runtest_logreport(report=failed)
        done = pytest.TestReport(**told, outcome="passed", longrepr=None, when="teardown")
        config.hook.pytest_runtest_logreport(report=done)
        if not is_worker(config):
            # Not what takes fixtures down: one of them may be what the model is stuck in.
            runner = config.pluginmanager.getplugin("runner")
            finish = config.pluginmanager.subset_hook_caller("pytest_sessionfinish", [runner])
            item.session.exitstatus = pytest.ExitCode.TESTS_FAILED
            finish(session=item.session, exitstatus=pytest.ExitCode.TESTS_FAILED)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
