"""``iaside accept``: baselines that a run of CI proposed, checked and put into the repository."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_iaside.cli import options as cli
from pytest_iaside.errors import BaselineError, SpectralRobustnessError, printable, shortened
from pytest_iaside.report.printing import tell

if TYPE_CHECKING:
    from pytest_iaside.measure.measurement import Measurement
    from pytest_iaside.store.proposals import Proposal

SHOWN = 5
"""Quantities that got worse and are named."""
LONGEST_LINE = 400
"""Characters of a line of the commit's message."""
SKIPPING = re.compile(r"\[(?=skip|no |ci|actions)", re.IGNORECASE)
CAREFUL = (
    # A folder of the repository may look like a repository of its own, whose settings run commands.
    *("-c", "safe.bareRepository=explicit", "-c", "core.fsmonitor=false"),
    "--literal-pathspecs",  # A folder may be called `*`.
)


def add(commands: cli.Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "accept",
        help="take over the baselines that a run of CI proposed",
        description="Checks the baselines that `pytest --iaside-propose=FOLDER` wrote elsewhere, "
        "and puts them into this repository: all of them, or none. Nothing of the repository is "
        "run.",
        allow_abbrev=False,
    )
    parser.add_argument("artifact", help="the folder, or the .zip file of a CI run's artifact")
    parser.add_argument(
        "--root", default=".", metavar="FOLDER", help="of the repository (default: this folder)"
    )
    parser.add_argument("--check", action="store_true", help="check only, and write nothing")
    parser.add_argument(
        "--changed-settings",
        action="store_true",
        help="also where the images or the settings are others than those of the old baseline",
    )
    parser.add_argument(
        "--fingerprint", metavar="HASH", help="refuse baselines of another model than this one"
    )
    parser.add_argument("--commit", action="store_true", help="commit them with git")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    from pytest_iaside.store import proposals

    root = Path(options.root).resolve()
    with tempfile.TemporaryDirectory(prefix="iaside-accept-") as drawer:
        folder = proposals.unpacked(Path(options.artifact), Path(drawer))
        found = proposals.proposals(folder)
        checked, refused = [], []
        for proposal in found:
            try:
                target = proposals.check(proposal, folder, root)
                new = _measured(proposal, folder, root, options)
                shown = told(proposal, target, new)
            except (SpectralRobustnessError, OSError) as error:
                # In one line that does not begin with what a proposal says: a CI may take such a
                # line for a command.
                refused.append(f"- {printable(proposal.path)}: {printable(error)}")
            else:
                checked.append((proposal, target, new, shown))
                tell(*map(printable, shown))
        if refused:
            raise BaselineError(
                "\n".join(["nothing was written, for this cannot be accepted:", *refused])
            )
        if options.check:
            tell(f"all {len(checked)} can be accepted; nothing was written (--check)")
            return cli.PASSED
        with proposals.all_or_none(target for _, target, *_ in checked):
            for proposal, target, new, _ in checked:
                # Written anew from its numbers: nothing else of the artifact gets in.
                new.save(target, test=asdict(proposal.owner))
    written = [path for _, path, *_ in checked for path in (path, path.with_suffix(".npz"))]
    if options.commit:
        _commit(root, written, [shown for *_, shown in checked])
        tell(f"committed: {len(checked)} baselines")
    else:
        names = shlex.join(str(path.relative_to(root)) for path in written)
        tell("written; look at them, and commit them:", f"    git add {names}")
    return cli.PASSED


def _measured(
    proposal: Proposal, folder: Path, root: Path, options: argparse.Namespace
) -> Measurement:
    """What is proposed; raises BaselineError where it is not of what it should be."""
    from pytest_iaside.compare.fit import all_differences, less_than
    from pytest_iaside.measure.measurement import Measurement

    new = Measurement.load(folder / proposal.path)
    found = new.model.fingerprint
    if found != proposal.fingerprint:
        raise BaselineError(
            f"its model is {found}, and the proposal says {proposal.fingerprint}; measure it anew"
        )
    if options.fingerprint is not None and found != options.fingerprint:
        raise BaselineError(
            f"it was measured on the model {found}, expected {options.fingerprint}; measure the "
            "model that is to be merged"
        )
    if not new.structured:
        raise BaselineError(f"it makes no baseline: {new.unstructured_because}")
    if proposal.replaces is None or options.changed_settings:
        return new
    try:
        old = Measurement.load(root / proposal.path)
    except BaselineError as error:
        raise BaselineError(
            f"there is nothing to compare it with ({error}). Where a new one is meant, add "
            "--changed-settings"
        ) from error
    if differences := [*all_differences(new, old), *less_than(new, old)]:
        raise BaselineError(
            f"it was measured otherwise than the old baseline: {'; '.join(differences)}. Where "
            "that is meant, add --changed-settings"
        )
    return new


def told(proposal: Proposal, target: Path, new: Measurement) -> list[str]:
    """What is proposed, in lines, of which the proposal may have written the ends."""
    from pytest_iaside.measure.measurement import Measurement
    from pytest_iaside.store.proposals import gone_beside

    lines = [f"{proposal.path}, of {proposal.owner}", f"  new: {new!r}"]
    if len(new) < new.reference.images:
        lines.append(f"  measured: {len(new)} of the {new.reference.images} images of its sample")
    if proposal.verdict:
        lines.append(f"  the gate, as the artifact says: {proposal.verdict}: {proposal.summary}")
    if proposal.replaces is not None:
        try:
            old = Measurement.load(target)
        except BaselineError as error:
            return [*lines, f"  the old one cannot be read, nothing was compared: {error}"]
        return [*lines, f"  old: {old!r}", *_compared(new, old)]
    lines.append("  there is no baseline yet, so it was compared with nothing")
    for path, owner in gone_beside(target):
        lines.append(f"  beside it: that of {owner}, a test that is gone; is this one the same?")
        with contextlib.suppress(SpectralRobustnessError):
            lines += _compared(new, Measurement.load(path))
    return lines


def _compared(new: Measurement, old: Measurement) -> list[str]:
    """What got worse, whatever a gate allows: which limits it has only its test knows."""
    from pytest_iaside.compare.compare import compare
    from pytest_iaside.compare.words import number, signed
    from pytest_iaside.measure.quantities import INFORMATION, TEMPERATURE
    from pytest_iaside.thresholds import Thresholds

    try:
        comparison = compare(new, old, Thresholds() if new.kind == "spectral" else {})
    except SpectralRobustnessError as error:
        return [f"  the two cannot be compared: {error}"]
    worse = [
        f"{each.name} {number(each.baseline)} → {number(each.candidate)} ({signed(each.change)})"
        for each in (*comparison.answers, *comparison.quantities)
        if each.moved
        and (each.change < 0) == (each.better == "higher")
        and each.name not in (TEMPERATURE, INFORMATION)  # Neither is good or bad by itself.
    ]
    shown = "; ".join(worse[:SHOWN]) or "nothing"
    more = f"; and {len(worse) - SHOWN} more" if len(worse) > SHOWN else ""
    return [
        f"  by the usual limits, not the gate's own: {comparison.verdict}: {comparison.summary()}",
        f"  worse, and not by chance: {shown}{more}",
    ]


def _commit(root: Path, paths: list[Path], accepted: list[list[str]]) -> None:
    # What a reviewer of the pull request sees, too. Each line is a short one that is indented or
    # begins with a dash: what a proposal says makes no trailer and no other paragraph.
    shown = [shortened(printable(line), LONGEST_LINE) for lines in accepted for line in lines]
    # GitHub and GitLab take [skip ci] for a wish that nothing checks the commit.
    shown = [SKIPPING.sub("[ ", line) for line in shown]
    tests = "\n".join(line if line.startswith(" ") else f"- {line}" for line in shown)
    message = f"Accept {len(accepted)} spectral baseline(s) that CI measured\n\n{tests}\n"
    names = [str(path.relative_to(root)) for path in paths]
    for arguments in (["add", "--", *names], ["commit", "-q", "-m", message, "--", *names]):
        try:
            done = subprocess.run(
                ["git", *CAREFUL, *arguments], cwd=root, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise BaselineError(
                f"the baselines are written, but git does not run ({error}); commit them yourself"
            ) from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise BaselineError(
                f"the baselines are written, but git {arguments[0]} failed: {said}; commit them "
                "yourself"
            )
