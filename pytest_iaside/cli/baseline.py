"""``iaside baseline``: what is done to a baseline besides making it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_iaside.cli import options as cli
from pytest_iaside.errors import BaselineError
from pytest_iaside.report.printing import tell

if TYPE_CHECKING:
    from pytest_iaside.measure.profile import SpectralProfile


def add(commands: cli.Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("baseline", help="add a training to a baseline")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    adding = actions.add_parser(
        "add",
        help="measure a further training of the same recipe as the baseline was",
        allow_abbrev=False,
    )
    adding.add_argument("baseline", help="the baseline's .yaml file")
    adding.add_argument("model", nargs="+", help="package.module:factory, or an .onnx file")
    cli.add_reference(adding, flag=True)
    adding.add_argument(
        "--accept-drift",
        action="store_true",
        help="also where its answers are worse than the baseline's by more than limits allow",
    )
    cli.add_no_cache(adding)
    adding.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    from pytest_iaside.compare.compare import compare
    from pytest_iaside.measure.measurement import Measurement
    from pytest_iaside.measure.profile import SpectralProfile
    from pytest_iaside.measure.trainings import mean_of, trainings_of
    from pytest_iaside.store.archive import read_document
    from pytest_iaside.testing.spectral import storable
    from pytest_iaside.testing.trainings import worse_training

    path = Path(options.baseline)
    old = Measurement.load(path)
    if not isinstance(old, SpectralProfile):
        raise BaselineError(
            f"{path} is a baseline of {old.kind}, whose settings are in its test; add a training "
            "there: pytest TEST --iaside-update=add"
        )
    new = cli.measured(
        cli.named(options.model),
        cli.read_reference(options),
        {**_as_measured(old), "cache": not options.no_cache},
    )
    comparison = compare(new, old)
    tell(f"against the baseline: {comparison.verdict}: {comparison.summary()}")
    worst = worse_training(comparison, compare)
    if worst is not None and not options.accept_drift:
        if worst is not comparison:
            tell(f"{worst.notes[0]}: {worst.verdict}: {worst.summary()}")
        raise BaselineError(
            "its answers are worse than the baseline's, so nothing was written: what trainings "
            "differ by is what a gate lets pass. If it is another training of the same recipe "
            "all the same, add --accept-drift"
        )
    together = mean_of([*trainings_of(old), *trainings_of(storable(new))])
    test = read_document(path).get("test")
    together.save(path, **({} if test is None else {"test": test}))
    tell(f"written: {path} holds {len(together.trainings)} trainings now")
    return cli.PASSED


def _as_measured(old: SpectralProfile) -> dict[str, Any]:
    """The keywords of ``measure`` that ``old`` was measured with."""
    panel: list[tuple[str, int]] = []
    if old.answers is not None:
        pairs = (each.rpartition(" ") for each in old.answers.settings["panel"])
        panel = [(name, int(severity)) for name, _, severity in pairs]
    from pytest_iaside.execute.execution import Execution

    rules = old.rules.as_dict()
    execution = Execution(dtype=rules.pop("dtype"))
    return {**rules, "panel": panel, "samples": len(old), "execution": execution}
