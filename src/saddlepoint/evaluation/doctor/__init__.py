"""Whether a model can be evaluated at all as it was given: faults of set-up, each with evidence and remedy."""

from saddlepoint.evaluation.doctor.checkup import CHECKS as CHECKS
from saddlepoint.evaluation.doctor.checkup import Checkup as Checkup
from saddlepoint.evaluation.doctor.checkup import examine as examine
from saddlepoint.evaluation.doctor.checkup import glance as glance

__all__ = ["CHECKS", "Checkup", "examine", "glance"]
