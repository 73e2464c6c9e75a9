"""What networks return: where logits are in it, and what is said where nobody can know."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import Classifier, ModelError, ReferenceSample, SettingsError, measure
from pytest_iaside.models.backends import open_backend
from pytest_iaside.models.outputs import alike, answers_in, joined

Z = torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, 1.0]])
FEATURES = torch.ones(2, 4, 2, 2)
Pair = namedtuple("Pair", ["scores", "maps"])


@dataclass
class Answer:
    logits: Tensor
    loss: Any = None


class Head(nn.Module):
    """A linear layer whose logits are returned as ``wrap`` makes them."""

    def __init__(self, wrap: Any = lambda z: z, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(48, 3).to(dtype)
        self.wrap = wrap

    def forward(self, images: Tensor) -> Any:
        return self.wrap(self.layer(images.flatten(1)))


def run(classifier: Classifier, **settings: Any) -> Tensor:
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    with open_backend(classifier, inputs=images, **settings) as backend:
        return backend.forward(images)


class TestFound:
    @pytest.mark.parametrize(
        "returned",
        [
            Z,
            {"logits": Z, "hidden": Z[:, :2]},
            OrderedDict(loss=None, logits=Z),
            {"out": Z, "aux": FEATURES},
            Answer(Z),
            Pair(Z, FEATURES),
            (Z, FEATURES),
            (torch.tensor(0.3), Z),
            [Z],
            (Z, None, [FEATURES]),
        ],
        ids=str,
    )
    def test_the_one_choice(self, returned: Any) -> None:
        assert answers_in(returned) is Z

    @pytest.mark.parametrize(
        ("output", "returned"),
        [
            ("scores", {"scores": Z, "other": Z}),
            ("scores", Pair(Z, Z + 1)),
            (1, (FEATURES, Z)),
            (-1, [Z + 1, Z]),
            (0, {"main": Z, "aux": Z}),
            (lambda found: found["deep"]["er"], {"deep": {"er": Z}}),
            ("logits", {"logits": Z, "other": Z}),
            ("logits", Z),
        ],
    )
    def test_as_it_is_said(self, output: Any, returned: Any) -> None:
        assert answers_in(returned, output) is Z

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            (
                {"cls": Z, "box": Z},
                r"a dict with 'cls' \(2, 3\), 'box' \(2, 3\): 2 of them may be the logits; say "
                r"which it is: Classifier\(model, output='cls'\)",
            ),
            ((Z, Z), r"a tuple of 2: \(2, 3\), \(2, 3\): 2 of them .*output=0\)"),
            ((FEATURES, 3), r"a tuple of 2: \(2, 4, 2, 2\), int: none of them is floating 2-D"),
        ],
    )
    def test_no_guess_where_there_are_two(self, returned: Any, message: str) -> None:
        with pytest.raises(ModelError, match=message):
            answers_in(returned)

    @pytest.mark.parametrize(
        ("output", "returned", "message"),
        [
            ("logit", {"logits": Z}, r"output='logit' was asked for, but .* 'logits' \(2, 3\)"),
            (4, (Z,), r"output=4 was asked for, but the model returned a tuple of 1"),
        ],
    )
    def test_what_is_not_there(self, output: Any, returned: Any, message: str) -> None:
        with pytest.raises(ModelError, match=message):
            answers_in(returned, output)

    @pytest.mark.parametrize("output", [1.5, "", True, [0]])
    def test_what_says_nothing(self, output: Any) -> None:
        with pytest.raises(SettingsError, match=r"output=.* cannot be used; expected 'logits'"):
            Classifier(Head(), output=output)


class TestNetworks:
    @pytest.mark.parametrize("backend", ["eager", "openvino", "auto"])
    @pytest.mark.parametrize("wrap", [lambda z: {"logits": z}, lambda z: (z, z[:, :1]), Answer])
    def test_it_stays_a_module(self, wrap: Any, backend: str) -> None:
        network = Head(wrap)
        network.train()
        expected = network.layer(
            torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).flatten(1)
        )
        classifier = Classifier(network)
        torch.testing.assert_close(run(classifier, backend=backend), expected.detach())
        assert network.training
        assert classifier.fingerprint() == Classifier(network).fingerprint()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_weights_of_other_types_are_fed_theirs(self, dtype: torch.dtype) -> None:
        network = Head(dtype=dtype)
        images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
        expected = network.layer(images.flatten(1).to(dtype)).detach()
        found = run(Classifier(network))
        assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(found.to(dtype), expected)

    def test_other_arguments_are_given_each_time(self) -> None:
        class Conditioned(Head):
            def forward(self, tokens: Tensor, pictures: Tensor) -> Any:
                return super().forward(pictures) * tokens.sum()

        network = Conditioned()
        found = run(
            Classifier(
                network, arguments={"tokens": torch.tensor([2.0, 1.0])}, image_argument="pictures"
            )
        )
        torch.testing.assert_close(found, 3 * run(Classifier(Head())))
        one, other = (
            Classifier(network, arguments={"tokens": torch.tensor([each])}).fingerprint()
            for each in (1.0, 2.0)
        )
        assert one != other

    def test_exported_programs_and_torchscript(self) -> None:
        network, example = Head().eval(), torch.rand(2, 3, 4, 4)
        expected = run(Classifier(network))
        batch = {0: torch.export.Dim("batch", min=1, max=64)}
        exported = torch.export.export(network, (example,), dynamic_shapes=(batch,))
        scripted = torch.jit.trace(network, example)
        for other in (exported, scripted):
            torch.testing.assert_close(run(Classifier(other)), expected)

    def test_weights_that_change_their_type_are_fed_it(self) -> None:
        network = Head()
        classifier = Classifier(network)
        before = run(classifier)
        network.double()
        found = run(classifier)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found.float(), before)

    def test_one_network_read_in_two_ways_stays_open_as_two(self) -> None:
        from pytest_iaside.execute.execution import Execution
        from pytest_iaside.execute.kept_open import kept_open
        from pytest_iaside.execute.runner import open_runner

        network, images = Head(lambda z: (z, z + 1)), torch.rand(2, 3, 4, 4)
        found = []
        with kept_open(passes=10):
            for place in (0, 1):
                classifier = Classifier(network, output=place)
                with open_runner(classifier, Execution(), inputs=images, passes=1) as runner:
                    found.append(next(iter(runner.forward_many([images]))))
        torch.testing.assert_close(found[1], found[0] + 1)

    def test_named_keeps_all_else(self) -> None:
        one = Classifier(Head(lambda z: (z, z)), mean=0.5, std=0.5, output=1, version="2")
        other = one.named("twin")
        assert (other.name, other.output, other.version) == ("twin", 1, "2")
        assert other.fingerprint() == one.fingerprint()


class TestProbabilities:
    def softmaxed(self) -> Head:
        return Head(lambda z: z.softmax(dim=1))

    def sample(self) -> ReferenceSample:
        images = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(2))
        return ReferenceSample(images, [0, 1, 2, 0, 1, 2])

    def test_they_are_noticed(self) -> None:
        with pytest.raises(ModelError, match=r"returned probabilities: .*output='probabilities'"):
            measure(self.softmaxed(), self.sample(), bands=3)

    @pytest.mark.parametrize("backend", ["eager", "openvino"])
    def test_said_to_be_such_they_count_as_logits_do(self, backend: str) -> None:
        from pytest_iaside import Execution

        how = Execution(backend=backend)
        classifier = Classifier(self.softmaxed(), output="probabilities")
        found = measure(classifier, self.sample(), bands=3, execution=how)
        expected = measure(Head(), self.sample(), bands=3, execution=how)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-5)

    def test_their_logarithms_are_logits(self) -> None:
        found = measure(Head(lambda z: z.log_softmax(dim=1)), self.sample(), bands=3)
        expected = measure(Head(), self.sample(), bands=3)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-5)


def test_what_several_batches_gave_is_joined() -> None:
    assert torch.equal(joined([Z, Z]), torch.cat([Z, Z]))
    boxes = [[{"boxes": Z}], [{"boxes": Z + 1}, {"boxes": Z}]]
    assert len(joined(boxes)) == 3
    together = joined([{"a": Z, "b": (Z,)}, {"a": Z, "b": (Z,)}])
    assert together["a"].shape == (4, 3)
    assert together["b"][0].shape == (4, 3)


def test_outputs_of_any_kind_are_compared() -> None:
    one = {"boxes": [Z, Z], "scores": (Z,)}
    assert alike(one, {"boxes": [Z, Z], "scores": (Z + 1e-6,)}, 1e-4, 1e-3) == 0.0
    assert alike(one, {"boxes": [Z, Z + 0.5], "scores": (Z,)}, 1e-4, 1e-3) == pytest.approx(0.5)
    assert alike(one, {"boxes": [Z], "scores": (Z,)}, 1e-4, 1e-3) == float("inf")
    assert alike(Z, Z * float("nan"), 1e-4, 1e-3) == float("inf")
