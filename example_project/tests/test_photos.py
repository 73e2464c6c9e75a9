from pytest_iaside import Classifier, ReferenceSample, assert_spectral_robustness

from scrapbook.models import PHOTO_MEAN, PHOTO_STD, load_photo_tagger


def test_photo_tagger_keeps_its_robustness(album: ReferenceSample) -> None:
    tagger = Classifier(load_photo_tagger(), mean=PHOTO_MEAN, std=PHOTO_STD)
    assert_spectral_robustness(tagger, album)
