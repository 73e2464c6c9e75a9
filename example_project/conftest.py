"""The reference samples that the models of Scrapbook are measured on."""

from __future__ import annotations

import pytest
from pytest_iaside import ReferenceSample

from scrapbook.data import digits, photographs


@pytest.fixture(scope="session")
def album() -> ReferenceSample:
    """24 crops of photographs; nobody labelled them, so the tagger's own answers count."""
    images, names = photographs()
    return ReferenceSample(images, names=names)


@pytest.fixture(scope="session")
def page_numbers() -> ReferenceSample:
    """200 handwritten digits, 20 of each, that were kept from training."""
    _, held_out = digits()
    return ReferenceSample(held_out.images[:200], held_out.labels[:200])
