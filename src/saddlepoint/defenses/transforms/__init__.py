"""Defenses in front of a classifier; each comes with what an attacker uses in place of its gradient."""

from saddlepoint.defenses.transforms.bit_depth import BitDepth
from saddlepoint.defenses.transforms.gaussian import Gaussian
from saddlepoint.defenses.transforms.gaussian_noise import GaussianNoise
from saddlepoint.defenses.transforms.jpeg import JPEG
from saddlepoint.defenses.transforms.mean import Mean
from saddlepoint.defenses.transforms.median import Median
from saddlepoint.defenses.transforms.non_local_means import NonLocalMeans
from saddlepoint.defenses.transforms.transform import Transform

__all__ = ["JPEG", "BitDepth", "Gaussian", "GaussianNoise", "Mean", "Median", "NonLocalMeans", "Transform"]

TRANSFORMS: dict[str, type[Transform]] = {
    cls.name: cls for cls in map(globals().get, __all__) if isinstance(cls, type) and hasattr(cls, "name")
}
"""Every transform by the name that it has in a spec; derived from ``__all__``."""
