"""What a gate of a model would cost, by a probe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pytest_iaside.cli.doctor.finding import Finding
from pytest_iaside.report.numbers import clock, count

PROBED = 8
"""Images of the probe."""
FEWEST = 4
"""Images of which not one right is worth a note."""
TIMES = 2
"""How often they are answered: the first time a back end is chosen as well."""


def cost(model: Any, reference: Any, options: dict[str, Any]) -> Iterator[Finding]:
    """How many forward passes a gate takes, and how long, from the pace of a few images."""
    from pytest_iaside.execute.kept_open import kept_open
    from pytest_iaside.measure.answers import answers
    from pytest_iaside.measure.panel import AUTO, panel_of
    from pytest_iaside.models.classifier import as_classifier
    from pytest_iaside.testing.spectral import PASSES_OF_A_GATE, cost_of_the_first

    classifier, execution = as_classifier(model), options["execution"]
    first = cost_of_the_first(options, reference)
    views = (None, *panel_of(options.get("panel", AUTO), reference.shape))
    # From all over: folders come class by class.
    count_of = min(PROBED, len(reference))
    some = reference.take([place * len(reference) // count_of for place in range(count_of)])
    with kept_open(passes=PASSES_OF_A_GATE * len(reference)):
        for _ in range(TIMES):
            began = time.perf_counter()
            found = answers(classifier, some, views, execution=execution, known=True)
            seconds = time.perf_counter() - began
    pace = len(some) * len(views) / seconds
    least = len(reference) * len(views)
    yield Finding("model", f"{classifier.name}, {pace:.0f} forward passes a second")
    yield Finding("images", repr(reference))
    yield from _answered(classifier, some, found[0])
    yield Finding("first baseline", f"{count(first)} forward passes, about {_time(first / pace)}")
    yield Finding(
        "each run",
        f"from {count(least)} forward passes, about {_time(least / pace)}, where the answers "
        "decide, to as many as the first; of an unchanged model most are in the cache",
    )


def _answered(classifier: Any, some: Any, logits: Any) -> Iterator[Finding]:
    """A note where no image is answered as its label says: most often the order is another."""
    if some.labels is None or some.labels.ndim != 1 or classifier.task.name != "softmax":
        return
    right = int((logits.argmax(axis=1) == some.labels.numpy()).sum())
    if right == 0 and len(some) >= FEWEST:
        yield Finding(
            "labels",
            f"none of {len(some)} images is answered as its label says; is the order of the "
            "classes the model's own, and the preprocessing (mean, std, channels)?",
            "note",
        )


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)
