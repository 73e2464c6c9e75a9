"""Images that look alike and are not said to belong together: near copies, frames, crops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pytest_iaside.stats.groups import Groups

Cells = NDArray[np.float32]
Places = NDArray[np.int64]

MOST_IMAGES = 2_000
"""Images beyond these are not looked at: the work grows with their square."""
# Sides of what is compared, in cells: first all pairs coarsely, then those that may be alike.
COARSE, FINE = 16, 64
BLUR = FINE // COARSE
MAY_BE_ALIKE = 0.65
MOST_PAIRS = 2_000
# The second look is at as coarse bands as the first, but aligns them to a fine cell. Of 100
# photographs of ImageNet, no two of one thing, the closest pair reaches 0.85; copies that were
# shifted, compressed, lightened or mirrored, and frames of a video, reach 0.99 in the median, and
# 0.95 in nineteen of twenty.
ALIKE = 0.95
# Small images, and things on an even ground, are compared as they are: of 1,000 handwritten digits
# the closest pair reaches 0.977, though it is of two writers.
STRICT = 0.985
SMALL = 64
LEAST_SIDE, LEAST_LENGTH = 8, 1e-3
EVEN = 0.5  # The share of cells that are as bright as the ground.
LISTED = 3
AT_ONCE = 64
"""Images that are made smaller at once."""


class Pictured(Protocol):
    """Images, their names, and the groups that they are said to be in."""

    @property
    def images(self) -> Tensor: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def digests(self) -> tuple[str, ...]: ...

    @property
    def group_numbers(self) -> Groups: ...


def similar_pairs(sample: Pictured) -> list[tuple[int, int]]:
    """Pairs of images that look alike and are in different groups, by their indices.

    Alike are two whose lowest bands correlate by 0.95 at the best of small shifts, one of them
    mirrored or not: brightness, contrast and detail do not count. It sees copies that were
    shifted by up to a tenth of the side, compressed, lightened or mirrored, and the next frames
    of a video. It cannot see crops that overlap by less than about four fifths, turned copies or
    such that are enlarged by a tenth and more, textures that moved, one place or person
    photographed twice, one writer, one patient: nothing found does not mean independent. Exact
    copies are no pairs: they count as one image anyway. At most the first 2,000 images are
    compared.
    """
    images = sample.images[:MOST_IMAGES]
    if len(images) < 2:
        return []
    if min(images.shape[-2:]) < LEAST_SIDE:
        return []
    coarse, fine, even = _reduced(images)
    pairs, scores, shifts = _candidates(coarse)
    groups = sample.group_numbers
    # The likeliest first; exact copies, and what is known to belong together, say nothing new.
    others = [
        at
        for at in np.argsort(-scores, kind="stable")[: 10 * MOST_PAIRS].tolist()
        for one, other in [pairs[at]]
        if sample.digests[one] != sample.digests[other]
        and (groups is None or groups[one] != groups[other])
    ][:MOST_PAIRS]
    if not others:
        return []
    ones, twos = pairs[others].T
    strict = (even[ones] & even[twos]) | (min(images.shape[-2:]) < SMALL)
    alike = np.zeros(len(ones), dtype=np.bool_)
    blurred = _blurred(fine, BLUR if not strict.all() else 1)
    for some, cells, least in ((~strict, blurred, ALIKE), (strict, fine, STRICT)):
        given = (ones[some], twos[some], shifts[others][some])
        alike[some] = _aligned(cells, min(coarse.shape[-2:]), *given) >= least
    return sorted(zip(ones[alike].tolist(), twos[alike].tolist(), strict=True))


def similar_note(pairs: Sequence[tuple[int, int]], names: Sequence[str], grouped: bool) -> str:
    """What a reader should know of ``pairs`` of images that look alike; empty without any."""
    if not pairs:
        return ""
    count = len({image for pair in pairs for image in pair})
    shown = "; ".join(f"{names[one]} and {names[other]}" for one, other in pairs[:LISTED])
    more = f" and {len(pairs) - LISTED} more pairs" if len(pairs) > LISTED else ""
    how = "are in different groups" if grouped else "count as independent"
    return (
        f"{SIMILAR} {count} images look alike and {how} ({shown}{more}): if they are of one "
        "photograph, video or the like, intervals are too short; give ReferenceSample groups="
    )


SIMILAR = "near copies:"


def _reduced(images: Tensor) -> tuple[Cells, Cells, NDArray[np.bool_]]:
    """Grey images (K, 16, 16) and (K, 64, 64), or as large as they are, and which are even."""
    side = min(images.shape[-2:])
    # One channel of every few rows is enough: green is nearly brightness, and cells are averages.
    step = max(side // (FINE + FINE // 2), 1)
    green = images[:, images.shape[1] // 2, None, ::step]
    size = min(green.shape[-2], FINE), min(green.shape[-1], FINE)
    parts = (each.to(torch.float32) for each in torch.split(green, AT_ONCE))
    fine = torch.cat([functional.adaptive_avg_pool2d(each, size) for each in parts])
    small = min(fine.shape[-2], COARSE), min(fine.shape[-1], COARSE)
    coarse = functional.adaptive_avg_pool2d(fine, small)
    cells = fine.flatten(1)
    ground = cells.median(dim=1, keepdim=True).values
    span = cells.amax(dim=1, keepdim=True) - cells.amin(dim=1, keepdim=True)
    even = ((cells - ground).abs() <= 0.02 * span).to(torch.float32).mean(dim=1) > EVEN
    return coarse[:, 0].numpy(), fine[:, 0].numpy(), even.numpy()


def _candidates(cells: Cells) -> tuple[Places, Cells, Places]:
    """Pairs (P, 2) that may be alike, how much they correlate (P,), and at which shift (P, 3).

    ``cells`` (K, n, n); a shift is whether the second is mirrored, and how far down and right.
    """
    count = len(cells)
    shifts = [(m, d, r) for m in (0, 1) for d in (-1, 0, 1) for r in (-1, 0, 1)]
    best = np.full((count, count), -1, dtype=np.float32)
    which = np.zeros((count, count), dtype=np.int8)
    fixed = _normalised(_shifted(cells, 0, 0, 1))
    for number, (mirrored, down, right) in enumerate(shifts):
        turned = cells[:, :, ::-1] if mirrored else cells
        found = fixed @ _normalised(_shifted(turned, down, right, 1)).T
        which[found > best] = number
        np.maximum(best, found, out=best)
    first, second = np.nonzero(np.triu(best >= MAY_BE_ALIKE, 1))
    pairs = np.stack([first, second], axis=1)
    return pairs, best[first, second], np.array(shifts)[which[first, second]]


def _aligned(cells: Cells, coarse: int, ones: Places, twos: Places, shifts: Places) -> Cells:
    """How much pairs (P,) of ``cells`` (K, n, n) correlate at best near their ``shifts`` (P, 3).

    These are in cells of a picture with ``coarse`` of them along its side.
    """
    scale = min(cells.shape[-2:]) / coarse
    around = math.ceil(scale)
    reach = 2 * around
    # Low bands need no more than every other cell, but a shift by each.
    step = 2 if cells.shape[-1] == FINE - BLUR + 1 else 1
    best = np.full(len(ones), -1, dtype=np.float32)
    for shift in np.unique(shifts, axis=0):
        mirrored, *centre = shift.tolist()
        some = np.flatnonzero((shifts == shift).all(axis=1))
        down, right = (round(each * scale) for each in centre)
        one, other = cells[ones[some]], cells[twos[some]]
        other = other[:, :, ::-1] if mirrored else other
        fixed = _normalised(_shifted(one, 0, 0, reach)[:, ::step, ::step])
        for down_by in range(down - around, down + around + 1):
            for right_by in range(right - around, right + around + 1):
                moved = _shifted(other, down_by, right_by, reach)[:, ::step, ::step]
                found = np.einsum("pn,pn->p", fixed, _normalised(moved))
                best[some] = np.maximum(best[some], found)
    return best


def _blurred(cells: Cells, width: int) -> Cells:
    """Cells (P, n, n) averaged over ``width`` neighbours each way: the bands of the first look."""
    found: Cells = functional.avg_pool2d(torch.from_numpy(cells)[:, None], width, 1)[:, 0].numpy()
    return found


def _shifted(cells: Cells, down: int, right: int, reach: int) -> Cells:
    height, width = cells.shape[-2:]
    rows = slice(reach + down, height - reach + down)
    found: Cells = cells[:, rows, reach + right : width - reach + right]
    return found


def _normalised(cells: Cells) -> Cells:
    """Rows (K, n) of mean 0 and length 1; of an even image all 0."""
    rows = cells.reshape(len(cells), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Cells = np.divide(rows, length, out=np.zeros_like(rows), where=length > LEAST_LENGTH)
    return found
