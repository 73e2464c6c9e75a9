"""Back ends that stay open from one part of a measurement to the next."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from contextvars import ContextVar

from pytest_iaside.models.backends import Backend


class KeptBackends:
    """Backends that stay open, by what they run and how, until they are closed.

    ``passes`` are those of all that is run on them: what a conversion has to be worth. ``again``
    are those that look again at what is kept on the disk, 0 where each look counts for itself: they
    are few, where that is all.
    """

    def __init__(self, passes: int, again: int = 0) -> None:
        self.passes = passes
        self.again = again
        self._stack, self._stack_again = ExitStack(), ExitStack()
        self._backends: dict[Hashable, Backend] = {}
        self._backends_again: dict[Hashable, Backend] = {}
        self.agreed: set[str] = set()
        """What was found to be in order, by whatever name."""

    def backend(self, key: Hashable, opened: AbstractContextManager[Backend]) -> Backend:
        if key not in self._backends:
            self._close_again()  # The same network cannot be open twice.
            self._backends[key] = self._stack.enter_context(opened)
        return self._backends[key]

    def backend_again(self, key: Hashable, opened: AbstractContextManager[Backend]) -> Backend:
        """What looks again: by what is open already, else by what was chosen for few passes."""
        if key in self._backends:
            return self._backends[key]
        if key not in self._backends_again:
            self._backends_again[key] = self._stack_again.enter_context(opened)
        return self._backends_again[key]

    def known_as(self, key: Hashable, backend: Backend) -> None:
        """``backend``, which is open, is what ``key`` asks for as well."""
        self._backends.setdefault(key, backend)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """What is opened by ``open_runner`` in here is taken from these, or becomes one."""
        before = _KEPT.set(self)
        try:
            yield
        finally:
            _KEPT.reset(before)

    def _close_again(self) -> None:
        self._backends_again.clear()
        self._stack_again.close()

    def close(self) -> None:
        self._backends.clear()
        try:
            self._close_again()
        finally:
            self._stack.close()


_KEPT: ContextVar[KeptBackends | None] = ContextVar("kept", default=None)
_AGAIN: ContextVar[bool] = ContextVar("again", default=False)


def kept_here() -> KeptBackends | None:
    """What is kept open here, if anything is."""
    return _KEPT.get()


def agreed() -> set[str]:
    """What was found to be in order of the backends that are kept open here; it may be added to."""
    kept = _KEPT.get()
    return set() if kept is None or _AGAIN.get() else kept.agreed


def looks_again() -> bool:
    """Whether what runs here only looks again at what is kept on the disk."""
    return _AGAIN.get()


@contextmanager
def looking_again() -> Iterator[None]:
    """What runs in here looks again at what is kept: no network is converted for it alone."""
    before = _AGAIN.set(True)
    try:
        yield
    finally:
        _AGAIN.reset(before)


@contextmanager
def kept_open(passes: int, again: int = 0) -> Iterator[None]:
    """What is opened by ``open_runner`` in here stays open for the next who opens the same.

    So that a network is converted once, for ``passes`` in all, and not again for each part of a
    measurement; nor at all where ``again`` passes, which look at what is kept, are all there is.
    Nothing else may touch the network in here.
    """
    kept = KeptBackends(passes, again)
    with closing(kept), kept.in_use():
        yield
