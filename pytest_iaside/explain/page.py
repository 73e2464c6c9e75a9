"""The page of ``iaside explain``: everything that the diagnoses say of one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from pytest_iaside.explain.records import diagnosis_facts, image_pixels, map_pictures
from pytest_iaside.explain.section import level_table
from pytest_iaside.report.charts.heat import encoded, enlarged, heat, png
from pytest_iaside.report.figures import Figure
from pytest_iaside.report.numbers import count, fixed, share
from pytest_iaside.report.pages import Page
from pytest_iaside.report.tables import Table, plain_row

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_iaside.explain.explanation import Explanation
    from pytest_iaside.explain.fam import FourierAttribution
    from pytest_iaside.explain.integrated import IntegratedGradients
    from pytest_iaside.explain.reconstruction import Reconstruction
    from pytest_iaside.images.reference import ReferenceSample

AS_THEY_ARE = ("image", "sufficient")  # not drawn in the colours of maps
SMALLEST = 224  # pixels of the longer side of a picture on the page
ABOUT = {
    "image": ("The image", "As the model sees it, before normalisation."),
    "wcam": (
        "WCAM",
        "Total Sobol index of each cell of wavelet coefficients, the coarsest top left, on a "
        "logarithmic scale (arXiv 2305.14979). Single cells are about 40% uncertain.",
    ),
    "spatial": ("WCAM in place", "The same cells laid over the image and added."),
    "sufficient": (
        "Sufficient image",
        "What is left when only as many cells are kept, the most important first, as the "
        "prediction needs.",
    ),
    "fam": (
        "FAM",
        "Total Sobol index of each ring of the Fourier plane, the mean in its middle.",
    ),
    "sl2": (
        "SpectralLens",
        "Mean over scales of noise of the squared gradient of the class's log-likelihood "
        "(arXiv 2508.10595); drawn as its square root.",
    ),
    "arglens": (
        "ArgLens",
        "The scale of noise at which each pixel's squared gradient is largest: light where the "
        "model is smooth.",
    ),
    "sg2": ("Squared gradients", "At the optimal scale of noise; drawn as their square root."),
    "ig2": ("Integrated squared gradients", "From black to the image; drawn as their square root."),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Explained:
    """What was found of one image; gradients are None where the model has none."""

    sample: ReferenceSample
    explanation: Explanation
    fourier: FourierAttribution
    reconstruction: Reconstruction
    integrated: IntegratedGradients | None
    scores: Mapping[str, tuple[float, float]]
    """Insertion and deletion of the label's probability, by map."""


def pictures(found: Explained) -> dict[str, NDArray[np.uint8]]:
    """Every picture (H, W, 3) by its name, large enough to be looked at."""
    drawn = {"image": image_pixels(found.sample, 0)}
    drawn |= map_pictures(found.explanation, 0)
    drawn["sufficient"] = _bytes(found.reconstruction.images[0])
    drawn["fam"] = heat(found.fourier.map[0])
    if found.explanation.lens is not None:
        drawn["sg2"] = heat(np.sqrt(found.explanation.lens.sg2_at_optimum[0]))
    if found.integrated is not None:
        drawn["ig2"] = heat(np.sqrt(found.integrated.ig2[0]))
    return {name: enlarged(drawn[name], SMALLEST) for name in ABOUT if name in drawn}


def page(found: Explained, drawn: Mapping[str, NDArray[np.uint8]], level: float) -> Page:
    """Everything on one page; ``drawn`` as ``pictures`` makes them."""
    explanation = found.explanation
    (facts,) = diagnosis_facts(explanation, None, level)["images"]
    figures = [_picture(name, pixels) for name, pixels in drawn.items()]
    figures.append(_levels(explanation, facts, level))
    figures.append(_rings(found.fourier))
    if found.scores:
        figures.append(_faithfulness(found.scores))
    warnings = [explanation.no_lens_because] if explanation.no_lens_because else []
    return Page(
        title="explanation",
        headline=facts["sentence"].replace("The candidate", explanation.model),
        about=(
            f"{explanation.names[0]}: class {facts['class']}, to which {explanation.model} gives "
            f"{share(facts['candidate_probability'])}."
        ),
        warnings=warnings,
        figures=figures,
        facts=_facts(found),
    )


def _picture(name: str, pixels: NDArray[np.uint8]) -> Figure:
    title, about = ABOUT[name]
    chart = Markup('<img class="map" alt="{}" src="data:image/png;base64,{}">').format(
        escape(title), encoded(png(pixels, palette=name not in AS_THEY_ARE))
    )
    return Figure(title, about, chart, None, marks="")


def _levels(explanation: Explanation, facts: Mapping[str, Any], level: float) -> Figure:
    errors = explanation.wavelet.level_errors[0]
    table = level_table(facts, level)
    rows = [
        [*row, *plain_row(f"± {share(error)}")]
        for row, error in zip(table.rows, errors, strict=True)
    ]
    head = ("level", "share", "standard error")
    about = "How much of the answer comes from each wavelet level, the coarsest first."
    return Figure("Level shares", about, Markup(""), Table(head, rows), marks="")


def _rings(fourier: FourierAttribution) -> Figure:
    rows = [
        plain_row(str(ring), share(value), f"± {share(error)}")
        for ring, (value, error) in enumerate(
            zip(fourier.shares[0], fourier.share_errors[0], strict=True)
        )
    ]
    about = "How much of the answer comes from each ring of the spectrum, from the mean outwards."
    table = Table(("ring", "share", "standard error"), rows)
    return Figure("Rings of the spectrum", about, Markup(""), table, marks="")


def _faithfulness(scores: Mapping[str, tuple[float, float]]) -> Figure:
    rows = [plain_row(name, fixed(high), fixed(low)) for name, (high, low) in scores.items()]
    about = (
        "The area under the class's probability while pixels are shown (insertion, high is good) "
        "or blurred (deletion, low is good), the most important of each map first."
    )
    table = Table(("map", "insertion", "deletion"), rows)
    return Figure("Faithfulness", about, Markup(""), table, marks="")


def _facts(found: Explained) -> Table:
    explanation, wavelet, lens = (
        found.explanation,
        found.explanation.wavelet,
        found.explanation.lens,
    )
    rows = [
        plain_row("model", explanation.model),
        plain_row("image", explanation.names[0]),
        plain_row("wavelet", f"{wavelet.wavelet}, {wavelet.depth} levels"),
        plain_row("grid", f"{wavelet.grid}×{wavelet.grid} cells, {wavelet.rules.designs} designs"),
        plain_row("seed", str(wavelet.rules.seed)),
        plain_row(
            "reconstruction depth",
            f"{found.reconstruction.depth[0]} of {wavelet.grid**2} cells",
        ),
        plain_row("passes of the WCAM", count(wavelet.forward_passes)),
        plain_row("passes of the FAM", count(found.fourier.forward_passes)),
    ]
    if lens is not None:
        at_end = ", at the end of the range" if lens.optimum_at_end[0] else ""
        rows += [
            plain_row("gradients", count(lens.gradients)),
            plain_row("noise at scale 1", f"{lens.noise:g} standardised pixels"),
            plain_row("optimal scale", f"{lens.optimal_scale[0]:g}{at_end}"),
            plain_row("mean ArgLens", fixed(lens.arglens[0].mean())),
            plain_row("inconsistency over scales", fixed(lens.inconsistency[0])),
        ]
    return Table(("", "value"), rows)


def _bytes(image: Tensor) -> NDArray[np.uint8]:
    pixels = image.numpy().transpose(1, 2, 0).clip(0, 1)
    pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)
    return np.asarray((pixels * 255).round().astype(np.uint8))
