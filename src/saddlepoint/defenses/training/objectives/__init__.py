"""What training minimises: each objective says where its loss is taken, and what the loss is there."""

from saddlepoint.defenses.training.objectives.adversarial import Adversarial as Adversarial
from saddlepoint.defenses.training.objectives.awp import AWP as AWP
from saddlepoint.defenses.training.objectives.contractive import ContractivePenalty as ContractivePenalty
from saddlepoint.defenses.training.objectives.defensive_distillation import (
    DefensiveDistillation as DefensiveDistillation,
)
from saddlepoint.defenses.training.objectives.distillation import Distillation as Distillation
from saddlepoint.defenses.training.objectives.fast import Fast as Fast
from saddlepoint.defenses.training.objectives.fgsm_mixed import FGSMMixed as FGSMMixed
from saddlepoint.defenses.training.objectives.free import Free as Free
from saddlepoint.defenses.training.objectives.mart import Mart as Mart
from saddlepoint.defenses.training.objectives.objective import Memory as Memory
from saddlepoint.defenses.training.objectives.objective import Objective as Objective
from saddlepoint.defenses.training.objectives.reconstruction import Reconstruction as Reconstruction
from saddlepoint.defenses.training.objectives.reversed import ReversedLabelCrossEntropy as ReversedLabelCrossEntropy
from saddlepoint.defenses.training.objectives.standard import Standard as Standard
from saddlepoint.defenses.training.objectives.strong_adversary import StrongAdversary as StrongAdversary
from saddlepoint.defenses.training.objectives.trades import Trades as Trades

__all__ = [
    "AWP",
    "Adversarial",
    "ContractivePenalty",
    "DefensiveDistillation",
    "Distillation",
    "FGSMMixed",
    "Fast",
    "Free",
    "Mart",
    "Memory",
    "Objective",
    "Reconstruction",
    "ReversedLabelCrossEntropy",
    "Standard",
    "StrongAdversary",
    "Trades",
]
