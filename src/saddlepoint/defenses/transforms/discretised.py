"""LS-PGA and DGA: attacks on the codes of a thermometer, over the buckets that a ball reaches."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels, is_number
from saddlepoint.attacks._gradient import Point, check_steps
from saddlepoint.balls import Linf
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.transforms.thermometer import Thermometer
from saddlepoint.errors import ArgumentTypeError, ModelError, SettingError, shown
from saddlepoint.losses import Loss, cross_entropy
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits, Problem, Spent
from saddlepoint.result import AttackResult, Keep


@final
@dataclass(frozen=True, kw_only=True)
class LSPGA:
    """Logit-space projected gradient ascent: a softmax over the buckets that each feature can reach, made harder.

    u ~ N(0, 1) for each feature and bucket; then  z = softmax(beta u),  u <- u + step_size sign(dJ / du),
    beta <- growth beta,  with J at the mixture of codes that z gives. The point is the nearest value in the bucket of
    the largest u. Its code is looked at once, at the end.

    Args:
        ball: Linf;  encoder: the thermometer in front of the net, as it stands in the model.
        steps: 7 is for training;  step_size: xi, of logits;  growth: delta;  start: "normal" or "zero".
        loss: what is maximised.

    Raises:  SettingError if the encoder is quantised, or a number means nothing; when called, ModelError if the model
        does not call the encoder.

    Source:  Buckman, Roy, Raffel & Goodfellow 2018, openreview S18Su--CW, algorithm 1.
    Departs:  the buckets that a ball reaches are counted from its ends, not sampled.
    """

    ball: Linf
    encoder: Thermometer
    steps: int = 7
    step_size: float = 1.0
    growth: float = 1.2
    start: str = "normal"
    loss: Loss = cross_entropy
    keep: Keep = field(default=Keep.LAST, init=False, repr=False)
    confidence: float = field(default=0.0, init=False, repr=False)
    name: ClassVar[str] = "ls-pga"

    def __post_init__(self) -> None:
        _check(self.ball, self.encoder, self.steps)
        for name, value, least in (("step_size", self.step_size, 0.0), ("growth", self.growth, 1.0)):
            if not is_number(value) or not least <= value < torch.inf:
                raise SettingError(f"{name}={shown(value)} must be a finite number >= {least:g}")
        if self.start not in ("normal", "zero"):
            raise SettingError(f"start={shown(self.start)} must be 'normal' or 'zero'")

    def __call__(
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Attack a batch; arguments as in IterativeAttack."""
        problem = Problem.open(self, model, x, y, target, noise, limits)
        if problem.empty:
            return problem.result()
        reach = _Reach(problem, self.encoder)
        u = torch.zeros(reach.allowed.shape).to(problem.x0)
        if self.start == "normal":
            u = problem.noise.child("logits").normal(u)
        with model.frozen(), suppress(Spent), _tapped(self.encoder) as tap:
            for t in range(self.steps):
                with torch.enable_grad():
                    leaf = u.detach().requires_grad_()
                    shares = (self.growth**t * leaf).masked_fill(~reach.allowed, -torch.inf).softmax(2)
                    tap.codes = self.encoder.relaxed(shares)
                problem.look(problem.x0)
                u = u + self.step_size * torch.autograd.grad(tap.codes, leaf, tap.taken())[0].sign()
        problem.record.put(reach.point(u.masked_fill(~reach.allowed, -torch.inf).argmax(2)))
        return problem.result()


@final
@dataclass(frozen=True, kw_only=True)
class DGA:
    """Discrete gradient ascent: from a random point, every feature moves to the reachable bucket that gains most.

    D_k = <code(k) - code(b), dJ / dcode> to first order, b the bucket of the feature as it is; all features move at
    once. A feature that no bucket gains for stays; the point is the nearest value in its bucket.

    Args:
        ball: Linf;  encoder: the thermometer in front of the net, as it stands in the model.
        steps: each looks at the codes of the last point;  random_start: begin at a uniform draw from the ball.
        loss: what is maximised;  keep: which of the points looked at is returned; ``Keep.LAST`` is the paper's.

    Raises:  SettingError if the encoder is quantised, or a number means nothing; when called, ModelError if the model
        does not call the encoder.

    Source:  Buckman, Roy, Raffel & Goodfellow 2018, openreview S18Su--CW.
    Departs:  the best point seen is returned, not the last.
    """

    ball: Linf
    encoder: Thermometer
    steps: int = 7
    random_start: bool = True
    loss: Loss = cross_entropy
    keep: Keep = Keep.MAX_LOSS
    confidence: float = field(default=0.0, init=False, repr=False)
    name: ClassVar[str] = "dga"

    def __post_init__(self) -> None:
        _check(self.ball, self.encoder, self.steps)

    def __call__(
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Attack a batch; arguments as in IterativeAttack."""
        opened = problem = Problem.open(self, model, x, y, target, noise, limits)
        if problem.empty:
            return opened.result()
        with model.frozen(), suppress(Spent), _tapped(self.encoder) as tap:
            state = Point(problem.random_start() if self.random_start else problem.x0)
            for t in range(self.steps + 1):
                problem, state = problem.shrink(state, t)
                problem.record.put(state.x)
                last = t == self.steps
                if problem.empty or (last and self.keep is Keep.LAST):
                    break
                problem.look(state.x, gradient=not last)
                if not last:
                    state = Point(self._moved(problem, state.x, self.encoder.split(tap.taken())))
        return opened.result()

    def _moved(self, problem: Problem, x: Batch, slope: Tensor) -> Batch:
        reach, bucket = _Reach(problem, self.encoder), self.encoder.buckets(x)
        worth = slope.cumsum(2) if self.encoder.mode == "thermometer" else slope
        gain = (worth - worth.gather(2, bucket.unsqueeze(2))).masked_fill(~reach.allowed, -torch.inf)
        best, to = gain.max(2).values, gain.argmax(2)
        return torch.where(best > 0, reach.point(to), x)


@final
class _Reach:
    """The buckets (n, c, L, *f) that the ball around each input reaches, and points in them."""

    def __init__(self, problem: Problem, encoder: Thermometer) -> None:
        self.x0, self.encoder = problem.x0, encoder
        self.low, self.high = (problem.project(problem.x0 + by * problem.radius) for by in (-1, 1))
        lowest, highest = (encoder.buckets(end).unsqueeze(2) for end in (self.low, self.high))
        k = torch.arange(encoder.levels, device=lowest.device).view(1, 1, -1, *[1] * (lowest.dim() - 3))
        self.allowed = (k >= lowest) & (k <= highest)

    def point(self, buckets: Tensor) -> Batch:
        """The values nearest to the inputs in reachable buckets (n, c, *f), inside the ball."""
        return self.encoder.nearest(self.x0, buckets).maximum(self.low).minimum(self.high)


@final
class _Tap:
    """Where the gradient of codes is taken; ``codes`` stand in for those of the encoder, if there are any."""

    def __init__(self) -> None:
        self.codes: Tensor = torch.empty(0)
        self.grads: list[Tensor] = []

    def taken(self) -> Tensor:
        """The gradient of the last look, the sum over its draws; entries that are not finite are 0."""
        if not self.grads:
            raise ModelError(
                "no gradient came back to the encoder: it is not the one that the model calls, or gradients do not "
                "reach it there; attack Classifier(nn.Sequential(encoder, net)) with this very encoder"
            )
        total = torch.stack(self.grads).sum(0).nan_to_num(0.0, 0.0, 0.0)
        self.grads.clear()
        return total

    def hook(self, _module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Let codes leave the encoder so that the gradient of the input, which is 0, passes by them."""
        codes = self.codes if self.codes.numel() else output
        through: Tensor = _Through.apply(args[0], codes.detach(), self)  # type: ignore[no-untyped-call]
        return through


class _Through(torch.autograd.Function):
    """Codes in place of an input; backward, their gradient goes to the tap and none to the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, tap: _Tap) -> Tensor:  # noqa: ANN401 (torch's own)
        ctx.tap, ctx.shape = tap, x.shape
        return codes.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401 (torch's own)
        ctx.tap.grads.append(grads[0])
        return grads[0].new_zeros(ctx.shape), None, None


@contextmanager
def _tapped(encoder: Thermometer) -> Iterator[_Tap]:
    tap = _Tap()
    hook = encoder.register_forward_hook(tap.hook)
    try:
        yield tap
    finally:
        hook.remove()


def _check(ball: Linf, encoder: Thermometer, steps: int) -> None:
    if not isinstance(ball, Linf):
        raise ArgumentTypeError(f"ball={shown(ball)} must be Linf: buckets are reached feature by feature")
    if not isinstance(encoder, Thermometer):
        raise ArgumentTypeError(f"encoder is {type(encoder).__name__}; it must be the Thermometer in front of the net")
    if encoder.mode == "quantised":
        raise SettingError("mode='quantised' has no codes; attack its surrogate instead, or use another mode")
    check_steps(steps, least=1)
