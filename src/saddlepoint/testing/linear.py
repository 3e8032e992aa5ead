"""A linear classifier whose worst case over ball and box, and nearest boundary, are known exactly."""

from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels, Logits, PerRow
from saddlepoint.balls import Ball, Bounds
from saddlepoint.errors import SettingError


class Optimum(NamedTuple):
    """The best point for the attacker, x (n, *f), and its margin (n,), both in float64."""

    x: Tensor
    margin: Tensor


@final
class LinearModel(nn.Module):
    """z = W x + b over the flattened input, with closed forms that share no code with the balls or the attacks.

    Args:  weight: (k, d), d features in all;  bias: (k,), None means 0.

    >>> from saddlepoint import L2, Linf
    >>> model = LinearModel(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([0.0, -6.0]))
    >>> x0, y = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    >>> model.optimum(x0, y, Linf(0.1)).margin, model.minimal_distance(x0, y, L2)
    (tensor([-1.8000], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(weight.new_zeros(len(weight)) if bias is None else bias.detach().clone())

    def forward(self, x: Batch) -> Logits:
        return nn.functional.linear(x.flatten(1), self.weight, self.bias)

    def optimum(self, x0: Batch, y: Labels, ball: Ball, bounds: Bounds = Bounds()) -> Optimum:
        """The x in ball and box with the largest margin max_{j != y} z_j - z_y.

        Per class j the margin is linear, and the best step is min(eps, room) along sign(w) in Linf, min(s |w|, room)
        in L2 with the s that uses up eps, and in L1 all the room of the largest |w|, then of the next, until eps is
        used up; the best class is then chosen.

        Args:  x0: (n, *f) in the box;  y: (n,);  ball: Linf, L2 or L1; only its norm and eps are used.
        """
        start = x0.detach().double().flatten(1)
        radius = torch.as_tensor(ball.eps, dtype=torch.float64, device=x0.device).expand(len(x0))
        best, margin = start.clone(), start.new_full((len(start),), -torch.inf)
        for j in range(len(self.weight)):
            slope, gap = self._towards(start, y, j)
            step = _step(slope, _room(slope, start, bounds), radius, ball.norm)
            reached = torch.where(y == j, -torch.inf, gap + (slope.abs() * step).sum(1))
            better = reached > margin
            best = torch.where(better[:, None], start + slope.sign() * step, best)
            margin = torch.where(better, reached, margin)
        return Optimum(best.view(x0.shape), margin)

    def minimal_distance(
        self,
        x0: Batch,
        y: Labels,
        ball: Ball | type[Ball],
        bounds: Bounds = Bounds(),
    ) -> PerRow:
        """Distance (n,) in float64 to the nearest point of the box where another class ties with y, inf if none does.

        Args:  x0: (n, *f) in the box;  y: (n,);  ball: Linf, L2 or L1; only its norm is used.
        """
        start = x0.detach().double().flatten(1)
        nearest = start.new_full((len(start),), torch.inf)
        for j in range(len(self.weight)):
            slope, gap = self._towards(start, y, j)
            distance = _distance(slope.abs(), _room(slope, start, bounds), (-gap).clamp_min(0), ball.norm)
            nearest = torch.minimum(nearest, torch.where(y == j, torch.inf, distance))
        return nearest

    def _towards(self, start: Tensor, y: Labels, j: int) -> tuple[Tensor, Tensor]:
        """Slope (n, d) and value (n,) at the start of z_j - z_y."""
        weight, bias = self.weight.detach().double(), self.bias.detach().double()
        slope = weight[j] - weight[y]
        return slope, (slope * start).sum(1) + bias[j] - bias[y]


def _room(slope: Tensor, start: Tensor, bounds: Bounds) -> Tensor:
    """How far each feature can go along its slope before the box stops it."""
    return torch.where(slope > 0, bounds.upper - start, start - bounds.lower)


def _step(slope: Tensor, room: Tensor, radius: Tensor, norm: str) -> Tensor:
    """Size (n, d) of the best step of each feature."""
    size = slope.abs()
    if norm == "linf":
        return torch.where(size > 0, torch.minimum(room, radius[:, None]), 0)
    if norm == "l1":
        order, usable = _steepest_first(size, room)
        before = usable.cumsum(1) - usable
        taken = torch.minimum((radius[:, None] - before).clamp_min(0), usable)
        return torch.zeros_like(size).scatter(1, order, taken)
    _known(norm)
    scale = _level(size.square(), (room / size).square(), radius.square()).sqrt()
    return torch.where(size > 0, torch.minimum(scale[:, None] * size, room), 0)


def _distance(size: Tensor, room: Tensor, gap: Tensor, norm: str) -> Tensor:
    """The shortest step (n,) that gains ``gap``, inf where the box does not let it."""
    if norm == "linf":
        return _level(size, room, gap)
    if norm == "l1":
        order, usable = _steepest_first(size, room)
        slope = size.gather(1, order)
        gained = (slope * usable).cumsum(1)
        missing = (gap[:, None] - gained + slope * usable).clamp_min(0)  # what the features before leave over
        step = torch.minimum(missing / slope.clamp_min(torch.finfo(slope.dtype).tiny), usable).sum(1)
        return torch.where(gained[:, -1] >= gap, step, torch.inf)
    _known(norm)
    scale = _level(size.square(), room / size, gap)
    step = torch.where(size > 0, torch.minimum(scale[:, None] * size, room), 0)
    return torch.where(scale.isinf(), torch.inf, step.norm(dim=1))


def _steepest_first(size: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
    """The features (n, d) by falling slope, and their room in that order: none where the slope is zero."""
    order = size.argsort(1, descending=True)
    return order, torch.where(size > 0, room, 0).gather(1, order)


def _level(weight: Tensor, cap: Tensor, goal: Tensor) -> Tensor:
    """Water filling: the h (n,) with sum_i weight_i min(h, cap_i) = goal, exactly; inf where the goal is beyond it."""
    cap, order = torch.where(weight > 0, cap, 0).sort(1)
    weight = weight.gather(1, order)
    full = torch.cat([torch.zeros_like(goal)[:, None], (weight * cap).cumsum(1)], 1)[:, :-1]
    rest = weight.flip(1).cumsum(1).flip(1)
    reached = full + cap * rest >= goal[:, None]
    first = reached.int().argmax(1, keepdim=True)
    level = (goal - full.gather(1, first)[:, 0]) / rest.gather(1, first)[:, 0].clamp_min(torch.finfo(cap.dtype).tiny)
    return torch.where(reached.any(1), level, torch.inf)


def _known(norm: str) -> None:
    if norm != "l2":
        raise SettingError(f"norm={norm!r} has no closed form here; it must be 'linf', 'l2' or 'l1'")
