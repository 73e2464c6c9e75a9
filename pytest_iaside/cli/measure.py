"""``iaside measure``: a model's profile on a reference sample, saved as a baseline is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_iaside.cli.options import (
    MEASURING,
    PASSED,
    Commands,
    add_no_cache,
    add_reference,
    add_settings,
    read_reference,
    read_settings,
    terminal_progress,
)
from pytest_iaside.compare.words import confidence
from pytest_iaside.errors import SettingsError

if TYPE_CHECKING:
    from pytest_iaside.measure.profile import SpectralProfile


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "measure", help="measure a model on a reference sample", allow_abbrev=False
    )
    parser.add_argument("model", help="package.module:factory, or an .onnx file")
    add_reference(parser)
    parser.add_argument(
        "--output", metavar="PATH", required=True, help="the .yaml file to write, .npz beside it"
    )
    add_no_cache(parser)
    add_settings(parser, MEASURING)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    settings = read_settings(options, MEASURING)
    output = Path(options.output)
    if output.suffix != ".yaml":
        raise SettingsError(f"--output {output}: expected the path of a .yaml file")
    from pytest_iaside.measure.spectral import measure
    from pytest_iaside.testing.factories import named_model

    reference = read_reference(options)
    model = named_model(options.model, Path())
    with terminal_progress(options.model) as progress:
        profile = measure(
            model, reference, **settings.measure, progress=progress, cache=not options.no_cache
        )
    profile.save(output)
    print("\n".join(_table(profile, settings.level)))
    print(f"written: {output} and {output.with_suffix('.npz').name}")
    return PASSED


def _table(profile: SpectralProfile, level: float) -> list[str]:
    """What is read off a profile, band by band and as a whole, with intervals."""
    from pytest_iaside.report.numbers import fixed, signed

    def between(low: float, high: float, show: Callable[[Any], str]) -> str:
        return f"{show(low)}…{show(high)}"

    shares = profile.interval("sid", level)
    rows = [("band", "ψ (nats)", "± se", "SID", confidence(level))]
    for band, label in enumerate(profile.partition.labels):
        rows.append(
            (
                f"{band}  {label}",
                signed(profile.psi[band]),
                fixed(profile.standard_error[band]),
                fixed(profile.sid[band]),
                between(shares.low[band], shares.high[band], fixed),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [profile.model.name, ""]
    for first, *rest in rows:
        cells = [cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    lines.append("")
    for title, value, found, show in (
        ("SRC", profile.src, profile.interval("src", level), fixed),
        ("signed SRC", profile.signed_src, profile.interval("signed_src", level), signed),
        ("v(all), nats", profile.value, profile.interval("value", level), fixed),
    ):
        interval = between(float(found.low), float(found.high), show)
        lines.append(f"{title:<13} {show(value)}  ({confidence(level)} {interval})")
    why = profile.unstructured_because
    lines.append(f"{'structured':<13} {f'no: {why}' if why else 'yes'}")
    kept = profile.passes_from_cache
    passes = f"{profile.forward_passes - kept} forward passes"
    replayed = profile.passes_replayed
    known = f" ({kept} more from the cache, {replayed} of them replayed)" if kept else ""
    lines.append(f"{'measured':<13} {len(profile)} images, {passes}{known}")
    return lines
