"""Jobs: a measurement in pieces, run in this process or spread over an executor's workers."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from itertools import chain, repeat
from typing import Protocol, TypeVar

from torch import Tensor

from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import BackendRunner, open_runner
from pytest_iaside.execute.steady import AT_ONCE, check_answers
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.models.classifier import Classifier

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

AT_A_TIME = 8
"""Images prepared at once, and sent to an executor's worker together with the model."""


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


def run_jobs(
    classifier: Classifier, execution: Execution, jobs: Iterable[Job[R]], *, steady: bool = False
) -> Generator[R]:
    """The rows of all ``jobs``, of which there is at least one, in their order.

    In this process a job is made when the one before is done. Raises as ``open_runner``, and
    ModelError where the network answers the first images differently each time, unless it is known
    to be ``steady``.
    """
    if (executor := execution.executor) is not None:
        # Workers do not spread their part any further, and an executor cannot be sent to one.
        alone = replace(execution, executor=None)
        every = list(jobs)
        for found in executor.map(_run_alone, repeat(classifier), repeat(alone), every):
            yield from found
        return
    waiting = iter(jobs)
    first = next(waiting)
    inputs = first.first_inputs(classifier)
    with open_runner(classifier, execution, inputs=inputs, passes=first.passes) as runner:
        if not steady:
            seen = classifier.normalise(first.sample.pixels(0, AT_ONCE).to(runner.device))
            check_answers(runner, seen, first.sample.names, execution.dtype, first.sample.right)
        for job in chain([first], waiting):
            yield from job.rows(runner)


def _run_alone(classifier: Classifier, execution: Execution, job: Job[R]) -> list[R]:
    inputs = job.first_inputs(classifier)
    with open_runner(classifier, execution, inputs=inputs, passes=job.passes) as runner:
        return list(job.rows(runner))
