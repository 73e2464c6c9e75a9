"""What looks like the same measurement and is another one: refused, never green."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import (
    BaselineError,
    Classifier,
    Measurement,
    ReferenceSample,
    assert_perturbation_robustness,
    assert_spectral_robustness,
    corrupt,
    fgsm,
    measure,
    measure_perturbations,
    pgd,
)
from pytest_iaside.compare.fit import require_same_measurement
from pytest_iaside.errors import ModelError

CLASSES, SIDE, IMAGES = 4, 8, 12


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, CLASSES)).eval()


def sample() -> ReferenceSample:
    pictures = torch.rand(IMAGES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return ReferenceSample(pictures)


def darker(by: float) -> Callable[[Tensor], Tensor]:
    def function(images: Tensor) -> Tensor:
        return (images - by).clamp(0, 1)

    return function


def by_attribute(images: Tensor) -> Tensor:
    return (images - STRENGTH["by"]).clamp(0, 1)


STRENGTH = {"by": 0.1}


def random(images: Tensor) -> Tensor:
    return torch.rand_like(images)


def severity(of: int) -> Callable[[Tensor], Tensor]:
    return lambda images: corrupt(images, "white_noise", of)


UNDER_ONE_NAME: dict[str, tuple[Any, Any]] = {
    "another severity": (("white_noise", 5), ("white_noise", 1)),
    "another corruption": (("contrast", 3), ("jpeg_compression", 3)),
    "a corruption and a function of it": (("white_noise", 5), severity(5)),
    "another severity in a lambda": (severity(5), severity(1)),
    "a closure": (darker(0.3), darker(0.05)),
    "a partial's keywords": (
        functools.partial(corrupt, corruption="contrast", severity=5),
        functools.partial(corrupt, corruption="contrast", severity=1),
    ),
    "one that does nothing": (darker(0.3), lambda images: images),
    "one that is random": (darker(0.3), random),
    "blurred instead of noisy": (
        lambda images: (images + 0.2 * torch.sign(images - 0.5)).clamp(0, 1),
        lambda images: nn.functional.avg_pool2d(images, 3, 1, 1),
    ),
    "flipped": (darker(0.0), lambda images: images.flip(-1)),
    "stored images and others": (
        ReferenceSample(darker(0.3)(sample().pixels()), names=sample().names),
        ReferenceSample(darker(0.1)(sample().pixels()), names=sample().names),
    ),
}


@pytest.mark.parametrize("trick", list(UNDER_ONE_NAME))
def test_another_perturbation_under_the_same_name(trick: str) -> None:
    before, after = UNDER_ONE_NAME[trick]
    baseline = measure_perturbations(network(), sample(), {"noise": before})
    with pytest.raises(BaselineError, match=r"noise.*candidate.*baseline"):
        assert_perturbation_robustness(
            network(), sample(), perturbations={"noise": after}, baseline=baseline
        )


def grainy(deviation: float) -> Any:
    return lambda images: (images + deviation * torch.randn_like(images)).clamp(0, 1)


def flickering(images: Tensor) -> Tensor:
    """Another brightness in each call, for all images."""
    return (images * (0.5 + 0.5 * torch.rand(()))).clamp(0, 1)


@pytest.mark.parametrize("deviation", [0.2, 0.01])
def test_a_random_perturbation_that_became_weaker_under_its_old_name(deviation: float) -> None:
    baseline = measure_perturbations(network(), sample(), {"noise": grainy(0.3)})
    with pytest.raises(BaselineError, match=r"noise: .*: the function makes other images"):
        assert_perturbation_robustness(
            network(), sample(), perturbations={"noise": grainy(deviation)}, baseline=baseline
        )


def bounded(attack: Any, **keywords: Any) -> Any:
    def function(model: Any, images: Tensor, labels: Tensor) -> Tensor:
        found: Tensor = attack(model, images, labels, **keywords)
        return found

    return function


def shortest(model: Any, images: Tensor, labels: Tensor) -> Tensor:
    """As far as each image has to be moved, which depends on the model."""
    step = fgsm(model, images, labels, eps=0.1) - images
    return images + step * torch.linspace(0.2, 1, len(images)).view(-1, 1, 1, 1)


def test_an_attack_with_another_bound_under_its_old_name() -> None:
    for attack, more in ((fgsm, {}), (pgd, {"steps": 5, "step_size": 0.05})):
        baseline, weaker, other_model = (
            measure_perturbations(
                network(seed), sample(), {"attack": bounded(attack, eps=eps, **more)}
            )
            for seed, eps in ((0, 0.1), (0, 0.05), (1, 0.1))
        )
        with pytest.raises(BaselineError, match=r"attack: .*: the attack has another bound"):
            require_same_measurement(weaker, baseline)
        require_same_measurement(other_model, baseline)
        # Files of earlier versions say nothing of it.
        settings = {name: told for name, told in baseline.settings.items() if name != "made"}
        require_same_measurement(weaker, replace(baseline, settings=settings))


def test_an_attack_without_a_bound_may_go_as_far_as_it_needs(tmp_path: Path) -> None:
    baseline = measure_perturbations(network(), sample(), {"attack": shortest})
    middle, spread = baseline.settings["made"]["attack"]["linf"]
    assert (middle, spread) == pytest.approx(
        (0.1 * (0.2 + 0.8 * 3 / 7), 0.8 / (0.2 + 0.8 * 3 / 7)), abs=1e-5
    )
    read = Measurement.load(baseline.save(tmp_path / "baseline.yaml"))
    assert read.settings == baseline.settings
    moved = measure_perturbations(network(1), sample(), {"attack": shortest})
    half = {"attack": {"linf": [middle / 2, spread], "l2": [0.1, spread]}}
    candidate = replace(moved, settings={**moved.settings, "made": half})
    require_same_measurement(candidate, read)
    function = measure_perturbations(network(), sample(), {"attack": darker(0.1)})
    with pytest.raises(BaselineError, match="one is an attack and the other a function"):
        require_same_measurement(function, read)


@pytest.mark.parametrize("function", [grainy(0.3), flickering])
def test_a_random_perturbation_is_itself_in_every_run(function: Any) -> None:
    model = network()
    first, *others = (
        measure_perturbations(model, sample(), {"noise": function}) for _ in range(25)
    )
    assert len(first.settings["made"]["noise"]) == 8
    assert len({str(one.settings["made"]) for one in others}) == 24
    for other in others:
        require_same_measurement(other, first)
    # Files of earlier versions say nothing of it.
    earlier = replace(first, settings={**first.settings, "made": {"noise": None}})
    require_same_measurement(others[0], earlier)


def test_a_global_that_a_perturbation_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    baseline = measure_perturbations(network(), sample(), [by_attribute])
    monkeypatch.setitem(STRENGTH, "by", 0.02)
    with pytest.raises(BaselineError, match=r"by_attribute: .*: the function makes other images"):
        assert_perturbation_robustness(
            network(), sample(), perturbations=[by_attribute], baseline=baseline
        )


def test_what_a_function_makes_stands_in_the_file(tmp_path: Path) -> None:
    measured = measure_perturbations(network(), sample(), {"dark": darker(0.1)})
    made = measured.settings["made"]["dark"]
    pixels = sample().pixels(0, 8)
    dark = (pixels - 0.1).clamp(0, 1)
    expected = [dark.mean(), dark.std(), (dark - pixels).abs().mean(), dark.diff().abs().mean()]
    assert made == pytest.approx([float(each) for each in expected], abs=1e-6)
    found = Measurement.load(measured.save(tmp_path / "baseline.yaml"))
    assert found.settings == measured.settings


FED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another mean": ({"mean": 0.5, "std": 0.25}, {"mean": 0.4, "std": 0.25}),
    "another std": ({"mean": 0.5, "std": 0.25}, {"mean": 0.5, "std": 0.2}),
    "none any longer": ({"mean": 0.5, "std": 0.25}, {}),
    "one at last": ({}, {"mean": 0.5, "std": 0.25}),
    "channels in another order": (
        {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.3]},
        {"mean": [0.3, 0.4, 0.5], "std": [0.3, 0.2, 0.2]},
    ),
}


@pytest.mark.parametrize("trick", list(FED))
@pytest.mark.parametrize("saved", [False, True])
def test_a_network_that_is_fed_something_else(trick: str, saved: bool, tmp_path: Path) -> None:
    before, after = (Classifier(network(), **settings) for settings in FED[trick])
    baseline: Any = measure(before, sample(), bands=3)
    if saved:
        baseline = baseline.save(tmp_path / "baseline.yaml")
    with pytest.raises(BaselineError, match=r"what the network is fed: candidate .*, baseline "):
        assert_spectral_robustness(after, sample(), bands=3, baseline=baseline)


def test_normalisation_inside_the_network_is_another_game() -> None:
    net = network()
    inside = Classifier(lambda x: net((x - 0.5) / 0.25))
    baseline = measure(Classifier(net, mean=0.5, std=0.25), sample(), bands=3)
    with pytest.raises(BaselineError, match=r"fed: candidate \[0, 1\] pixels, baseline mean=0.5"):
        assert_spectral_robustness(inside, sample(), bands=3, baseline=baseline)


@pytest.mark.parametrize("share", [1.0, 0.999])
def test_probabilities_are_no_logits(share: float) -> None:
    net = network()
    model = Classifier(lambda x: share * net(x).softmax(dim=1) + (1 - share) / CLASSES)
    with pytest.raises(ModelError, match="returned probabilities: every row sums to 1; expected"):
        measure(model, sample(), bands=3)


def test_logarithms_of_probabilities_are_logits() -> None:
    net = network()
    found = measure(lambda x: net(x).log_softmax(dim=1), sample(), bands=3)
    expected = measure(net, sample(), bands=3)
    assert found.psi == pytest.approx(expected.psi, abs=1e-6)
