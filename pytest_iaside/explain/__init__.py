"""Attribution: where in which images, and at which scale, a classifier finds its answer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
