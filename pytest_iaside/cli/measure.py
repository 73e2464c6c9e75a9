"""``iaside measure``: a model's profile on a reference sample, saved as a baseline is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_iaside.cli import options as cli
from pytest_iaside.compare.words import confidence
from pytest_iaside.errors import SettingsError
from pytest_iaside.report.printing import tell

if TYPE_CHECKING:
    from pytest_iaside.images.reference import ReferenceSample
    from pytest_iaside.measure.profile import SpectralProfile


def add(commands: cli.Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "measure", help="measure a model on a reference sample", allow_abbrev=False
    )
    parser.add_argument("model", help="package.module:factory, or an .onnx file")
    parser.add_argument(
        "--seeds",
        metavar="MODEL",
        nargs="+",
        default=[],
        help="further trainings of the same recipe: what they differ by is kept with the first",
    )
    cli.add_reference(parser)
    parser.add_argument(
        "--output", metavar="PATH", required=True, help="the .yaml file to write, .npz beside it"
    )
    cli.add_no_cache(parser)
    cli.add_settings(parser, cli.MEASURING)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    settings = cli.read_settings(options, cli.MEASURING)
    output = Path(options.output)
    if output.suffix != ".yaml":
        raise SettingsError(f"--output {output}: expected the path of a .yaml file")
    reference, how = cli.read_reference(options), {**settings.measure}
    how["cache"] = not options.no_cache
    models = cli.named([options.model, *options.seeds])
    _refuse_wrong_folders(models[0], reference, how)
    profile = cli.measured(models, reference, {"panel": "auto", **how})
    profile.save(output)
    tell(*_table(profile, settings.level))
    if profile.trainings:
        from pytest_iaside.compare.left_out import left_out, odd_one
        from pytest_iaside.thresholds import Thresholds

        tell(*filter(None, [odd_one(left_out(profile, Thresholds(), settings.level))]))
    tell(f"written: {output} and {output.with_suffix('.npz').name}")
    return cli.PASSED


def _refuse_wrong_folders(model: Any, reference: ReferenceSample, how: dict[str, Any]) -> None:
    """One pass of each image in folders, before the minutes that the bands take."""
    if not all("/" in name for name in reference.names):
        return
    from pytest_iaside.measure.panel import measure_answers
    from pytest_iaside.testing.folder_labels import refuse_wrong_folders

    told = {name: how[name] for name in ("samples", "seed", "execution") if name in how}
    refuse_wrong_folders(measure_answers(model, reference, "none", **told))


def _table(profile: SpectralProfile, level: float) -> list[str]:
    """What is read off a profile, band by band and as a whole, with intervals."""
    from pytest_iaside.report.columns import aligned
    from pytest_iaside.report.figures import interval_text
    from pytest_iaside.report.numbers import fixed, signed

    interval, shares = confidence(level), profile.interval("sid", level)
    rows = [
        ["band", f"ψ ({profile.model.unit})", "± se", "SID", interval],
        *(
            [
                f"{band}  {label}",
                signed(profile.psi[band]),
                fixed(profile.standard_error[band]),
                fixed(profile.sid[band]),
                interval_text(shares.low[band], shares.high[band]),
            ]
            for band, label in enumerate(profile.partition.labels)
        ),
    ]
    lines = [profile.model.name, "", *aligned(rows), ""]
    for title, value, found, show in (
        ("SRC", profile.src, profile.interval("src", level), fixed),
        ("signed SRC", profile.signed_src, profile.interval("signed_src", level), signed),
        (f"v(all), {profile.model.unit}", profile.value, profile.interval("value", level), fixed),
    ):
        between = interval_text(found.low, found.high, show)
        lines.append(f"{title:<13} {show(value)}  ({interval} {between})")
    why = profile.unstructured_because
    lines.append(f"{'structured':<13} {f'no: {why}' if why else 'yes'}")
    kept = profile.passes_from_cache
    passes = f"{profile.forward_passes - kept} forward passes"
    replayed = profile.passes_replayed
    known = f" ({kept} more from the cache, {replayed} of them replayed)" if kept else ""
    lines.append(f"{'measured':<13} {profile.size}, {passes}{known}")
    if profile.trainings:
        lines.append(f"{'trainings':<13} {len(profile.trainings)}: numbers are of their mean")
    return lines
