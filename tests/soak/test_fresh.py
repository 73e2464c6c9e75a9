"""The package in an environment that has nothing else: its wheel alone runs a gate (minutes)."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATE = """
import torch
from torch import nn
from pytest_iaside import ReferenceSample, assert_spectral_robustness

def test_gate():
    generator = torch.Generator().manual_seed(0)
    grid = torch.arange(16) / 16
    waves = torch.stack([torch.cos(2 * torch.pi * k * grid) for k in (1, 3, 7)])
    classes = torch.arange(60) % 3
    images = 0.5 + 0.2 * waves[classes][:, None, None, :].expand(60, 1, 16, 16)
    images = (images + 0.05 * torch.randn(60, 1, 16, 16, generator=generator)).clamp(0, 1)

    class Net(nn.Module):
        def forward(self, x):
            return (x.mean(dim=(1, 2)) @ waves.T) * 20

    assert_spectral_robustness(Net(), ReferenceSample(images, classes))
"""


@pytest.mark.parametrize("source", ["whl", "tar.gz"])
def test_the_package_alone_runs_a_gate(source: str, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (package,) = dist.glob(f"*.{source}")
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = str(home / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(package)], check=True)
    project = tmp_path / "project"
    project.mkdir()
    (project / "test_it.py").write_text(GATE)
    for options in (["--iaside-update=new", "--iaside-update-in-ci"], []):
        done = subprocess.run(
            [python, "-m", "pytest", *options], cwd=project, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
    assert "✓ pass" in done.stdout
    iaside = str(Path(python).with_name("iaside"))
    helped = subprocess.run([iaside, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0, helped.stderr
