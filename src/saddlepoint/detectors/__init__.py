"""Detecting adversarial examples: a score for each input, a threshold from clean rows, a model that may refuse."""

from saddlepoint.detectors.density import KDensity as KDensity
from saddlepoint.detectors.files import Loaded as Loaded
from saddlepoint.detectors.files import load_detector as load_detector
from saddlepoint.detectors.files import save_detector as save_detector
from saddlepoint.detectors.guarded import Guarded as Guarded
from saddlepoint.detectors.guarded import Screened as Screened
from saddlepoint.detectors.lid import LID as LID
from saddlepoint.detectors.mahalanobis import Mahalanobis as Mahalanobis
from saddlepoint.detectors.orthogonal import OrthogonalPGD as OrthogonalPGD
from saddlepoint.detectors.outputs import Confidence as Confidence
from saddlepoint.detectors.outputs import Energy as Energy
from saddlepoint.detectors.outputs import NonMaximalEntropy as NonMaximalEntropy
from saddlepoint.detectors.scorer import Detector as Detector
from saddlepoint.detectors.scorer import Look as Look
from saddlepoint.detectors.scorer import Scorer as Scorer
from saddlepoint.detectors.squeezing import FeatureSqueezing as FeatureSqueezing
from saddlepoint.detectors.threshold import threshold as threshold

__all__ = [
    "LID",
    "Confidence",
    "Detector",
    "Energy",
    "FeatureSqueezing",
    "Guarded",
    "KDensity",
    "Loaded",
    "Look",
    "Mahalanobis",
    "NonMaximalEntropy",
    "OrthogonalPGD",
    "Scorer",
    "Screened",
    "load_detector",
    "save_detector",
    "threshold",
]
