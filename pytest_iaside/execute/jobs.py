"""Jobs: a measurement in pieces, and what a piece has to be to be done by several workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from pytest_iaside.execute.runner import BackendRunner, pieces
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.models.classifier import Classifier

R_co = TypeVar("R_co", covariant=True)

AT_A_TIME = 8
"""Images prepared at once."""


class Job(Protocol[R_co]):
    """Some images of a measurement, and what is asked about them."""

    @property
    def sample(self) -> ReferenceSample: ...

    @property
    def passes(self) -> int:
        """Forward passes of the whole measurement, of which this is a part."""

    def first_inputs(self, classifier: Classifier) -> Tensor:
        """Some of what the network will see: backends are tried on it."""

    def rows(self, runner: BackendRunner) -> Iterator[R_co]:
        """What is found, in the order of the images, a few at a time."""


@runtime_checkable
class DivisibleJob(Protocol):
    """A job whose parts may be done by several workers.

    What they find does not depend on how large they are: a part consists of whole batches.
    """

    @property
    def own_passes(self) -> int:
        """Forward passes of this job alone."""

    def head(self) -> Job[Any] | None:
        """What has to be known before it can be divided; None where it is."""

    def parts(
        self, found: Sequence[Any], batch_size: int, passes: int
    ) -> Sequence[tuple[slice, Sequence[Job[Any]]]]:
        """Images, and for them parts of about so many passes, of batches of so many images.

        ``found`` is what the head gave.
        """

    def joined(self, some: slice, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """The job's rows of ``some`` images, of those of each of their parts."""


class CutByImages(ABC):
    """A divisible job whose parts are the same of fewer images."""

    sample: ReferenceSample

    @abstractmethod
    def images_at_once(self, batch_size: int, passes: int) -> int:
        """How many images a part of about so many passes has."""

    @abstractmethod
    def take(self, some: slice) -> Job[Any]:
        """The job of some of the images."""

    def head(self) -> None:
        """Nothing has to be known before."""
        return None

    def parts(
        self, found: Sequence[Any], batch_size: int, passes: int
    ) -> list[tuple[slice, list[Job[Any]]]]:
        at_once = max(1, self.images_at_once(batch_size, passes))
        return [(some, [self.take(some)]) for some in pieces(len(self.sample), at_once)]

    def joined(self, some: slice, rows: Sequence[Sequence[Any]]) -> list[Any]:
        return list(rows[0])
