"""What is said of the spectrum of a user's images."""

from __future__ import annotations

import pytest
import torch
from gate_records import META
from jsonschema import Draft202012Validator
from test_html import Page

from pytest_iaside import ReferenceSample, energy_spectral_density, power_law_exponent
from pytest_iaside.report.html import render
from pytest_iaside.report.json_document import json_document
from pytest_iaside.report.record import GateRecord
from pytest_iaside.report.spectrum import IMAGES, spectrum_record, spectrum_sentence


def sample(exponent: float, images: int = 40, side: int = 48) -> ReferenceSample:
    """Random fields whose energy falls with frequency as f^−exponent."""
    frequencies = torch.fft.fftfreq(side, dtype=torch.float64)
    radius = torch.hypot(frequencies[:, None], frequencies)
    radius[0, 0] = radius[0, 1]
    noise = torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(0))
    fields = torch.fft.ifft2(torch.fft.fft2(noise.double()) * radius ** (-exponent / 2)).real
    return ReferenceSample((0.5 + 0.08 * fields / fields.std()).clamp(0, 1).float())


@pytest.mark.parametrize("exponent", [0.0, 2.0])
def test_facts_are_those_of_the_first_images(exponent: float) -> None:
    images = sample(exponent)
    found = spectrum_record(images)
    radius, density = energy_spectral_density(images.images[:IMAGES])
    assert found["images"] == IMAGES
    assert found["exponent"] == pytest.approx(power_law_exponent(radius, density), abs=1e-6)
    assert found["exponent"] == pytest.approx(exponent, abs=0.1)
    assert found["natural"] == (exponent == 2.0)
    # From one wave an image to Nyquist, each once.
    assert found["frequencies"] == sorted(set(found["frequencies"]))
    assert (found["frequencies"][0], found["frequencies"][-1]) == (1 / 48, 0.5)
    by_frequency = dict(zip((radius / 48).tolist(), density.tolist(), strict=True))
    for frequency, energy in zip(found["frequencies"], found["density"], strict=True):
        assert energy == pytest.approx(by_frequency[frequency], rel=1e-5)


def test_the_sentence_says_whether_the_prior_holds() -> None:
    natural, white = (spectrum_sentence(spectrum_record(sample(alpha))) for alpha in (2.0, 0.0))
    assert "as f^−2.0" in natural or "as f^−1.9" in natural
    assert natural.endswith("as the score takes for granted.")
    assert white.endswith("so go by the bands and v(all), not by SRC.")
    grey = ReferenceSample(torch.full((2, 3, 16, 16), 0.5))
    assert spectrum_record(grey)["exponent"] is None or spectrum_record(grey)["density"][0] < 1e-20


@pytest.mark.parametrize(("exponent", "warned"), [(2.0, False), (0.0, True)])
def test_the_report_shows_it_and_warns(
    red: GateRecord, validator: Draft202012Validator, exponent: float, warned: bool
) -> None:
    found = spectrum_record(sample(exponent))
    record = {**red, "spectrum": found}
    source = render([record], meta=META)
    texts = Page(source).texts
    assert "Spectrum of the images" in texts
    assert source.count("<svg xmlns") == 6
    assert {f"{frequency:.4f}" for frequency in found["frequencies"]} <= set(texts)
    assert (spectrum_sentence(found) in texts) == warned
    document = json_document([record], meta=META)
    assert validator.is_valid(document)
    assert document["gates"][0]["spectrum"]["natural"] is not warned


def test_images_without_energy(red: GateRecord) -> None:
    found = {
        "images": 1,
        "frequencies": [0.25, 0.5],
        "density": [0.0, 0.0],
        "exponent": None,
        "natural": False,
        "snr": [],
    }
    texts = Page(render([{**red, "spectrum": found}], meta=META)).texts
    assert any(text.startswith("The images hold no energy besides their means") for text in texts)
