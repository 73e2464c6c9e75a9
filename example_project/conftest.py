"""The reference samples that the models of Scrapbook are measured on."""

from __future__ import annotations

import pytest
from pytest_iaside import ReferenceSample

from scrapbook.data import digits, photographs


@pytest.fixture(scope="session")
def album() -> ReferenceSample:
    """Two crops of each of 12 photographs; no labels, so the tagger's own answers count.

    Crops of one photograph are answered alike: 24 of them say less than 24 photographs would.
    """
    found = photographs()
    return ReferenceSample(found.images, names=found.names, groups=found.taken_from)


@pytest.fixture(scope="session")
def page_numbers() -> ReferenceSample:
    """200 handwritten digits, 20 of each, that were kept from training."""
    _, held_out = digits()
    return ReferenceSample(held_out.images[:200], held_out.labels[:200])
