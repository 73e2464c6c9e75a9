"""backend="auto": the fastest that agrees, decided once, and only where it is worth it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError
from pytest_iaside.models.backends import open_backend
from pytest_iaside.models.backends import probe as choosing
from pytest_iaside.models.backends.base import Backend, Setup
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.models.tasks import SOFTMAX

pytest.importorskip("openvino")

LARGE = 10**15  # Passes that make any network worth a probe.
# Seconds for an image that pretended probes find, by backend, batch size and memory format.
Timing = dict[tuple[str, int, bool], float]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "backends"


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Setup]]:
    """Pretends timings; lists what was probed. The later entries of TIMING are the slower."""
    seen: list[Setup] = []

    def seconds(backend: Backend, inputs: Tensor, best: float | None) -> float:
        seen.append(backend.setup)
        return TIMING.get(
            (backend.name, backend.setup.batch_size, backend.setup.channels_last), 9.0
        )

    TIMING.clear()
    monkeypatch.setattr(choosing, "_seconds_per_image", seconds)
    yield seen


TIMING: Timing = {}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 196, 5))


def pictures(count: int) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def taken(model: Any, *, backend: str = "auto", passes: int = LARGE, **settings: Any) -> Backend:
    with open_backend(
        Classifier(model),
        backend=backend,
        inputs=pictures(4),
        passes=passes,
        device="cpu",
        **settings,
    ) as opened:
        return opened


def test_small_games_are_not_probed(probed: list[Setup], folder: Path) -> None:
    found = taken(network(), passes=10_000)
    # 16×16 pixels: as many as 8 images of 224×224 have, up to 1,024.
    assert found.setup == Setup("eager", 1024, True)
    assert not probed
    assert not folder.exists()
    assert found.note == ""


def test_operations_are_those_of_convolutions_and_linear_layers() -> None:
    workshop = choosing.Workshop(network(), torch.device("cpu"), "net", "float32")
    convolution, linear = 2 * (4 * 14 * 14) * 27, 2 * 5 * 4 * 196
    assert choosing._operations(workshop, pictures(1)) == convolution + linear


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        ({("openvino", 512, False): 1.0, ("eager", 1024, True): 2.0}, ("openvino", 512, False)),
        ({("openvino", 512, False): 2.0, ("eager", 1024, True): 1.0}, ("eager", 1024, True)),
        (
            {
                ("openvino", 512, False): 2.0,
                ("eager", 1024, True): 2.5,
                ("eager", 1024, False): 1.0,
            },
            ("eager", 1024, False),
        ),
        # Far behind in one memory format, it is not tried in the other.
        (
            {
                ("openvino", 512, False): 2.0,
                ("eager", 1024, True): 3.1,
                ("eager", 1024, False): 1.0,
            },
            ("openvino", 512, False),
        ),
        # A tenth faster does not pay for the conversion.
        ({("openvino", 512, False): 1.0, ("eager", 1024, True): 1.1}, ("eager", 1024, True)),
        ({("openvino", 512, False): 2.0, ("openvino", 256, False): 1.0}, ("openvino", 256, False)),
        (
            {("openvino", 512, False): 2.0, ("openvino", 1024, False): 1.0},
            ("openvino", 1024, False),
        ),
        ({("eager", 1024, True): 2.0, ("eager", 512, True): 1.0}, ("eager", 512, True)),
        # Smaller and smaller, as long as that helps.
        ({("openvino", 512 >> i, False): 5.0 - i for i in range(4)}, ("openvino", 64, False)),
    ],
)
def test_the_fastest_is_taken(
    probed: list[Setup], timing: Timing, expected: tuple[str, int, bool]
) -> None:
    TIMING.update(timing)
    assert taken(network()).setup == Setup(*expected)


def test_a_choice_holds_from_then_on(probed: list[Setup], folder: Path) -> None:
    eager = {("eager", 1024, True): 1.4, ("eager", 1024, False): 1.0}
    TIMING.update({("openvino", 512, False): 2.0, **eager})
    first = taken(network())
    count = len(probed)
    TIMING.update({("openvino", 512, False): 0.1})
    # Other weights of the same architecture are run alike: they are to be compared.
    other = network()
    nn.init.normal_(other[0].weight)
    assert taken(other).setup == first.setup == Setup("eager", 1024, False)
    assert len(probed) == count
    assert len(list(folder.iterdir())) == 1
    # Another architecture, precision or number of threads is another matter.
    wider = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(1024, 5))
    assert taken(wider).setup == Setup("openvino", 512, False)
    assert taken(network(), dtype="bfloat16").name in ("openvino", "eager")
    assert len(list(folder.iterdir())) == 3


def test_the_first_of_two_processes_decides(
    probed: list[Setup], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TIMING.update({("openvino", 512, False): 1.0, ("eager", 1024, True): 2.0})
    taken(network())
    # The second one probed at the same time and found the opposite.
    recall = choosing.recall
    answers = iter([None])
    monkeypatch.setattr(choosing, "recall", lambda key: next(answers, recall(key)))
    TIMING.update({("openvino", 512, False): 3.0})
    assert taken(network()).setup == Setup("openvino", 512, False)


@pytest.mark.parametrize(("load", "holds"), [(0.0, 7 * 86_400), (99.0, 3600)])
def test_a_choice_does_not_hold_for_ever(
    probed: list[Setup], folder: Path, monkeypatch: pytest.MonkeyPatch, load: float, holds: float
) -> None:
    """A machine that was busy when it was probed may be quick now."""
    monkeypatch.setattr(choosing.os, "getloadavg", lambda: (load, 0.0, 0.0))
    TIMING.update({("openvino", 512, False): 3.0, ("eager", 1024, True): 2.0})
    assert taken(network()).name == "eager"
    TIMING.update({("openvino", 512, False): 1.0})
    (file,) = folder.iterdir()
    for age, name in ((holds - 60, "eager"), (holds + 60, "openvino")):
        os.utime(file, (time.time() - age,) * 2)
        assert taken(network()).name == name


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"setups": [{"speed": 3}], "note": ""}'])
def test_a_file_that_holds_something_else_leads_to_no_choice_by_timing(
    probed: list[Setup], folder: Path, content: str
) -> None:
    taken(network())
    (file,) = folder.iterdir()
    file.write_text(content)
    TIMING.update({("openvino", 512, False): 3.0, ("eager", 1024, True): 2.0})
    assert taken(network()).setup == Setup("openvino", 512, False)


def test_without_a_place_to_keep_it_the_choice_is_not_by_timing(
    probed: list[Setup], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IASIDE_CACHE_DIR", str(tmp_path / "file" / "cache"))
    TIMING.update({("openvino", 512, False): 3.0, ("eager", 1024, True): 2.0})
    assert taken(network()).setup == Setup("openvino", 512, False)


def test_what_disagrees_is_not_taken(probed: list[Setup], monkeypatch: pytest.MonkeyPatch) -> None:
    TIMING.update({("openvino", 512, False): 1.0, ("eager", 1024, True): 2.0})
    run = choosing.OpenVinoBackend.forward_many
    shift = torch.tensor([0.03, 0, 0, 0, 0])
    monkeypatch.setattr(
        choosing.OpenVinoBackend,
        "forward_many",
        lambda self, batches: (logits + shift for logits in run(self, batches)),
    )
    found = taken(network())
    assert found.setup == Setup("eager", 1024, True)
    assert found.note.startswith("openvino disagrees with PyTorch by 0.02")
    with pytest.raises(ModelError, match=r"openvino disagrees with PyTorch by 0\.02"):
        taken(network(), backend="openvino", passes=1)


def test_agreement_is_in_log_probabilities() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    # A constant added to every logit changes nothing.
    assert choosing._gap(logits + 5, logits, SOFTMAX) < 1e-6
    expected = (torch.log_softmax(logits * 2, 1) - torch.log_softmax(logits, 1)).abs().max()
    assert choosing._gap(logits * 2, logits, SOFTMAX) == pytest.approx(expected.item(), abs=1e-6)
    assert choosing._gap(logits * torch.nan, logits, SOFTMAX) == float("inf")


def test_what_pytorch_cannot_answer_is_not_hidden(
    probed: list[Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another backend may find finite numbers where PyTorch finds none."""
    net = network()
    with torch.no_grad():
        next(net.parameters()).fill_(torch.nan)
    with pytest.raises(ModelError, match="PyTorch's own logits are not finite"):
        taken(net, backend="openvino")
    assert taken(net).name == "eager"


def test_what_cannot_be_converted_says_so(probed: list[Setup], folder: Path) -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            means = inputs.mean((2, 3))
            found: Tensor = self.head(means if means.mean() < 0.5 else -means)
            return found

    for _ in range(2):
        found = taken(Branches())
        assert found.name == "eager"
        assert found.note.startswith("openvino cannot convert it (")
    assert len([setup for setup in probed if setup.backend == "openvino"]) == 0
    (file,) = folder.iterdir()
    assert [setup["backend"] for setup in json.loads(file.read_text())["setups"]] == ["eager"]


def test_without_openvino_only_pytorch_is_probed(
    probed: list[Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    TIMING.update({("eager", 1024, False): 1.0})
    assert taken(network()).setup == Setup("eager", 1024, False)
    assert {setup.backend for setup in probed} == {"eager"}


def test_a_batch_size_that_was_asked_for_stays(probed: list[Setup]) -> None:
    TIMING.update({("openvino", 6, False): 1.0})
    assert taken(network(), batch_size=6).setup == Setup("openvino", 6, False)
    assert {setup.batch_size for setup in probed} == {6}
    assert taken(network(), passes=1, batch_size=6).setup == Setup("eager", 6, True)
    assert taken(lambda x: x.mean((2, 3)), batch_size=6).setup == Setup("eager", 6, True)


def test_a_real_probe_ends_soon_and_ranks_both() -> None:
    found = taken(network())
    assert found.name in ("eager", "openvino")
    torch.testing.assert_close(
        found.forward(pictures(4)), network().eval()(pictures(4)).detach(), atol=1e-5, rtol=0
    )
