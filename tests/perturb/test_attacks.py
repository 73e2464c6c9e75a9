"""Attacks against closed forms, the published algorithms written down, and torchattacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pytest_iaside import (
    Classifier,
    ModelError,
    ReferenceSample,
    ReferenceSampleError,
    SettingsError,
    fgsm,
    pgd,
)
from pytest_iaside.models.classifier import as_classifier
from pytest_iaside.models.gradients import PixelNetwork, with_gradients
from pytest_iaside.perturb.adapters import from_pyautoattack, from_torchattacks
from pytest_iaside.perturb.attacks import Attack, attacked

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NEEDS_TORCHATTACKS = (
    "torchattacks is not installed; it pins an old requests, so: pip install --no-deps torchattacks"
)
NEEDS_PYAUTOATTACK = "pyautoattack is not installed: pip install --no-deps pyautoattack"


def network(classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)]
    layers += [nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, classes))


def images(count: int = 7, height: int = 17, width: int = 16) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def labels(count: int = 7) -> Tensor:
    return torch.arange(count) % 5


def adversarial(
    network: Any, images: Any, labels: Any, attack: Attack, *, batch_size: int = 32
) -> Tensor:
    """What ``attack`` makes of ``images``, in batches; without labels, of what is predicted."""
    sample = ReferenceSample(images, labels)
    with with_gradients(as_classifier(network)) as model:
        pixels = sample.pixels()
        answers = model(pixels).detach() if sample.labels is None else sample.labels
        classes = answers.argmax(dim=1) if answers.ndim == 2 else answers
        parts = [slice(at, at + batch_size) for at in range(0, len(pixels), batch_size)]
        return torch.cat(
            [attacked(model, pixels[x], classes[x], attack, sample.names[x]) for x in parts]
        ).detach()


class Linear(nn.Module):
    """Logits (w·x, −w·x): the cross-entropy of class 0 falls along w, whatever the image."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        value = (x * self.weight).flatten(1).sum(dim=1)
        return torch.stack([value, -value], dim=1)


def linear() -> tuple[Linear, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(1, 3, 3, generator=generator)
    weight[0, 1, 1] = 0
    inside = 0.4 + 0.2 * torch.rand(4, 1, 3, 3, generator=generator)
    return Linear(weight), inside, torch.tensor([0, 0, 1, 1])


def towards_higher_loss(weight: Tensor, answers: Tensor) -> Tensor:
    sign = torch.where(answers == 0, -1.0, 1.0)
    return sign[:, None, None, None] * weight


class TestClosedForms:
    def test_fgsm_moves_by_eps_against_the_sign_of_the_weights(self) -> None:
        model, x, y = linear()
        expected = x + 0.1 * towards_higher_loss(model.weight.detach(), y).sign()
        torch.testing.assert_close(fgsm(model, x, y, eps=0.1), expected, atol=1e-7, rtol=0)

    def test_fgsm_in_l2_moves_by_eps_along_the_gradient(self) -> None:
        model, x, y = linear()
        weight = model.weight.detach()
        expected = x + 0.3 * towards_higher_loss(weight, y) / weight.norm()
        found = fgsm(model, x, y, eps=0.3, norm="l2")
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)

    def test_pgd_in_linf_walks_to_the_corner_and_stays(self) -> None:
        model, x, y = linear()
        direction = towards_higher_loss(model.weight.detach(), y).sign()
        for steps, distance in ((1, 0.04), (2, 0.08), (3, 0.1), (9, 0.1)):
            found = pgd(model, x, y, eps=0.1, steps=steps, step_size=0.04)
            torch.testing.assert_close(found, x + distance * direction, atol=1e-6, rtol=0)

    def test_pgd_in_l2_walks_to_the_sphere_and_stays(self) -> None:
        model, x, y = linear()
        weight = model.weight.detach()
        direction = towards_higher_loss(weight, y) / weight.norm()
        for steps, distance in ((1, 0.15), (2, 0.3), (3, 0.4), (9, 0.4)):
            found = pgd(model, x, y, eps=0.4, steps=steps, step_size=0.15, norm="l2")
            torch.testing.assert_close(found, x + distance * direction, atol=1e-6, rtol=0)

    def test_pixels_at_the_edge_stay_in_range(self) -> None:
        model, x, y = linear()
        for value in (0.0, 1.0):
            for found in (
                fgsm(model, torch.full_like(x, value), y, eps=0.2),
                pgd(model, torch.full_like(x, value), y, eps=0.2, steps=3, step_size=0.1),
            ):
                expected = value + 0.2 * towards_higher_loss(model.weight.detach(), y).sign()
                torch.testing.assert_close(found, expected.clamp(0, 1), atol=1e-6, rtol=0)

    def test_the_classifier_normalises(self) -> None:
        # Division by a negative-free std keeps signs, so the closed form is the same; by its
        # size the l2 direction of a model with one std per channel changes.
        x = torch.full((1, 3, 1, 1), 0.5)
        model = Classifier(Linear(torch.ones(3, 1, 1)), mean=[0.5, 0.5, 0.5], std=[1.0, 0.5, 0.25])
        gradient = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
        found = fgsm(model, x, torch.tensor([1]), eps=0.1, norm="l2")
        torch.testing.assert_close(found, x + 0.1 * gradient / 21**0.5, atol=1e-6, rtol=0)

    def test_soft_labels_and_predicted_ones(self) -> None:
        model, x, y = linear()
        soft = functional.one_hot(y, 2).to(torch.float64)
        assert torch.equal(fgsm(model, x, soft, eps=0.1), fgsm(model, x, y, eps=0.1))
        predicted = model(x).argmax(dim=1)
        assert torch.equal(fgsm(model, x, None, eps=0.1), fgsm(model, x, predicted, eps=0.1))

    def test_eps_of_zero_changes_nothing(self) -> None:
        model, x, y = linear()
        assert torch.equal(fgsm(model, x, y, eps=0), x)
        found = pgd(model, x, y, eps=0, steps=2, step_size=0.1, norm="l2", random_start=True)
        assert torch.equal(found, x)

    def test_uint8_images_and_arrays(self) -> None:
        model, _, y = linear()
        levels = torch.randint(60, 190, (4, 1, 3, 3), dtype=torch.uint8)
        expected = fgsm(model, levels / 255, y, eps=0.1)
        assert torch.equal(fgsm(model, levels, y, eps=0.1), expected)
        assert torch.equal(fgsm(model, levels.numpy(), y.numpy(), eps=0.1), expected)


def published_fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    leaf = x.clone().requires_grad_()
    functional.cross_entropy(model(leaf), y).backward()
    return torch.clamp(x + eps * leaf.grad.sign(), 0, 1)


def published_pgd(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, alpha: float, steps: int
) -> Tensor:
    found = x
    for _ in range(steps):
        leaf = found.clone().requires_grad_()
        functional.cross_entropy(model(leaf), y).backward()
        found = found + alpha * leaf.grad.sign()
        found = torch.clamp(x + torch.clamp(found - x, -eps, eps), 0, 1)
    return found


CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("FGSM", {"eps": 8 / 255}, {"eps": 8 / 255}),
    ("FGSM", {"eps": 0.2}, {"eps": 0.2}),
    (
        "PGD",
        {"eps": 8 / 255, "alpha": 2 / 255, "steps": 10},
        {"eps": 8 / 255, "step_size": 2 / 255, "steps": 10},
    ),
    ("PGD", {"eps": 0.15, "alpha": 0.07, "steps": 4}, {"eps": 0.15, "step_size": 0.07, "steps": 4}),
    (
        "PGDL2",
        {"eps": 1.0, "alpha": 0.2, "steps": 10},
        {"eps": 1.0, "step_size": 0.2, "steps": 10, "norm": "l2"},
    ),
    (
        "PGDL2",
        {"eps": 0.5, "alpha": 0.4, "steps": 5},
        {"eps": 0.5, "step_size": 0.4, "steps": 5, "norm": "l2"},
    ),
]


class TestToTheBit:
    def test_as_published(self) -> None:
        model = network().eval()
        x, y = images(), labels()
        assert torch.equal(fgsm(model, x, y, eps=0.03), published_fgsm(model, x, y, 0.03))
        expected = published_pgd(model, x, y, 0.03, 0.01, 6)
        assert torch.equal(pgd(model, x, y, eps=0.03, steps=6, step_size=0.01), expected)

    @pytest.mark.parametrize(("name", "theirs", "ours"), CASES)
    @pytest.mark.parametrize("count", [1, 3, 7, 8])
    def test_as_torchattacks(
        self, name: str, theirs: dict[str, Any], ours: dict[str, Any], count: int
    ) -> None:
        library = pytest.importorskip("torchattacks", reason=NEEDS_TORCHATTACKS)
        if name != "FGSM":
            theirs = {**theirs, "random_start": False}
        x, y = images(count), labels(count)
        for normalisation in ({}, {"mean": MEAN, "std": STD}):
            classifier = Classifier(network(), **normalisation)
            with with_gradients(classifier) as model:
                expected = getattr(library, name)(model, **theirs)(x, y)
            assert not torch.equal(expected, x)
            attack = fgsm if name == "FGSM" else pgd
            assert torch.equal(attack(classifier, x, y, **ours), expected)


class TestRandomStart:
    @pytest.mark.parametrize(("norm", "eps"), [("linf", 0.05), ("l2", 0.5)])
    def test_stays_in_the_ball_and_in_range(self, norm: Any, eps: float) -> None:
        x = images()
        found = pgd(
            network(), x, labels(), eps=eps, steps=3, step_size=eps, norm=norm, random_start=True
        )
        moved = (found - x).flatten(1)
        length = moved.abs().amax(dim=1) if norm == "linf" else moved.norm(dim=1)
        assert (length <= eps + 1e-6).all()
        assert (length > 0.5 * eps).all()
        assert found.min() >= 0
        assert found.max() <= 1

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_where_it_starts(self, norm: Any) -> None:
        # A model that the first step barely moves shows the start itself.
        model, x = linear()[0], torch.full((400, 1, 3, 3), 0.5)
        x = x + torch.linspace(-0.1, 0.1, 400).view(-1, 1, 1, 1)
        y = torch.zeros(400, dtype=torch.int64)
        start = partial(pgd, model, x, y, eps=0.2, steps=1, step_size=1e-6, random_start=True)
        moved = (start(norm=norm) - x).flatten(1)
        if norm == "linf":
            # Uniform in [−ε, ε]: deviation ε/√3, all 3,600 of them independent.
            assert moved.std() == pytest.approx(0.2 / 3**0.5, rel=0.03)
            assert moved.mean() == pytest.approx(0, abs=0.006)
            assert moved.abs().max() > 0.199
        else:
            # Length uniform in [0, ε].
            lengths = moved.norm(dim=1).sort().values
            expected = torch.linspace(0, 0.2, 400)
            assert (lengths - expected).abs().max() < 0.2 * 1.63 / 400**0.5
        other = (start(norm=norm, seed=1) - x).flatten(1)
        assert abs(np.corrcoef(moved.flatten(), other.flatten())[0, 1]) < 0.05

    def test_depends_on_image_and_seed_alone(self) -> None:
        x, y = images(), labels()
        attack = partial(pgd, network(), eps=0.1, steps=1, step_size=1e-9, random_start=True)
        whole = attack(x, y)
        assert torch.equal(attack(x, y), whole)
        order = torch.tensor([4, 0, 6])
        torch.testing.assert_close(attack(x[order], y[order]), whole[order], atol=1e-8, rtol=0)
        torch.testing.assert_close(attack(x[2:3], y[2:3]), whole[2:3], atol=1e-8, rtol=0)
        assert not torch.equal(attack(x, y, seed=1), whole)
        torch.manual_seed(7)
        assert torch.equal(attack(x, y), whole)

    def test_steps_in_other_batches_agree(self) -> None:
        x, y = images(8), labels(8)
        attack = partial(pgd, eps=0.5, steps=5, step_size=0.2, norm="l2", random_start=True)
        whole = adversarial(network(), x, y, attack)
        for size in (1, 3):
            found = adversarial(network(), x, y, attack, batch_size=size)
            torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


class TestTheModel:
    @pytest.mark.parametrize("training", [True, False])
    def test_is_left_as_it_was(self, training: bool) -> None:
        model = network().train(training)
        model[4].weight.requires_grad_(False)
        model[1].eval()
        modes = [part.training for part in model.modules()]
        wanted = [parameter.requires_grad for parameter in model.parameters()]
        before = state(model)
        seen: list[bool] = []
        model[3].register_forward_hook(lambda part, *_: seen.append(part.training))

        def backward(target: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            leaf = x.requires_grad_()
            functional.cross_entropy(target(leaf), y).backward()
            return (x + 0.01 * leaf.grad.sign()).clamp(0, 1)

        fgsm(model, images(), labels(), eps=0.1)
        pgd(model, images(), labels(), eps=0.1, steps=2, step_size=0.1, random_start=True)
        adversarial(model, images(), labels(), backward)
        assert seen == [False] * len(seen) and len(seen) == 4
        assert [part.training for part in model.modules()] == modes
        assert [parameter.requires_grad for parameter in model.parameters()] == wanted
        assert all(parameter.grad is None for parameter in model.parameters())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_is_left_as_it_was_where_the_attack_fails(self) -> None:
        model = network().train()

        def fails(target: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            raise RuntimeError("no luck")

        with pytest.raises(SettingsError, match=r"the attack fails failed \(RuntimeError: no luck"):
            adversarial(model, images(), labels(), fails)
        assert all(part.training for part in model.modules())
        assert all(parameter.requires_grad for parameter in model.parameters())

    def test_frozen_and_without_gradients_around(self) -> None:
        expected = fgsm(network(), images(), labels(), eps=0.1)
        frozen = network().requires_grad_(False)
        assert torch.equal(fgsm(frozen, images(), labels(), eps=0.1), expected)
        for context in (torch.no_grad, torch.inference_mode):
            with context():
                assert torch.equal(fgsm(frozen, images(), labels(), eps=0.1), expected)
            with context():
                made_inside = images()
                assert torch.equal(fgsm(frozen, made_inside, labels(), eps=0.1), expected)

    def test_that_overwrites_its_input(self) -> None:
        class Overwrites(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return torch.stack([x.mul_(2).mean((1, 2, 3)), x.mean((1, 2, 3)) * 0], dim=1)

        x = images()
        before = x.clone()
        found = fgsm(Overwrites(), x, torch.zeros(7, dtype=torch.int64), eps=0.1)
        assert torch.equal(x, before)
        assert torch.equal(found, (x - 0.1).clamp(0, 1))

    def test_a_function_with_gradients_is_attacked(self) -> None:
        model, x, y = linear()
        assert torch.equal(fgsm(model.forward, x, y, eps=0.1), fgsm(model, x, y, eps=0.1))

    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (lambda x: x.detach().mean((2, 3)), "has no gradient with respect to its input"),
            (lambda x: x.detach().numpy().mean((2, 3)), "has no gradient"),
            (lambda x: torch.zeros(len(x), 3, requires_grad=True), "has no gradient"),
            (lambda x: x.mean((2, 3)) / 0, "image 0: the gradient .* is NaN or infinite"),
            (lambda x: x.mean((1, 2, 3)), r"returned shape \(7,\)"),
            (lambda x: x.numpy(), r"failed on inputs of shape \(7, 3, 17, 16\) \(RuntimeError"),
        ],
    )
    def test_that_cannot_be_attacked(self, function: Callable[..., Any], message: str) -> None:
        with pytest.raises(ModelError, match=message):
            fgsm(function, images(), labels() % 3, eps=0.1)

    def test_in_an_onnx_file_cannot_be_attacked(self, tmp_path: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(b"weights")
        message = "net is an .onnx file, which has no gradients to attack with; give the PyTorch"
        with pytest.raises(ModelError, match=message):
            pgd(tmp_path / "net.onnx", images(), labels(), eps=0.1, steps=1, step_size=0.1)
        with pytest.raises(ModelError, match=message):
            adversarial(str(tmp_path / "net.onnx"), images(), labels(), partial(fgsm, eps=0.1))


class TestBadInput:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"eps": 8}, r"eps=8 is more than the whole range.*give eps=8 / 255"),
            ({"eps": -0.1}, "eps=-0.1 must be a finite number above 0"),
            ({"eps": float("nan")}, "eps=nan"),
            ({"eps": True}, "eps=True"),
            ({"norm": "l1"}, "norm='l1' is unknown; use one of linf, l2"),
            ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
            ({"steps": 2.0}, "steps=2.0"),
            ({"step_size": 0}, "step_size=0 must be a finite number above 0"),
        ],
    )
    def test_settings(self, settings: dict[str, Any], message: str) -> None:
        given: dict[str, Any] = {"eps": 0.1, "steps": 2, "step_size": 0.1, **settings}
        with pytest.raises(SettingsError, match=message):
            pgd(network(), images(), labels(), **given)

    def test_images_and_labels(self) -> None:
        with pytest.raises(ReferenceSampleError, match=r"values from 0.* to 25.*expected \[0, 1\]"):
            fgsm(network(), images() * 255, labels(), eps=0.1)
        with pytest.raises(ReferenceSampleError, match="6 labels for 7 images"):
            fgsm(network(), images(), labels(6), eps=0.1)
        with pytest.raises(ReferenceSampleError, match="image 3 has label 3, but the model has 3"):
            fgsm(network(3), images(), labels(), eps=0.1)


class TestAnyAttack:
    def test_is_called_in_batches_of_plain_tensors(self) -> None:
        calls: list[tuple[type, tuple[int, ...], torch.dtype]] = []

        def invert(model: nn.Module, x: Tensor, y: Tensor) -> Any:
            calls.append((type(model), tuple(x.shape), y.dtype))
            assert model(x).shape == (len(x), 5)
            return (1 - x.mul_(1)).numpy()

        x = images(5)
        found = adversarial(network(), x, labels(5), invert, batch_size=2)
        torch.testing.assert_close(found, 1 - images(5))
        assert torch.equal(x, images(5))
        shapes = [(2, 3, 17, 16), (2, 3, 17, 16), (1, 3, 17, 16)]
        assert calls == [(PixelNetwork, shape, torch.int64) for shape in shapes]

    def test_gets_the_likeliest_class_of_a_distribution(self) -> None:
        soft = np.array([[0.2, 0.5, 0.3, 0, 0], [0, 0, 0.1, 0, 0.9]])
        seen: list[Tensor] = []

        def looks(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            seen.append(y)
            return x

        adversarial(network(), images(2), soft, looks)
        assert seen[0].tolist() == [1, 4]

    def test_ours_are_attacks(self) -> None:
        x, y = images(), labels()
        attack = partial(pgd, eps=0.03, steps=3, step_size=0.01)
        classifier = Classifier(network(), mean=MEAN, std=STD)
        assert torch.equal(
            adversarial(classifier, x, y, attack, batch_size=7), attack(classifier, x, y)
        )

    @pytest.mark.parametrize(
        ("attack", "message"),
        [
            (lambda m, x, y: x[:, :1], r"returned shape \(3, 1, 17, 16\); expected .*\(3, 3, 17"),
            (lambda m, x, y: x[:1], r"returned shape \(1, 3, 17, 16\)"),
            (lambda m, x, y: (x, y), "returned a tuple; expected"),
            (lambda m, x, y: None, "returned a NoneType; expected"),
            (lambda m, x, y: (x * 255).to(torch.int64), "returned torch.int64; expected"),
            (lambda m, x, y: x + torch.tensor([0, 0, 5]).view(3, 1, 1, 1), "values from 5.* image"),
            (
                lambda m, x, y: x / torch.tensor([1, 0, 1]).view(3, 1, 1, 1),
                "values .*inf.* image 1",
            ),
            (lambda m, x, y: x * float("nan"), "returned NaN for image 0"),
            (lambda m, x: x, r"failed \(TypeError: .*called as \(model, images, labels\)"),
        ],
    )
    def test_what_it_returns_is_checked(self, attack: Any, message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            adversarial(network(), images(3), labels(3), attack)

    def test_rounding_is_cut_off(self) -> None:
        found = adversarial(network(), images(3), labels(3), lambda m, x, y: x * 0 + 1 + 5e-6)
        assert torch.equal(found, torch.ones(3, 3, 17, 16))

    def test_uint8_is_scaled(self) -> None:
        def white(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            return torch.full(x.shape, 255, dtype=torch.uint8)

        found = adversarial(network(), images(3), labels(3), white)
        assert torch.equal(found, torch.ones(3, 3, 17, 16))


class TestOtherLibraries:
    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("SparseFool", {"steps": 5}),
            ("Pixle", {"restarts": 5, "max_iterations": 5}),
            ("AutoAttack", {"eps": 0.1}),
            ("PGD", {"eps": 0.1, "steps": 2}),
        ],
    )
    def test_torchattacks(self, name: str, options: dict[str, Any]) -> None:
        pytest.importorskip("torchattacks", reason=NEEDS_TORCHATTACKS)
        classifier = Classifier(network(), mean=MEAN, std=STD)
        attack = from_torchattacks(name, **options)
        x = images(4)
        torch.manual_seed(0)
        before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
        found = adversarial(classifier, x, None, attack)
        assert torch.equal(torch.random.get_rng_state(), before[0])
        assert (np.random.get_state()[1] == before[1]).all()
        changed = (found != x).any(dim=1).flatten(1).sum(dim=1)
        assert (changed > 0).all()
        if name in ("SparseFool", "Pixle"):
            # Few pixels: what these attacks are for.
            assert (changed < 17 * 16 / 2).all()
        else:
            assert ((found - x).abs() <= 0.1 + 1e-6).all()
        # One image at a time: its result depends on no other, nor on the generators' state.
        torch.manual_seed(1)
        assert torch.equal(adversarial(classifier, x[2:], None, attack), found[2:])

    @pytest.mark.parametrize(
        ("attack", "reason"),
        [
            (from_torchattacks("AutoAttack", eps=0.05), NEEDS_TORCHATTACKS),
            (
                from_pyautoattack(eps=0.05, version="custom", attacks=["apgd-ce"]),
                NEEDS_PYAUTOATTACK,
            ),
        ],
    )
    def test_autoattack_fools_the_linear_model_wherever_it_can(
        self, attack: Any, reason: str
    ) -> None:
        pytest.importorskip(attack.library, reason=reason)
        linear_model, x, _ = linear()
        # AutoAttack wants four classes; the other two never win.
        model = nn.Sequential(linear_model, nn.ConstantPad1d((0, 2), -9.0))
        weight = linear_model.weight.detach()
        # w·x in units of ε‖w‖₁: below 1 in size, a perturbation within ε turns its sign.
        wanted = torch.tensor([0.8, -0.8, 1.2, -1.2]) * 0.05 * weight.abs().sum()
        excess = (x * weight).flatten(1).sum(dim=1) - wanted
        x = x - excess.view(-1, 1, 1, 1) * weight / (weight**2).sum()
        assert x.min() > 0.05
        assert x.max() < 0.95
        clean = model(x).argmax(dim=1)
        found = adversarial(model, x, None, attack)
        assert ((found - x).abs() <= 0.05 + 1e-6).all()
        assert (model(found).argmax(dim=1) != clean).tolist() == [True, True, False, False]

    def test_unknown_attacks_and_options(self) -> None:
        pytest.importorskip("torchattacks", reason=NEEDS_TORCHATTACKS)
        run = partial(adversarial, network(), images(2), labels(2))
        with pytest.raises(SettingsError, match=r"no attack 'Sparsefool'; did you mean 'SparseFoo"):
            run(from_torchattacks("Sparsefool"))
        with pytest.raises(SettingsError, match=r"PGD refuses .*its options are eps, alpha, steps"):
            run(from_torchattacks("PGD", epsilon=0.1))

    @pytest.mark.parametrize(
        ("attack", "library"),
        [(from_torchattacks("Pixle"), "torchattacks"), (from_pyautoattack(), "pyautoattack")],
    )
    def test_missing_libraries(
        self, attack: Any, library: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, library, None)
        with pytest.raises(SettingsError, match=f"{library} is needed .*pip install --no-deps"):
            adversarial(network(), images(2), labels(2), attack)
