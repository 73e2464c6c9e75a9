from .augment import BandDropout as BandDropout
from .augment import BandNoise as BandNoise
from .penalty import spectral_penalty as spectral_penalty
