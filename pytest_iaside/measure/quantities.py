"""Quantities: what a measurement holds of every image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher"]
Unit = Literal["nats", "share", "percent", "count", "hit", "score"]
"""What a quantity is measured in; a hit is 1 where something is so, else 0; a score has its own."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One number that every image has, of which the mean counts.

    ``family`` is what a limit is given for: it counts for all quantities of a family together.
    """

    name: str
    family: str
    better: Better
    unit: Unit = "share"


ANSWERS = "answers"
"""The kind of measurements of how right images are answered."""
TITLES: dict[str, Unit] = {
    "accuracy": "hit",
    "log-likelihood": "nats",
    "probability of the label": "share",
}
TASK_TITLES: dict[str, dict[str, Unit]] = {
    "softmax": TITLES,
    # The share of an image's labels that are right is no hit.
    "multilabel": {**TITLES, "accuracy": "share"},
    "score": {"score": "score"},
}
"""What is measured of answers, by the task (models/tasks.py)."""
# The families of quantities: of the images as they are, under each perturbation, the mean of all.
CLEAN, PERTURBED, MEAN = "clean", "perturbed", "mean"
# Quantities of the images as they are that nothing limits: the temperature; the log-likelihood as
# the model gives it, L(all) of SPEC.md 12; what the image tells about its label.
TEMPERATURE, AS_ANSWERED, INFORMATION = "temperature", "L(all)", "information"


def answer_quantities(panel: Sequence[str], task: str = "softmax") -> tuple[Quantity, ...]:
    """What is measured of answers under ``panel``, corruptions with their severities (panel.py).

    ``task`` is the kind of it: softmax, multilabel or score.
    """
    places = [(CLEAN, ", clean"), *((PERTURBED, f" under {each}") for each in panel)]
    if panel:
        places.append((MEAN, ", clean and perturbed"))
    found = []
    for title, unit in TASK_TITLES[task].items():
        for family, place in places:
            # The mean of hits is none.
            shown: Unit = "share" if unit == "hit" and family == MEAN else unit
            found.append(_quantity(f"{title}{place}", f"{family} {title.partition(' ')[0]}", shown))
    alone: tuple[tuple[str, Unit], ...] = (
        (TEMPERATURE, "count"),
        (AS_ANSWERED, "score" if task == "score" else "nats"),
        (INFORMATION, "score" if task == "score" else "nats"),
    )
    return (*found, *(_quantity(name, name, unit) for name, unit in alone))


def _quantity(name: str, family: str, unit: Unit) -> Quantity:
    return Quantity(name=name, family=family, better="higher", unit=unit)
