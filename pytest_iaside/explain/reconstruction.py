"""How little of an image suffices: its most important cells, until the prediction is back.

SPEC.md 3.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import Runner, check_finite, open_runner
from pytest_iaside.explain.cells import Cells
from pytest_iaside.explain.masks import ImageParts, Masking
from pytest_iaside.explain.wcam import WaveletAttribution
from pytest_iaside.images.selection import sample_of
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.models.tuning import return_freed_memory


@dataclass(frozen=True, eq=False, kw_only=True)
class Reconstruction:
    """The least that is predicted as the whole image is, for each of K images."""

    depth: NDArray[np.int64]  # How many cells, the most important first, (K,): 1 to g².
    images: Tensor = field(repr=False)
    """The sufficient images: those cells alone, (K, C, H, W) float32; may leave [0, 1]."""


def reconstruction_depth(
    classifier: Any, images: Any, attribution: WaveletAttribution, **execution: Any
) -> NDArray[np.int64]:
    """The depth of ``reconstruct``, (K,) int64; takes and raises what that does."""
    return reconstruct(classifier, images, attribution, **execution).depth


def reconstruct(
    classifier: Any,
    images: Any,
    attribution: WaveletAttribution,
    *,
    execution: Execution = Execution(),
) -> Reconstruction:
    """Put cells back in descending order of their index, until the prediction is the clean image's.

    ``images`` are those that ``attribution`` is of; they are masked and fed as they were for it.
    The last reconstruction has all cells and is the image: it is sufficient whatever it is
    predicted as, which rounding might change.

    Raises SettingsError where images and attribution do not fit each other; ModelError where
    logits are not finite.
    """
    sample, chosen = sample_of(images), as_classifier(classifier)
    given = (len(sample), *sample.shape[1:])
    explained = (len(attribution.map), *attribution.shape)
    if given != explained:
        raise SettingsError(
            "{} images of {}×{} pixels were given, but the attribution is of {} of {}×{}; give the "
            "images that it was made of".format(*given, *explained)
        )
    masking = Masking(chosen, attribution.rules)
    cells = Cells(*attribution.shape, attribution.grid, attribution.depth, attribution.wavelet)
    orders = np.argsort(-attribution.map.reshape(len(sample), -1), axis=1, kind="stable")
    # At most so many passes: how many cells suffice is not known before.
    inputs, passes = chosen.normalise(sample.pixels(0, 4)), orders.size
    depth, sufficient = np.empty(len(sample), dtype=np.int64), []
    with open_runner(chosen, execution, inputs=inputs, passes=passes) as runner:
        classes = runner.clean_logits(sample).argmax(dim=1)
        for i, order in enumerate(map(torch.from_numpy, orders)):
            pixels = runner.pixels(sample, slice(i, i + 1))
            pictures = cells.of(masking.to_masked(pixels)[0])
            growing = map(masking.to_network, _growing(pictures, order, runner.batch_size))
            depth[i] = _first_hit(runner, growing, int(classes[i]), sample.names[i])
            mask = torch.zeros(1, len(order), device=runner.device)
            mask[0, order[: depth[i]]] = 1
            sufficient.append(masking.to_pixels(pictures.masked(mask))[0].cpu())
    return Reconstruction(depth=depth, images=torch.stack(sufficient))


def _first_hit(runner: Runner, growing: Iterator[Tensor], wanted: int, name: str) -> int:
    """The number of the first input that is predicted as ``wanted``, or of the last."""
    done = 0
    # Every number of cells in turn: more of them may well lose a prediction again.
    for logits in runner.forward_many(growing):
        check_finite(logits, [name] * len(logits), "reconstructed from some of its cells")
        hits = (logits.argmax(dim=1) == wanted).nonzero()
        if len(hits):
            done += int(hits[0]) + 1
            break
        done += len(logits)
    return_freed_memory()
    return done


def _growing(pictures: ImageParts, order: Tensor, size: int) -> Iterator[Tensor]:
    """The image of the first 1, 2, 3, … parts of ``order``, in batches of ``size``."""
    before: Tensor | float = 0.0
    for parts in torch.split(order, size):
        images = pictures.alone(parts).cumsum(dim=0) + before
        # A copy: networks may write to their input.
        before = images[-1].clone()
        yield images
