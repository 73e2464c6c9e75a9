"""In which order checks are told; of its own, because reports are drawn without what measures."""

ANSWERS = ("accuracy", "score", "log-likelihood", "probability", "mpe", "effective", "lost")
"""How the names of checks of answers end, in the order in which they are told."""
BANDS = ("band", "upper", "value", "src", "min_src", "sid")
"""The checks of bands, those first that name the band."""
PLACES = ("clean", "perturbed", "mean")


def kind_of(name: str) -> str:
    """What the check ``name`` is of: ``accuracy`` of ``mean accuracy``."""
    return name.rpartition(" ")[2]


def order(name: str) -> tuple[int, int]:
    """Where the check ``name`` stands among those of one verdict.

    Structure first, then answers as ``ANSWERS`` has them: clean, one perturbation, the mean.
    """
    if name == "structured":
        return -1, 0
    kinds, place = (*ANSWERS, *BANDS), name.partition(" ")[0]
    kind = kind_of(name)
    return (
        kinds.index(kind) if kind in kinds else len(kinds),
        PLACES.index(place) if place in PLACES else 0,
    )
