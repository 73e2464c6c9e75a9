"""What the plugin costs a session that never touches it: with it and without, in turn.

python benchmarks/startup.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common.saved import kept, value

COMMANDS = {"pytest --help": ["--help"], "one empty test": ["-q", "-p", "no:cacheprovider"]}


def seconds(arguments: list[str], folder: Path) -> float:
    # Compiled once, as what is installed is, wherever bytecode may not be written.
    compiled = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    compiled["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    command = [sys.executable, "-m", "pytest", *arguments]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=compiled, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
        print(f"median of {rounds} runs in turn, after one that is not counted\n")
        print("| session | with the plugin | -p no:iaside | difference, pair by pair |")
        print("|---|---|---|---|")
        for title, arguments in COMMANDS.items():
            without = [*arguments, "-p", "no:iaside"]
            seconds(arguments, folder), seconds(without, folder)
            pairs = [(seconds(arguments, folder), seconds(without, folder)) for _ in range(rounds)]
            ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
            difference = statistics.median(a - b for a, b in pairs)
            if title == "one empty test":
                what = f"what the plugin adds to a session that does not use it, median of {rounds}"
                value("startup-ms", f"{1000 * difference:.0f}", "ms", what)
            print(
                f"| {title} | {1000 * ours:.0f} ms | {1000 * theirs:.0f} ms "
                f"| {1000 * difference:+.0f} ms |"
            )


if __name__ == "__main__":
    with kept(__file__):
        main()
