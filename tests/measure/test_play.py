"""Playing coalitions: what is scored, in what batches, and what is said of bad logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_iaside.errors import ModelError
from pytest_iaside.execute.runner import Runner
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.filters import components, split
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.game.coalitions import exact_coalitions
from pytest_iaside.measure.game.play import partners
from pytest_iaside.measure.game.rounds import Round, play_rounds
from pytest_iaside.measure.game.shapley import shapley_values
from pytest_iaside.models.tasks import log_likelihood

PARTITION = BandPartition(12, 12, 3)


class Mapped(Runner):
    """A runner that maps a function over batches."""

    batch_size = 5

    def __init__(self, forward):
        self.forward = forward

    def forward_many(self, batches):
        return map(self.forward, batches)


COALITIONS = torch.from_numpy(exact_coalitions(3)).double()


def _pictures(count):
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(count, 2, 12, 12, generator=generator, dtype=torch.float64)
    return images, components(images, PARTITION, dtype=torch.float64)


def _play(pictures, forward, targets, batch_size=5):
    names = tuple(f"image {i}" for i in range(len(pictures.parts)))
    coalitions = COALITIONS.expand(len(names), -1, -1)
    played = Round(pictures, coalitions, targets, names)
    ((found,),) = play_rounds([played], Mapped(forward), batch_size=batch_size)
    return found


def test_a_log_probability_linear_in_the_image_has_known_shapley_values():
    """SPEC.md 6, I-ASIDE 5: logits (w·x, −∞ …) through an additive link."""
    images, pictures = _pictures(4)
    weights = torch.linspace(-1, 1, 2 * 12 * 12, dtype=torch.float64)

    def forward(batch):
        # Two classes whose probabilities are e^s/(1 + e^s) with s chosen so that
        # log Q(0|x) = (w·x) − 50: linear in the image.
        log_q = batch.flatten(1) @ weights - 50.0
        return torch.stack([log_q, torch.log1p(-log_q.exp())], dim=1)

    found = _play(pictures, forward, torch.zeros(4, dtype=torch.int64))
    expected = (split(images, PARTITION).flatten(2) @ weights).numpy()
    np.testing.assert_allclose(shapley_values(found.numpy()), expected, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 5), batch_size=st.integers(1, 50))
def test_batches_are_bounded_and_change_nothing(count, batch_size):
    _, pictures = _pictures(count)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(2 * 12 * 12, 4, generator=generator, dtype=torch.float64)
    sizes = []

    def forward(batch):
        sizes.append(len(batch))
        return batch.flatten(1) @ weights

    targets = torch.arange(count) % 4
    found = _play(pictures, forward, targets, batch_size)
    assert max(sizes) <= batch_size
    assert sum(sizes) == count * 8
    for image in range(count):
        shown = pictures.of(slice(image, image + 1)).combine(COALITIONS)
        expected = torch.log_softmax(shown.flatten(1) @ weights, dim=1)[:, targets[image]]
        torch.testing.assert_close(found[image], expected, atol=1e-12, rtol=0)


def test_soft_targets_are_expectations_over_labels():
    logits = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0]])
    soft = torch.tensor([[0.25, 0.75, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    log_q = torch.log_softmax(logits.double(), dim=1)
    expected = [0.25 * log_q[0, 0] + 0.75 * log_q[0, 1], -np.log(3)]
    np.testing.assert_allclose(log_likelihood(logits, soft), expected, atol=1e-14)
    hard = log_likelihood(logits, torch.tensor([1, 1]))
    np.testing.assert_allclose(hard, [log_q[0, 1], -np.log(3)], atol=1e-14)


def test_log_likelihoods_do_not_underflow():
    logits = torch.tensor([[0.0, 5000.0]])
    assert log_likelihood(logits, torch.tensor([0])).item() == -5000.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_name_image_and_coalition(bad):
    _, pictures = _pictures(3)
    target = pictures.of(slice(1, 2)).combine(COALITIONS[6:7])[0]

    def forward(batch):
        logits = batch.flatten(1)[:, :3].clone()
        hit = (batch - target).flatten(1).abs().amax(dim=1) < 1e-9
        logits[hit, 2] = bad
        return logits

    with pytest.raises(ModelError, match=r"image 1 with the bands \{1, 2\} present"):
        _play(pictures, forward, torch.zeros(3, dtype=torch.int64))


def test_another_seed_draws_another_partner() -> None:
    sample = ReferenceSample(torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    first, same, other = (partners(sample, seed) for seed in (3, 3, 4))
    assert first == same and first != other
    for found in (first, other, partners(sample)):
        # Everybody is somebody's partner, nobody its own.
        assert sorted(found.values()) == list(range(40))
        assert all(sample.digests[at] != digest for digest, at in found.items())
    # As it always was: the next by digest.
    order = sorted(sample.digests)
    assert [sample.digests[partners(sample)[d]] for d in order] == [*order[1:], order[0]]
