"""How variants of images reach a classifier, and how its replies are scored."""

from __future__ import annotations

import numpy as np
import torch
from explained_models import pictures, small_network
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from pytest_iaside import Classifier
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.scores import open_scorer, rebatched, scored


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 12))
def test_rebatched(lengths: list[int], size: int) -> None:
    rows = torch.arange(sum(lengths) * 2).view(-1, 2)
    found = list(rebatched(torch.split(rows, lengths), size))
    assert torch.equal(torch.cat(found), rows)
    assert [len(each) for each in found[:-1]] == [size] * (len(found) - 1)
    assert 0 < len(found[-1]) <= size


def test_scored() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [5.0, 0.0, 1.0]], dtype=torch.float64)
    classes = torch.tensor([2, 1])
    assert scored(logits, classes, "accuracy").tolist() == [1, 0]
    assert scored(logits, classes, "logit").tolist() == [3, 0]
    softmax = special.softmax(logits.numpy(), axis=1)[[0, 1], [2, 1]]
    np.testing.assert_allclose(scored(logits, classes, "probability"), softmax, rtol=1e-14)
    np.testing.assert_allclose(
        scored(logits, classes, "log_probability"), np.log(softmax), rtol=1e-14
    )


def test_variants_are_normalised_and_belong_to_their_images() -> None:
    network = small_network().eval()
    model, images = Classifier(network, mean=0.5, std=0.25), pictures()
    variants = torch.cat([image * torch.tensor([1, 0.5]).view(-1, 1, 1, 1) for image in images])
    with open_scorer(
        model,
        images,
        None,
        variants=2,
        execution=Execution(device="cpu", backend="eager", batch_size=4),
    ) as scorer:
        found = scorer.scores(torch.split(variants, [1, 2, 3]), 2, "logit")
        ((rows, fed), _) = scorer.answers([(variants - 0.5) / 0.25], 2, standardised=True)
        clean = network((images - 0.5) / 0.25).detach()
        torch.testing.assert_close(scorer.clean, clean.double(), atol=1e-5, rtol=0)
        assert torch.equal(scorer.classes, clean.argmax(dim=1))
    classes = clean.argmax(dim=1)
    expected = network((variants - 0.5) / 0.25).view(3, 2, 5).detach()
    expected = expected[range(3), :, classes]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert rows.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(
        fed[[0, 1, 2, 3], classes[rows // 2]], expected.ravel()[:4], atol=1e-5
    )
