"""What takes long is collected only where it is asked for: ``make soak``."""

from __future__ import annotations

import os

if "SOAK" not in os.environ:
    collect_ignore_glob = ["test_*.py"]
