"""Training for robustness: objectives, and the loop that minimises them."""

from saddlepoint.defenses.training.checkpoint import Checkpoint as Checkpoint
from saddlepoint.defenses.training.fit import fit as fit
from saddlepoint.defenses.training.objectives import AWP as AWP
from saddlepoint.defenses.training.objectives import Adversarial as Adversarial
from saddlepoint.defenses.training.objectives import ContractivePenalty as ContractivePenalty
from saddlepoint.defenses.training.objectives import DefensiveDistillation as DefensiveDistillation
from saddlepoint.defenses.training.objectives import Distillation as Distillation
from saddlepoint.defenses.training.objectives import Fast as Fast
from saddlepoint.defenses.training.objectives import FGSMMixed as FGSMMixed
from saddlepoint.defenses.training.objectives import Free as Free
from saddlepoint.defenses.training.objectives import Mart as Mart
from saddlepoint.defenses.training.objectives import Objective as Objective
from saddlepoint.defenses.training.objectives import Reconstruction as Reconstruction
from saddlepoint.defenses.training.objectives import ReversedLabelCrossEntropy as ReversedLabelCrossEntropy
from saddlepoint.defenses.training.objectives import Standard as Standard
from saddlepoint.defenses.training.objectives import StrongAdversary as StrongAdversary
from saddlepoint.defenses.training.objectives import Trades as Trades
from saddlepoint.defenses.training.optimizers import SGD as SGD
from saddlepoint.defenses.training.optimizers import Adam as Adam
from saddlepoint.defenses.training.schedule import Schedule as Schedule
from saddlepoint.defenses.training.validation import Validation as Validation
from saddlepoint.training_record import Epoch as Epoch
from saddlepoint.training_record import Event as Event
from saddlepoint.training_record import TrainingRecord as TrainingRecord

__all__ = [
    "AWP",
    "SGD",
    "Adam",
    "Adversarial",
    "Checkpoint",
    "ContractivePenalty",
    "DefensiveDistillation",
    "Distillation",
    "Epoch",
    "Event",
    "FGSMMixed",
    "Fast",
    "Free",
    "Mart",
    "Objective",
    "Reconstruction",
    "ReversedLabelCrossEntropy",
    "Schedule",
    "Standard",
    "StrongAdversary",
    "Trades",
    "TrainingRecord",
    "Validation",
    "fit",
]
