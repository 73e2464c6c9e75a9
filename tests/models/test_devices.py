"""Everything stays on the device: proven with tensors that pretend to be on a GPU.

PyTorch's fake tensors have a shape, a type and a device but no content, and refuse to be
computed with across devices, on a machine without any GPU too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily

from pytest_iaside import Classifier, ReferenceSample
from pytest_iaside.errors import ModelError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.execute.runner import open_runner
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.filters import components, split
from pytest_iaside.measure.fourier import WavedImages
from pytest_iaside.measure.game import rounds
from pytest_iaside.measure.game.changes import ChangedImages
from pytest_iaside.measure.game.play import Shard, play_on, ready, shards
from pytest_iaside.measure.game.rules import Rules
from pytest_iaside.measure.perturbation_game import PerturbedImages
from pytest_iaside.measure.response import NoisyImages

CLASSES = 5


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """A pretended GPU; lists the shapes of what was fetched from it."""
    fetched: list[tuple[int, ...]] = []

    def fetch(tensor: Tensor) -> np.ndarray[Any, Any]:
        assert isinstance(tensor, FakeTensor)
        fetched.append(tuple(tensor.shape))
        return np.zeros(tensor.shape)

    monkeypatch.setattr(rounds, "to_host", fetch)
    # Their results decide what is done next, which pretended numbers cannot.
    monkeypatch.setattr(ReferenceSample, "check_classes", lambda self, classes: None)
    monkeypatch.setattr(rounds, "_check_finite", lambda found, played: None)
    # Pinned memory is the one thing that cannot be pretended.
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    with FakeTensorMode(allow_non_fake_inputs=True):
        if not torch.cuda.is_available() and not hasattr(torch.backends.cudnn, "conv"):
            pytest.skip("before PyTorch 2.9 random numbers need a GPU even where it is pretended")
        yield fetched


def shard_of(labels: str, rules: Rules) -> Shard:
    with unset_fake_temporarily():
        (shard,) = shards(SAMPLES[labels], rules, SAMPLES[labels], 8)
        assert len(shard.sample.digests) == 3  # Taken once, of the real images.
        return shard


def classifier(module: nn.Module) -> Classifier:
    with unset_fake_temporarily():  # It looks at the numbers it is given, too.
        return Classifier(module, mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])


def network(device: str) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, device=device),
        nn.BatchNorm2d(4, device=device),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, CLASSES, device=device),
    )


def sample(labels: str) -> ReferenceSample:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    given: Any = {"predicted": None, "hard": [0, 1, 2], "soft": np.full((3, CLASSES), 1 / CLASSES)}[
        labels
    ]
    return ReferenceSample(torch.from_numpy(images), given)


# Outside of the pretended GPU: a reference sample looks at the numbers it is given.
SAMPLES = {labels: sample(labels) for labels in ("predicted", "hard", "soft")}


@pytest.mark.parametrize("labels", list(SAMPLES))
@pytest.mark.parametrize("absence", ["zero", "gaussian", "replacement"])
@pytest.mark.parametrize("space", ["input", "pixel"])
@pytest.mark.parametrize("design", ["exact", "latin"])
@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        pytest.param(
            "bfloat16", marks=pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")
        ),
    ],
)
def test_a_game_mixes_no_devices(
    gpu: list[tuple[int, ...]], labels: str, absence: Any, space: Any, design: Any, dtype: Any
) -> None:
    rules = Rules(bands=3, absence=absence, space=space, design=design, dtype=dtype)
    model = classifier(network("cuda"))
    execution = Execution(device="cuda", batch_size=8)
    shard = shard_of(labels, rules)
    with ready(model, rules, execution, shard) as runner:
        assert runner.device == torch.device("cuda:0")
        rows = list(play_on(runner, rules, shard))
    assert [len(each.image_psi) for each in rows] == [1, 1, 1]
    assert rows[0].environment["device"] == "cuda:0"
    # What is fetched: the clean images' probabilities once, then once for each round.
    assert gpu == [(3, CLASSES)] + [(1, 1, 8)] * 3


def test_a_network_elsewhere_is_told_apart(gpu: list[tuple[int, ...]]) -> None:
    """The proof proves something: a tensor left behind on the CPU is an error."""

    class LeftBehind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network("cuda")
            self.scale = [torch.ones(CLASSES)]  # No buffer: it does not move with the module.

        def forward(self, inputs: Tensor) -> Tensor:
            found: Tensor = self.body(inputs) * self.scale[0]
            return found

    rules = Rules(bands=3)
    shard = shard_of("hard", rules)
    model = classifier(LeftBehind())
    with (
        pytest.raises(ModelError, match="at least two devices, cuda:0 and cpu"),
        ready(model, rules, Execution(device="cuda"), shard) as runner,
    ):
        list(play_on(runner, rules, shard))


@pytest.mark.parametrize("labels", list(SAMPLES))
@pytest.mark.parametrize("what", ["perturbed", "noisy", "waved"])
def test_changes_mix_no_devices(gpu: list[tuple[int, ...]], labels: str, what: str) -> None:
    shown, rules = SAMPLES[labels], Rules(bands=3, space="pixel")
    with unset_fake_temporarily():
        perturbed = shown.pixels().flip(3)
    job: ChangedImages = {
        "perturbed": PerturbedImages(shown, 0, perturbed, rules),
        "noisy": NoisyImages(shown, 0, BandPartition(16, 16, 3), (0.1, 0.2), 0),
        "waved": WavedImages(shown, 0, ((0, 1), (2, 3)), 1.0, 0),
    }[what]
    played = len(job.mixtures()[0])
    model, execution = classifier(network("cuda")), Execution(device="cuda", batch_size=2)
    inputs = job.first_inputs(model)
    with open_runner(model, execution, inputs=inputs, passes=0) as runner:
        rows = list(job.rows(runner))
    assert [len(each.values) for each in rows] == [1, 1, 1]
    assert gpu == [(3, CLASSES)] + [(3, 1, played)] * 3


@pytest.mark.parametrize("space", ["input", "pixel"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_components_stay_where_the_images_are(
    gpu: list[tuple[int, ...]], space: Any, channels_last: bool
) -> None:
    partition = BandPartition(12, 9, 3)
    images = torch.rand(2, 3, 12, 9, device="cuda")
    assert split(images, partition).device.type == "cuda"
    pictures = components(
        images,
        partition,
        absent=torch.rand(2, 3, 12, 9, device="cuda"),
        mean=torch.zeros(3),
        std=torch.ones(3),
        space=space,
        channels_last=channels_last,
    )
    batch = pictures.combine(torch.ones(2, 4, 3, device="cuda"))
    assert batch.device.type == "cuda"
    assert batch.shape == (8, 3, 12, 9)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert batch.is_contiguous(memory_format=layout)


def test_cuda_batches_are_larger(gpu: list[tuple[int, ...]]) -> None:
    rules = Rules(bands=3)
    shard = shard_of("hard", rules)
    for device, size in (("cuda", 1024), ("cpu", 1024)):
        with ready(classifier(network(device)), rules, Execution(device=device), shard) as runner:
            assert runner.backend.setup.batch_size == size
            assert runner.backend.setup.channels_last
