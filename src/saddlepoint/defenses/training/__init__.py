"""Training for robustness: objectives, and the loop that minimises them."""

from saddlepoint.defenses.training.fit import Epoch as Epoch
from saddlepoint.defenses.training.fit import Schedule as Schedule
from saddlepoint.defenses.training.fit import fit as fit
from saddlepoint.defenses.training.objectives import Adversarial as Adversarial
from saddlepoint.defenses.training.objectives import Objective as Objective
from saddlepoint.defenses.training.objectives import Standard as Standard

__all__ = ["Adversarial", "Epoch", "Objective", "Schedule", "Standard", "fit"]
