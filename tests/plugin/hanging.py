"""A project whose model hangs after so many forward passes, and in which way."""

from __future__ import annotations

MODELS = """
import ctypes, os, threading, time
import torch
from torch import nn
from pytest_iaside import ReferenceSample

GRID = torch.arange(16) / 16
WAVES = torch.stack([torch.cos(2 * torch.pi * k * GRID) for k in (1, 3, 7)])

def reference():
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(24) % 3
    images = 0.5 + 0.2 * WAVES[classes][:, None, None, :].expand(24, 1, 16, 16)
    noise = 0.05 * torch.randn(24, 1, 16, 16, generator=generator)
    return ReferenceSample((images + noise).clamp(0, 1), classes)

def sleeping():
    time.sleep(600)

def waiting():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

def looping():
    while True:
        try:
            sum(range(1000))
        except Exception:
            pass

def native(library=ctypes.CDLL):
    # Twice the same lock: no signal ends that.
    lock, libc = ctypes.create_string_buffer(64), library(None)
    libc.pthread_mutex_lock(lock)
    libc.pthread_mutex_lock(lock)

def native_alone():
    # The same, and nobody else may run Python meanwhile.
    native(ctypes.PyDLL)

def slow():
    time.sleep(0.05)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        if self.seen > int(os.environ.get("HANGS_AFTER", 300)) and "HANGS" in os.environ:
            globals()[os.environ["HANGS"]]()
        return (images.mean(dim=(1, 2)) @ WAVES.T) * 2 * self.weight
"""
CONFTEST = """
import os
import pytest
from pytest_iaside.testing import watch

# Where the first interruption is enough, no machine may be too slow for it.
watch.GRACE = float(os.environ.get("GRACE", "20"))

@pytest.fixture(scope="session")
def spectral_reference():
    import models
    return models.reference()
"""
TEST = """
from pytest_iaside import assert_spectral_robustness as gate

def test_hangs():
    import models
    gate(models.Net(), bands=6, backend="eager", batch_size=8, budget="everything")
def test_after():
    pass
"""
