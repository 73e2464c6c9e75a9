"""Two changes that nobody should merge, held against the baselines of tests/: both must fail.

They would reach a project as a pull request that changes ``load_photo_tagger`` or the weights
of the digit reader, and the tests in tests/ would turn red. Here they stand beside the good
models, so that both can be looked at.
"""

from __future__ import annotations

from pathlib import Path

from pytest_iaside import Classifier, ReferenceSample, assert_spectral_robustness
from torch import nn
from torch.nn.utils import prune

from scrapbook.models import PHOTO_MEAN, PHOTO_STD, load_digit_reader, load_photo_tagger
from scrapbook.train import train_digit_reader

BASELINES = Path(__file__).parents[1] / "tests" / "__iaside__"
PHOTOS = BASELINES / "test_photos" / "test_photo_tagger_keeps_its_robustness-d27646dc.yaml"
DIGITS = BASELINES / "test_digits" / "test_digit_reader_keeps_its_robustness-58bbd2f2.yaml"


def test_photo_tagger_with_pruned_weights(album: ReferenceSample) -> None:
    """In every convolution and linear layer, the smallest 15 % of the weights are set to zero."""
    network = load_photo_tagger()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            prune.l1_unstructured(layer, "weight", amount=0.15)
            prune.remove(layer, "weight")
    tagger = Classifier(network, mean=PHOTO_MEAN, std=PHOTO_STD, name="EfficientNet, 15 % pruned")
    assert_spectral_robustness(tagger, album, baseline=PHOTOS)


def test_digit_reader_trained_on_wrong_labels(page_numbers: ReferenceSample) -> None:
    """Retrained in seconds, 30 % of the training labels being wrong."""
    reader = train_digit_reader(wrong_labels=0.3)
    # The report shows both readers side by side on the digits that drive the drift.
    before = load_digit_reader()
    assert_spectral_robustness(reader, page_numbers, baseline=DIGITS, baseline_model=before)
