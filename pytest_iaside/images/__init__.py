"""Images: the reference sample, its frequency bands, filters and spectra."""
