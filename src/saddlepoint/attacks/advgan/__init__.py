"""AdvGAN: a generator of perturbations, fitted once to a model, or to a copy of a black box."""

from saddlepoint.attacks.advgan.attack import AdvGANAttack as AdvGANAttack
from saddlepoint.attacks.advgan.attack import Epoch as Epoch
from saddlepoint.attacks.advgan.fit import AdvGAN as AdvGAN
from saddlepoint.attacks.advgan.fit import BlackBox as BlackBox

__all__ = ["AdvGAN", "AdvGANAttack", "BlackBox", "Epoch"]
