"""Gradients of log-likelihoods against finite differences, and the models they are had of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explained_models import pictures, small_network
from torch import Tensor, nn

from pytest_iaside import Classifier, ModelError, ReferenceSampleError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.gradients import Subject, gradients, opened

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.5]


def subject_of(model: Any, images: Any = None, labels: Any = None, **settings: Any) -> Any:
    images = pictures() if images is None else images
    return opened(model, images, labels, execution=Execution(**{"device": "cpu"} | settings))


def points(subject: Subject, some: slice) -> Tensor:
    """What the network is fed for the images ``some``."""
    return subject.runner.inputs(subject.sample, some)


class TestAgainstFiniteDifferences:
    def test_gradcheck(self) -> None:
        model = Classifier(small_network().double(), mean=MEAN, std=STD)
        with subject_of(model, pictures(2, height=5, width=4)) as subject:
            inputs = points(subject, slice(0, 2)).requires_grad_()
            assert inputs.dtype == torch.float64
            assert torch.autograd.gradcheck(
                lambda x: subject.runner.log_likelihood(x, subject.classes), inputs
            )

    def test_central_differences(self) -> None:
        with subject_of(small_network().double(), pictures(2, height=4, width=3)) as subject:
            inputs, classes = points(subject, slice(0, 2)), subject.classes
            found = gradients(subject.runner.log_likelihood, inputs, classes)
            assert found.shape == inputs.shape
            for at in np.ndindex(*inputs.shape[1:]):
                moved = torch.zeros_like(inputs)
                moved[(..., *at)] = 1e-5
                up, down = (
                    subject.runner.log_likelihood(inputs + side * moved, classes)
                    for side in (1, -1)
                )
                difference = (up - down) / 2e-5
                torch.testing.assert_close(found[(..., *at)], difference, atol=1e-9, rtol=1e-6)

    def test_the_log_likelihood_is_the_log_softmax_of_the_class(self) -> None:
        network = small_network().eval()
        model = Classifier(network, mean=MEAN, std=STD)
        with subject_of(model, labels=[4, 0, 2]) as subject:
            assert subject.classes.tolist() == [4, 0, 2]
            pixels = pictures()
            inputs = (pixels - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)
            torch.testing.assert_close(points(subject, slice(0, 3)), inputs)
            expected = torch.log_softmax(network(inputs), dim=1)[range(3), [4, 0, 2]]
            torch.testing.assert_close(
                subject.runner.log_likelihood(inputs, subject.classes), expected
            )

    def test_are_per_standardised_pixel(self) -> None:
        # A gradient per pixel would be 1/std times as long.
        network = small_network().double()
        images = pictures()
        normalised = Classifier(network, mean=MEAN, std=STD)
        with subject_of(normalised, images) as subject:
            inputs = points(subject, slice(0, 3))
            found = gradients(subject.runner.log_likelihood, inputs, subject.classes)
            plain = network.eval()
            leaf = inputs.clone().requires_grad_()
            values = torch.log_softmax(plain(leaf), dim=1)[range(3), subject.classes]
            (expected,) = torch.autograd.grad(values.sum(), leaf)
        torch.testing.assert_close(found, expected, atol=1e-15, rtol=1e-12)


class TestClasses:
    def test_are_the_predictions_or_what_is_asked_for(self) -> None:
        network = small_network().eval()
        predicted = network(pictures()).argmax(dim=1)
        with subject_of(network) as subject:
            assert torch.equal(subject.classes, predicted)
        with subject_of(network, labels=3) as subject:
            assert subject.classes.tolist() == [3, 3, 3]

    def test_out_of_range(self) -> None:
        message = r"labels\[1\] is 5, but the model has 5 classes"
        with (
            pytest.raises(SettingsError, match=message),
            subject_of(small_network(), labels=[0, 5, 1]),
        ):
            pass


class TestTheModel:
    @pytest.mark.parametrize("training", [True, False])
    def test_is_left_as_it_was(self, training: bool) -> None:
        network = small_network().train(training)
        network[1].eval()
        network[6].bias.requires_grad_(False)
        modes = [part.training for part in network.modules()]
        wanted = [parameter.requires_grad for parameter in network.parameters()]
        state = {name: value.clone() for name, value in network.state_dict().items()}
        with subject_of(network) as subject:
            assert not any(part.training for part in network.modules())
            gradients(subject.runner.log_likelihood, points(subject, slice(0, 3)), subject.classes)
        assert [part.training for part in network.modules()] == modes
        assert [parameter.requires_grad for parameter in network.parameters()] == wanted
        assert all(parameter.grad is None for parameter in network.parameters())
        assert all(torch.equal(v, state[name]) for name, v in network.state_dict().items())

    def test_has_gradients_where_the_caller_switched_them_off(self) -> None:
        network = small_network().requires_grad_(False)

        def found() -> Tensor:
            with subject_of(network) as subject:
                return gradients(
                    subject.runner.log_likelihood, points(subject, slice(0, 3)), subject.classes
                )

        expected = found()
        assert expected.abs().min() > 0
        for context in (torch.no_grad, torch.inference_mode):
            with context():
                assert torch.equal(found(), expected)

    def test_that_overwrites_its_input(self) -> None:
        class Overwrites(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                value = x.mul_(2).mean(dim=(1, 2, 3))
                return torch.stack([value, -value], dim=1)

        with subject_of(Overwrites(), labels=0) as subject:
            inputs = points(subject, slice(0, 3))
            before = inputs.clone()
            found = gradients(subject.runner.log_likelihood, inputs, subject.classes)
            assert torch.equal(inputs, before)
        # f = ln σ(2v), v twice the mean of 468 pixels: f' = 4(1 − σ(2v))/468.
        share = torch.sigmoid(-4 * before.mean(dim=(1, 2, 3)))
        expected = (4 * share / 468).view(-1, 1, 1, 1).expand_as(found)
        torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize(
        ("dtype", "fed"), [("float64", torch.float64), ("float32", torch.float32)]
    )
    def test_is_fed_its_own_precision(self, dtype: str, fed: torch.dtype) -> None:
        network = small_network().to(getattr(torch, dtype))
        with subject_of(network) as subject:
            assert points(subject, slice(0, 1)).dtype == subject.runner.dtype == fed

    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (lambda x: x.detach().mean((2, 3)), "has no gradient with respect to its input"),
            (lambda x: x.detach().numpy().mean((2, 3)), "has no gradient"),
            (lambda x: torch.zeros(len(x), 3, requires_grad=True), "has no gradient"),
            (lambda x: x.mean((1, 2, 3)), r"returned shape \(3,\)"),
            (lambda x: x.mean((2, 3)) / 0, "NaN or infinite logits for image 0"),
            (lambda x: x.nothing, r"failed on inputs of shape \(3, 3, 13, 12\) \(AttributeError"),
        ],
    )
    def test_that_has_none(self, function: Callable[..., Any], message: str) -> None:
        with pytest.raises(ModelError, match=message), subject_of(function) as subject:
            gradients(subject.runner.log_likelihood, points(subject, slice(0, 3)), subject.classes)

    def test_in_an_onnx_file_has_none(self, tmp_path: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(b"weights")
        message = r"net is an \.onnx file, which has no gradients to explain with; give the PyTorch"
        with pytest.raises(ModelError, match=message), subject_of(tmp_path / "net.onnx"):
            pass


class TestSettings:
    def test_batch_size(self) -> None:
        for size in (0, -1, 2.5, True, "many"):
            with (
                pytest.raises(SettingsError, match=r"batch_size=.* must be 'auto' or a whole"),
                subject_of(small_network(), batch_size=size),
            ):
                pass

    def test_device(self) -> None:
        with (
            pytest.raises(SettingsError, match="device='nowhere' cannot be used here"),
            subject_of(small_network(), device="nowhere"),
        ):
            pass

    def test_images(self) -> None:
        with (
            pytest.raises(ReferenceSampleError, match=r"expected \[0, 1\]"),
            subject_of(small_network(), pictures() * 255),
        ):
            pass


def test_one_image_may_come_alone() -> None:
    with subject_of(small_network(), pictures(1)[0]) as subject:
        assert isinstance(subject, Subject)
        assert len(subject.sample) == 1
