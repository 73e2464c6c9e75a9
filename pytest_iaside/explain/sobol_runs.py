"""A classifier's answers to images whose parts are masked, at the points of a Sobol sequence.

What is masked (wavelet coefficients, bands of the spectrum) is linear in its mask. C^k differs
from A in one part, so its image is A's and a multiple of that part's own picture: one fused
multiplication and addition for each image, whatever the transform.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import BackendRunner, not_finite, open_runner, pieces
from pytest_iaside.explain.masks import ImageParts, Masking, MaskRules, TakeApart
from pytest_iaside.explain.sobol import (
    Evaluations,
    Points,
    group_shares,
    output_variance,
    sobol_points,
    total_indices,
)
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.images.selection import classes_of
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.stats.arrays import Floats

# Of answers that differ by no more than this, relative to the largest, all is rounding: other
# batches of the same image move a float32 network's by a tenth of it.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class SobolRun:
    """What is asked: of which classifier, on which images, and what of them is masked."""

    classifier: Classifier
    sample: ReferenceSample
    labels: Any  # Classes to explain, as ``classes_of`` takes them.
    take_apart: TakeApart
    parts: int
    rules: MaskRules

    @cached_property
    def masking(self) -> Masking:
        return Masking(self.classifier, self.rules)

    @property
    def passes(self) -> int:
        """Forward passes: points·(parts + 2) for each image."""
        return len(self.sample) * self.rules.points * (self.parts + 2)

    def drawn(self, image: int) -> Points:
        """Where ``image`` is asked; drawn by its digest, so that neither what is found of it nor
        its error depends on the others."""
        digest = int(self.sample.digests[image], 16)
        return sobol_points(self.parts, self.rules.points, [self.rules.seed, digest])

    def pictures(self, image: int, device: torch.device) -> ImageParts:
        pixels = self.sample.pixels(image, image + 1).to(device)
        return self.take_apart(self.masking.to_masked(pixels)[0])


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluated:
    """Of K images: the ``classes`` (K,) that were explained, and f at each one's points."""

    classes: NDArray[np.int64]
    evaluations: tuple[Evaluations, ...]
    rules: MaskRules

    @property
    def indices(self) -> Floats:
        """Total Sobol indices of the parts, (K, parts)."""
        return np.stack([total_indices(each, self.rules.variance) for each in self.evaluations])

    def share_errors(self, groups: NDArray[np.int64]) -> Floats:
        """Standard errors of the shares of ``groups`` of parts, (K, number of groups)."""
        count = int(groups.max()) + 1
        return np.stack([group_shares(each, groups, count)[1] for each in self.evaluations])


def evaluate(run: SobolRun, execution: Execution) -> Evaluated:
    """Ask, on the backend that ``execution`` names.

    Raises SettingsError for labels that do not fit; ModelError naming the image where logits are
    not finite, or where no mask changes the answer (SPEC.md 3.1, 6).
    """
    with ready(run, execution) as runner:
        return evaluate_on(runner, run)


@contextmanager
def ready(run: SobolRun, execution: Execution) -> Iterator[BackendRunner]:
    """The runner for ``run``."""
    pictures = run.pictures(0, torch.device("cpu"))
    some = pictures.masked(_float32(run.drawn(0).a[:4], torch.device("cpu")))
    with open_runner(
        run.classifier, execution, inputs=run.masking.to_network(some), passes=run.passes
    ) as runner:
        yield runner


def evaluate_on(runner: BackendRunner, run: SobolRun) -> Evaluated:
    """``evaluate``, on a runner that is open."""
    classes = classes_of(run.labels, runner.clean_logits(run.sample))
    rounds = (
        _Round(run.pictures(i, runner.device), run.drawn(i), int(classes[i]), run.sample.names[i])
        for i in range(len(run.sample))
    )
    found = tuple(_play(rounds, run.masking, runner))
    return Evaluated(classes=classes.numpy(), evaluations=found, rules=run.rules)


@dataclass(frozen=True, eq=False)
class _Round:
    """An image that is played, where, and the class that is explained."""

    pictures: ImageParts
    points: Points
    target: int
    name: str


@dataclass(frozen=True, eq=False)
class _Turn:
    """A batch that is with the network; its answers go ``into`` a part of ``found``."""

    round: _Round
    found: Tensor
    into: Tensor
    last: bool = False


def _play(
    rounds: Iterator[_Round], masking: Masking, runner: BackendRunner
) -> Iterator[Evaluations]:
    for logits, turn in runner.run(_batches(rounds, masking, runner)):
        turn.into.copy_(_answers(logits, turn.round.target, masking.rules).view(turn.into.shape))
        if turn.last:
            yield _evaluations(turn.found, turn.round, masking.rules)


def _batches(
    rounds: Iterator[_Round], masking: Masking, runner: BackendRunner
) -> Iterator[tuple[Tensor, _Turn]]:
    """Batches of at most ``batch_size`` images; each is made when the runner asks for it."""
    size, device, layout = runner.batch_size, runner.device, runner.memory_format
    for each in rounds:
        a, b, steps = (
            _float32(x, device) for x in (each.points.a, each.points.b, each.points.steps)
        )
        points, parts = a.shape
        found = torch.empty(parts + 2, points, dtype=torch.float64, device=device)
        for block in pieces(points, size):
            base = each.pictures.masked(a[block]).contiguous(memory_format=layout)
            fed = masking.to_network(base)
            # A copy: networks may write to their input, and what follows is built on it.
            yield fed.clone(), _Turn(each, found, found[0, block])
            second = masking.to_network(each.pictures.masked(b[block]))
            yield second, _Turn(each, found, found[1, block])
            for some in pieces(parts, max(1, size // len(base))):
                change = each.pictures.alone(torch.arange(some.start, some.stop))
                if masking.linear:
                    change = masking.change_to_network(change)
                    mixed = _moved(fed, steps[block, some], change, layout)
                else:
                    mixed = masking.to_network(_moved(base, steps[block, some], change, layout))
                last = block.stop == points and some.stop == parts
                yield mixed, _Turn(each, found, found[2:][some, block], last)


def _moved(base: Tensor, steps: Tensor, change: Tensor, layout: torch.memory_format) -> Tensor:
    """Images base_j + steps_jk · change_k, (k·j, C, H, W) in ``layout``, as ``base`` should be.

    ``base`` (j, C, H, W), ``steps`` (j, k), ``change`` (k, C, H, W).
    """
    channels_last = layout is torch.channels_last
    if channels_last:
        base, change = (x.permute(0, 2, 3, 1).contiguous() for x in (base, change))
    mixed = torch.addcmul(base, steps.T[:, :, None, None, None], change[:, None]).flatten(0, 1)
    return mixed.permute(0, 3, 1, 2) if channels_last else mixed


def _answers(logits: Tensor, target: int, rules: MaskRules) -> Tensor:
    """The explained scalar of each row, (n,) float64; NaN where a row is not finite."""
    values = logits.to(torch.float64)
    if rules.output == "probability":
        values = torch.softmax(values, dim=1)
    return torch.where(logits.isfinite().all(dim=1), values[:, target], torch.nan)


def _evaluations(found: Tensor, each: _Round, rules: MaskRules) -> Evaluations:
    values = found.cpu().numpy()
    if np.isnan(values).any():
        raise not_finite(each.name, "under a mask")
    evaluations = Evaluations(a=values[0], b=values[1], c=values[2:])
    everything = np.concatenate([evaluations.a, evaluations.b])
    nothing = float(np.ptp(everything)) <= ROUNDING * float(np.abs(everything).max())
    if nothing or output_variance(evaluations, rules.variance) == 0:
        raise ModelError(
            f"the {rules.output} of class {each.target} is {values[0, 0]:.6g} for {each.name} "
            "under every mask: there is no variance to attribute; check that the model looks at "
            "its input, or explain another class or output='logit'"
        )
    return evaluations


def _float32(values: Floats, device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device, torch.float32)
