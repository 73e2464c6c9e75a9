"""Where two networks first differ: named by layer, or as what lies between layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import Classifier
from pytest_iaside.measure.layers import first_difference

PIXELS = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, slope: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(4, 3)
        self.slope = slope

    def forward(self, pixels: Tensor) -> Tensor:
        found = nn.functional.leaky_relu(self.first(pixels), self.slope)
        found = self.second(found).relu().mean(dim=(2, 3))
        logits: Tensor = self.head(found)
        return logits


def told(deployed: nn.Module, original: nn.Module) -> str:
    return first_difference(Classifier(deployed), Classifier(original), PIXELS)


def test_a_layer_is_judged_on_what_the_original_gives_it() -> None:
    deployed = Net().eval()
    with torch.no_grad():
        deployed.second.weight.mul_(1.1)
        deployed.second.bias.mul_(1.1)
    found = told(deployed, Net().eval())
    assert found == (
        "the first layer that differs is second: 10.0% of what the original's gives for the same "
        "input; 1 of 3 layers differ"
    )


def test_the_first_and_the_most() -> None:
    deployed = Net().eval()
    with torch.no_grad():
        deployed.first.weight.mul_(1.01)
        deployed.first.bias.mul_(1.01)
        deployed.head.weight.mul_(2)
        deployed.head.bias.mul_(2)
    found = told(deployed, Net().eval())
    assert "first layer that differs is first: 1.0%" in found
    assert "2 of 3 layers differ, head the most (100.0%)" in found


def test_a_difference_between_layers_is_told_as_such() -> None:
    found = told(Net(0.5).eval(), Net().eval())
    assert found.startswith("no layer before second differs on the same input, but what enters it")
    assert "forward()" in found


def test_the_same_network_and_what_is_no_module() -> None:
    assert "none of 3 layers" in told(Net().eval(), Net().eval())
    assert first_difference(Classifier(lambda x: x), Classifier(Net()), PIXELS) == ""
    assert told(nn.Sequential(nn.Flatten()), Net()) == ""


@pytest.mark.filterwarnings("ignore")  # PyTorch has its quantisation deprecated.
def test_a_quantised_copy_is_named_by_its_layer() -> None:
    quantised = torch.ao.quantization.quantize_dynamic(
        copy.deepcopy(Net().eval()), {nn.Linear}, dtype=torch.qint8
    )
    assert told(quantised, Net().eval()).startswith("the first layer that differs is head: ")
