"""``iaside rank``: which of several models does best where they are to work."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_iaside.cli import options as cli
from pytest_iaside.errors import SettingsError
from pytest_iaside.report.printing import tell

if TYPE_CHECKING:
    from pytest_iaside.models.classifier import Classifier

SETTINGS = (
    *("bands", "partition", "samples", "seed", "device", "backend", "batch_size", "executor"),
    "level",
)
SCORES = ("accuracy", "log-likelihood", "probability")


def add(commands: cli.Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "rank", help="rank models for an environment, by its spectrum alone", allow_abbrev=False
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="package.module:factory, or an .onnx file"
    )
    cli.add_reference(parser)
    parser.add_argument(
        "--environment",
        required=True,
        action="append",
        metavar="WHAT",
        help="corruption:severity, several with commas (fog:3,jpeg_compression:2), or a folder "
        "that holds the folders clean and degraded, with photographs of the same names",
    )
    parser.add_argument(
        "--measure", action="store_true", help="measure what the environment does as well"
    )
    parser.add_argument(
        "--score",
        choices=SCORES,
        default=SCORES[0],
        help=f"what models are ranked by ({SCORES[0]})",
    )
    parser.add_argument(
        "--order",
        choices=("left", "lost"),
        default="left",
        help="rank by what is left of the score, or by what is lost (left): a model that is seldom "
        "right has little to lose",
    )
    parser.add_argument("--json", metavar="PATH", help="write the ranking as JSON")
    parser.add_argument("--html", metavar="PATH", help="write the ranking as a page")
    cli.add_settings(parser, SETTINGS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, command: str) -> int:
    settings = cli.read_settings(options, SETTINGS)
    from pytest_iaside.images.selection import first_images
    from pytest_iaside.study import ranking_page
    from pytest_iaside.study.environments import environments
    from pytest_iaside.study.ranking import ranking

    text, *others = options.environment
    if others:
        # Taking the last one alone would rank for another environment than was asked for.
        raise SettingsError(
            f"--environment is given {1 + len(others)} times; give it once: several corruptions "
            "with commas (fog:3,jpeg_compression:2), or one folder"
        )
    measure = settings.measure
    reference = first_images(cli.read_reference(options), measure.get("samples"))
    seed = int(measure.get("seed", 0))
    parted = {name: measure[name] for name in ("bands", "partition") if name in measure}
    places = environments(text, reference, seed=seed, **parted)
    models, recipes = _models(options.models)
    found = ranking(
        models,
        reference,
        places,
        score=options.score,
        order=options.order,
        measured=options.measure,
        recipes=recipes,
        seed=seed,
        level=settings.level,
        execution=settings.execution,
    )
    tell(*ranking_page.lines(found))
    meta = cli.written_by(command)
    if options.json:
        from pytest_iaside.report.writing import write_text

        document = {"format": "iaside-ranking/1", "meta": meta, **found.as_dict()}
        # JSON knows neither NaN nor infinity: both become null.
        plain = json.loads(json.dumps(document), parse_constant=lambda _: None)
        text = json.dumps(plain, indent=1, allow_nan=False)
        write_text(text + "\n", options.json, "choose another path with --json")
    if options.html:
        from pytest_iaside.report.pages import write_page

        write_page(ranking_page.page(found), options.html, meta=meta)
    return cli.PASSED


def _models(names: Sequence[str]) -> tuple[dict[str, Classifier], dict[str, str]]:
    """The models of each of ``names``, and the recipe of each; trainings of one are numbered."""
    from pytest_iaside.testing.factories import named_models

    found: dict[str, Classifier] = {}
    recipes: dict[str, str] = {}
    for name in names:
        if name in found or f"{name} 1" in found:
            raise SettingsError(f"the model {name} is named twice; name it once")
        made = named_models(name, Path())
        short = Path(name).stem if name.endswith(".onnx") else name
        for number, model in enumerate(made, start=1):
            own = short if len(made) == 1 else f"{short} {number}"
            found[own], recipes[own] = model, short
    return found, recipes
