"""Watch: what is measured during a training, what of it arrives, and what it leaves as it was."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from pytest_iaside.errors import BaselineError, ModelError, ReferenceSampleError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.spectral import measure
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.track.exporters import metrics
from pytest_iaside.track.history import History
from pytest_iaside.track.watcher import Watch, undisturbed


class Network(nn.Module):
    """What a training could be disturbed through: batch statistics, dropout, random numbers."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.frozen = nn.BatchNorm2d(4).eval()  # In another mode than the rest.
        self.head = nn.Linear(4, 3)

    def forward(self, pictures):
        torch.rand(1), np.random.rand(), random.random()
        return self.head(self.frozen(self.body(pictures)).relu().mean(dim=(2, 3)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network()


def sample(labels=(0, 1, 2, 1), **changes):
    generator = torch.Generator().manual_seed(1)
    return ReferenceSample(torch.rand(4, 3, 16, 16, generator=generator), labels)


def watch(reference=None, **changes):
    settings = {"bands": 3, "backend": "eager"} | changes.pop("settings", {})
    given = {"history": None, "exporters": (), "run": "run"} | changes
    return Watch(sample() if reference is None else reference, settings=settings, **given)


def state_of(network):
    modes = {name: part.training for name, part in network.named_modules()}
    gradients = {
        name: (parameter.requires_grad, None if parameter.grad is None else parameter.grad.clone())
        for name, parameter in network.named_parameters()
    }
    values = {name: value.clone() for name, value in network.state_dict().items()}
    where = {name: value.data_ptr() for name, value in network.state_dict().items()}
    return modes, gradients, values, where


def same(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, (torch.Tensor, np.ndarray)):
        return bool((first == second).all())
    return first == second


def generators():
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


@pytest.mark.parametrize("backend", ["eager", "openvino"])
def test_a_training_does_not_notice(network, backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    network.head.bias.requires_grad_(False)
    network.train()
    network.frozen.eval()
    network(torch.rand(2, 3, 16, 16)).sum().backward()
    before = state_of(network), generators(), torch.get_num_threads()
    watcher = watch(settings={"backend": backend})
    watcher.begin(Classifier(network))
    assert watcher.measure(Classifier(network), step=0, name="epoch=0", logged={}) is not None
    assert torch.is_grad_enabled()
    assert same((state_of(network), generators(), torch.get_num_threads()), before)


def test_generators_are_put_back_after_a_failure():
    before = generators()
    with pytest.raises(ZeroDivisionError), undisturbed():
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        raise ZeroDivisionError
    assert same(generators(), before)


def test_what_is_measured_is_what_measure_finds(network, tmp_path):
    sent, history = [], History(tmp_path / "h.sqlite")
    watcher = watch(history=history, exporters=[lambda *triple: sent.append(triple)], run="first")
    classifier = Classifier(network, mean=0.5, std=0.25)
    logged = {"val_loss": 0.5, "val_acc": 0.1, "lr": 1e-3}
    point = watcher.measure(classifier, step=4, name="epoch=4", logged=logged)
    profile = measure(classifier, sample(), bands=3, execution=Execution(backend="eager"))
    np.testing.assert_array_equal(point.profile.image_psi, profile.image_psi)
    with torch.no_grad():
        predicted = network.eval()((sample().pixels() - 0.5) / 0.25).argmax(dim=1)
    # That on the reference sample, not what the trainer logged.
    assert point.accuracy == (predicted == sample().labels).double().mean().item()
    assert (point.run, point.step, point.name, point.loss) == ("first", 4, "epoch=4", 0.5)
    (kept,) = history.points("first")
    np.testing.assert_array_equal(kept.profile.image_psi, profile.image_psi)
    assert sent == [(name, value, 4) for name, value in metrics(point).items()]


@pytest.mark.parametrize(
    ("logged", "found"),
    [
        ({"val_acc": 0.25, "val_loss": 2.0}, (0.25, 2.0)),
        ({"accuracy": 75.0, "loss": 1.0}, (0.75, 1.0)),  # percent
        ({"loss": float("nan")}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_without_labels_the_accuracy_is_what_was_logged(network, logged, found):
    watcher = watch(sample(labels=None))
    point = watcher.measure(Classifier(network), step=0, name="epoch=0", logged=logged)
    assert (point.accuracy, point.loss) == found


def test_as_many_images_as_asked_for(network):
    watcher = watch(settings={"samples": 2})
    point = watcher.measure(Classifier(network), step=0, name="epoch=0", logged={})
    assert len(point.profile) == 2
    assert point.accuracy in (0.0, 0.5, 1.0)


def test_a_failure_during_the_training_is_a_warning(network, tmp_path):
    sent, history = [], History(tmp_path / "h.sqlite")
    watcher = watch(history=history, exporters=[lambda *triple: sent.append(triple)])
    watcher.begin(Classifier(network))
    with torch.no_grad():
        network.head.bias += float("nan")
    with pytest.warns(UserWarning, match="epoch=3 was not measured, and training goes on .*NaN"):
        assert watcher.measure(Classifier(network), step=3, name="epoch=3", logged={}) is None
    with torch.no_grad():
        network.head.bias.zero_()
    watcher.measure(Classifier(network), step=4, name="epoch=4", logged={})
    assert [each.step for each in history.points()] == [4]
    assert {step for _, _, step in sent} == {4}


def test_an_exporter_that_fails_keeps_nobody_from_their_point(network, tmp_path):
    def refuse(name, value, step):
        raise ConnectionError("gone")

    sent, history = [], History(tmp_path / "h.sqlite")
    exporters = [refuse, lambda *triple: sent.append(triple)]
    watcher = watch(history=history, exporters=exporters)
    with pytest.warns(UserWarning, match=r"the exporter refuse failed \(ConnectionError: gone\)"):
        for step in (0, 1):
            watcher.measure(Classifier(network), step=step, name=f"epoch={step}", logged={})
    assert [each.step for each in history.points()] == [0, 1]
    assert len(sent) == 2 * 7
    with pytest.warns(UserWarning, match="the exporter refuse: 14 of what was to reach it did not"):
        watcher.end()


def test_a_history_that_cannot_be_written_for_a_while_loses_nothing(network, tmp_path):
    history = History(tmp_path / "folder" / "h.sqlite")
    watcher = watch(history=history)
    (tmp_path / "folder").touch()
    with pytest.warns(UserWarning, match="the history .* failed .*cannot use the history"):
        watcher.measure(Classifier(network), step=0, name="epoch=0", logged={})
    (tmp_path / "folder").unlink()
    watcher.measure(Classifier(network), step=1, name="epoch=1", logged={})
    assert [each.step for each in history.points()] == [0, 1]


class TestBeforeTheTraining:
    @pytest.mark.parametrize(
        ("changes", "kind", "message"),
        [
            ({"settings": {"bands": 1}}, SettingsError, "bands=1 is out of range"),
            ({"settings": {"bands": 30}}, SettingsError, "band"),
            ({"settings": {"band": 4}}, SettingsError, "unknown setting band; those of measure"),
            ({"settings": {"batch_size": 0}}, SettingsError, "batch_size=0 must be"),
            ({"settings": {"samples": 9}}, SettingsError, "samples=9 images asked for"),
            ({"reference": torch.zeros(1)}, ReferenceSampleError, "the reference is a Tensor"),
            ({"run": ""}, SettingsError, "run='' cannot be used"),
            ({"history": 3}, SettingsError, "history=3 is not a history; give a path, a History"),
            ({"exporters": ["x"]}, SettingsError, r"exporters=\['x'\] cannot be used; give a list"),
            ({"exporters": print}, SettingsError, "give a list of functions"),
        ],
    )
    def test_what_can_be_told_without_the_network(self, changes, kind, message):
        with pytest.raises(kind, match=message):
            watch(**changes)

    @pytest.mark.parametrize(
        ("made", "kind", "message"),
        [
            (lambda: nn.Flatten(2), ModelError, "the model returned shape"),
            (lambda: Classifier(Network(), mean=[0, 0], std=[1, 1]), SettingsError, "2 channels"),
            (lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), ReferenceSampleError, "label"),
        ],
    )
    def test_what_only_the_network_can_tell(self, made, kind, message):
        found = made()
        with pytest.raises(kind, match=message):
            watch().begin(found if isinstance(found, Classifier) else Classifier(found))

    def test_a_history_that_is_none(self, network, tmp_path):
        path = tmp_path / "h.sqlite"
        path.write_text("something else, which is to be left alone " * 5)
        with pytest.raises(BaselineError, match="is no history"):
            watch(history=path).begin(Classifier(network))

    def test_one_image_is_enough(self, network):
        calls = []
        network.register_forward_hook(lambda module, given, found: calls.append(len(found)))
        watch().begin(Classifier(network))
        assert sum(calls) < 2 * (2**3 + 1)  # What two images would take.
