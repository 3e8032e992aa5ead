"""The momentum iterative fast gradient sign method, and what makes its points transfer better."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, is_number
from saddlepoint.attacks._gradient import ascend, check_size, check_steps
from saddlepoint.attacks.directions import diverse, momentum, smoothed
from saddlepoint.errors import InputError, SettingError, shown
from saddlepoint.problem import Problem, Seen
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True)
class Moving:
    """Where the driver looks, x; where the attack is, and its velocity; all (n, *f). See State for ``roams``."""

    x: Batch
    point: Batch
    velocity: Batch
    roams: bool


@final
class _Name:
    """``mi-fgsm``, and of an attack with other directions theirs: ``si-ni-fgsm``."""

    def __get__(self, attack: "MIFGSM | None", owner: type) -> str:
        if attack is None:
            return "mi-fgsm"
        used = {"si": attack.scales > 1, "di": attack.diversity > 0, "ti": attack.kernel > 1}
        parts = [part for part, is_used in used.items() if is_used]
        return "-".join([*parts, "ni" if attack.nesterov else "mi", "fgsm"])


@final
@dataclass(frozen=True, kw_only=True)
class MIFGSM(IterativeAttack[Moving]):
    """Sign steps along accumulated gradients: g_{t+1} = mu g_t + q / |q|_1, x_{t+1} = x_t + alpha sign(g_{t+1}).

    Each row's gradient is scaled by its own L1 norm, and before the sign is taken. With decay 0 it is BIM. Four changes
    of q, made for points that are to fool other models, can be combined; without them q is the gradient at x_t. They
    come in this order: look ahead, scale, resize, gradient, smooth, momentum, step.

    Args:
        ball: Linf, L2 or L1.
        steps: T.
        step_size: alpha in input units; None means eps / T.
        decay: mu >= 0.
        nesterov: NI: the gradient at x_t + alpha mu g_t, with g_t at the length of a step.
        scales: SI: the mean gradient over that many copies, the i-th of them x / 2^i, i = 0, 1, ...; 5 in the paper. A
            step takes as many passes forward and backward.
        diversity: DI: the probability with which an image is resized and padded before it is looked at; 0.5 in the
            paper. Every row and every copy draws for itself.
        widest: of DI: the canvas over the image, > 1.
        kernel: TI: the gradient is smoothed by a Gaussian kernel of that many pixels, odd; 15 in the paper.

    Raises:  InputError if ``diversity`` or ``kernel`` are used on inputs that are no images (n, c, h, w).
    Source:  Dong et al. 2018, arXiv:1710.06081, Algorithm 1 (the L2 step is its Eq. (8)). NI, SI: Lin et al. 2020,
        arXiv:1908.06281. DI: Xie et al. 2019, arXiv:1803.06978. TI: Dong et al. 2019, arXiv:1904.02884.
    Departs:  returns the best point seen, not the last (``keep=Keep.LAST`` is the paper's). NI: as printed, g_t has an
        L1 norm of about 1, which is next to nothing a pixel; here, as in the authors' code, it is scaled up, so that q
        counts as much as a unit step; the point is moved into ball and box. SI: darkens towards the lower bound, which
        is 0 in the paper. DI: as :func:`~saddlepoint.attacks.directions.diverse`; the images that are looked at are no
        candidates for the result, the last point is.
    """

    steps: int = 10
    step_size: float | None = None
    decay: float = 1.0
    nesterov: bool = False
    scales: int = 1
    diversity: float = 0.0
    widest: float = 330 / 299
    kernel: int = 1
    name: ClassVar[str] = _Name()  # type: ignore[assignment]  # a str wherever it is asked for

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_size(self.step_size)
        if not 0 <= self.decay < math.inf:
            raise SettingError(f"decay={self.decay!r} must be finite and >= 0; the paper's is 1.0")
        for name, value, rule in (
            ("scales", self.scales, "an integer from 1 to 30; the paper's is 5"),
            ("kernel", self.kernel, "an odd integer >= 1; the paper's is 15"),
        ):
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not whole or (name == "kernel" and value % 2 == 0) or (name == "scales" and value > 30):
                raise SettingError(f"{name}={shown(value)} must be {rule}, and 1 for none of it")
        if not (is_number(self.diversity) and 0 <= self.diversity <= 1):
            raise SettingError(f"diversity={shown(self.diversity)} must be a probability in [0, 1]; the paper's is 0.5")
        if not (is_number(self.widest) and 1 < self.widest < math.inf):
            raise SettingError(f"widest={shown(self.widest)} must be > 1: the paper's is 330 / 299")

    def length(self, problem: Problem) -> int:
        return self.steps

    def init(self, problem: Problem) -> Moving:
        if problem.x0.dim() != 4 and (self.diversity or self.kernel > 1):
            raise InputError(
                f"x has shape {tuple(problem.x0.shape)}; diversity and kernel need images (n, c, h, w): "
                "leave them out, or reshape the inputs"
            )
        return self._looking(problem, problem.x0, torch.zeros_like(problem.x0), 0)

    def step(self, problem: Problem, state: Moving, seen: Seen, t: int) -> Moving:
        grad = self._gradient(problem, self._ahead(problem, state.point, state.velocity), seen, t)
        velocity = momentum(state.velocity, smoothed(grad, self.kernel) if self.kernel > 1 else grad, self.decay)
        point = ascend(problem, state.point, self._size(problem), velocity)
        return self._looking(problem, point, velocity, t + 1)

    def _size(self, problem: Problem) -> float | Tensor:
        return problem.radius / self.steps if self.step_size is None else self.step_size

    def _looking(self, problem: Problem, point: Batch, velocity: Batch, t: int) -> Moving:
        if t == self.steps:  # the last point is looked at as it is
            return Moving(point, point, velocity, roams=False)
        ahead = self._ahead(problem, point, velocity)
        return Moving(self._view(problem, ahead, t, 0), point, velocity, roams=self.diversity > 0)

    def _ahead(self, problem: Problem, point: Batch, velocity: Batch) -> Batch:
        if not self.nesterov:
            return point
        length = problem.steepest_step(velocity, point).flatten(1).abs().sum(1)
        scaled = velocity * length.view(-1, *[1] * (point.dim() - 1))
        return problem.project(point + self._size(problem) * self.decay * scaled)

    def _gradient(self, problem: Problem, ahead: Batch, seen: Seen, t: int) -> Batch:
        """The mean over the copies of the gradient with respect to ``ahead``; ``seen`` is that of the first."""
        total = self._pulled(problem, ahead, seen.grad, t, 0)
        for copy in range(1, self.scales):
            view = self._view(problem, ahead, t, copy)
            total = total + self._pulled(problem, ahead, problem.look(view, free=True).grad, t, copy)
        return total / self.scales

    def _view(self, problem: Problem, x: Batch, t: int, copy: int) -> Batch:
        """What is looked at in place of x."""
        low, high = problem.bounds.lower, problem.bounds.upper
        if copy:
            x = low + (x - low) / 2**copy
        if not self.diversity:
            return x
        draws = problem.noise.child("diversity").uniform(x.new_empty(len(x), 4), t * self.scales + copy)
        return diverse(x, draws, self.diversity, self.widest, min(max(0.0, low), high))

    def _pulled(self, problem: Problem, x: Batch, grad: Batch, t: int, copy: int) -> Batch:
        """The gradient with respect to x of a loss whose gradient is known where it was looked at."""
        if not self.diversity:
            return grad / (1 << copy)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            pulled: Tensor = torch.autograd.grad(self._view(problem, leaf, t, copy), leaf, grad)[0]
            return pulled
