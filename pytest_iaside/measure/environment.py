"""What a measurement ran on: shown beside its numbers, never a reason to refuse them."""

from __future__ import annotations

import platform
from importlib import metadata

import numpy as np
import torch


def environment() -> dict[str, str]:
    """Versions and platform, in plain text."""
    return {
        "pytest-iaside": metadata.version("pytest-iaside"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
    }
