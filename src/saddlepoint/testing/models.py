"""Small models with a known fault, to test attacks and diagnostics with."""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Logits, Mask
from saddlepoint.noise import Noise


@final
class NaNModel(nn.Module):
    """NaN logits, and NaN gradients, for the rows that meet a condition; the inner model's for all others.

    Args:  inner: (n, *f) -> (n, k);  where: (n, *f) -> (n,), the rows to spoil.  See :func:`away_from`.
    """

    def __init__(self, inner: nn.Module, where: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.where = inner, where

    def forward(self, x: Batch) -> Logits:
        logits: Tensor = self.inner(x)
        spoiled = self.where(x.detach())[:, None]
        return logits * torch.where(spoiled, torch.nan, 1.0).to(logits)  # a product, so that the gradient is NaN too


def away_from(x0: Tensor) -> Callable[[Tensor], Tensor]:
    """The condition that a row equals none of the rows x0 (m, *f): NaN inside the ball only, fine when clean."""
    clean = x0.detach().clone().flatten(1)

    def where(x: Tensor) -> Mask:
        return (x.flatten(1)[:, None] != clean.to(x)).any(2).all(1)

    return where


@final
class MaskedModel(nn.Module):
    """The inner model's logits with useless gradients: its robustness is an illusion, and diagnostics must say so.

    Args:  inner: (n, *f) -> (n, k);  shattered: gradients point anywhere, in place of being zero.
    """

    def __init__(self, inner: nn.Module, *, shattered: bool = False) -> None:
        super().__init__()
        self.inner, self.shattered = inner, shattered

    def forward(self, x: Batch) -> Logits:
        masked = _Masked.apply(x, self.shattered)  # type: ignore[no-untyped-call]
        logits: Tensor = self.inner(masked)
        return logits


class _Masked(torch.autograd.Function):
    """The identity, but for its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shattered: bool) -> Tensor:  # noqa: ANN401 (torch's context)
        ctx.save_for_backward(x)
        ctx.shattered = shattered
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (x,) = ctx.saved_tensors
        return (torch.sin(1e5 * x + 1) if ctx.shattered else torch.zeros_like(x)), None


@final
class RandomModel(nn.Module):
    """Fresh normal noise on the logits of every forward pass; torch's own generator is not used.

    Args:  inner: (n, *f) -> (n, k);  scale: standard deviation, logit units;  seed: of the noise.
    """

    def __init__(self, inner: nn.Module, *, scale: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.inner, self.scale, self.seed, self.calls = inner, scale, seed, 0

    def forward(self, x: Batch) -> Logits:
        logits: Tensor = self.inner(x)
        self.calls += 1
        return logits + self.scale * Noise(self.seed).normal(logits, self.calls)


@final
class ConstantModel(nn.Module):
    """The same logits whatever the input, with a gradient of zero.

    Args:  logits: (k,).
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("constant", logits.detach().clone())

    def forward(self, x: Batch) -> Logits:
        constant: Tensor = self.get_buffer("constant")
        return constant.to(x) + 0 * x.flatten(1).sum(1, keepdim=True)
