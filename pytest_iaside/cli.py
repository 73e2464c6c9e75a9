"""The command ``iaside``: measure and compare outside pytest, on the same functions."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_iaside.errors import SettingsError, SpectralRobustnessError
from pytest_iaside.gate.verdict import confidence
from pytest_iaside.session import on_ci
from pytest_iaside.settings import MEASURE, SETTINGS, THRESHOLDS, Layer, Settings, dashes, read_text

if TYPE_CHECKING:
    from pytest_iaside.gate.verdict import Comparison
    from pytest_iaside.measure import Progress
    from pytest_iaside.profile import SpectralProfile

PASSED, DRIFTED, UNUSABLE = 0, 1, 2
MEASURING = (*(name for name in MEASURE if name != "cache"), "level")
COMPARING = (*THRESHOLDS, "level", "fail_on")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``iaside`` with ``argv``; the exit status: 0 passed, 1 drifted, 2 could not be done."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as ended:  # argparse's own way to print help or what is wrong
        return ended.code if isinstance(ended.code, int) else UNUSABLE
    # As `python -m` does: the user's package lies where the command is run.
    sys.path.insert(0, "")
    try:
        return int(options.run(options, shlex.join(["iaside", *arguments])))
    except (SpectralRobustnessError, OSError) as error:
        print(f"iaside: {error}", file=sys.stderr)
        return UNUSABLE
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove("")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iaside", description="Spectral robustness of image classifiers."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    measuring = commands.add_parser(
        "measure", help="measure a model on a reference sample", allow_abbrev=False
    )
    measuring.add_argument("model", help="package.module:factory, or an .onnx file")
    measuring.add_argument(
        "reference", help="a folder of images, or package.module:factory of a ReferenceSample"
    )
    measuring.add_argument(
        "--output", metavar="PATH", required=True, help="the .yaml file to write, .npz beside it"
    )
    measuring.add_argument(
        "--labels", help="labels of the folder: folder (default), none, or a CSV file"
    )
    measuring.add_argument("--limit", type=int, help="take only so many images of the folder")
    measuring.add_argument(
        "--limit-seed", type=int, help="draw those images at random instead of taking the first"
    )
    measuring.add_argument(
        "--no-cache",
        action="store_true",
        help="measure everything anew, and keep nothing for the next run",
    )
    _add_settings(measuring, MEASURING)
    measuring.set_defaults(run=_measure)

    comparing = commands.add_parser(
        "compare", help="compare two saved profiles", allow_abbrev=False
    )
    comparing.add_argument("candidate", help="the profile under test, a .yaml file")
    comparing.add_argument("baseline", help="the profile it is held against")
    comparing.add_argument(
        "--unpaired",
        action="store_true",
        help="compare profiles of different images, with the wider intervals that takes",
    )
    comparing.add_argument("--json", metavar="PATH", help="write the comparison as JSON")
    comparing.add_argument("--html", metavar="PATH", help="write the HTML report")
    _add_settings(comparing, COMPARING)
    comparing.set_defaults(run=_compare)

    keeping = commands.add_parser(
        "cache", help="list what earlier measurements found, or forget it", allow_abbrev=False
    )
    keeping.add_argument("action", choices=("list", "clear"), nargs="?", default="list")
    keeping.set_defaults(run=_cache)
    return parser


def _add_settings(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    group = parser.add_argument_group("settings")
    for name in names:
        group.add_argument(f"--{dashes(name)}", metavar="VALUE", help=SETTINGS[name][1])


def _settings(options: argparse.Namespace, names: Sequence[str]) -> Settings:
    given = {name: getattr(options, name) for name in names}
    values = {
        name: read_text(name, text, f"--{dashes(name)}")
        for name, text in given.items()
        if text is not None
    }
    return Settings.of([Layer("command line", values)])


def _measure(options: argparse.Namespace, command: str) -> int:
    settings = _settings(options, MEASURING)
    output = Path(options.output)
    if output.suffix != ".yaml":
        raise SettingsError(f"--output {output}: expected the path of a .yaml file")
    from pytest_iaside.measure import measure
    from pytest_iaside.named import named_model, named_reference

    reference = named_reference(
        options.reference,
        Path(),
        labels=options.labels,
        limit=options.limit,
        seed=options.limit_seed,
    )
    model = named_model(options.model, Path())
    with _progress(options.model) as progress:
        profile = measure(
            model,
            reference,
            **settings.measure,
            progress=progress,
            cache=not options.no_cache,
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
    known = f" ({kept} more from the cache)" if kept else ""
    lines.append(f"{'measured':<13} {len(profile)} images, {passes}{known}")
    return lines


def _compare(options: argparse.Namespace, command: str) -> int:
    settings = _settings(options, COMPARING)
    from pytest_iaside.gate.compare import compare
    from pytest_iaside.profile import SpectralProfile

    comparison = compare(
        SpectralProfile.load(options.candidate),
        SpectralProfile.load(options.baseline),
        settings.thresholds,
        level=settings.level,
        paired=not options.unpaired,
    )
    failed = comparison.fails(settings.fail_on)
    record = {
        "test": options.candidate,
        "name": None,
        "baseline": options.baseline,
        "status": "compared",
        "failed": failed,
        "verdict": comparison.verdict,
        "summary": comparison.summary(),
        "accept": "",
        "reproduce": command,
        "fail_on": settings.fail_on,
        "comparison": comparison.as_dict(),
        "profile": None,
        "pictures": None,
        "spectrum": None,
        "seconds": comparison.candidate.seconds,
    }
    print("\n".join(_lines(comparison, record)))
    meta = {
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": metadata.version("pytest-iaside"),
    }
    if options.json:
        from pytest_iaside.report.summary import json_document

        text = json.dumps(json_document([record], meta=meta), indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.html:
        from pytest_iaside.report.html import write_html

        write_html([record], options.html, meta=meta)
    return DRIFTED if failed else PASSED


def _lines(comparison: Comparison, record: dict[str, Any]) -> list[str]:
    lines = [f"{comparison.verdict}: {record['summary']}"]
    for check in record["comparison"]["checks"]:
        sentence = check["sentence"] or "both profiles can be told from noise"
        lines.append(f"  {check['name']:<10}  {check['verdict']:<12}  {sentence}")
    lines += [f"  note: {note}" for note in comparison.notes]
    return lines


def _cache(options: argparse.Namespace, command: str) -> int:
    from pytest_iaside.execute.cache import LIMIT_VARIABLE, ResultCache

    cache = ResultCache()
    if options.action == "clear":
        images = sum(game.images for game in cache.contents())
        cache.clear()
        print(f"forgotten: what was found for {images} images ({cache.path})")
        return PASSED
    games = cache.contents()
    if cache.broken:
        raise SettingsError(
            f"{cache.path} cannot be used ({cache.broken}); make its folder writable, or name "
            "another one in the environment variable IASIDE_CACHE_DIR"
        )
    for game in games:
        used = datetime.fromtimestamp(game.used).strftime("%Y-%m-%d %H:%M")
        print(f"{used}  {game.size / 1e6:7.2f} MB  {game.images:5} images  {game.title}")
    total = sum(game.size for game in games) / 1e6
    print(f"{cache.path}: {total:.2f} MB of at most {cache.limit / 1e6:g} MB ({LIMIT_VARIABLE})")
    return PASSED


@contextlib.contextmanager
def _progress(name: str) -> Iterator[Callable[[Progress], None] | None]:
    if not sys.stderr.isatty() or on_ci():
        yield None
        return
    import shutil

    from pytest_iaside.report.progress import ProgressLine

    def write(text: str) -> None:
        print(text, end="", file=sys.stderr, flush=True)

    line = ProgressLine(write, name, shutil.get_terminal_size().columns)
    try:
        yield line
    finally:
        line.close()
