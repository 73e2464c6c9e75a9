"""Studies: spectral robustness over a set of models, against what else is measured of them."""
