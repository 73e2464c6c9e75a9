"""The callback for Lightning, in trainings by its real trainer."""

from __future__ import annotations

import pickle
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.spectral import measure
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.track.callbacks import LIGHTNING, lightning_callback
from pytest_iaside.track.exporters import metrics
from pytest_iaside.track.history import History

lightning = pytest.importorskip("lightning.pytorch", reason="needs Lightning")

pytestmark = [
    # Of Lightning: about this small training, and about its own use of PyTorch.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(lightning|pytorch_lightning).*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(lightning|pytorch_lightning).*"),
]


def made_module(package=lightning):
    class Module(package.LightningModule):
        """Batch statistics, dropout and shuffling: all that a disturbance would show in."""

        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Conv2d(3, 6, 3, stride=2),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.Dropout(0.5),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Linear(24, 3),
            )

        def forward(self, pictures):
            return self.net(pictures)

        def training_step(self, batch, index):
            images, labels = batch
            images = images + 0.1 * torch.randn_like(images)
            return nn.functional.cross_entropy(self(images), labels)

        def validation_step(self, batch, index):
            images, labels = batch
            self.log("val_loss", nn.functional.cross_entropy(self(images), labels))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    torch.manual_seed(0)
    return Module()


def data():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(16, 3, 12, 12, generator=generator), torch.arange(16) % 3


def reference(labelled=True):
    images, labels = data()
    return ReferenceSample(images[:4], labels[:4] if labelled else None)


def fit(callbacks, tmp_path, module=None, package=lightning, epochs=3, **options):
    module = made_module(package) if module is None else module
    given = {"logger": False, "enable_checkpointing": False} | options
    trainer = package.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        callbacks=callbacks,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **given,
    )
    torch.manual_seed(2)
    loader = DataLoader(TensorDataset(*data()), batch_size=8, shuffle=True)
    trainer.fit(module, loader, DataLoader(TensorDataset(*data()), batch_size=8))
    return trainer, module


def made(**changes):
    return lightning_callback(reference(), **{"bands": 3, "backend": "eager"} | changes)


@pytest.mark.parametrize("network", [None, "net"])
def test_a_training_ends_in_the_same_weights_as_without_it(tmp_path, network):
    _, alone = fit([], tmp_path)
    before = {name: value.clone() for name, value in alone.state_dict().items()}
    points = History(tmp_path / "h.sqlite")
    _, watched = fit([made(history=points, network=network)], tmp_path)
    assert len(points.points()) == 3
    assert before.keys() == watched.state_dict().keys()
    for name, value in watched.state_dict().items():
        assert torch.equal(value, before[name]), name
    # And the test could tell: what one more number drawn does.
    disturbing = type("", (lightning.Callback,), {"on_train_epoch_end": lambda *a: torch.rand(1)})()
    _, disturbed = fit([disturbing], tmp_path)
    assert any(not torch.equal(v, before[k]) for k, v in disturbed.state_dict().items())


def test_each_point_is_of_the_network_at_the_end_of_its_epoch(tmp_path):
    weights, losses = [], []

    class Keep(lightning.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            weights.append({k: v.clone() for k, v in pl_module.net.state_dict().items()})
            losses.append(float(trainer.callback_metrics["val_loss"]))

    history = History(tmp_path / "h.sqlite")
    callback = made(history=history, run="first", network="net", mean=0.5, std=0.25)
    fit([callback, Keep()], tmp_path)
    points = history.points("first")
    assert [(each.step, each.name) for each in points] == [
        (0, "epoch=0"),
        (1, "epoch=1"),
        (2, "epoch=2"),
    ]
    network = made_module().net
    for point, state, loss in zip(points, weights, losses, strict=True):
        network.load_state_dict(state)
        classifier = Classifier(network, mean=0.5, std=0.25)
        again = measure(classifier, reference(), bands=3, execution=Execution(backend="eager"))
        np.testing.assert_array_equal(point.profile.image_psi, again.image_psi)
        assert point.loss == loss


@pytest.mark.parametrize(("every", "epochs"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3]), (9, [])])
def test_every_nth_epoch_and_no_sanity_check(tmp_path, every, epochs):
    history = History(tmp_path / "h.sqlite")
    fit([made(history=history, every_n_epochs=every)], tmp_path, epochs=5, num_sanity_val_steps=1)
    assert [each.step for each in history.points()] == epochs


def test_the_modules_own_logger_and_other_callbacks_get_the_numbers(tmp_path):
    history = History(tmp_path / "h.sqlite")
    stopped = lightning.callbacks.EarlyStopping(
        "iaside/value", mode="max", patience=10, check_on_train_epoch_end=True
    )
    logger = lightning.loggers.CSVLogger(tmp_path)
    trainer, _ = fit([stopped, made(history=history)], tmp_path, logger=logger)
    *_, last = history.points()
    found = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("iaside/")}
    assert found == pytest.approx(metrics(last), rel=1e-5, abs=1e-6)
    values = [each.profile.value for each in history.points()]
    assert float(stopped.best_score) == pytest.approx(max(values), rel=1e-5, abs=1e-6)
    header, *rows = (tmp_path / logger.name / "version_0/metrics.csv").read_text().splitlines()
    column = header.split(",").index("iaside/value")
    logged = [float(row.split(",")[column]) for row in rows if row.split(",")[column]]
    assert logged == pytest.approx(values, rel=1e-5, abs=1e-6)


def test_an_exporter_that_fails_does_not_end_the_training(tmp_path):
    def refuse(name, value, step):
        raise ConnectionError("gone")

    history = History(tmp_path / "h.sqlite")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        trainer, _ = fit([made(history=history, exporters=[refuse])], tmp_path)
    assert trainer.current_epoch == 3
    assert len(history.points()) == 3
    said = [str(each.message) for each in warned if "refuse" in str(each.message)]
    assert said == [
        "the exporter refuse failed (ConnectionError: gone); training goes on, and what did not "
        "reach it will be sent again",
        "the exporter refuse: 24 of what was to reach it did not (ConnectionError: gone)",
    ]


def test_a_function_may_make_the_classifier(tmp_path):
    history = History(tmp_path / "h.sqlite")

    def network(module):
        return Classifier(module.net, mean=0.5, std=0.5, name="mine")

    fit([made(history=history, network=network)], tmp_path, epochs=1)
    (point,) = history.points()
    assert point.profile.model.name == "mine"


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"network": "nett"}, SettingsError, "network='nett': Module has no such attribute"),
        ({"network": lambda m: Classifier(m), "mean": 0, "std": 1}, SettingsError, "leave them"),
        ({"network": "net.0"}, ModelError, r"the model returned shape \(1, 6, 5, 5\)"),
        ({"device": "cuda:99"}, SettingsError, "cannot be used here"),
    ],
)
def test_what_cannot_work_says_so_before_the_training(tmp_path, changes, kind, message):
    module = made_module()
    module.training_step = lambda *batch: pytest.fail("the training began")
    with pytest.raises(kind, match=message):
        fit([made(**changes)], tmp_path, module=module)


@pytest.mark.parametrize("every", [0, -1, 1.5, True, None])
def test_a_number_of_epochs_that_is_none(every):
    with pytest.raises(
        SettingsError, match=r"every_n_epochs=.* must be a whole number of at least 1"
    ):
        made(every_n_epochs=every)


def test_a_network_that_is_sharded_is_refused(tmp_path):
    class FSDPStrategy(lightning.strategies.SingleDeviceStrategy):
        pass

    callback = made()
    trainer = type("Trainer", (), {"strategy": FSDPStrategy("cpu"), "is_global_zero": True})()
    with pytest.raises(SettingsError, match=r"FSDPStrategy spreads .*run `iaside track` on the"):
        callback.on_fit_start(trainer, made_module())


class TestTheLibrary:
    @pytest.mark.parametrize("name", LIGHTNING)
    def test_either_name_of_it(self, tmp_path, monkeypatch, name):
        package = pytest.importorskip(name)
        for other in set(LIGHTNING) - {name}:
            monkeypatch.setitem(sys.modules, other, None)  # As if it were not installed.
        history = History(tmp_path / "h.sqlite")
        callback = made(history=history)
        assert isinstance(callback, package.Callback)
        fit([callback], tmp_path, package=package, epochs=1)
        assert [each.step for each in history.points()] == [0]

    def test_none_at_all(self, monkeypatch):
        for name in LIGHTNING:
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(SettingsError, match=r"lightning is needed .*pip install lightning"):
            made()

    def test_it_can_be_pickled_and_is_called_what_it_is(self, tmp_path):
        history = History(tmp_path / "h.sqlite")
        callback = pickle.loads(pickle.dumps(made(history=history, every_n_epochs=2)))
        assert type(callback).__name__ == "SpectralRobustness"
        fit([callback], tmp_path, epochs=2)
        assert [each.step for each in history.points()] == [1]

    def test_a_resumed_training_goes_on_where_it_was(self, tmp_path):
        history = History(tmp_path / "h.sqlite")
        trainer, module = fit([made(history=history, every_n_epochs=2)], tmp_path, epochs=3)
        trainer.save_checkpoint(tmp_path / "a.ckpt")
        again = lightning.Trainer(
            max_epochs=6,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            callbacks=[made(history=history, every_n_epochs=2)],
        )
        loader = DataLoader(TensorDataset(*data()), batch_size=8)
        again.fit(module, loader, loader, ckpt_path=tmp_path / "a.ckpt")
        assert [each.step for each in history.points()] == [1, 3, 5]
