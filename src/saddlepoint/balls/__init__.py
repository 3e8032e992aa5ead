"""Perturbation sets: geometry only, no model."""

from saddlepoint.balls.ball import Ball as Ball
from saddlepoint.balls.bounds import Bounds as Bounds
from saddlepoint.balls.l0 import L0 as L0
from saddlepoint.balls.l1 import L1 as L1
from saddlepoint.balls.l2 import L2 as L2
from saddlepoint.balls.linf import Linf as Linf
from saddlepoint.balls.perceptual import Perceptual as Perceptual

__all__ = ["L0", "L1", "L2", "Ball", "Bounds", "Linf", "Perceptual"]
