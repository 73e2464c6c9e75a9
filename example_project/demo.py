"""Runs the gate on the good models, then on worse ones: python demo.py [options of pytest]

Exits with 0 exactly when every model in tests/ passed its gate and every one in candidates/
was stopped by it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPORTS = HERE / "iaside-report"


def main(options: list[str]) -> int:
    """Run both gates, with ``options`` for pytest, and say what came of it."""
    report = REPORTS / "index.html"
    report.unlink(missing_ok=True)  # An old one must not be taken for a new one.
    say("1 of 2: the models as they are. This gate must be green.")
    green_status, good = run("tests", options)
    say("2 of 2: models that are worse. This gate must be red: pytest reports failures.")
    red_status, worse = run("candidates", options)

    # As many worse models as good ones: a test that broke before its gate shows here.
    green = green_status == 0 and good.count("pass") == len(good) > 0
    red = red_status == 1 and worse.count("drift") == len(worse) == len(good)
    say("what came of it")
    print(f"models as they are: {', '.join(good) or 'none'}: {'green' if green else 'NOT GREEN'}")
    print(f"worse models:       {', '.join(worse) or 'none'}: {'red' if red else 'NOT RED'}")
    if report.exists():
        print(f"report, for any browser: {report}")
    return 0 if green and red and report.exists() else 1


def run(folder: str, options: list[str]) -> tuple[int, list[str]]:
    """Pytest's exit status for the tests in ``folder``, and the verdict of every gate there."""
    results = REPORTS / f"{folder}.json"
    results.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", folder, f"--iaside-json={results}", *options]
    status = subprocess.run(command, cwd=HERE, check=False).returncode
    if not results.exists():
        return status, []
    gates: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))["gates"]
    return status, [gate["verdict"] or gate["status"] for gate in gates]


def say(text: str) -> None:
    print(f"\n==> {text}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
