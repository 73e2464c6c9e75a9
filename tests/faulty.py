"""Runs tests/soak/faults.py with its faults in place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SOAK = Path(__file__).parent / "soak"
WHY_NOT = "faults are put between this process and libc by a file in C: Linux, and a compiler"
POSSIBLE = sys.platform == "linux" and shutil.which("cc") is not None


def faults_library(folder: Path) -> Path:
    """faults.c, compiled into ``folder``."""
    found = folder / "faults.so"
    command = ["cc", "-shared", "-fPIC", "-o", str(found), str(SOAK / "faults.c"), "-ldl"]
    subprocess.run(command, check=True)
    return found


def injected(script: str, *arguments: str, seconds: float) -> dict[str, Any]:
    """What ``script`` of tests/soak/ found, in a folder of its own."""
    # In memory where there is such a place: thousands of files are synchronised.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, tempfile.TemporaryDirectory() as own:
        environment = {**os.environ, "LD_PRELOAD": str(faults_library(Path(own)))}
        ended = subprocess.run(
            [sys.executable, str(SOAK / script), folder, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout)
    return found
