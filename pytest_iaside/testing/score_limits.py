"""Limits on a score of the user's own: needed by models that have one, of no use to others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_iaside.errors import SettingsError
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.testing.trainings import trainings_in

INSTEAD = {
    "max_score_drop": "max_log_likelihood_drop or max_accuracy_drop",
    "max_score_loss_rise": "max_loss_rise or max_error_rise",
    "max_score_difference": "max_log_likelihood_difference or max_accuracy_difference",
}
"""What limits as much of a classifier, of which there may be one alone in a gate."""


def check_score_limits(
    function: str, model: Any, given: Mapping[str, Any], *, needed: bool = True
) -> None:
    """Raise SettingsError where limits of ``function`` do not suit a ``model``, or trainings.

    ``given`` are all its limits that were given or may be. One on a score limits nothing of a model
    that has none; one that has a score must have such a limit, unless it is not ``needed``.
    """
    limits = {name: given[name] for name in INSTEAD if name in given}
    asked = [name for name, value in limits.items() if value is not None]
    for each in trainings_in(model) if limits else ():
        classifier = as_classifier(each)
        task = classifier.task
        if asked and not task.scored:
            known = [name for name in INSTEAD[asked[0]].split(" or ") if name in given]
            raise SettingsError(
                f"{function}: {asked[0]}={given[asked[0]]!r} limits a score of your own, but "
                f"{classifier.name} has none (its task is {task.name!r}), so it would limit "
                f"nothing; give {' or '.join(known)}, or Classifier(…, score=…)"
            )
        if needed and task.scored and not asked:
            raise SettingsError(
                f"{function}: this model is measured by a score of your own ({task.unit}), of "
                "which nobody else knows what matters; say how much of it may be lost: "
                f"{' or '.join(f'{name}=…' for name in limits)}, in its unit"
            )
