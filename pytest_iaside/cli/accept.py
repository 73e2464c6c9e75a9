"""``iaside accept``: baselines that a run of CI proposed, checked and put into the repository."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_iaside.cli import options as cli
from pytest_iaside.errors import BaselineError, SpectralRobustnessError
from pytest_iaside.report.printing import tell

if TYPE_CHECKING:
    from pytest_iaside.measure.measurement import Measurement
    from pytest_iaside.store.proposals import Proposal


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
                new = _measured(proposal, folder, options)
            except SpectralRobustnessError as error:
                refused.append(f"{proposal.path}: {error}")
            else:
                checked.append((proposal, target, new))
                for line in _told(proposal, target, new):
                    tell(line)
        if refused:
            raise BaselineError(
                # No line begins with what a proposal says: a CI may take that for a command.
                "nothing was written, for this cannot be accepted:"
                + "".join(f"\n- {each}" for each in refused)
            )
        if options.check:
            tell(f"all {len(checked)} can be accepted; nothing was written (--check)")
            return cli.PASSED
        for proposal, target, new in checked:
            # Written anew from its numbers: nothing else of the artifact gets into the repository.
            new.save(target, test=asdict(proposal.owner))
    written = [path for _, path, _ in checked for path in (path, path.with_suffix(".npz"))]
    if options.commit:
        _commit(root, written, [proposal for proposal, _, _ in checked])
        tell(f"committed: {len(checked)} baselines")
    else:
        tell("written; look at them, and commit them:")
        tell(f"    git add {' '.join(str(path.relative_to(root)) for path in written)}")
    return cli.PASSED


def _measured(proposal: Proposal, folder: Path, options: argparse.Namespace) -> Measurement:
    """What is proposed; raises BaselineError where it is not of what it should be."""
    from pytest_iaside.compare.fit import differences_of
    from pytest_iaside.measure.measurement import Measurement
    from pytest_iaside.measure.trainings import trainings_of

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
    old = Measurement.load(Path(options.root).resolve() / proposal.path)
    labels = None if new.labels_predicted else new.labels
    differences = differences_of(
        new.kind, new.settings, new.reference, new.digests, old, labels=labels
    )
    held, holds = (len(trainings_of(each)) for each in (old, new))
    if holds < held:
        differences.append(
            f"trainings: it holds {holds}, the old one {held}; what those differ by would be lost"
        )
    if differences:
        raise BaselineError(
            f"it was measured otherwise than the old baseline: {'; '.join(differences)}. Where "
            "that is meant, add --changed-settings"
        )
    return new


def _told(proposal: Proposal, target: Path, new: Measurement) -> list[str]:
    """What is proposed, in lines."""
    lines = [f"{proposal.path}, of {proposal.owner}", f"  new: {new!r}"]
    if proposal.replaces is not None:
        from pytest_iaside.compare.compare import compare
        from pytest_iaside.measure.measurement import Measurement

        old = Measurement.load(target)
        lines.append(f"  old: {old!r}")
        try:
            comparison = compare(new, old)
        except SpectralRobustnessError as error:
            lines.append(f"  the two cannot be compared: {error}")
        else:
            lines.append(f"  {comparison.verdict}: {comparison.summary()}")
    else:
        lines.append("  there is no baseline yet")
    return lines


def _commit(root: Path, paths: list[Path], accepted: list[Proposal]) -> None:
    tests = "".join(f"\n- {proposal.owner}" for proposal in accepted)
    message = f"Accept {len(accepted)} spectral baseline(s) that CI measured\n{tests}\n"
    names = [str(path.relative_to(root)) for path in paths]
    for arguments in (["add", "--", *names], ["commit", "-q", "-m", message, "--", *names]):
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
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
