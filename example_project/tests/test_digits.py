from pytest_iaside import ReferenceSample, assert_spectral_robustness

from scrapbook.models import load_digit_reader


def test_digit_reader_keeps_its_robustness(page_numbers: ReferenceSample) -> None:
    assert_spectral_robustness(load_digit_reader(), page_numbers)
