"""The sources of a small project: images of three classes, each a wave of one frequency."""

from __future__ import annotations

MODELS = """
import os
import torch
from pytest_iaside import ReferenceSample

GRID = torch.arange(16) / 16
WAVES = torch.stack([torch.cos(2 * torch.pi * k * GRID) for k in (1, 3, 7)])

def reference(labels=True, count=24):
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(24) % 3
    images = 0.5 + 0.2 * WAVES[classes][:, None, None, :].expand(24, 1, 16, 16)
    noise = 0.05 * torch.randn(24, 1, 16, 16, generator=generator)
    images = (images + noise).clamp(0, 1)[:count]
    return ReferenceSample(images, classes[:count] if labels else None)

def model(images):
    # Finds the wave of each class; GAIN is how well that of the second one.
    gain = torch.tensor([2.0, 2.0 * float(os.environ.get("GAIN", "1")), 2.0])
    return (images.mean(dim=(1, 2)) @ WAVES.T) * gain

def blind(images):
    return images.mean(dim=(1, 2, 3))[:, None] * torch.tensor([0.0, 1e-9, 0.0])
"""

CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def spectral_reference():
    import models
    return models.reference()
"""
