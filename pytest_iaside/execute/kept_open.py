"""Back ends that stay open from one part of a measurement to the next."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from contextvars import ContextVar

from pytest_iaside.models.backends import Backend


class KeptBackends:
    """Backends that stay open, by what they run and how, until they are closed.

    ``passes`` are those of all that is run on them: what a conversion has to be worth.
    """

    def __init__(self, passes: int) -> None:
        self.passes = passes
        self._stack = ExitStack()
        self._backends: dict[Hashable, Backend] = {}
        self.agreed: set[str] = set()
        """What was found to be in order, by whatever name."""

    def backend(self, key: Hashable, opened: AbstractContextManager[Backend]) -> Backend:
        if key not in self._backends:
            self._backends[key] = self._stack.enter_context(opened)
        return self._backends[key]

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

    def close(self) -> None:
        self._backends.clear()
        self._stack.close()


_KEPT: ContextVar[KeptBackends | None] = ContextVar("kept", default=None)


def kept_here() -> KeptBackends | None:
    """What is kept open here, if anything is."""
    return _KEPT.get()


def agreed() -> set[str]:
    """What was found to be in order of the backends that are kept open here; it may be added to."""
    kept = _KEPT.get()
    return set() if kept is None else kept.agreed


@contextmanager
def kept_open(passes: int) -> Iterator[None]:
    """What is opened by ``open_runner`` in here stays open for the next who opens the same.

    So that a network is converted once, for ``passes`` in all, and not again for each part of a
    measurement. Nothing else may touch the network in here.
    """
    kept = KeptBackends(passes)
    with closing(kept), kept.in_use():
        yield
