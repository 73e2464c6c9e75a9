"""Tasks: what answers are, and how right they are, in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import Classifier, ModelError, SettingsError
from pytest_iaside.models.tasks import Task, task_of

LOGITS = torch.tensor([[0.0, 2.0, -1.0], [1.0, -3.0, 0.5]], dtype=torch.float64)
TARGETS = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.25, 1.0]], dtype=torch.float64)


class TestMultilabel:
    task = task_of("multilabel", None, None)

    def test_log_likelihood_is_that_of_every_label(self) -> None:
        holds = torch.sigmoid(LOGITS)
        expected = (TARGETS * holds.log() + (1 - TARGETS) * (1 - holds).log()).sum(dim=1)
        torch.testing.assert_close(self.task.value(LOGITS, TARGETS), expected)

    def test_of_one_label_it_is_the_binary_one(self) -> None:
        one, target = LOGITS[:, :1], torch.tensor([[1.0], [0.0]], dtype=torch.float64)
        both = task_of("binary", None, None).widened(one)
        classes = task_of("binary", None, None).value(both, target[:, 0].long())
        torch.testing.assert_close(self.task.value(one, target), classes)

    def test_accuracy_and_probability_are_means_over_labels(self) -> None:
        right = self.task.rated["accuracy"](LOGITS, TARGETS)
        # σ(0) = ½ is not above it, so the first label is taken not to hold.
        assert right.tolist() == pytest.approx([2 / 3, 2 / 3])
        holds = torch.sigmoid(LOGITS)
        expected = (TARGETS * holds + (1 - TARGETS) * (1 - holds)).mean(dim=1)
        torch.testing.assert_close(self.task.rated["probability"](LOGITS, TARGETS), expected)

    def test_large_logits_stay_finite(self) -> None:
        far = torch.tensor([[800.0, -800.0]], dtype=torch.float64)
        wrong = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
        assert self.task.value(far, wrong).tolist() == [-1600.0]
        assert self.task.value(far, 1 - wrong).tolist() == [0.0]

    def test_what_it_predicts(self) -> None:
        assert self.task.predicted(LOGITS).tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]


class TestBinary:
    task = task_of("binary", None, None)

    @pytest.mark.parametrize("shape", [(2,), (2, 1)])
    def test_one_logit_becomes_two_columns(self, shape: tuple[int, ...]) -> None:
        logits = torch.tensor([3.0, -1.0]).reshape(shape)
        columns = self.task.widened(logits)
        torch.testing.assert_close(
            columns.softmax(dim=1)[:, 1], torch.tensor([3.0, -1.0]).sigmoid()
        )

    def test_two_columns_are_no_binary_answer(self) -> None:
        with pytest.raises(ModelError, match=r"task='binary' expects one logit.* \(2, 2\)"):
            self.task.widened(torch.zeros(2, 2))


class TestScore:
    def test_any_number_of_each_image(self) -> None:
        task = task_of("softmax", lambda outputs, targets: outputs[:, 0] - targets, "dB")
        targets = torch.tensor([1.0, 2.0], dtype=torch.float64)
        found = task.scores_of(LOGITS, targets, ("a", "b"))
        assert found.tolist() == [[-1.0], [-1.0]]
        assert (task.unit, task.kind, list(task.rated)) == ("dB", "score", ["score"])

    @pytest.mark.parametrize(
        ("score", "message"),
        [
            (lambda o, t: o.mean(), r"score= returned shape \(\) for 2 images, expected \(2,\)"),
            (lambda o, t: o, r"score= returned shape \(2, 3\) for 2 images"),
            (lambda o, t: o.missing, r"score= failed on 2 images, the first a .*missing"),
        ],
    )
    def test_what_is_no_score(self, score: Any, message: str) -> None:
        with pytest.raises(ModelError, match=message):
            task_of("softmax", score, None).scores_of(LOGITS, None, ("a", "b"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "sigmoid"}, "task='sigmoid'"),
        ({"score": 3}, "score=3 cannot be called"),
        ({"task": "binary", "score": len}, "task='binary' and score= were given"),
        ({"unit": "dB"}, "unit='dB' was given without score="),
        ({"score": len, "unit": ""}, "unit='' cannot be used"),
        ({"arguments": [1]}, "arguments=a list of 1"),
        ({"image_argument": ""}, "image_argument='' cannot be used"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Classifier(nn.Flatten(), **settings)


def test_a_task_says_what_it_is_compared_by() -> None:
    shifted: Tensor = LOGITS + 5
    softmax, labels = Task(), Task("multilabel")
    torch.testing.assert_close(softmax.comparable(shifted), softmax.comparable(LOGITS))
    assert not torch.allclose(labels.comparable(shifted), labels.comparable(LOGITS))
