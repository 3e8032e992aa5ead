"""How robust a classifier is against adversarial examples, and how to make it more robust."""

from saddlepoint import attacks as attacks
from saddlepoint import errors as errors
from saddlepoint import losses as losses
from saddlepoint.api import Run as Run
from saddlepoint.api import diagnose as diagnose
from saddlepoint.api import doctor as doctor
from saddlepoint.api import evaluate as evaluate
from saddlepoint.balls import L0 as L0
from saddlepoint.balls import L1 as L1
from saddlepoint.balls import L2 as L2
from saddlepoint.balls import Ball as Ball
from saddlepoint.balls import Bounds as Bounds
from saddlepoint.balls import Linf as Linf
from saddlepoint.classifier import Classifier as Classifier
from saddlepoint.classifier import Meter as Meter
from saddlepoint.data import Dataset as Dataset
from saddlepoint.data import load_data as load_data
from saddlepoint.defenses.spec import load_model as load_model
from saddlepoint.noise import Noise as Noise
from saddlepoint.problem import Limits as Limits
from saddlepoint.result import AttackResult as AttackResult
from saddlepoint.result import Keep as Keep

__version__ = "0.1.0"

__all__ = [
    "L0",
    "L1",
    "L2",
    "AttackResult",
    "Ball",
    "Bounds",
    "Classifier",
    "Dataset",
    "Keep",
    "Limits",
    "Linf",
    "Meter",
    "Noise",
    "Run",
    "attacks",
    "diagnose",
    "doctor",
    "errors",
    "evaluate",
    "load_data",
    "load_model",
    "losses",
]
