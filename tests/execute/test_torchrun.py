"""Two processes under torchrun: gates share the work, callbacks watch a training."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from wave_models import CONFTEST, MODELS

from pytest_iaside import Classifier, ReferenceSample, SpectralProfile
from pytest_iaside.errors import ModelError
from pytest_iaside.track.history import History

GATE = """
import os
import models
from pytest_iaside import assert_spectral_robustness

def test_robust():
    assert_spectral_robustness(models.model)

def test_who_works():
    open(f"rank-{os.environ.get('RANK', 'none')}", "w").close()
"""
COMMON = """
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from pytest_iaside import ReferenceSample

torch.manual_seed(0)
images, labels = torch.rand(16, 3, 12, 12), torch.arange(16) % 3
reference = ReferenceSample(images[:4], labels[:4])
"""
LIGHTNING = """
import lightning.pytorch as lightning
from pytest_iaside.track import lightning_callback

class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(600, 3)
        )
    def forward(self, x):
        return self.net(x)
    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-2)

watch = lightning_callback(reference, history="h.sqlite", bands=3, backend="eager")
trainer = lightning.Trainer(
    max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", callbacks=[watch], logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(Module(), DataLoader(TensorDataset(images, labels), batch_size=4))
"""
TRANSFORMERS = """
import transformers
from pytest_iaside import Classifier
from pytest_iaside.track import transformers_callback

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 3)
    def forward(self, pixel_values, labels=None):
        logits = self.last(self.norm(self.conv(pixel_values)).relu().mean((2, 3)))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}

rows = [{"pixel_values": image, "labels": label} for image, label in zip(images, labels)]
watch = transformers_callback(
    reference, history="h.sqlite", bands=3, backend="eager", when="epoch_end",
    network=lambda model: Classifier(model, output="logits"),
)
arguments = transformers.TrainingArguments(
    output_dir="out", use_cpu=True, num_train_epochs=2, per_device_train_batch_size=4,
    save_strategy="no", report_to=[], disable_tqdm=True, ddp_backend="gloo",
)
transformers.Trainer(model=Net(), args=arguments, train_dataset=rows, callbacks=[watch]).train()
"""


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    how = ["--nproc-per-node=2", "--master-addr=127.0.0.1", f"--master-port={port}"]
    command = [sys.executable, "-m", "torch.distributed.run", *how, *arguments]
    # The only interface that is sure to be there.
    own = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
    environment = {**os.environ, **own, "IASIDE_CACHE_DIR": str(folder / "cache")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


def test_every_rank_takes_its_share_and_one_judges(tmp_path: Path) -> None:
    for name, text in (("models", MODELS), ("conftest", CONFTEST), ("test_it", GATE)):
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\niaside_bands = 4\niaside_max_value_drop = 0.05\niaside_max_band_drop = 0.01\n"
    )
    quiet = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    one = subprocess.run(
        [sys.executable, *quiet, "--iaside-update=new"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "IASIDE_CACHE_DIR": str(tmp_path / "alone")},
        capture_output=True,
        text=True,
    )
    assert one.returncode == 0, one.stdout
    (path,) = tmp_path.rglob("__iaside__/*/*.yaml")
    alone = SpectralProfile.load(path)
    for file in path.parent.iterdir():
        file.unlink()
    both = torchrun(tmp_path, *quiet, "--iaside-update=new")
    assert both.returncode == 0, both.stdout + both.stderr
    assert {each.name for each in tmp_path.glob("rank-*")} == {"rank-none", "rank-0", "rank-1"}
    assert "1 passed, 1 skipped" in both.stdout
    assert "2 passed" in both.stdout
    shared = SpectralProfile.load(path)
    np.testing.assert_array_equal(shared.values, alone.values)
    # A worse model is red, once.
    worse = (tmp_path / "models.py").read_text().replace('"GAIN", "1"', '"GAIN", "0.2"')
    (tmp_path / "models.py").write_text(worse)
    red = torchrun(tmp_path, *quiet, "--iaside-json=out.json")
    assert red.returncode != 0
    assert "1 failed" in red.stdout
    assert (tmp_path / "out.json").exists()


@pytest.mark.parametrize("source", [LIGHTNING, TRANSFORMERS], ids=["lightning", "transformers"])
def test_callbacks_under_ddp(tmp_path: Path, source: str) -> None:
    """Both processes train, the first one measures, and nobody waits for ever."""
    pytest.importorskip("lightning" if source is LIGHTNING else "transformers")
    (tmp_path / "train.py").write_text(COMMON + source)
    done = torchrun(tmp_path, "train.py")
    assert done.returncode == 0, done.stderr[-3000:]
    points = History(tmp_path / "h.sqlite").points()
    assert len(points) == 2
    assert len({point.profile.model.fingerprint for point in points}) == 2


def test_a_wrapped_network_is_measured_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its wrapper would wait for passes of processes that do not measure."""
    inner = nn.Linear(2, 2)
    assert Classifier(nn.DataParallel(inner)).network is inner


def test_sharded_weights_are_refused() -> None:
    class FSDPModule(nn.Linear):
        pass

    with pytest.raises(ModelError, match=r"weights are spread over processes, .*full_state_dict"):
        Classifier(FSDPModule(2, 2))
    assert ReferenceSample(torch.rand(1, 3, 4, 4))


def test_ranks_that_nobody_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that a scheduler, or somebody by hand, has set for a process that is alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "from datetime import timedelta\n"
        "from pytest_iaside.execute.engines import torchrun\n"
        "torchrun.PATIENCE = timedelta(seconds=2)\n"
        "torchrun.TorchrunEngine()\n"
    )
    told = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **told, "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "SettingsError: the ranks of this job did not find each other within" in done.stderr
    assert "RANK=0, WORLD_SIZE=2, MASTER_ADDR=127.0.0.1" in done.stderr
