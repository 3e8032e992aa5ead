"""Learning with a strong adversary (Huang et al.)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from saddlepoint._typing import Batch, Labels, Logits
from saddlepoint.attacks._gradient import Point, ascend
from saddlepoint.balls import L1, Ball, Bounds
from saddlepoint.defenses.training.objectives._checks import check_choice, radius, scores
from saddlepoint.defenses.training.objectives._inner import Ascent, Bn, attacked, maximise
from saddlepoint.defenses.training.objectives.objective import Memory
from saddlepoint.noise import Noise
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack

_CELLS = 1 << 24  # entries of the Jacobian that are held at a time


@final
@dataclass(frozen=True, kw_only=True)
class StrongAdversary:
    """Mean cross-entropy on perturbed inputs only, one step of full length c = eps away from x.

    Variant "loss": along the steepest step of the loss: c g / |g|_2, c sign(g), or in L1 all of c on the largest |g_k|.
    Variant "jacobian": a = softmax(f(x)), H its Jacobian; of the classes j != y the one with the least distance
    (a_y - a_j) / |H_j - H_y|_dual is taken, and the step is the steepest of H_j - H_y. Costs k backward passes.
    A row whose gradient is zero stays where it is.

    Args:
        ball: Linf, L2 or L1 of radius c.
        variant: how the direction is found.
        bounds: the box of the inputs;  bn: statistics of batch normalisation while the direction is found.

    Source:  Huang, Xu, Schuurmans & Szepesvari 2015, arXiv:1511.03034.
    Departs:  the box: the point is projected into it, and in L1 features that it stops are passed over.
    """

    ball: Ball
    variant: Literal["loss", "jacobian"] = "loss"
    bounds: Bounds = Bounds()
    bn: Bn = "eval"
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        radius(self.ball)
        check_choice("variant", self.variant, "loss", "jacobian")
        check_choice("bn", self.bn, "eval", "train")

    def points(self, module: nn.Module, x: Batch, y: Labels, *, noise: Noise, progress: float, memory: Memory) -> Batch:
        eps, ball = radius(self.ball), replace(self.ball, share=0.0) if isinstance(self.ball, L1) else self.ball
        attack: IterativeAttack[Point] = (
            Ascent(ball=ball, start=x, steps=1, step_size=eps) if self.variant == "loss" else _NearestClass(ball=ball)
        )
        with attacked(module, self.bounds, self.bn) as model:
            return maximise(attack, model, x, y, noise)

    def loss(self, module: nn.Module, x: Batch, points: Batch, y: Labels) -> Tensor:
        return functional.cross_entropy(scores(module, points), y)


@final
@dataclass(frozen=True, kw_only=True)
class _NearestClass(IterativeAttack[Point]):
    """One step of full length towards the class whose linearised probability reaches that of y first."""

    keep: Keep = Keep.LAST
    name: ClassVar[str] = "nearest-class"
    needs_gradient: ClassVar[bool] = False
    needs_graph: ClassVar[bool] = True

    def length(self, problem: Problem) -> int:
        return 1

    def init(self, problem: Problem) -> Point:
        return Point(problem.x0)

    def step(self, problem: Problem, state: Point, seen: Seen, t: int) -> Point:
        a, y = seen.logits.softmax(1), problem.y
        own = a.gather(1, y[:, None])
        least = torch.full_like(own[:, 0], torch.inf)
        direction = torch.zeros_like(state.x)
        at_once = max(1, _CELLS // state.x.numel())
        for classes in torch.arange(a.shape[1], device=a.device).split(at_once):
            grads = problem.gradients(seen, _slopes(a, own, y, classes))
            flat = grads.flatten(0, 1)
            dual = (flat * problem.ball.steepest_step(flat)).flatten(1).sum(1).view(len(classes), -1)
            far = torch.where(dual > 0, (own.T - a[:, classes].T) / dual, torch.inf)  # y has no slope against itself
            nearest, which = far.min(0)
            found = grads[which, torch.arange(len(y), device=y.device)]
            direction = torch.where((nearest < least).view(-1, *[1] * (found.dim() - 1)), found, direction)
            least = torch.minimum(nearest, least)
        return Point(ascend(problem, state.x, problem.radius, direction))


def _slopes(a: Logits, own: Tensor, y: Labels, classes: Tensor) -> Tensor:
    """The slopes (m, n, k) of a_j - a_y in the logits, a_j (e_j - a) - a_y (e_y - a), for the m classes j."""
    k, chosen = a.shape[1], a[:, classes].T[:, :, None]
    towards = chosen * (functional.one_hot(classes, k)[:, None] - a)
    return towards - own * (functional.one_hot(y, k) - a)
