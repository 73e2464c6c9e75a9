"""A gate's model: one, or several trainings of one recipe (SPEC.md 9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pytest_iaside.compare.check import worst
from pytest_iaside.compare.comparison import OF_BANDS, Comparison
from pytest_iaside.compare.headline import CLEAN_ACCURACY
from pytest_iaside.compare.likely import GONE
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.trainings import MOST, mean_of


def trainings_in(model: Any) -> tuple[Any, ...]:
    """The models of a list or tuple, or ``model`` alone; raises SettingsError for an empty one."""
    if not isinstance(model, (list, tuple)):
        return (model,)
    if not 0 < len(model) <= MOST:
        raise SettingsError(
            f"a list of {len(model)} models was given; give the trainings of one recipe, two or "
            "more with a seed each, or one model without a list"
        )
    return tuple(model)


def measure_each(
    measure: Callable[[Any, Any, Measurement | None], Measurement],
    models: tuple[Any, ...],
    sample: ReferenceSample | None,
    old: Measurement | None,
    *,
    explains: bool = False,
) -> Measurement:
    """What ``measure`` says of the ``models``: of several their mean, which holds each of them.

    What ``explains`` a class explains that of the baseline, or else what the first one predicts.
    """
    if len(models) > 1 and sample is not None and sample.right is None:
        raise SettingsError(
            f"{len(models)} trainings were given, which are compared on the same labels or "
            "targets, but the reference sample has neither: give it labels, or targets where the "
            "models have task='multilabel' or a score="
        )
    first = measure(models[0], sample, old)
    others = old or first if explains else old
    return mean_of([first, *(measure(model, sample, others) for model in models[1:])])


def worse_answers(comparison: Comparison) -> bool:
    """Whether a training answers worse than its baseline, by more than limits allow.

    What makes the trainings of a baseline differ makes its gate see less: such a training is added
    only where a person says so.
    """
    answers = [check.verdict for check in comparison.checks if check.name not in OF_BANDS]
    return worst(answers) == "drift"


def worse_training(
    comparison: Comparison, compared: Callable[[Measurement, Measurement], Comparison]
) -> Comparison | None:
    """``comparison`` where it answers worse, else that of the first training that does alone.

    Among good trainings a bad one makes the interval wide, and could hide in it. None where none
    answers worse.
    """
    if worse_answers(comparison):
        return comparison
    trainings = comparison.candidate.trainings
    for number, each in enumerate(trainings, start=1):
        found = compared(each, comparison.baseline)
        if worse_answers(found):
            which = f"training {number} of {len(trainings)} ({each.model.name}) was compared alone"
            return replace(found, notes=(which, *found.notes))
    return None


def single_training(comparison: Comparison, command: str) -> list[str]:
    """What somebody should know who compares one training with one; nothing of equal weights.

    ``command`` adds a training to the baseline.
    """
    candidate, baseline = comparison.candidate, comparison.baseline
    accuracy = next((each for each in comparison.answers if each.name in CLEAN_ACCURACY), None)
    if accuracy is not None and accuracy.candidate <= GONE * accuracy.baseline:
        return []  # No seed costs so much.
    known = candidate.model.fingerprint
    if candidate.trainings or baseline.trainings or (known and known == baseline.model.fingerprint):
        return []
    return [
        "one training is compared with one: if the model was trained anew, another seed alone may "
        "look like this. Train the baseline's recipe three times or more, each time with another "
        f"seed, and add every training to the baseline: {command}"
    ]
