"""One perturbation for all inputs: fitted to a model on some of them, kept in a file, applied like any attack."""

from saddlepoint.attacks.universal.fit import UniversalPerturbation as UniversalPerturbation
from saddlepoint.attacks.universal.rules import RULES as RULES
from saddlepoint.attacks.universal.rules import Ascent as Ascent
from saddlepoint.attacks.universal.rules import Minibatch as Minibatch
from saddlepoint.attacks.universal.rules import Rule as Rule
from saddlepoint.attacks.universal.rules import Sequential as Sequential
from saddlepoint.attacks.universal.value import Fitted as Fitted
from saddlepoint.attacks.universal.value import Universal as Universal

__all__ = ["RULES", "Ascent", "Fitted", "Minibatch", "Rule", "Sequential", "Universal", "UniversalPerturbation"]
