"""Square: random search with windows."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels, Logits, Mask, PerRow
from saddlepoint.attacks._gradient import check_steps
from saddlepoint.attacks._minimal import column, largest_radius
from saddlepoint.attacks._windows import Image, pattern, rescaled, share, signs
from saddlepoint.balls import L1, L2, Linf
from saddlepoint.balls.ball import flat_norm
from saddlepoint.errors import SettingError, shown
from saddlepoint.losses import Loss, classwise, cross_entropy, margin
from saddlepoint.problem import Problem, Seen
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack


@classwise
def margin_or_cross_entropy(logits: Logits, y: Labels, aim: Labels | None = None) -> PerRow:
    """The margin away from y; towards an aim the cross-entropy."""
    return margin(logits, y) if aim is None else cross_entropy(logits, y, aim)


@final
@dataclass(frozen=True)
class Proposed:
    """A proposal x and the best point so far (n, *f), its loss, whether it fools, and the radius of the row, (n,).

    ``halfway`` (n,): the best loss when half of the steps to the next test of ``patience`` were done; ``done`` (n,):
    rows that were given up.
    """

    x: Batch
    best: Batch
    loss: PerRow
    fooled: Mask
    radius: PerRow
    halfway: PerRow
    done: Mask


@final
@dataclass(frozen=True, kw_only=True)
class Square(IterativeAttack[Proposed]):
    """Random search without gradients: change a random window of the best point, keep the change if the loss rises.

    Linf: start at vertical stripes, x0 + eps or x0 - eps in each column of each channel; a proposal sets a square
    window to x0 + eps or x0 - eps, one sign for each channel. L2 and L1: start at a grid of bumps; a proposal empties
    one window, and adds its mass, and what the box has left unused, to another in the shape of a bump. The window
    holds the share p of the pixels, which is halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 steps.

    Args:
        ball: Linf, L2 or L1.
        loss: what is maximised; the default is the margin, and the cross-entropy towards a target.
        steps: number of proposals.
        p_init: first share of the pixels in a window, in (0, 1].
        rescale: stretch the schedule of p, which was made for 10,000 steps, to ``steps``.
        patience: give up rows that will not get there. When 1/8, 1/4 and 1/2 of the steps are done, a row leaves whose
            loss would stay below 0 if every further doubling of its steps gained ``patience`` times what the last did;
            None: none leaves. It needs a loss that is positive where the attack succeeds: no target.

    Inputs (n, c, h, w) are images, of any size; any other shape is read as one line of pixels, (n, 1, 1, d).

    Source:  Andriushchenko et al. 2020, arXiv:1912.00049, Algorithms 1 to 3, with the schedule and the patterns of the
        authors' code; L1: Croce & Hein 2021, arXiv:2103.01208, section 4.3.
    Departs:  every row has a window of its own, and of every kind of draw; a window reaches the last line and column,
        which the code leaves out; images need not be square: a window too wide for one is as long as its share asks
        for; a point that fools is given up only for one that fools with a higher loss.
    """

    loss: Loss = margin_or_cross_entropy
    keep: Keep = Keep.MAX_LOSS
    steps: int = 5000
    p_init: float = 0.8
    rescale: bool = False
    patience: float | None = None
    name: ClassVar[str] = "square"
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_steps(self.steps)
        if not isinstance(self.ball, Linf | L2 | L1):
            raise SettingError(f"ball={type(self.ball).__name__} has no windows here; give Square Linf, L2 or L1")
        if not 0 < self.p_init <= 1:
            raise SettingError(f"p_init={shown(self.p_init)} must lie in (0, 1]: a share of the pixels")
        if self.patience is not None and not 0 <= self.patience < math.inf:
            raise SettingError(f"patience={shown(self.patience)} must be finite and >= 0, or None to give up no row")

    def length(self, problem: Problem) -> int:
        return self.steps

    def init(self, problem: Problem) -> Proposed:
        if problem.target is not None and self.patience is not None:
            raise SettingError("patience is for a loss that is 0 at the boundary; leave it out where there is a target")
        x0, image, noise = problem.x0, Image.of(problem.x0), problem.noise.child("start")
        radius = largest_radius(problem)
        if isinstance(self.ball, Linf):
            stripes = signs(noise.uniform(x0.new_empty(len(x0), image.channels, 1, image.width)))
            delta = stripes.expand(-1, -1, image.height, -1).reshape(x0.shape) * column(radius, x0)
            x = (x0 + delta).clamp_(problem.bounds.lower, problem.bounds.upper)
        else:
            tiles = image.tiles(x0, noise, self._order).view(x0.shape)
            x = self._inside(problem, tiles * problem.bounds.width, radius)
        none, lowest = torch.zeros_like(radius, dtype=torch.bool), torch.full_like(radius, -torch.inf)
        return Proposed(x, x, lowest, none, radius, lowest, none)

    def step(self, problem: Problem, state: Proposed, seen: Seen, t: int) -> Proposed:
        higher = (seen.success == state.fooled) & (seen.loss > state.loss)
        better = higher | (seen.success & ~state.fooled)
        best = torch.where(column(better, state.x), state.x, state.best)
        loss = torch.where(better, seen.loss, state.loss)
        p = share(self.p_init, rescaled(t, self.steps) if self.rescale else t)
        image = Image.of(best)
        draw = problem.noise.child("window").uniform(best.new_empty(len(best), 5 + image.channels), t)
        propose = self._corner if isinstance(self.ball, Linf) else self._moved
        x = propose(problem, image, best, state.radius, p, draw)
        state = replace(state, x=x, best=best, loss=loss, fooled=state.fooled | seen.success)
        return state if self.patience is None else self._given_up(state, t + 1, self.patience)

    def _given_up(self, state: Proposed, looks: int, patience: float) -> Proposed:
        """With the rows that are far from the boundary for their pace, after so many looks."""
        for eighths in (1, 2, 4):
            test = self.steps * eighths // 8  # each is at twice the steps of the one before
            if looks == test > 1:
                gain = state.loss - state.halfway
                hopeless = state.loss + patience * gain * math.log2(self.steps / test) < 0
                state = replace(state, done=hopeless & ~state.fooled)
            if looks == test // 2:
                state = replace(state, halfway=state.loss)
        return state

    @property
    def _order(self) -> int:
        return 2 if isinstance(self.ball, L2) else 1

    def _corner(  # one proposal
        self, problem: Problem, image: Image, best: Batch, radius: PerRow, p: float, draw: Tensor
    ) -> Batch:  # fmt: skip
        """The window at a corner of the Linf ball."""
        cells = image.cells(image.window(p), draw).expand(-1, image.channels, -1)
        sign = signs(draw[:, 5:]) * radius[:, None]
        corner = image.view(problem.x0).gather(2, cells).add_(sign[:, :, None])
        corner = corner.clamp_(problem.bounds.lower, problem.bounds.upper)
        return image.view(best).scatter(2, cells, corner).view(best.shape)

    def _moved(  # one proposal
        self, problem: Problem, image: Image, best: Batch, radius: PerRow, p: float, draw: Tensor
    ) -> Batch:  # fmt: skip
        """The mass of two windows, and what is left to the radius, in the first of them; per channel."""
        order, size = self._order, image.window(p, odd=True)
        into = image.cells(size, draw[:, :2]).expand(-1, image.channels, -1)
        emptied = image.cells(size, draw[:, 2:4]).expand(-1, image.channels, -1)
        delta = image.view(best - problem.x0)
        total = _mass(delta.flatten(1), order)
        old, rest = delta.gather(2, into), delta.scatter(2, into, 0)
        mass = _mass(old, order) + _mass(rest.gather(2, emptied), order)
        room = (column(radius, total) ** order - total).clamp_min_(0)[:, :, None] / image.channels
        a, b = size
        upright, turned = pattern(a, b, order).to(best), pattern(b, a, order).T.to(best)
        shape = torch.where(draw[:, 4:5] < 0.5, upright.flatten(), turned.flatten())[:, None]
        new = _unit(shape * signs(draw[:, 5:])[:, :, None] + _unit(old, order), order)
        new = new * ((mass + room).sqrt() if order == 2 else (mass + room) * image.channels)
        delta = rest.scatter_(2, emptied, 0).scatter_(2, into, new)
        return self._inside(problem, delta.view(best.shape), radius)

    def _inside(self, problem: Problem, delta: Batch, radius: PerRow) -> Batch:
        """L1: the nearest point of ball and box; L2: scaled to the radius, then clipped, as in the authors' code."""
        if self._order == 1:
            return problem.project(delta.add_(problem.x0))
        norm = flat_norm(delta)
        delta = delta * (column(radius, delta) / torch.where(norm > 0, norm, 1))
        return delta.add_(problem.x0).clamp_(problem.bounds.lower, problem.bounds.upper)


def _mass(delta: Tensor, order: int) -> Tensor:
    """The sum of squares, or of sizes, over the last axis."""
    return (delta.square() if order == 2 else delta.abs()).sum(-1, keepdim=True)


def _unit(delta: Tensor, order: int) -> Tensor:
    """Of norm 1 along the last axis; zero where it was zero."""
    mass = _mass(delta, order)
    norm = mass.sqrt() if order == 2 else mass
    return delta / torch.where(norm > 0, norm, 1)
