"""Training: what a training loop adds so that a model leans less on single bands."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
