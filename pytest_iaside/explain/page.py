"""The page of ``iaside explain``: everything that the explanations say of one image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pytest_iaside.compare.words import confidence, percent
from pytest_iaside.explain.drilldown import explanation_record, image_of, map_pictures
from pytest_iaside.explain.explanation import Explanation
from pytest_iaside.explain.fam import FourierAttribution
from pytest_iaside.explain.gradients import IntegratedGradients
from pytest_iaside.explain.measurements import level_title
from pytest_iaside.explain.perturbed import PerturbedExplanation
from pytest_iaside.explain.wcam import Reconstruction
from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.report.charts.heat import MAP_COLOURS, encoded, enlarged, heat
from pytest_iaside.report.figures import Figure, Table
from pytest_iaside.report.numbers import count, fixed, share
from pytest_iaside.report.pages import Page
from pytest_iaside.stats.arrays import Floats

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
        "The image of as few cells as the prediction needs, the most important first.",
    ),
    "fam": ("FAM", "Total Sobol index of each ring of the Fourier plane, the mean in its middle."),
    "sl2": (
        "SpectralLens",
        "Mean over scales of noise of the squared gradient of the class's log-likelihood "
        "(arXiv 2508.10595); drawn as its square root.",
    ),
    "perturbed_image": ("The image, perturbed", "As the model sees it, before normalisation."),
    "perturbed_spatial": ("WCAM in place, perturbed", "Of the same class as the clean image's."),
    "perturbed_sl2": ("SpectralLens, perturbed", "Drawn as its square root."),
    "arglens": (
        "ArgLens",
        "The scale of noise at which each pixel's squared gradient is largest: light where the "
        "model is smooth.",
    ),
    "sg2": ("Squared gradients", "At the optimal scale of noise; drawn as their square root."),
    "ig2": (
        "Integrated squared gradients",
        "From the mean colour to the image; drawn as their square root.",
    ),
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
    perturbed: PerturbedExplanation | None = None


def pictures(found: Explained) -> dict[str, NDArray[np.uint8]]:
    """Every picture by its name, large enough to be looked at."""
    drawn = map_pictures(found.explanation, 0)
    drawn["image"] = image_of(found.sample.pixels(0, 1)[0])
    drawn["sufficient"] = image_of(found.reconstruction.images[0])
    drawn["fam"] = heat(found.fourier.map[0])
    if found.explanation.lens is not None:
        drawn["sg2"] = heat(np.sqrt(found.explanation.lens.sg2_at_optimum[0]))
    if found.integrated is not None:
        drawn["ig2"] = heat(np.sqrt(found.integrated.ig2[0]))
    if (other := found.perturbed) is not None:
        drawn["perturbed_image"] = image_of(other.changed.pixels(0, 1)[0])
        drawn["perturbed_spatial"] = heat(other.perturbed[0].spatial[0])
        if other.lenses is not None:
            drawn["perturbed_sl2"] = heat(np.sqrt(other.lenses[1].sl2[0]))
    return {name: enlarged(drawn[name], 224) for name in ABOUT if name in drawn}


def page(found: Explained, drawn: Mapping[str, NDArray[np.uint8]], level: float) -> Page:
    """Everything on one page; ``drawn`` as ``pictures`` makes them."""
    explanation = found.explanation
    (image,) = explanation_record(explanation, None, level)["images"]
    figures = [_picture(name, pixels) for name, pixels in drawn.items()]
    wavelet, fourier, head = explanation.wavelet, found.fourier, ("share", "standard error")
    names = [f"{each['level']}: {each['title']}" for each in image["levels"]]
    levels = _rows(names, wavelet.levels[0], wavelet.level_errors[0])
    rings = _rows(range(len(fourier.shares[0])), fourier.shares[0], fourier.share_errors[0])
    about = "How much of the answer comes from each wavelet level, the coarsest first."
    figures.append(Figure("Level shares", about, Table(("level", *head), levels)))
    about = "How much of the answer comes from each ring of the spectrum, from the mean outwards."
    figures.append(Figure("Rings of the spectrum", about, Table(("ring", *head), rings)))
    figures.append(_faithfulness(found.scores))
    if found.perturbed is not None:
        figures.append(_perturbed(found.perturbed, level))
    return Page(
        title="explanation",
        headline=image["sentence"].replace("The candidate", explanation.model),
        about=(
            f"{explanation.names[0]}: class {image['label']}, to which {explanation.model} gives "
            f"{share(image['candidate_probability'])}."
        ),
        warnings=[explanation.no_lens_because] if explanation.no_lens_because else [],
        figures=figures,
        settings=_settings(found),
    )


def _picture(name: str, pixels: NDArray[np.uint8]) -> Figure:
    title, about = ABOUT[name]
    content = encoded(pixels, palette=0 if name in ("image", "sufficient") else MAP_COLOURS)
    chart = Markup('<img class="map" alt="{}" src="data:image/png;base64,{}">').format(
        title, content
    )
    return Figure(title, about, chart=chart)


def _rows(names: Iterable[object], shares: Floats, errors: Floats) -> list[list[str]]:
    rows = zip(names, shares, errors, strict=True)
    return [[str(name), share(value), f"± {share(error)}"] for name, value, error in rows]


def _faithfulness(scores: Mapping[str, tuple[float, float]]) -> Figure:
    rows = [[name, fixed(high), fixed(low)] for name, (high, low) in scores.items()]
    about = (
        "The area under the class's probability while pixels are shown (insertion, high is good) "
        "or blurred (deletion, low is good), the most important of each map first."
    )
    return Figure("Faithfulness", about, Table(("map", "insertion", "deletion"), rows))


def _perturbed(found: PerturbedExplanation, level: float) -> Figure:
    """The level shares of the image as it is and perturbed, and how far its place moved."""
    before, after = (
        np.mean([each.levels[0] for each in side], axis=0)
        for side in (found.clean, found.perturbed)
    )
    rows = []
    for at, change in enumerate(found.level_change(0, level)):
        name = f"{at}: {level_title(at, found.clean[0].depth)}"
        interval = f"{percent(change.low)}…{percent(change.high)}"
        rows.append([name, share(before[at]), share(after[at]), percent(change.value), interval])
    head = ("level", "clean", "perturbed", "change", confidence(level))
    sentence = found.sentence(0)
    about = f"{sentence[0].upper()}{sentence[1:]}."
    return Figure(f"Under {found.perturbation}", about, Table(head, rows))


def _settings(found: Explained) -> Table:
    explanation = found.explanation
    wavelet, lens = explanation.wavelet, explanation.lens
    rows = [
        ["model", explanation.model],
        ["image", explanation.names[0]],
        ["wavelet", f"{wavelet.wavelet}, {wavelet.depth} levels"],
        ["grid", f"{wavelet.grid}×{wavelet.grid} cells, {wavelet.rules.points} points"],
        ["seed", str(wavelet.rules.seed)],
        ["reconstruction depth", f"{found.reconstruction.depth[0]} of {wavelet.grid**2} cells"],
        ["passes of the WCAM", count(wavelet.forward_passes)],
        ["passes of the FAM", count(found.fourier.forward_passes)],
    ]
    if lens is not None:
        at_end = ", at the end of the range" if lens.optimum_at_end[0] else ""
        rows += [
            ["gradients", count(lens.gradients)],
            ["noise at scale 1", f"{lens.noise:g} standardised pixels"],
            ["optimal scale", f"{lens.optimal_scale[0]:g}{at_end}"],
            ["mean ArgLens", fixed(lens.arglens[0].mean())],
            ["inconsistency over scales", fixed(lens.inconsistency[0])],
        ]
    return Table(("", "value"), rows)
