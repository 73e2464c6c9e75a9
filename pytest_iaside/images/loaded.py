"""What a source of images hands over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

OnError = Literal["raise", "skip"]
"""What is done about an image that cannot be read."""
LISTED = 3


@dataclass(frozen=True, eq=False)
class Loaded:
    """Images (K, C, H, W) of a source, their labels if they have any, names, and groups if given.

    ``notes`` are for the reader of a measurement; ``digests`` those of the images, where they are
    known already.
    """

    images: Any
    labels: Any
    names: Sequence[str]
    groups: Any = None
    notes: Sequence[str] = ()
    digests: Sequence[str] | None = None
    targets: Any = None


def numbered(count: int) -> list[str]:
    """The names of images that have none."""
    return [f"image {i}" for i in range(count)]


def skipped_note(skipped: Sequence[str], count: int) -> tuple[str, ...]:
    """What is said of ``skipped`` ones of so many images: which they are, and why."""
    if not skipped:
        return ()
    few = "; ".join(skipped[:LISTED])
    more = f"; and {len(skipped) - LISTED} more" if len(skipped) > LISTED else ""
    return (f"{len(skipped)} of {count} images could not be read and were skipped: {few}{more}",)
