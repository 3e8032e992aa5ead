"""Training for robustness: objectives, and the loop that minimises them."""

from saddlepoint.defenses.training.checkpoint import Checkpoint as Checkpoint
from saddlepoint.defenses.training.fit import fit as fit
from saddlepoint.defenses.training.objectives import Adversarial as Adversarial
from saddlepoint.defenses.training.objectives import Objective as Objective
from saddlepoint.defenses.training.objectives import Standard as Standard
from saddlepoint.defenses.training.optimizers import SGD as SGD
from saddlepoint.defenses.training.optimizers import Adam as Adam
from saddlepoint.defenses.training.schedule import Schedule as Schedule
from saddlepoint.defenses.training.validation import Validation as Validation
from saddlepoint.training_record import Epoch as Epoch
from saddlepoint.training_record import Event as Event
from saddlepoint.training_record import TrainingRecord as TrainingRecord

__all__ = [
    "SGD",
    "Adam",
    "Adversarial",
    "Checkpoint",
    "Epoch",
    "Event",
    "Objective",
    "Schedule",
    "Standard",
    "TrainingRecord",
    "Validation",
    "fit",
]
