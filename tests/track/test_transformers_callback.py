"""The callback for transformers, in trainings by its real trainer."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.spectral import measure
from pytest_iaside.models.classifier import Classifier
from pytest_iaside.track.callbacks import transformers_callback
from pytest_iaside.track.exporters import metrics
from pytest_iaside.track.history import History

transformers = pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("accelerate", reason="transformers' trainer needs accelerate")

pytestmark = [
    # Of transformers, accelerate and PyTorch, about their own use of each other.
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(transformers|accelerate).*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(transformers|accelerate).*"),
]

MEAN, STD = [0.5, 0.4, 0.3], [0.5, 0.5, 0.25]
STEPS = 4  # An epoch's: 16 images in batches of 4.


def processor():
    return transformers.ViTImageProcessor(image_mean=MEAN, image_std=STD)


def made_model():
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=12,
        patch_size=4,
        num_labels=3,
        hidden_dropout_prob=0.3,  # What a disturbance would show in.
    )
    return transformers.ViTForImageClassification(config)


def images():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(16, 3, 12, 12, generator=generator)


def dataset(count=16):
    return [{"pixel_values": x, "labels": i % 3} for i, x in enumerate(images()[:count])]


def reference(labelled=True):
    return ReferenceSample(images()[:4], [0, 1, 2, 0] if labelled else None)


def train(callbacks, folder, model=None, evaluation=None, resume=None, score=None, **changes):
    settings = {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "seed": 5,
        "disable_tqdm": True,
    } | changes
    trainer = transformers.Trainer(
        model=made_model() if model is None else model,
        args=transformers.TrainingArguments(output_dir=str(folder), **settings),
        train_dataset=dataset(),
        eval_dataset=dataset(8) if evaluation is None else evaluation,
        compute_metrics=score,
        callbacks=callbacks,
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def made(*positional, **changes):
    given = {"bands": 3, "backend": "eager"} | changes
    return transformers_callback(reference(), *(positional or (processor(),)), **given)


@pytest.mark.parametrize("when", ["evaluate", "epoch_end"])
def test_a_training_ends_in_the_same_weights_as_without_it(tmp_path, when):
    alone = train([], tmp_path).model.state_dict()
    history = History(tmp_path / "h.sqlite")
    watched = train([made(history=history, when=when)], tmp_path).model.state_dict()
    assert len(history.points()) == 3
    assert alone.keys() == watched.keys()
    for name, value in watched.items():
        assert torch.equal(value, alone[name]), name

    # And the test could tell: what one more number drawn does.
    class Disturbing(transformers.TrainerCallback):
        def on_epoch_end(self, args, state, control, **kwargs):
            torch.rand(1)

    disturbed = train([Disturbing()], tmp_path).model.state_dict()
    assert any(not torch.equal(value, alone[name]) for name, value in disturbed.items())


@pytest.mark.parametrize("when", ["evaluate", "epoch_end"])
def test_each_point_is_of_the_network_at_its_step(tmp_path, when):
    weights = []

    class Keep(transformers.TrainerCallback):
        def on_epoch_end(self, args, state, control, model, **kwargs):
            weights.append({name: value.clone() for name, value in model.state_dict().items()})

    history, sent = History(tmp_path / "h.sqlite"), []
    callback = made(
        history=history, run="vit", when=when, exporters=[lambda *triple: sent.append(triple)]
    )
    trainer = train([callback, Keep()], tmp_path)
    points = history.points("vit")
    assert [(each.step, each.name) for each in points] == [
        (4, "checkpoint-4"),
        (8, "checkpoint-8"),
        (12, "checkpoint-12"),
    ]
    evaluated = [x["eval_loss"] for x in trainer.state.log_history if "eval_loss" in x]
    losses = evaluated if when == "evaluate" else [None] * 3
    model = made_model()
    for point, state, loss in zip(points, weights, losses, strict=True):
        model.load_state_dict(state)
        classifier = Classifier.from_transformers(model, processor())
        again = measure(classifier, reference(), bands=3, execution=Execution(backend="eager"))
        np.testing.assert_array_equal(point.profile.image_psi, again.image_psi)
        assert point.loss == loss
    assert sent == [
        (name, value, each.step) for each in points for name, value in metrics(each).items()
    ]


@pytest.mark.parametrize(
    ("when", "every", "changes", "steps"),
    [
        ("evaluate", 1, {"eval_strategy": "steps", "eval_steps": 3}, [3, 6, 9, 12]),
        ("evaluate", 2, {"eval_strategy": "steps", "eval_steps": 3}, [6, 12]),
        ("evaluate", 1, {"eval_on_start": True}, [0, 4, 8, 12]),
        ("evaluate", 1, {"eval_strategy": "no"}, []),
        ("epoch_end", 2, {}, [8]),
        ("epoch_end", 1, {"eval_strategy": "no"}, [4, 8, 12]),
    ],
)
def test_how_often(tmp_path, when, every, changes, steps):
    history = History(tmp_path / "h.sqlite")
    train([made(history=history, when=when, every=every)], tmp_path, **changes)
    assert [each.step for each in history.points()] == steps


def test_several_validation_sets_are_one_occasion(tmp_path):
    history = History(tmp_path / "h.sqlite")
    callback = made(history=history, every=2)
    train([callback], tmp_path, evaluation={"one": dataset(4), "two": dataset(8)})
    assert [each.step for each in history.points()] == [8]


def test_an_evaluation_outside_a_training_is_not_measured(tmp_path):
    history = History(tmp_path / "h.sqlite")
    trainer = train([made(history=history)], tmp_path)
    psi = history.points()[-1].profile.image_psi
    with torch.no_grad():
        trainer.model.classifier.weight.zero_()  # As other weights, that were the best ones, are.
    trainer.evaluate()
    np.testing.assert_array_equal(history.points()[-1].profile.image_psi, psi)


def test_a_resumed_training_goes_on_where_it_was(tmp_path):
    history = History(tmp_path / "h.sqlite")
    train([made(history=history, every=2)], tmp_path, save_strategy="epoch", num_train_epochs=3)
    changes = {"save_strategy": "epoch", "num_train_epochs": 5}
    callback = made(history=history, every=2)
    train([callback], tmp_path, resume=str(tmp_path / "checkpoint-12"), **changes)
    assert [each.step for each in history.points()] == [8, 16]


def test_without_labels_the_accuracy_is_the_trainers(tmp_path):
    history = History(tmp_path / "h.sqlite")
    callback = transformers_callback(
        reference(labelled=False), processor(), history=history, bands=3, backend="eager"
    )
    train([callback], tmp_path, score=lambda found: {"accuracy": 0.625}, num_train_epochs=1)
    assert [each.accuracy for each in history.points()] == [0.625]


class TestTheNetwork:
    def test_a_function_of_the_model(self, tmp_path):
        history = History(tmp_path / "h.sqlite")

        def network(model):
            return Classifier(lambda x: model(pixel_values=x).logits, name="mine")

        train([made(None, history=history, network=network)], tmp_path, num_train_epochs=1)
        assert [each.profile.model.name for each in history.points()] == ["mine"]

    def test_the_processor_that_the_trainer_has(self, tmp_path):
        history = History(tmp_path / "h.sqlite")
        callback = made(None, history=history)
        state, model = transformers.TrainerState(), made_model()
        arguments = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
        given = {"model": model, "processing_class": processor()}
        callback.on_train_begin(arguments, state, None, **given)
        callback.on_evaluate(arguments, state, None, metrics={}, **given)
        (point,) = history.points()
        classifier = Classifier.from_transformers(model, processor())
        again = measure(classifier, reference(), bands=3, execution=Execution(backend="eager"))
        np.testing.assert_array_equal(point.profile.image_psi, again.image_psi)

    def test_no_processor_at_all(self, tmp_path):
        with pytest.raises(SettingsError, match=r"how images are normalised .* is unknown; give"):
            train([made(None)], tmp_path)

    def test_one_that_cannot_be_run(self, tmp_path):
        with pytest.raises(ModelError, match="the model returned a BaseModelOutputWithPooling"):
            train([made(None, network=lambda model: lambda x: model.vit(x))], tmp_path)


@pytest.mark.parametrize("how", ["fsdp", "deepspeed"])
def test_a_network_that_is_sharded_is_refused(tmp_path, how):
    arguments = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    setattr(arguments, how, "x")
    with pytest.raises(SettingsError, match=f"{how} spreads the network .*`iaside track`"):
        made().on_train_begin(arguments, transformers.TrainerState(), None, model=made_model())


def test_only_the_first_process_measures(tmp_path):
    history = History(tmp_path / "h.sqlite")
    arguments = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    state = transformers.TrainerState(is_world_process_zero=False, epoch=1.0)
    for when in ("evaluate", "epoch_end"):
        callback = made(history=history, when=when)
        for event in ("on_train_begin", "on_evaluate", "on_epoch_end", "on_train_end"):
            getattr(callback, event)(arguments, state, None, model=made_model(), metrics={})
    assert history.points() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"when": "save"}, "when='save' is unknown; use one of evaluate, epoch_end"),
        ({"every": 0}, "every=0 must be a whole number of at least 1"),
        ({"bands": 1}, "bands=1 is out of range"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(SettingsError, match=message):
        made(**changes)


def test_it_can_be_pickled_and_is_called_what_it_is(tmp_path):
    history = History(tmp_path / "h.sqlite")
    callback = pickle.loads(pickle.dumps(made(history=history)))
    assert isinstance(callback, transformers.TrainerCallback)
    assert type(callback).__name__ == "SpectralRobustness"
    train([callback], tmp_path, num_train_epochs=1)
    assert [each.step for each in history.points()] == [STEPS]


def test_a_missing_library_is_said_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingsError, match=r"transformers is needed .*pip install transformers"):
        transformers_callback(reference(), object(), bands=3)


def test_no_library_is_imported_before_it_is_asked_for():
    code = (
        "import sys, pytest_iaside.track.callbacks, pytest_iaside.track.exporters; "
        "print(sorted({'lightning', 'pytorch_lightning', 'transformers', 'mlflow', 'tensorboard'} "
        "& set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
