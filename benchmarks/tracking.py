"""iaside track over 60 checkpoints of the digit reader: seconds, and what a killed run repeats.

100 images, 8 bands, from the command line as a user would: Python's start and all imports count.

    python benchmarks/tracking.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from common.saved import kept, value
from common.side_by_side import machine, print_table

from pytest_iaside.track.history import History

PROJECT = Path(__file__).parents[1] / "example_project"
CHECKPOINTS, IMAGES, KILLED_AFTER = 60, 100, 25
BATCHES = 10  # of an epoch: the first epochs are of interest, too
FACTORY = f"""
from pytest_iaside import ReferenceSample
from scrapbook.data import digits
def images():
    _, held_out = digits()
    return ReferenceSample(held_out.images[:{IMAGES}], held_out.labels[:{IMAGES}])
"""


def train(folder: Path) -> None:
    """Write the digit reader's checkpoints as it is trained."""
    sys.path.insert(0, str(PROJECT))
    from scrapbook.data import digits
    from scrapbook.models import DigitReader

    training, _ = digits()
    images = training.images.float() / 255
    torch.manual_seed(0)
    reader = DigitReader()
    optimiser = torch.optim.AdamW(reader.parameters(), 0.003)
    batches = cycle(torch.randperm(len(images)).split(100))
    for epoch in range(CHECKPOINTS):
        for _ in range(BATCHES):
            batch = next(batches)
            loss = torch.nn.functional.cross_entropy(reader(images[batch]), training.labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        state = {"epoch": epoch, "loss": loss.item(), "state_dict": reader.state_dict()}
        torch.save(state, folder / f"epoch{epoch}.pt")


def start(folder: Path, name: str) -> subprocess.Popen[str]:
    """``iaside track`` into a history and a cache of its own."""
    options = ["--model=scrapbook.models:DigitReader", "--reference=sample:images"]
    history = f"--history={folder / f'{name}.sqlite'}"
    return subprocess.Popen(
        [Path(sys.executable).with_name("iaside"), "track", "*.pt", *options, history],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "IASIDE_CACHE_DIR": str(folder / f"{name}-cache"),
        },
        stdout=subprocess.PIPE,
        text=True,
    )


def lines(process: subprocess.Popen[str]) -> list[str]:
    """What is said of each checkpoint."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"iaside track exited with {process.returncode}:\n{output}")
    return [line for line in output.splitlines() if line.startswith("epoch ")]


def uninterrupted(folder: Path) -> float:
    began = time.perf_counter()
    lines(start(folder, "whole"))
    return time.perf_counter() - began


def interrupted(folder: Path) -> list[list[str]]:
    """One run killed in the middle of a checkpoint, and one after it."""
    process = start(folder, "killed")
    assert process.stdout is not None
    for _ in range(KILLED_AFTER):
        process.stdout.readline()
    time.sleep(0.3)  # Some images into the next checkpoint.
    process.kill()
    process.communicate()
    before = {point.step: point for point in History(folder / "killed.sqlite").points()}
    second = lines(start(folder, "killed"))
    whole = History(folder / "whole.sqlite").points()
    after = {point.step: point for point in History(folder / "killed.sqlite").points()}
    twice = sum("already measured" not in line for line in second) - (len(after) - len(before))
    lost = [p for p in whole if p.step not in after]
    differing = [
        p
        for p in whole
        if p.step in after
        and not np.array_equal(p.profile.image_psi, after[p.step].profile.image_psi)
    ]
    kept = sum(point.profile.passes_from_cache for point in after.values())
    return [
        ["measured before the kill", str(len(before))],
        ["measured after it", str(len(after) - len(before))],
        ["measured twice", str(twice)],
        ["passes of the interrupted one that were not run again", f"{kept:,}"],
        ["missing", str(len(lost))],
        ["other than without a kill", str(len(differing))],
    ]


def main() -> None:
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sample.py").write_text(FACTORY)
        train(folder)
        seconds = uninterrupted(folder)
        passes = sum(p.profile.forward_passes for p in History(folder / "whole.sqlite").points())
        size = (folder / "whole.sqlite").stat().st_size / 1e6
        page = (folder / "iaside-track.html").stat().st_size / 1e6
        head = ["checkpoints", "seconds", "passes", "history, MB", "page, MB"]
        row = [f"{seconds:.1f}", f"{passes:,}", f"{size:.2f}", f"{page:.2f}"]
        print_table(head, [[f"{CHECKPOINTS} × {IMAGES} images", *row]])
        what = (
            f"{CHECKPOINTS} checkpoints of the example's digit reader, {IMAGES} images, 8 bands, "
            f"{passes / 1e6:.1f} million passes"
        )
        value("track-60", f"{seconds:.0f}", "s", what)
        what = "iaside track, killed in the middle and started again"
        head = ["killed in the middle, and started again", ""]
        print_table(head, interrupted(folder), name="track-killed", what=what)


if __name__ == "__main__":
    with kept(__file__):
        main()
