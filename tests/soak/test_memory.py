"""Memory: a measurement holds one batch of filtered images, whatever K and M are (minutes)."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="peak memory is read from the resource module")

# In a process of its own: a peak is never forgotten.
START = """
import resource, sys
import torch
from pytest_iaside import measure
from pytest_iaside import ReferenceSample

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB on Linux

network = torch.nn.Sequential(
    torch.nn.AvgPool2d(32), torch.nn.Flatten(), torch.nn.Linear(3 * 7 * 7, 10)
)
"""
GAME = """
images = torch.randint(0, 256, (200, 3, 224, 224), dtype=torch.uint8)
measure(network, ReferenceSample(images[:2]), bands=2)
before = peak()
measure(network, ReferenceSample(images), bands=8)
print(peak() - before)
"""
CHANGES = """
from pytest_iaside import perturbation_spectrum, spectral_response

images = torch.randint(0, 256, (200, 3, 224, 224), dtype=torch.uint8)

def play(some):
    sample = ReferenceSample(some)
    perturbation_spectrum(network, sample, ("white_noise", 3), bands=4)
    spectral_response(network, sample)

play(images[:2])
before = peak()
play(images)
print(peak() - before)
"""
MASKS = """
from pytest_iaside.explain import wcam

images = torch.randint(0, 256, (4, 3, 224, 224), dtype=torch.uint8)
wcam(network, images[:1], grid=8, points=2)
before = peak()
wcam(network, images, grid=32, points=4)
print(peak() - before)
"""


def added(script: str) -> float:
    """Bytes by which the peak rises while ``script`` runs its larger part."""
    if sys.platform != "linux":
        pytest.skip("ru_maxrss has other units elsewhere")
    command = [sys.executable, "-c", START + script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout) * 2**20


def test_two_hundred_images_at_224_stay_within_300_mb():
    """All their 256 coalitions at once would take 200 · 256 · 3 · 224² · 4 B = 30,800 MB."""
    assert added(GAME) < 300e6


def test_changes_of_two_hundred_images_stay_within_300_mb():
    """All their noise at once would take 200 · 8 · 3 · 224² · 4 B = 963 MB."""
    assert added(CHANGES) < 300e6


def test_a_thousand_masks_of_an_image_at_224_stay_within_200_mb():
    """An image under its 4,104 masks would take 4,104 · 3 · 224² · 4 B = 2,470 MB."""
    assert added(MASKS) < 200e6
