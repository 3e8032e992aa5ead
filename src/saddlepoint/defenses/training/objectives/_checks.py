"""What objectives refuse; every error names the value, the rule and the remedy."""

import math

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Logits, is_number
from saddlepoint.attacks._gradient import check_size, check_steps
from saddlepoint.balls import L0, Ball
from saddlepoint.errors import ArgumentTypeError, ModelError, RadiusError, SettingError, shown


def radius(ball: Ball) -> float:
    """The one finite eps of a ball that gradients can fill."""
    if not isinstance(ball, Ball) or isinstance(ball, L0):
        raise ArgumentTypeError(f"ball={shown(ball)} must be Linf, L2 or L1 with its radius, such as Linf(8 / 255)")
    if isinstance(ball.eps, Tensor):
        raise SettingError("the ball has one eps per row; training needs one eps for all rows")
    if math.isinf(ball.eps):
        raise RadiusError("eps=inf is for minimum-norm attacks; training needs a finite eps")
    return float(ball.eps)


def check_share(name: str, value: float, what: str) -> None:
    """Refuse what is no share."""
    if not is_number(value) or not 0 <= value <= 1:
        raise SettingError(f"{name}={shown(value)} must lie in [0, 1]: {what}")


def check_weight(name: str, value: float) -> None:
    """Refuse a weight that is negative or not finite."""
    if not is_number(value) or not 0 <= value < math.inf:
        raise SettingError(f"{name}={shown(value)} must be a finite number >= 0; 0 leaves the term out")


def check_temperature(value: float) -> None:
    """Refuse a temperature that logits cannot be divided by."""
    if not is_number(value) or not 0 < value < math.inf:
        raise SettingError(f"temperature={shown(value)} must be positive and finite; 1 is the plain softmax")


def check_ascent(ball: Ball, beta: float, steps: int, step_size: float | None, bn: str) -> None:
    """Refuse settings of a divergence with the weight ``beta`` whose points are found by steps in a ball."""
    radius(ball)
    check_weight("beta", beta)
    check_steps(steps, least=1)
    check_size(step_size)
    check_choice("bn", bn, "eval", "train")


def check_choice(name: str, value: object, *choices: str) -> None:
    """Refuse a word that is none of the choices."""
    if value not in choices:
        raise SettingError(f"{name}={shown(value)} must be {' or '.join(map(repr, choices))}")


def check_teacher(teacher: object, what: str = "teacher") -> None:
    """Refuse a teacher that has no modes."""
    if not isinstance(teacher, nn.Module):
        raise ArgumentTypeError(f"{what} is {type(teacher).__name__}; it must be a trained nn.Module")


def scores(module: nn.Module, x: Batch) -> Logits:
    """Logits (n, k) of at least two classes, with their graph; in float32 where the module says less."""
    output = module(x)
    logits = getattr(output, "logits", output)  # the output classes of Hugging Face carry it
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(x) or logits.shape[1] < 2:
        told = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"the model returned {told} for {len(x)} inputs; training needs logits (n, k) of at least two classes"
        )
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
