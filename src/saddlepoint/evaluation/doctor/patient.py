"""What the doctor looks at: a model, some rows, and what the model said about them, asked once and shared."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, NamedTuple, TypeVar, final

import torch
from torch import Tensor, nn

from saddlepoint._typing import Batch, Labels
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import ModelError, shown
from saddlepoint.evaluation.findings import in_training
from saddlepoint.losses import cross_entropy
from saddlepoint.noise import Noise, drawing
from saddlepoint.records import Finding

T = TypeVar("T")

_CHUNK = 128
_FEW, _LEAST = 64, 16

SHORT = (torch.bfloat16, torch.float16)
_DISTINCT = 32  # values; fewer are counts, or the outputs of a constant


class Gradients(NamedTuple):
    """Gradients (m, *f) of the first m rows: of a weighted sum of the logits, and of the cross-entropy away from y.

    ``attached``: whether the logits hold a graph to the inputs at all;  ``weights`` (m, k), of the sum.
    """

    of_logits: Tensor
    of_loss: Tensor
    weights: Tensor
    attached: bool


@final
@dataclass(frozen=True, kw_only=True)
class Patient:
    """A model, a few rows, and its answers about them; every answer is asked for once, none is counted.

    Args:
        name: of the model;  model: with a meter of its own;  x (n, *f), y (n,): on its device.
        span: the least and the largest value of all inputs, also of rows that are not looked at.
        labels: of all rows, in their order, also of those;  classes: their names.
    """

    name: str
    model: Classifier
    x: Batch
    y: Labels
    span: tuple[float, float]
    labels: Tensor
    classes: tuple[str, ...]

    @classmethod
    def of(cls, name: str, model: Classifier, data: Dataset, rows: int) -> "Patient":
        """At most that many rows, from all over the data, which may be sorted by class."""
        places = spread(len(data), rows)
        x, y = data.x[places].to(model.device), data.y[places].to(model.device)
        span = (float(data.x.min()), float(data.x.max()))
        return cls(name=name, model=model.uncounted(), x=x, y=y, span=span, labels=data.y, classes=data.classes)

    @property
    def few(self) -> int:
        """Rows of the checks that go backward, or ask many times: a quarter, from 16 to 64."""
        return min(len(self.x), _FEW, max(_LEAST, len(self.x) // 4))

    @cached_property
    def logits(self) -> Tensor:
        """Logits (n, k) in evaluation mode, without gradient."""
        return self.ask(self.x)

    @cached_property
    def again(self) -> Tensor:
        """The same, asked a second time."""
        return self.ask(self.x)

    @cached_property
    def training(self) -> Tensor | None:
        """The logits of a few rows in the mode that the module was given in, if that is training mode."""
        return in_training(self.model, self.x[: self.few])

    @cached_property
    def finite(self) -> Tensor:
        """(n,), whether all logits of a row are finite."""
        return self.logits.isfinite().all(1)

    @cached_property
    def random(self) -> bool:
        """Whether two looks differ."""
        return not torch.equal(self.logits.nan_to_num(), self.again.nan_to_num())

    @cached_property
    def right(self) -> Tensor:
        """(n,), whether a row is classified right."""
        return self.logits.argmax(1) == self.y

    @cached_property
    def outside(self) -> bool:
        """Whether an input leaves the bounds by more than rounding."""
        bounds = self.model.bounds
        slack = 1e-6 * bounds.width
        return self.span[0] < bounds.lower - slack or self.span[1] > bounds.upper + slack

    @cached_property
    def probabilities(self) -> bool:
        """Whether the logits are in truth probabilities, or lie in [0, 1] at least."""
        return bool(((self.logits >= 0) & (self.logits <= 1)).all())

    @cached_property
    def gradients(self) -> Gradients:
        """Gradients of the first rows at the clean inputs.

        Raises:  ModelError if the backward pass fails.
        """
        return self.backward(self.x[: self.few], self.y[: self.few])

    @cached_property
    def scale(self) -> float:
        """The standard deviation of the logits within a row, the median over the rows; at least the smallest float."""
        spread = self.logits[self.finite].std(1) if bool(self.finite.any()) else self.logits.new_ones(1)
        return max(float(spread.median()), torch.finfo(torch.float32).tiny)

    @cached_property
    def coarse(self) -> bool:
        """Whether the model computes in 16 bits: small steps then say nothing."""
        return coarse(self.logits) is not None or self.model.autocast is not None or _short(self.model.dtype)

    def ask(self, x: Batch, model: Classifier | None = None, chunk: int = _CHUNK) -> Tensor:
        """Logits (n, k) of the model, or another one, at x, in evaluation mode, in chunks, without gradient."""
        return torch.cat(chunks(partial(_look, self.model if model is None else model), x, chunk))

    def backward(self, x: Batch, y: Labels) -> Gradients:
        """Gradients at x (m, *f); raises as :attr:`gradients`."""
        parts = chunks(self._backward, x, _FEW, y)
        return Gradients(
            torch.cat([part.of_logits for part in parts]),
            torch.cat([part.of_loss for part in parts]),
            torch.cat([part.weights for part in parts]),
            all(part.attached for part in parts),
        )

    def finding(
        self, level: Literal["error", "warning", "note"], title: str, *, evidence: str, consequence: str, remedy: str
    ) -> Finding:
        """A finding about this model."""
        return Finding(
            level=level, title=title, evidence=evidence, consequence=consequence, remedy=remedy, model=self.name
        )

    def _backward(self, x: Batch, y: Labels) -> Gradients:
        with torch.enable_grad(), self.model.frozen():
            leaf = x.clone().requires_grad_()
            logits = self.model.logits(leaf.clone())
            weights = Noise(0).normal(logits.detach())
            if not logits.requires_grad:
                return Gradients(torch.zeros_like(x), torch.zeros_like(x), weights, attached=False)
            try:
                of_logits = _grad((weights * logits).sum(), leaf)
                loss = cross_entropy(logits, y.clamp_max(logits.shape[1] - 1)).sum()
                of_loss = _grad(loss, leaf)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise ModelError(f"the backward pass fails: {shown(error, 200)}") from error
        if of_logits is None or of_loss is None:
            return Gradients(torch.zeros_like(x), torch.zeros_like(x), weights, attached=False)
        return Gradients(of_logits.detach(), of_loss.detach(), weights, attached=True)


def coarse(logits: Tensor) -> torch.dtype | None:
    """The format of 16 bits that holds all of these logits exactly, as no others do by chance."""
    kept = logits[logits.isfinite()].float()
    if kept.unique().numel() < _DISTINCT:
        return None
    return next((kind for kind in SHORT if torch.equal(kept.to(kind).float(), kept)), None)


def _look(model: Classifier, x: Tensor) -> Tensor:
    with torch.no_grad(), model.frozen():
        return model.logits(x.clone()).detach()  # what a model does to its input is not done to the data


def _short(dtype: torch.dtype | None) -> bool:
    return dtype in SHORT


def spread(n: int, rows: int) -> Tensor:
    """At most that many places from 0 to n - 1, in order: drawn at random, but always the same."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))[:rows].sort().values


def _grad(value: Tensor, leaf: Tensor) -> Tensor | None:
    return torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)[0]


def chunks(look: Callable[..., T], x: Tensor, size: int, *others: Tensor) -> list[T]:
    """What ``look`` says of each part of the rows; parts become smaller where memory does not suffice."""
    found, done = [], 0
    while done < len(x):
        rows = slice(done, done + size)
        try:
            found.append(look(x[rows], *(other[rows] for other in others)))
        except (torch.OutOfMemoryError, MemoryError):
            if size == 1:
                raise
            size = max(1, size // 2)
            continue
        done += size
    return found


@contextmanager
def untouched(model: Classifier) -> Iterator[None]:
    """Afterwards the module's buffers and torch's random numbers are as they were; its flags are never changed."""
    module = model.module
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()} if isinstance(module, nn.Module) else {}
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        try:
            with drawing(Noise()):
                yield
        finally:
            if isinstance(module, nn.Module):
                for name, buffer in module.named_buffers():
                    if name in kept and not torch.equal(buffer, kept[name]):
                        buffer.copy_(kept[name])


@contextmanager
def exact(device: torch.device) -> Iterator[bool]:
    """Without TensorFloat-32; gives False where torch does not say whether it is on, and nothing is changed."""
    if device.type != "cuda":
        yield True
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    try:
        was = matmul.allow_tf32, cudnn.allow_tf32
    except RuntimeError:  # set through old and new names of torch at once
        yield False
        return
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = False
        yield True
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = was


def bare(model: Classifier) -> Classifier:
    """The same model without the Classifier's normalisation."""
    return Classifier(model.module, bounds=model.bounds, device=model.device, autocast=model.autocast)


def copied(model: Classifier, dtype: torch.dtype) -> Classifier | None:
    """The same model in another precision, a copy; None where it cannot be copied, as with functions."""
    if not isinstance(model.module, nn.Module):
        return None
    try:
        module = copy.deepcopy(model.module).to(dtype)
    except Exception:  # noqa: BLE001 (any module may refuse, in any way: then this check does not run)
        return None
    mean, std = model.mean, model.std
    return Classifier(module, bounds=model.bounds, mean=mean, std=std, device=model.device)
