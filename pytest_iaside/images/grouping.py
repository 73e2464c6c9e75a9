"""Which images belong together: what a user gives as ``groups``, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pytest_iaside.errors import ReferenceSampleError, one_line, quoted

GroupOf = Callable[[Any], Any]
"""The group of an image, from its path or its index."""
EXPECTED = (
    "expected one string or whole number for each image, the same for those that belong together"
)


def checked_groups(groups: Any, names: Sequence[str]) -> tuple[str, ...] | None:
    """``groups`` of the images ``names`` as text; raises ReferenceSampleError for what is none."""
    if groups is None:
        return None
    given = as_list(groups)
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        raise ReferenceSampleError(f"groups={quoted(groups)} cannot be used; {EXPECTED}")
    if len(given) != len(names):
        raise ReferenceSampleError(
            f"{len(given)} group{'s' * (len(given) != 1)} for {len(names)} "
            f"image{'s' * (len(names) != 1)}; give one for each image, also for those that stand "
            "alone: a name that no other image has"
        )
    for name, each in zip(names, given, strict=True):
        if isinstance(each, (bool, np.bool_)) or not isinstance(each, (str, int, np.integer)):
            raise ReferenceSampleError(
                f"the group of {name} is {quoted(each)}; {EXPECTED}: give an image that stands "
                "alone a name that no other has"
            )
        if isinstance(each, str) and not each.strip():
            raise ReferenceSampleError(
                f"the group of {name} is empty; {EXPECTED}: give an image that stands alone a name "
                "that no other has"
            )
    texts = [isinstance(each, str) for each in given]
    if any(texts) and not all(texts):
        # The text "1" and the number 1: nobody can tell whether they are meant to be the same.
        one, other = (given[texts.index(kind)] for kind in (True, False))
        raise ReferenceSampleError(
            f"some groups are strings ({quoted(one)}), others numbers ({other}); give all of them "
            "as strings, or all as whole numbers"
        )
    return tuple(str(each) for each in given)


def as_list(groups: Any) -> Any:
    """``groups`` as a list where they are an array, a tensor or a column of a table."""
    return groups.tolist() if hasattr(groups, "tolist") else groups


def group_by(group_of: GroupOf, images: Sequence[Any]) -> list[Any]:
    """What ``group_of`` returns for each of ``images``; ReferenceSampleError where it fails."""
    try:
        return [group_of(image) for image in images]
    except Exception as error:  # Whatever the user's function raises.
        raise ReferenceSampleError(
            f"the function given as groups failed ({one_line(error)}); it is called with the path "
            "of each image relative to its folder, or with the index of each item of a dataset"
        ) from error
