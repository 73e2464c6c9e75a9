"""Labels that folders gave, where the model has more classes than there are folders."""

from __future__ import annotations

from pytest_iaside.errors import BaselineError
from pytest_iaside.measure.measurement import Measurement, chance_of

MORE_THAN_CHANCE = 2.0
"""Times the share that is right by chance: with no more, labels say nothing about the images."""
MANY_RIGHT = 0.25
"""Of so many images answered right nobody says that the labels are wrong altogether."""
CSV_FILE = (
    "write the model's class of each image into a CSV file with the columns file and label, and "
    "give its path as labels="
)


def fewer_folders(answers: Measurement) -> str:
    """That folders were taken for the first classes of more; empty where that cannot be so.

    Known from names and labels alone: the rank of an image's top folder is its label.
    """
    names, labels = answers.names, answers.labels
    if answers.labels_predicted or answers.model.task != "softmax" or labels.ndim != 1:
        return ""
    tops = [name.partition("/")[0] for name in names if "/" in name]
    if len(tops) < len(names):
        return ""
    folders = sorted(set(tops))
    ranks = {folder: rank for rank, folder in enumerate(folders)}
    if len(folders) >= answers.model.classes or [ranks[top] for top in tops] != labels.tolist():
        return ""
    return (
        f'labels="folder" took the {len(folders)} folders, in the order of their names, for the '
        f"first {len(folders)} of the model's {answers.model.classes:,} classes ({folders[-1]} is "
        f"class {len(folders) - 1})"
    )


def refuse_wrong_folders(answers: Measurement) -> None:
    """Raise BaselineError where folders were taken for classes that their images do not have.

    Before the bands are measured, which takes minutes and would end in a refusal.
    """
    told = fewer_folders(answers)
    if not told:
        return
    right = float(answers.distinct(answers["accuracy, clean"]).mean())
    gain = float(answers.distinct(answers["L(all)"]).mean()) + chance_of(answers.model)
    folders = len(set(answers.labels.tolist()))
    if gain < 0 and right <= min(MORE_THAN_CHANCE / folders, MANY_RIGHT):
        raise BaselineError(
            f"this measurement makes no baseline, nothing was written: {told}, and the model "
            f"answers {right:.1%} of the images right; {CSV_FILE}"
        )
