"""An honest attack written straight against the protocol, and for every check of the contract one with a fault."""

import contextlib
import dataclasses
from dataclasses import dataclass

import torch

from saddlepoint import AttackResult, Ball, Keep, Limits, Noise
from saddlepoint.losses import cross_entropy, fooled
from saddlepoint.solve import IterativeAttack


@dataclass(frozen=True)
class Honest:
    """FGSM without the driver."""

    ball: Ball
    name = "planted"

    def __call__(self, model, x, y, *, target=None, noise=Noise(), limits=Limits()):  # noqa: B008
        with self.mode(model):
            x0, spent = self.clean(x), [0, 0]
            if y is None:
                y, spent[0] = self.labels(model, x0), 1
            found = x0
            if self.allowed(limits, spent) and len(x0):
                grad = self.gradient(model, x0, y, self.goal(target))
                spent = [spent[0] + 1, 1]
                found = self.move(x0, self.direction(grad, limits), model)
            return self.report(model, x0, found.detach(), y, self.goal(target), spent)

    def mode(self, model):
        return model.frozen()

    def clean(self, x):
        return x.detach().clone()

    def labels(self, model, x0):
        with torch.no_grad():
            return model.logits(x0).argmax(1)

    def goal(self, target):
        return target

    def allowed(self, limits, spent):
        return not (
            (limits.forwards is not None and limits.forwards < spent[0] + 1)
            or (limits.backwards is not None and limits.backwards < 1)
            or limits.seconds == 0
        )

    def gradient(self, model, x0, y, target):
        with torch.enable_grad():
            x = x0.clone().requires_grad_()
            return torch.autograd.grad(cross_entropy(model.logits(x), y, target).sum(), x)[0].nan_to_num(0, 0, 0)

    def direction(self, grad, limits):
        return grad.sign()

    def radius(self, x0):
        return self.ball.radius(x0)

    def move(self, x0, direction, model):
        return (x0 + self.radius(x0) * direction).clamp(model.bounds.lower, model.bounds.upper)

    def judge(self, model, x0, x, y, target):
        """Logits, success, undefined."""
        with torch.no_grad():
            logits = model.logits(x) if len(x) else x.new_zeros(0, 2)
        defined = logits.isfinite().all(1)
        return logits, fooled(logits, y, target) & defined, ~defined

    def report(self, model, x0, x, y, target, spent):
        logits, success, undefined = self.judge(model, x0, x, y, target)
        count = torch.ones_like(y)
        return AttackResult(
            x=x,
            success=success,
            undefined=undefined,
            loss=cross_entropy(logits, y, target),
            distance=self.ball.distance(x, x0),
            forwards=spent[0] * count,
            backwards=spent[1] * count,
            solved_at=-count,
        )


@dataclass(frozen=True)
class Interval:
    x: torch.Tensor
    direction: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Bisection(IterativeAttack[Interval]):
    """The shortest step along the first gradient that fools: of a linear model the nearest point in Linf."""

    steps: int = 25
    keep: Keep = Keep.MIN_DISTANCE
    name = "bisection"

    def length(self, problem):
        return self.steps

    def init(self, problem):
        low = problem.x0.new_zeros(len(problem.x0))
        high = torch.as_tensor(self.ball.eps, dtype=low.dtype).clamp(max=problem.bounds.width) + low
        return Interval(problem.x0, problem.x0, low, high)

    def step(self, problem, state, seen, t):
        if t == 0:
            direction, middle = problem.steepest_step(seen.grad), state.high
            low, high = state.low, state.high
        else:
            direction, at = state.direction, (state.low + state.high) / 2 if t > 1 else state.high
            low, high = torch.where(seen.success, state.low, at), torch.where(seen.success, at, state.high)
            middle = (low + high) / 2
        x = problem.project(problem.x0 + middle.view(-1, *[1] * (problem.x0.dim() - 1)) * direction)
        return Interval(x, direction, low, high)


PLANTED = {}


def planted(check):
    """Note the class as the one that this check must reject."""

    def note(fault):
        PLANTED[check] = fault
        return fault

    return note


# The eight that matter most.


@planted("true_success")
class ClaimsWithoutDoing(Honest):
    def move(self, x0, direction, model):
        return x0

    def judge(self, model, x0, x, y, target):
        logits, success, undefined = super().judge(model, x0, x, y, target)
        return logits, torch.ones_like(success), undefined & False


@planted("inside_ball")
class OutsideBall(Honest):
    def radius(self, x0):
        return self.ball.radius(x0) * 1.01


@planted("inside_box")
class OutsideBox(Honest):
    def move(self, x0, direction, model):
        return x0 + self.radius(x0) * direction


class Stale(Honest):
    """Success is that of a point further out."""

    def judge(self, model, x0, x, y, target):
        logits, _, undefined = super().judge(model, x0, x, y, target)
        return logits, super().judge(model, x0, x0 + 3 * (x - x0), y, target)[1] & ~undefined, undefined


@planted("shards")
class Coupled(Honest):
    """Gradients are compared with the batch's."""

    def direction(self, grad, limits):
        return (grad - grad.mean(0)).sign()


@planted("gradients_untouched")
class LeakedGradients(Honest):
    @contextlib.contextmanager
    def mode(self, model):
        training = [m for m in model.module.modules() if m.training]
        for module in training:
            module.training = False
        yield
        for module in training:
            module.training = True

    def gradient(self, model, x0, y, target):
        with torch.enable_grad():
            x = x0.clone().requires_grad_()
            cross_entropy(model.logits(x), y, target).sum().backward()
            return x.grad.nan_to_num(0, 0, 0)


@planted("flags_untouched")
class FlippedFlags(Honest):
    @contextlib.contextmanager
    def mode(self, model):
        with model.frozen():
            yield
        model.module.train()


@planted("nan_rows")
class NaNAsSuccess(Honest):
    def judge(self, model, x0, x, y, target):
        logits, *_ = super().judge(model, x0, x, y, target)
        return logits, fooled(logits, y, target), torch.zeros_like(y, dtype=torch.bool)


EIGHT = {
    "no-op claiming success": (ClaimsWithoutDoing, "true_success"),
    "outside the ball": (OutsideBall, "inside_ball"),
    "outside the box": (OutsideBox, "inside_box"),
    "stale success": (Stale, "true_success"),
    "coupled rows": (Coupled, "shards"),
    "leaked parameter gradients": (LeakedGradients, "gradients_untouched"),
    "flipped train flags": (FlippedFlags, "flags_untouched"),
    "NaN as success": (NaNAsSuccess, "nan_rows"),
}

# One more for every other check.

PLANTED["batch_of_one"] = Coupled


class Reports(Honest):
    """Fields of the result that are wrong."""

    def wrong(self, result):
        raise NotImplementedError

    def report(self, model, x0, x, y, target, spent):
        result = super().report(model, x0, x, y, target, spent)
        return dataclasses.replace(result, **self.wrong(result))


@planted("complete_result")
class SinglePrecision(Reports):
    def wrong(self, result):
        return {"x": result.x.float()}


@planted("mixed_precision")
class ModelPrecision(Honest):
    def move(self, x0, direction, model):
        return super().move(x0, direction, model).to(model.dtype)


@planted("true_distance")
class ZeroDistance(Reports):
    def wrong(self, result):
        return {"distance": result.distance * 0}


@planted("true_counts")
class Uncounted(Reports):
    def wrong(self, result):
        return {"forwards": result.forwards - 1}


@planted("constant_model")
class AnyLossIsSuccess(Reports):
    def wrong(self, result):
        return {"success": result.loss > -1}


@planted("other_bounds")
class UnitBox(Honest):
    def move(self, x0, direction, model):
        return super().move(x0, direction, model).clamp(0, 1)


@planted("limited")
class Unlimited(Honest):
    def allowed(self, limits, spent):
        return True


@planted("inputs_untouched")
class InPlace(Honest):
    def clean(self, x):
        return x.detach()

    def move(self, x0, direction, model):
        return x0.add_(self.radius(x0) * direction).clamp_(model.bounds.lower, model.bounds.upper)


@planted("model_untouched")
class LeavesHook(Honest):
    def mode(self, model):
        next(model.module.children()).register_forward_hook(lambda module, args, output: None)
        return model.frozen()


@planted("generators_untouched")
class OwnRandomness(Honest):
    def direction(self, grad, limits):
        return grad.sign() * torch.rand_like(grad).round().sign()


@planted("repeatable")
class Alternating(Honest):
    calls = [0]  # noqa: RUF012

    def direction(self, grad, limits):
        self.calls[0] += 1
        return grad.sign() * (1 - self.calls[0] % 2 / 2)


@planted("shrinking")
class SlackerWhenWhole(Honest):
    def direction(self, grad, limits):
        return grad.sign() * (0.5 if limits.shrink_at == 0 else 1)


@planted("eps_per_row")
class OneRadius(Honest):
    def radius(self, x0):
        return float(torch.as_tensor(self.ball.eps).amax())


@planted("nan_inside_ball")
class DefinedByTheInput(Honest):
    def judge(self, model, x0, x, y, target):
        logits, success, _ = super().judge(model, x0, x, y, target)
        return logits, success, super().judge(model, x0, x0, y, target)[2]


@planted("zero_gradient")
class DividesByZero(Honest):
    def direction(self, grad, limits):
        return grad / grad.flatten(1).abs().amax(1).view(-1, *[1] * (grad.dim() - 1))


@planted("empty_batch")
class NeedsRows(Honest):
    def clean(self, x):
        return super().clean(x) + 0 * x.amax()


@planted("any_rank")
class ImagesOnly(Honest):
    def direction(self, grad, limits):
        return grad.sign() * (grad.amax((1, 2, 3), keepdim=True) > -1)


@planted("noncontiguous")
class ViewsInputs(Honest):
    def clean(self, x):
        return x.detach().view(len(x), -1).clone().view(x.shape)


@planted("predicted_labels")
class ClassZero(Honest):
    def labels(self, model, x0):
        return torch.zeros(len(x0), dtype=torch.int64)


@planted("targeted")
class IgnoresTarget(Honest):
    def goal(self, target):
        return None


@planted("single_logit")
class RawModule(Honest):
    def gradient(self, model, x0, y, target):
        with torch.enable_grad():
            x = x0.clone().requires_grad_()
            return torch.autograd.grad(cross_entropy(model.module(x), y, target).sum(), x)[0]


@planted("logit_shift")
class TrustsLogits(Honest):
    def gradient(self, model, x0, y, target):
        grad = super().gradient(model, x0, y, target)
        with torch.no_grad():
            return grad * (model.logits(x0).amax(1) < 5).view(-1, *[1] * (x0.dim() - 1))


@planted("optimum")
class HalfStep(Honest):
    def direction(self, grad, limits):
        return grad.sign() / 2


@planted("larger_eps")
class ShyOfLargeRadii(Honest):
    def radius(self, x0):
        return self.ball.radius(x0) * (float(torch.as_tensor(self.ball.eps).amax()) < 0.04)


@planted("zero_eps")
class LeastRadius(Honest):
    def radius(self, x0):
        return self.ball.radius(x0) + 1e-7
