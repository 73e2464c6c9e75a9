"""Hard words of messages and reports, each with a gloss of one line."""

import re

GLOSSES = {
    "SRC": "score from −1 to 1; the higher, the more coarse structures count",
    "ψ": "what a band adds to the log-likelihood of the right class",
    "v(all)": "what all bands add together; the ψ of all bands, summed up",
    "L(∅)": "the log-likelihood of an image without any band",
    "L(all)": "the log-likelihood of the whole image, as the model gives it",
    "nats": "unit of log-likelihoods; 0.7 nats less is half the probability",
    "log-likelihood": "logarithm of the probability of the right class",
    "mPE": "mean prediction error: how far answers move under a perturbation",
    "band": "a range of frequencies; band 0 holds the coarsest structures",
    "coalition": "a set of bands that an image is shown with, and no others",
    "CI": "confidence interval; at 95%, 95 in 100 hold the true change",
    "drift": "the whole interval lies beyond what is allowed",
    "inconclusive": "the interval holds both what is allowed and what is not",
}
"""By the word as it stands in a message."""


def glossary(text: str) -> dict[str, str]:
    """The hard words that ``text`` uses, in the order of ``GLOSSES``, with their meaning."""
    return {
        word: meaning
        for word, meaning in GLOSSES.items()
        if re.search(rf"(?<!\w){re.escape(word)}(?:s|ing)?(?!\w)", text)
    }
