"""Classifier: what it accepts, what it feeds its network, and what identifies it."""

from __future__ import annotations

import functools
import importlib
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.models.classifier import Classifier, as_classifier
from pytest_iaside.models.outputs import check_logits

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def logits(pixels: Tensor) -> Tensor:
    return pixels.mean((2, 3))


class TestNetwork:
    def test_module_function_and_partial(self) -> None:
        module = network()
        assert Classifier(module).network is module
        assert Classifier(module).name == "Sequential"
        assert Classifier(logits).name == "logits"
        assert Classifier(functools.partial(logits)).name == "partial"
        assert Classifier(module, name="mine").name == "mine"

    def test_path_of_an_onnx_file(self, tmp_path: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(b"weights")
        for path in (tmp_path / "net.onnx", str(tmp_path / "net.onnx")):
            assert Classifier(path).network == tmp_path / "net.onnx"
            assert Classifier(path).name == "net"

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("weights.pt", "weights.pt is not an .onnx file; load the model"),
            ("absent.onnx", "there is no file absent.onnx"),
            (nn.ReLU, r"ReLU is a class, not a model; pass an instance.*ReLU\("),
            (3, "the model is a int; give an nn.Module"),
            (None, "the model is None; give an nn.Module"),
            ({"weight": 1}, "the model is a dict with 'weight'; give an nn.Module"),
            ([1, 2], "the model is a list of 2: int, int; give an nn.Module"),
            (Classifier(logits), "the model is a Classifier"),
        ],
    )
    def test_anything_else_is_refused(self, given: Any, message: str) -> None:
        with pytest.raises(ModelError, match=message):
            Classifier(given)

    def test_as_classifier(self) -> None:
        classifier = Classifier(logits, mean=0.5, std=0.5)
        assert as_classifier(classifier) is classifier
        module = network()
        assert as_classifier(module).network is module
        assert as_classifier(module).mean is None
        with pytest.raises(ModelError, match=r"the model is a float; give an nn.Module"):
            as_classifier(1.5)

    def test_repr(self) -> None:
        assert repr(Classifier(logits)) == "Classifier(logits, fed [0, 1] pixels)"
        classifier = Classifier(logits, mean=IMAGENET_MEAN, std=0.25)
        assert repr(classifier) == "Classifier(logits, mean=0.485, 0.456, 0.406, std=0.25)"

    def test_a_reference_sample_in_its_place_is_named(self) -> None:
        sample = ReferenceSample(torch.rand(2, 1, 8, 8), torch.tensor([0, 1]))
        with pytest.raises(ModelError, match="given the other way round; give the model first"):
            Classifier(sample)  # type: ignore[arg-type]  # the point

    def test_it_travels_to_another_process(self) -> None:
        classifier = Classifier(network(), mean=0.5, std=0.25)
        other = pickle.loads(pickle.dumps(classifier))
        assert other.fingerprint() == classifier.fingerprint()


class TestNormalisation:
    def test_none_feeds_pixels(self) -> None:
        pixels = torch.rand(2, 3, 4, 4)
        assert Classifier(logits).normalise(pixels) is pixels

    def test_channel_by_channel(self) -> None:
        pixels = torch.rand(2, 3, 4, 4)
        classifier = Classifier(logits, mean=IMAGENET_MEAN, std=torch.tensor(IMAGENET_STD))
        for values, expected in ((classifier.mean, IMAGENET_MEAN), (classifier.std, IMAGENET_STD)):
            assert values is not None
            assert values.dtype == torch.float32
            assert torch.equal(values, torch.tensor(expected))
        found = classifier.normalise(pixels)
        assert found.dtype == torch.float32
        for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
            expected_channel = (pixels[:, channel] - mean) / std
            torch.testing.assert_close(found[:, channel], expected_channel)

    def test_one_number_for_all_channels(self) -> None:
        pixels = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 3, 1, 1)
        classifier = Classifier(logits, mean=0.5, std=0.5)
        assert classifier.mean is not None
        assert classifier.mean.shape == (1,)
        assert classifier.normalise(pixels).flatten().tolist() == [-1.0, 0.0, 1.0]

    @pytest.mark.parametrize(
        ("mean", "std", "message"),
        [
            (0.5, None, "mean was given without std; give both or neither"),
            (None, 0.5, "std was given without mean"),
            (0.5, 0.0, r"std=\[0.0\] must be greater than 0"),
            (0.5, [1.0, -1.0, 1.0], "must be greater than 0"),
            ([0.1, 0.2], [0.1, 0.2, 0.3], "mean has 2 channels and std has 3"),
            (float("nan"), 1.0, "mean=nan must be a finite number"),
            ([], 1.0, r"mean=\[\] must be"),
            ("imagenet", 1.0, "mean='imagenet' must be a finite number"),
            ([[0.1]], 1.0, r"mean=\[\[0.1\]\] must be"),
        ],
    )
    def test_values_that_make_no_sense(self, mean: Any, std: Any, message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            Classifier(logits, mean=mean, std=std)

    def test_another_number_of_channels(self) -> None:
        classifier = Classifier(logits, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        with pytest.raises(SettingsError, match="for 3 channels, but the images have 1"):
            classifier.normalise(torch.zeros(1, 1, 2, 2))


class TestFingerprint:
    def test_same_weights_same_fingerprint(self) -> None:
        found = Classifier(network()).fingerprint()
        assert found == Classifier(network()).fingerprint()
        assert found is not None
        assert len(found) == 16
        assert int(found, 16) >= 0

    def test_changes_with_anything_that_counts(self) -> None:
        changed_weight = network()
        with torch.no_grad():
            next(changed_weight.parameters()).view(-1)[3] += 1e-6
        changed_buffer = network()
        changed_buffer.get_buffer("1.running_mean")[0] = 0.5
        found = [
            Classifier(model, mean=mean, std=std).fingerprint()
            for model, mean, std in (
                (network(), None, None),
                (network(1), None, None),
                (changed_weight, None, None),
                (changed_buffer, None, None),
                (network().half(), None, None),
                (nn.Sequential(network()), None, None),
                (network(), 0.5, 0.5),
                (network(), 0.5, 0.25),
            )
        ]
        assert len(set(found)) == len(found)

    def test_does_not_change_with_mode_or_memory_format(self) -> None:
        expected = Classifier(network()).fingerprint()
        assert Classifier(network().eval()).fingerprint() == expected
        strided = network().to(memory_format=torch.channels_last)
        assert Classifier(strided).fingerprint() == expected

    def test_does_not_change_with_the_order_of_definition(self) -> None:
        parts = dict(network().named_children())
        forward, backward = (
            nn.ModuleDict({name: parts[name] for name in order}) for order in ("03", "30")
        )
        assert Classifier(forward).fingerprint() == Classifier(backward).fingerprint()

    def test_of_bfloat16_weights(self) -> None:
        assert Classifier(network().bfloat16()).fingerprint() is not None

    def test_a_function_has_none(self) -> None:
        assert Classifier(logits).fingerprint() is None

    def test_weights_that_do_not_exist_yet_have_none(self) -> None:
        assert Classifier(nn.LazyLinear(3)).fingerprint() is None

    def test_of_an_onnx_file_is_that_of_its_bytes(self, tmp_path: Path) -> None:
        path, other = tmp_path / "net.onnx", tmp_path / "other.onnx"
        path.write_bytes(b"graph")
        other.write_bytes(b"graph")
        found = Classifier(path).fingerprint()
        assert found == Classifier(other).fingerprint()
        assert Classifier(path, mean=0.5, std=0.5).fingerprint() != found
        other.write_bytes(b"another graph")
        assert Classifier(other).fingerprint() != found


class TestLogits:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_that_are_right_pass(self, dtype: torch.dtype) -> None:
        given = torch.tensor([[1, 2], [3, 4]], dtype=dtype)
        assert check_logits(given, 2) is given

    def test_arrays_become_tensors(self) -> None:
        array = np.array([[1.5, 2.5]], dtype=np.float64)
        array.setflags(write=False)
        found = check_logits(array, 1)
        assert found.dtype == torch.float64
        assert found.tolist() == [[1.5, 2.5]]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (
                (torch.zeros(2, 3), None),
                r"a tuple of 2: \(2, 3\), NoneType, expected logits.*output=…",
            ),
            ({"logits": 1, "loss": 2}, "returned a dict with 'logits', 'loss'.*output=…"),
            (SimpleNamespace(logits=1), "returned a SimpleNamespace, expected logits"),
            (None, "returned None, expected logits"),
            (torch.zeros(2, 3, dtype=torch.int64), r"torch.int64 of shape \(2, 3\).*predicted"),
            (np.zeros((2, 3), dtype=int), r"int64 of shape \(2, 3\).*predicted"),
            (torch.zeros(3), r"shape \(3,\), expected.*keep the batch dimension"),
            (torch.zeros(2, 3, 4, 4), r"shape \(2, 3, 4, 4\), expected.*score=…"),
            (torch.zeros(1, 3), "1 rows for a batch of 2"),
            (torch.zeros(2, 1), r"shape \(2, 1\).*at least 2 classes.*task='binary'"),
        ],
    )
    def test_that_are_wrong_are_described(self, given: Any, message: str) -> None:
        with pytest.raises(ModelError, match=message):
            check_logits(given, 2)


class TestTimm:
    def test_a_model_brings_its_normalisation(self) -> None:
        timm = pytest.importorskip("timm")
        model: Any = timm.create_model("test_vit", pretrained=False, num_classes=7)
        config = model.pretrained_cfg
        classifier = Classifier.from_timm(model)
        assert classifier.network is model
        assert classifier.name.startswith("test_vit")
        assert classifier.mean is not None
        assert classifier.std is not None
        assert torch.equal(classifier.mean, torch.tensor(config["mean"]))
        assert torch.equal(classifier.std, torch.tensor(config["std"]))

    def test_a_name_is_created_with_its_weights(self, monkeypatch: pytest.MonkeyPatch) -> None:
        timm = pytest.importorskip("timm")
        create, asked = timm.create_model, []

        def recorded(name: str, *, pretrained: bool) -> Any:
            asked.append((name, pretrained))
            return create(name, pretrained=False)

        monkeypatch.setattr(timm, "create_model", recorded)
        assert Classifier.from_timm("test_vit").name == "test_vit"
        assert asked == [("test_vit", True)]

    def test_the_old_name_of_the_parameter_warns(self) -> None:
        timm = pytest.importorskip("timm")
        model: Any = timm.create_model("test_vit", pretrained=False, num_classes=7)
        with pytest.warns(DeprecationWarning, match=r"from_timm\(model=…\) now; .* goes in 0\.3"):
            assert Classifier.from_timm(name_or_model=model).network is model
        with pytest.raises(ModelError, match="was given no model; give its name, or the model"):
            Classifier.from_timm()

    def test_unknown_names(self) -> None:
        pytest.importorskip("timm")
        with pytest.raises(ModelError, match=r"timm cannot create 'no_such_net'.*list_models"):
            Classifier.from_timm("no_such_net")
        with pytest.raises(ModelError, match="from_timm was given a int"):
            Classifier.from_timm(3)  # type: ignore[arg-type]  # the point


class TestTorchvision:
    @pytest.fixture
    def models(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        models = pytest.importorskip("torchvision.models")
        state = models.resnet18(weights=None).state_dict()
        monkeypatch.setattr(
            models.ResNet18_Weights, "get_state_dict", lambda *_, **__: state, raising=True
        )
        return models

    @pytest.mark.parametrize("spelling", ["member", "string"])
    def test_weights_bring_model_and_normalisation(self, models: Any, spelling: str) -> None:
        member = models.ResNet18_Weights.DEFAULT
        classifier = Classifier.from_torchvision(
            member if spelling == "member" else "ResNet18_Weights.DEFAULT"
        )
        assert isinstance(classifier.network, models.ResNet)
        assert classifier.name == "ResNet18_Weights.IMAGENET1K_V1"
        assert classifier.mean is not None
        assert classifier.std is not None
        assert torch.equal(classifier.mean, torch.tensor(IMAGENET_MEAN))
        assert torch.equal(classifier.std, torch.tensor(IMAGENET_STD))
        assert classifier.network(torch.zeros(2, 3, 64, 64)).shape == (2, 1000)

    def test_weights_that_do_not_exist(self, models: Any) -> None:
        for spelling in ("ResNet18_Weights.NONE", "NoNet_Weights.DEFAULT"):
            with pytest.raises(ModelError, match=f"no weights '{spelling}'.*ResNet18_Weights"):
                Classifier.from_torchvision(spelling)

    def test_a_name_has_its_default_weights(self, models: Any) -> None:
        for given in ((), ("ResNet18_Weights.IMAGENET1K_V1",), ("IMAGENET1K_V1",)):
            weights = dict(zip(("weights",), given, strict=False))
            classifier = Classifier.from_torchvision("resnet18", **weights)
            assert classifier.name == "ResNet18_Weights.IMAGENET1K_V1"
            assert classifier.mean is not None
            assert torch.equal(classifier.mean, torch.tensor(IMAGENET_MEAN))
        assert Classifier.from_torchvision(weights="ResNet18_Weights.DEFAULT").name == (
            "ResNet18_Weights.IMAGENET1K_V1"
        )
        with pytest.raises(ModelError, match="has no classifier 'resnet17'"):
            Classifier.from_torchvision("resnet17")
        with pytest.raises(ModelError, match=r"are no weights of resnet18, but of resnet50"):
            Classifier.from_torchvision("resnet18", weights=models.ResNet50_Weights.DEFAULT)
        with pytest.raises(ModelError, match="are weights; give one of the two"):
            Classifier.from_torchvision("ResNet18_Weights.DEFAULT", weights="DEFAULT")

    def test_a_model_needs_weights_for_its_normalisation(self, models: Any) -> None:
        model = models.resnet18(weights=None)
        classifier = Classifier.from_torchvision(model, weights="ResNet18_Weights.DEFAULT")
        assert classifier.network is model and classifier.name == "ResNet"
        assert classifier.std is not None
        assert torch.equal(classifier.std, torch.tensor(IMAGENET_STD))
        with pytest.raises(ModelError, match="how images for this ResNet are normalised"):
            Classifier.from_torchvision(model)

    def test_weights_of_another_task(self, models: Any) -> None:
        weights = models.segmentation.FCN_ResNet50_Weights.DEFAULT
        with pytest.raises(ModelError, match="no classifier for FCN_ResNet50_Weights"):
            Classifier.from_torchvision(weights)

    def test_a_download_that_fails(self, models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def offline(*_: Any, **__: Any) -> None:
            raise OSError("no route to host")

        monkeypatch.setattr(models.ResNet18_Weights, "get_state_dict", offline)
        with pytest.raises(ModelError, match=r"cannot load ResNet18.*no route to host"):
            Classifier.from_torchvision("ResNet18_Weights.DEFAULT")


class TestTransformers:
    @pytest.fixture
    def model(self) -> Any:
        transformers = pytest.importorskip("transformers")
        config = transformers.ViTConfig(
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            image_size=8,
            patch_size=4,
            num_labels=5,
        )
        torch.manual_seed(0)
        return transformers.ViTForImageClassification(config).eval()

    def test_logits_and_normalisation(self, model: Any) -> None:
        transformers = pytest.importorskip("transformers")
        processor = transformers.ViTImageProcessor(image_mean=[0.5, 0.4, 0.3], image_std=[0.5] * 3)
        classifier = Classifier.from_transformers(model, processor)
        assert classifier.mean is not None
        assert torch.equal(classifier.mean, torch.tensor([0.5, 0.4, 0.3]))
        assert torch.equal(classifier.std, torch.tensor([0.5] * 3))  # type: ignore[arg-type]  # it is there
        assert classifier.name == "ViTForImageClassification"
        pictures = torch.rand(2, 3, 8, 8)
        with torch.no_grad():
            found = classifier.network(pictures)  # type: ignore[operator]  # no path
            assert torch.equal(found, model(pixel_values=pictures).logits)
        assert not classifier.network.training  # type: ignore[union-attr]  # it is a module
        assert classifier.fingerprint() is not None

    @pytest.mark.parametrize(
        "processor",
        [
            {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]},
            {"do_normalize": False},
            {"do_normalize": False, "do_rescale": False},
            {
                "do_normalize": True,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
                "rescale_factor": 1 / 127.5,
                "rescale_offset": True,
            },
            {"do_normalize": True, "do_rescale": False, "image_mean": [9.0], "image_std": [7.0]},
        ],
    )
    def test_what_the_processor_does_is_what_is_done(
        self, model: Any, processor: dict[str, Any]
    ) -> None:
        pixels = torch.rand(2, 3, 4, 4)
        expected = pixels * 255
        if processor.get("do_rescale", True):
            expected = expected * processor.get("rescale_factor", 1 / 255)
            expected = expected - (1 if processor.get("rescale_offset") else 0)
        if processor["do_normalize"]:
            mean, std = (
                torch.tensor(processor[key]).view(-1, 1, 1) for key in ("image_mean", "image_std")
            )
            expected = (expected - mean) / std
        classifier = Classifier.from_transformers(model, SimpleNamespace(**processor))
        torch.testing.assert_close(classifier.normalise(pixels), expected)
        if processor == {"do_normalize": False}:
            assert classifier.mean is None

    def test_a_processor_within_a_processor(self, model: Any) -> None:
        inner = SimpleNamespace(do_normalize=True, image_mean=[0.5] * 3, image_std=[0.25] * 3)
        classifier = Classifier.from_transformers(model, SimpleNamespace(image_processor=inner))
        assert classifier.std is not None
        assert classifier.std.tolist() == [0.25] * 3

    def test_what_is_no_model_or_no_processor(self, model: Any) -> None:
        with pytest.raises(ModelError, match="given a int as the model; give its name"):
            Classifier.from_transformers(3, None)  # type: ignore[arg-type]  # the point
        with pytest.raises(ModelError, match="given a int as the processor"):
            Classifier.from_transformers(model, 3)
        with pytest.raises(ModelError, match="how images for this ViTForImageClassification are"):
            Classifier.from_transformers(model)

    def test_a_folder_brings_both(self, model: Any, tmp_path: Path) -> None:
        transformers = pytest.importorskip("transformers")
        model.save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="cannot load the image processor"):
            Classifier.from_transformers(str(tmp_path))
        transformers.ViTImageProcessor(image_mean=[0.1, 0.2, 0.3]).save_pretrained(tmp_path)
        classifier = Classifier.from_transformers(str(tmp_path))
        assert classifier.mean is not None
        assert torch.equal(classifier.mean, torch.tensor([0.1, 0.2, 0.3]))
        assert classifier.name == str(tmp_path)
        loaded = transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
        again = Classifier.from_transformers(loaded)
        assert again.mean is not None and torch.equal(again.mean, classifier.mean)


@pytest.mark.parametrize(
    ("library", "package", "call"),
    [
        ("timm", "timm", lambda: Classifier.from_timm("resnet18")),
        ("torchvision.models", "torchvision", lambda: Classifier.from_torchvision("x")),
        ("transformers", "transformers", lambda: Classifier.from_transformers(nn.ReLU(), None)),
        ("onnxruntime", "onnxruntime", lambda: Classifier.from_onnx("x.onnx")),
    ],
)
def test_a_missing_library_is_named(
    library: str, package: str, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.import_module

    def import_module(name: str) -> Any:
        if name == library:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return found(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(ModelError, match=f"{package} is needed.*; pip install {package}$"):
        call()
