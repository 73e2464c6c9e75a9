"""Jobs done one after the other in this process, or by the workers of an engine."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from itertools import chain
from typing import TypeVar

from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.jobs import Job
from pytest_iaside.execute.runner import open_runner
from pytest_iaside.execute.spreading import check_steady, spread
from pytest_iaside.models.classifier import Classifier

R = TypeVar("R")


def run_jobs(
    classifier: Classifier, execution: Execution, jobs: Iterable[Job[R]], *, steady: bool = False
) -> Generator[R]:
    """The rows of all ``jobs``, of which there is at least one, in their order.

    A job is made when the one before is done, or a worker is free. Raises as ``open_runner``, and
    ModelError where the network answers the first images differently each time, unless it is known
    to be ``steady``.
    """
    waiting = iter(jobs)
    first = next(waiting)
    if execution.executor is not None:
        yield from spread(classifier, execution, first, waiting, steady)
        return
    inputs = first.first_inputs(classifier)
    with open_runner(classifier, execution, inputs=inputs, passes=first.passes) as runner:
        if not steady:
            check_steady(runner, execution, first)
        for job in chain([first], waiting):
            yield from job.rows(runner)
