"""Memory: a measurement holds one batch of filtered images, whatever K and M are."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="peak memory is read from the resource module")

# In a process of its own: a peak is never forgotten.
SCRIPT = """
import resource, sys
import torch
from pytest_iaside import ReferenceSample, measure

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB on Linux

network = torch.nn.Sequential(
    torch.nn.AvgPool2d(32), torch.nn.Flatten(), torch.nn.Linear(3 * 7 * 7, 10)
)
images = torch.randint(0, 256, (200, 3, 224, 224), dtype=torch.uint8)
measure(network, ReferenceSample(images[:2]), bands=2)
before = peak()
measure(network, ReferenceSample(images), bands=8)
print(peak() - before)
"""


def test_two_hundred_images_at_224_stay_within_300_mb():
    """All their 256 coalitions at once would take 200 · 256 · 3 · 224² · 4 B = 30,800 MB."""
    if sys.platform != "linux":
        pytest.skip("ru_maxrss has other units elsewhere")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) * 2**20 < 300e6
