"""What the benchmarks share."""

import sys
from pathlib import Path

# The package scrapbook, whose models and pictures they measure, is not installed.
sys.path.insert(0, str(Path(__file__).parents[2] / "example_project"))
