"""Where two networks of one structure first differ, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pytest_iaside.models.backends.devices import alone, in_eval_mode
from pytest_iaside.models.classifier import Classifier

ROUNDING = 1e-4
"""Of what a layer gives: so much may two ways to compute the same thing differ."""
COMPILED = "_orig_mod."
"""What torch.compile puts before the names of the modules of a network."""


@dataclass(frozen=True, eq=False)
class _Call:
    """What one layer was given and what it gave, the first time that it was called."""

    given: Tensor
    gave: Tensor


def first_difference(deployed: Classifier, original: Classifier, pixels: Tensor) -> str:
    """The first layer that differs on images (K, C, H, W) in [0, 1], and the one that does most.

    A layer of ``deployed`` is run on what the original's layer of the same name was given, so that
    what it inherits from layers before it is not its own. Layers of which the two differ by more
    than rounding in ‖difference‖/‖original‖ are told. Empty where they are no modules, or share
    no layer's name.
    """
    networks = [each.network for each in (deployed, original)]
    if not all(isinstance(each, nn.Module) for each in networks):
        return ""
    # A quantised layer may have parts where the original's has none.
    new, old = dict(_layers(networks[0], parts=True)), dict(_layers(networks[1]))
    common = [name for name in old if name in new]
    if not common:
        return ""
    first = _calls(original, {name: old[name] for name in common}, pixels)
    second = _calls(deployed, {name: new[name] for name in common}, pixels)
    own: dict[str, float] = {}
    for name, call in first.items():
        if name not in second:
            continue
        with alone(new[name]), in_eval_mode(new[name]), torch.inference_mode():
            gave = new[name](call.given)
        if not isinstance(gave, Tensor) or gave.shape != call.gave.shape:
            return f"the first layer that differs is {name}: it returns another shape"
        if (gap := _gap(gave, call.gave)) > ROUNDING:
            own[name] = gap
        elif not own and _gap(second[name].given, call.given) > ROUNDING:
            return (
                f"no layer before {name} differs on the same input, but what enters it does "
                f"({_gap(second[name].given, call.given):.1%}): the difference is in forward() "
                "between them, or in a layer that only one of the two has"
            )
    if not own:
        return (
            f"none of {len(first)} layers of the same name differs on the same input: the "
            "difference arises after them, or in what only one of the two has"
        )
    name, most = next(iter(own)), max(own, key=own.__getitem__)
    told = (
        f"the first layer that differs is {name}: {own[name]:.1%} of what the original's gives for "
        f"the same input; {len(own)} of {len(first)} layers differ"
    )
    return told if most == name else f"{told}, {most} the most ({own[most]:.1%})"


def _layers(network: Any, *, parts: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """The modules of ``network`` that have no parts, by name; with ``parts`` all of them."""
    for name, module in network.named_modules():
        if name and (parts or not any(True for _ in module.children())):
            yield name.removeprefix(COMPILED), module


def _calls(
    classifier: Classifier, layers: dict[str, nn.Module], pixels: Tensor
) -> dict[str, _Call]:
    """The first call of each of ``layers`` on ``pixels``, in the order of the calls."""
    found: dict[str, _Call] = {}
    network = classifier.network
    assert isinstance(network, nn.Module)
    device = next((each.device for each in network.parameters()), torch.device("cpu"))
    with alone(network), in_eval_mode(network), _watched(layers, found), torch.inference_mode():
        # Compiled code calls no hooks.
        plain = getattr(network, "_orig_mod", network)
        plain(classifier.normalise(pixels.to(device)))
    return found


@contextmanager
def _watched(layers: dict[str, nn.Module], found: dict[str, _Call]) -> Iterator[None]:
    def watch(name: str, module: nn.Module, given: tuple[object, ...], gave: object) -> None:
        one = given[0] if len(given) == 1 else None
        if name not in found and isinstance(one, Tensor) and isinstance(gave, Tensor):
            # A layer may work in place on what the next one changes.
            found[name] = _Call(one.clone(), gave.clone())

    handles = []
    try:
        for name, module in layers.items():
            handles.append(
                module.register_forward_hook(
                    lambda module, given, gave, name=name: watch(name, module, given, gave)
                )
            )
        yield
    finally:
        for handle in handles:
            handle.remove()


def _gap(found: Tensor, expected: Tensor) -> float:
    """‖found − expected‖ as a share of ‖expected‖, in float64."""
    one, other = (each.to(torch.float64) for each in (found, expected))
    scale = float(other.norm())
    return float((one - other).norm()) / scale if scale > 0 else float((one - other).norm())
