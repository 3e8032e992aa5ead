"""SPSA: Adam on slopes that are estimated from pairs of losses."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Mask
from saddlepoint.attacks._gradient import check_size, check_steps
from saddlepoint.attacks._minimal import check_ball
from saddlepoint.attacks._queries import check_pairs, check_reach, slopes
from saddlepoint.attacks._windows import signs
from saddlepoint.balls import L2, Linf
from saddlepoint.losses import Loss, margin
from saddlepoint.noise import Noise
from saddlepoint.problem import Problem, Seen
from saddlepoint.solve import IterativeAttack

_MEAN, _SQUARE, _LEAST = 0.9, 0.999, 1e-8
"""The decays of Adam, and what keeps its quotient finite."""


@final
@dataclass(frozen=True)
class Guided:
    """A point x, the means of its slopes and of their squares (n, *f), and the rows whose budget is spent (n,)."""

    x: Batch
    mean: Batch
    square: Batch
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class SPSA(IterativeAttack[Guided]):
    """Ascent by Adam on estimated gradients: no gradient is asked of the model.

    g_t = mean over i of  (J(x_t + delta v_i) - J(x_t - delta v_i)) / (2 delta)  v_i,  v_i uniform in {-1, 1}^d;
    x_{t+1} = P(x_t + Adam(g_t)), from x_0 = x0.

    Args:
        ball: Linf or L2.
        loss: what is maximised; the default is the margin, as published.
        steps: number of steps.
        samples: points asked about in a step, in pairs x + delta v, x - delta v; even.
        delta: how far off, in input units; None means 0.01 of the width of the box.
        step_size: of Adam, in input units; None means 0.01 of the width of the box.

    A step costs ``samples`` forward passes and one look. A larger delta sees across steps of a quantised input.

    Source:  Uesato et al. 2018, arXiv:1802.05666, Algorithm 1 with Adam; Spall 1992.
    Departs:  the points asked about are clipped to the box; a row whose budget would not last asks about fewer of them;
        returns the best point looked at, not the last.
    """

    loss: Loss = margin
    steps: int = 100
    samples: int = 128
    delta: float | None = None
    step_size: float | None = None
    name: ClassVar[str] = "spsa"
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_ball(self.ball, Linf, L2)
        check_steps(self.steps)
        check_pairs(self.samples)
        check_reach(self.delta, "delta")
        check_size(self.step_size)

    def length(self, problem: Problem) -> int:
        return self.steps

    def init(self, problem: Problem) -> Guided:
        x0, none = problem.x0, torch.zeros_like(problem.x0)
        return Guided(x0, none, none, torch.zeros_like(problem.y, dtype=torch.bool))

    def step(self, problem: Problem, state: Guided, seen: Seen, t: int) -> Guided:
        cent = 0.01 * problem.bounds.width
        delta = cent if self.delta is None else self.delta
        grad, spent = slopes(problem, state.x, delta, self.samples, _either, t)
        mean = _MEAN * state.mean + (1 - _MEAN) * grad
        square = _SQUARE * state.square + (1 - _SQUARE) * grad.square()
        root = (square / (1 - _SQUARE ** (t + 1))).sqrt_().add_(_LEAST)
        move = (mean / (1 - _MEAN ** (t + 1))).div_(root)
        x = problem.project(state.x + (cent if self.step_size is None else self.step_size) * move)
        return Guided(x, mean, square, spent)


def _either(noise: Noise, like: Batch, number: Tensor) -> Batch:
    """-1 or 1 at every feature."""
    return signs(noise.uniform(like, number))
