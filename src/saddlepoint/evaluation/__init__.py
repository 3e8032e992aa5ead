"""How robust a model is, which number may be cited, and why it can be trusted."""

from saddlepoint.evaluation.evaluate import Evaluated as Evaluated
from saddlepoint.evaluation.evaluate import Progress as Progress
from saddlepoint.evaluation.evaluate import checked_plan as checked_plan
from saddlepoint.evaluation.evaluate import evaluate as evaluate
from saddlepoint.evaluation.evaluate import run as run
from saddlepoint.evaluation.suites import attack_classes as attack_classes
from saddlepoint.evaluation.suites import build as build

__all__ = ["Evaluated", "Progress", "attack_classes", "build", "checked_plan", "evaluate", "run"]
