"""Records: what reports know of every gate, in plain JSON types.

Records travel from xdist's workers to the process that writes the reports. They may hold NaN and
infinity, which become null in the JSON document. ``make schema`` makes session.schema.json from
these types and from the comments beside their fields; pictures are not part of it.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from typing_extensions import NotRequired

from pytest_iaside.thresholds import Direction, FailOn

Number = float | None
Numbers = list[Number]
Status = Literal["compared", "created", "updated", "refused"]
Verdict = Literal["pass", "nothing found", "inconclusive", "drift"]
Better = Literal["lower", "higher"]


class LimitRecord(TypedDict):
    """How much the quantities of a family may get worse."""

    change: Number  # How much worse the means may become; null where any change is allowed.
    bound: Number  # What no mean of the candidate may be worse than; null where there is no bound.


class CheckRecord(TypedDict):
    """One limit, at the place that decides."""

    name: str  # The family of the quantities, or structured, min_src or bound.
    where: str  # The band, frequency or quantity that decides, or what is unstructured.
    better: Better  # Whether a lower or a higher value is better.
    baseline: Number  # The baseline's value.
    candidate: Number  # The candidate's value.
    change: Number  # What is limited, in the limit's unit; of a bound the candidate itself.
    low: Number  # Lower end of its interval.
    high: Number  # Upper end of its interval.
    limit: Number  # The furthest allowed change, or the bound.
    verdict: Verdict  # Drift where none of the interval is allowed, pass where all of it is.
    changed: bool  # Whether the interval leaves out no change at all.
    detectable: Number  # The smallest change for the worse that is found with 99 % power.
    images_to_pass: Number  # How many images an unchanged quantity needs to pass.
    groups_to_pass: Number  # How many groups of images; null where they come in none.
    of_seeds: Number  # Share of the interval's square that is other seeds; null of single ones.
    sentence: str  # The check in words.


class QuantityRecord(TypedDict):
    """The change of one quantity."""

    index: int  # Its place in the measurement.
    name: str  # What was measured.
    family: str  # The quantities that share a limit.
    better: Better  # Whether a lower or a higher value is better.
    baseline: Number  # The baseline's mean over images.
    candidate: Number  # The candidate's mean over images.
    change: Number  # The paired change.
    low: Number  # Lower end of its interval, which holds for all of the family together.
    high: Number  # Upper end of that interval.
    of_seeds: Number  # Share of its square that is other seeds; null of single trainings.
    p_value: Number  # Holm's p-value of no change, over all quantities.
    moved: bool  # Whether noise does not explain the change.


class TradeRecord(TypedDict):
    """Quantities of one kind of which some got better beyond noise, and some worse."""

    what: str  # What moved: bands, accuracy, log-likelihood, mPE.
    unit: str  # Unit of the changes; empty for shares.
    gained: list[QuantityRecord]  # What got better, the largest change first.
    lost: list[QuantityRecord]  # What got worse.


class ImageRecord(TypedDict):
    """One image's part in a change."""

    name: str  # What the image is called.
    digest: str  # Hash of the image.
    label: int | None  # Index of its class; null for a distribution, or a target that is no class.
    contribution: Number  # What it adds to the change, in the unit of the quantity.
    baseline_psi: Numbers  # Its ψ of each band under the baseline, in nats.
    candidate_psi: Numbers  # Its ψ of each band under the candidate, in nats.
    baseline_right: bool | None  # Whether the baseline answers it right; null where not known.
    candidate_right: bool | None  # Whether the candidate does.
    baseline_probability: Number | None  # The baseline's probability of its label; null, too.
    candidate_probability: Number | None  # The candidate's probability of its label.


class ImagesRecord(TypedDict):
    """What single images add to the change of ``quantity``, the most harmful first."""

    quantity: str  # What changed, in words.
    unit: str  # Unit of the change and of the contributions; empty for a share or a score.
    change: Number  # The change of the whole quantity.
    count: int  # How many images were compared.
    images: list[ImageRecord]  # Those that add the most, the most harmful first; not all of them.


class BandBoundsRecord(TypedDict):
    """An interval for every band."""

    low: Numbers  # Lower ends.
    high: Numbers  # Upper ends.


class BoundsRecord(TypedDict):
    """An interval."""

    low: Number  # Lower end.
    high: Number  # Upper end.


class IntervalsRecord(TypedDict):
    """Intervals of what is read off a spectral profile."""

    psi: BandBoundsRecord  # Of ψ, each band by itself.
    sid: BandBoundsRecord  # Of the SID, each band by itself.
    signed_src: BoundsRecord  # Of signed SRC.
    value: BoundsRecord  # Of v(all).


class SpectralRecord(TypedDict):
    """What is read off a spectral profile, with intervals at ``level``."""

    level: float  # Confidence of the intervals.
    unit: str  # What ψ, v(all) and log-likelihoods are in: nats, or that of a score.
    psi: Numbers  # Shapley value of each band, in nats, the lowest frequencies first.
    standard_error: Numbers  # Standard error over images of each ψ.
    sid: Numbers  # Spectral importance distribution: the share of each band.
    src: Number  # The paper's spectral robustness score.
    signed_src: Number  # The score, negative where high frequencies weigh more.
    value: Number  # v(all): log-likelihood of all bands over that of none, in nats.
    label_entropy: Number  # H(Y): entropy of the labels among the images, in nats.
    information_bound: Number  # H(Y) + v(all) + C: at least what the model finds of it, in nats.
    convergence_at: list[int]  # Numbers of images at which the curve is told.
    convergence: Numbers  # How far ψ moved with the next image there, mean over bands, in nats.
    error_bounds: list[Number]  # The paper's of ψ, and the one that suffices; null where unknown.
    structured: bool  # Whether ψ can be told from noise.
    unstructured_because: str  # Why not; empty where it can.
    intervals: IntervalsRecord  # Intervals of all of these over images.
    by_size: Numbers  # Mean log-likelihood over the coalitions of each size, in nats.
    band_labels: list[str]  # Frequencies of each band, in words.
    band_edges: list[float]  # Edges of the bands in cycles/pixel, one more than bands.


class ReferenceRecord(TypedDict):
    """Which reference sample was measured."""

    digest: str  # Hash of images and labels.
    images: int  # How many images it has.
    channels: int  # Colour channels.
    height: int  # In pixels.
    width: int  # In pixels.
    labels: Literal["dataset", "soft", "predicted", "targets"]  # Whose they are.


class ModelRecord(TypedDict):
    """Which model was measured."""

    name: str  # What the model is called.
    classes: int  # How many classes it tells apart.
    fingerprint: str | None  # Hash of its weights; null where that is not known.
    fed: str | None  # What the network is fed: pixels, or what they become; null where not known.
    task: str  # Its kind: softmax, multilabel or score.
    unit: str  # What log-likelihoods, or scores, are in.
    score: str  # The name of the user's own score; empty where there is none.
    score_code: str  # Hash of that score's code; empty where that is not known.


class MeasurementRecord(TypedDict):
    """What was measured, of which model, how, and at what cost."""

    kind: str  # What was measured: spectral, perturbations, …
    images: int  # How many images were measured.
    groups: int | None  # How many groups they come in; null where none were given.
    settings: dict[str, Any]  # How it was measured; measurements that differ here do not compare.
    reference: ReferenceRecord  # The reference sample.
    model: ModelRecord  # The model.
    environment: dict[str, str]  # Versions of what ran, and the backend.
    forward_passes: int  # How many images the model saw.
    passes_from_cache: int  # How many of them an earlier run had done.
    passes_replayed: int  # How many of those were run all the same, to see whether they hold.
    not_cached_because: str  # Why the next run does them again; empty where it does not.
    seconds: Number  # How long it took; 0 where it was read from a file.
    spectral: SpectralRecord | None  # What is read off a spectral profile; null for other kinds.


class ComparisonRecord(TypedDict):
    """A candidate compared with its baseline."""

    kind: str  # What was measured.
    verdict: Verdict  # The worst of the checks: drift, inconclusive, nothing found, pass.
    changed: bool  # Whether anything changed at all, allowed or not.
    summary: str  # The verdict in one line.
    headline: str  # What got worse in a sentence without symbols; empty where nothing is red.
    causes: list[str]  # Likely causes, each with what suggests it; empty where nothing does.
    level: float  # Confidence of the intervals.
    answers_level: float  # The same of answers and effective robustness.
    images: int  # How many images decided.
    groups: int | None  # How many groups of them; null where none were given.
    limits: dict[str, LimitRecord]  # The limit of each family that has one.
    direction: Direction  # Whether changes for the better count too.
    checks: list[CheckRecord]  # Every check that was asked for.
    quantities: list[QuantityRecord]  # All that was measured; of spectral profiles each band's ψ.
    answers: list[QuantityRecord]  # How right images are answered; empty where it is not known.
    interactions: list[QuantityRecord]  # Of every pair of bands; empty where not known.
    effective: list[QuantityRecord]  # Of accuracies, what clean accuracy does not explain.
    trades: list[TradeRecord]  # What moved in both directions beyond noise.
    notes: list[str]  # What else a reader should know, in words.
    image_changes: ImagesRecord | None  # What images add to what decides; null where not known.
    candidate: MeasurementRecord  # The model under test.
    baseline: MeasurementRecord  # What it is compared with.


class BandLossRecord(TypedDict):
    """A loss in nats for every band, with its interval."""

    values: Numbers  # Mean over images.
    low: Numbers  # Lower ends.
    high: Numbers  # Upper ends.


class SnrRecord(TypedDict):
    """The ratio of the images' energy to a perturbation's, by frequency."""

    perturbation: str  # Name and severity.
    decibel: Numbers  # Ratio at each frequency, for a perturbation of 10 % of the energy.


class SpectrumRecord(TypedDict):
    """The energy spectral density of the reference sample (SPEC.md 1.8)."""

    images: int  # How many images it was measured on.
    frequencies: list[float]  # In cycles/pixel.
    density: Numbers  # Mean energy at each frequency.
    exponent: Number  # α of the power law f^−α that fits best; null where there is none.
    natural: bool  # Whether energy falls with frequency as in natural images, as SRC assumes.
    snr: list[SnrRecord]  # Of each perturbation of the gate.


class LossRecord(TypedDict):
    """What one perturbation costs in nats, and through which bands (SPEC.md 7)."""

    perturbation: str  # Name and severity.
    images: int  # How many images were divided.
    level: float  # Confidence of the intervals; those of bands hold together.
    change: Number  # How much more the candidate loses.
    low: Number  # Lower end of its interval.
    high: Number  # Upper end of its interval.
    baseline: BandLossRecord  # What the baseline loses through each band.
    candidate: BandLossRecord  # What the candidate loses through each band.
    bands: BandLossRecord  # How much more that is, image by image.
    energy: Numbers  # The share of the perturbation's own energy in each band.
    band_labels: list[str]  # Frequencies of each band, in words.
    band_edges: list[float]  # Edges of the bands in cycles/pixel, one more than bands.


class ExampleRecord(TypedDict):
    """An image as coalitions show it, base64-encoded PNG by the name of the part."""

    digest: str
    name: str
    pictures: dict[str, str]


class PicturesRecord(TypedDict):
    """Pictures of the images that drive a change, base64-encoded PNG."""

    thumbnails: dict[str, str]
    examples: list[ExampleRecord]
    parts: dict[str, list[int]]
    size: list[int]
    cropped: bool


class GateRecord(TypedDict):
    """One assertion of one test, and what came of it."""

    test: str  # Node id of the test; of the command line tool, the file it measured.
    name: str | None  # What tells apart several assertions of one test; null where there is one.
    kind: str  # Which assertion it is: spectral, perturbations, trend, …
    status: Status  # What was done; refused where an error kept it from being compared.
    failed: bool  # Whether the assertion failed.
    verdict: Verdict | None  # The comparison's, which an update overrules; null without one.
    summary: str  # What came of it in one line.
    error: str | None  # The kind of error that refused it; null where nothing did.
    fail_on: FailOn | None  # Which verdicts fail; null where nothing was compared.
    baseline: str  # Where the baseline lies, or what it is; empty where that was not known yet.
    accept: str  # The command that makes the baseline anew; empty where there is none.
    reproduce: str  # The command that runs this test alone.
    seconds: Number  # How long the assertion took.
    comparison: ComparisonRecord | None  # Of a first baseline with itself; null without one.
    measurement: MeasurementRecord | None  # What was measured where nothing was compared.
    spectrum: SpectrumRecord | None  # Of the reference images; null where no report is asked for.
    losses: list[LossRecord] | None  # Of a red gate, what perturbations cost; null where not known.
    sections: dict[str, Any]  # What wings say of the gate, by their names: explanation, trend, …
    # For the HTML report alone; of wings, by their names.
    pictures: NotRequired[PicturesRecord | None]
    section_pictures: NotRequired[dict[str, Any]]


class MetaRecord(TypedDict):
    """How a report came about."""

    command: str  # The command line that was run.
    created: str  # When the run ended, as ISO 8601.
    version: str  # Version of pytest-iaside.


class SessionRecord(TypedDict):
    """What --iaside-json writes: every gate of one pytest session."""

    format: Literal["iaside-report/3"]  # Format of this document and its version.
    schema: Literal["urn:pytest-iaside:session:3"]  # The $id of this document's schema.
    meta: MetaRecord  # About the run.
    failed: bool  # Whether any gate failed.
    counts: dict[str, int]
    """How many gates there are of each outcome that occurs: a verdict, the status where nothing was
    compared, or changed, which passes its checks and fails under fail_on=any-change."""
    gates: list[GateRecord]  # Every gate, the worst first.
