"""The boundary between an attacker and a model: all that an attacker may touch, counted."""

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from saddlepoint._typing import Batch, Labels, Logits, is_dense
from saddlepoint.balls.bounds import Bounds
from saddlepoint.bpda import Backward, Map, Prepended, Stage
from saddlepoint.errors import ArgumentTypeError, InputError, ModelError, SaddlepointError, SettingError, shown
from saddlepoint.noise import only


@final
class Meter:
    """Rows that went forward and backward through a model; it only ever grows."""

    def __init__(self) -> None:
        self.forwards = 0
        self.backwards = 0

    def backward(self, rows: int, _grad: Tensor) -> None:
        """The hook that counts."""
        self.backwards += rows

    def __repr__(self) -> str:
        return f"Meter(forwards={self.forwards}, backwards={self.backwards})"


@final
class Classifier:
    """A model as an attacker sees it: inputs in the box go in, logits come out, every row is counted.

    Args:
        module: an ``nn.Module``, or a function of a batch (n, *f), that returns logits (n, k). One logit z means the
            two classes (0, z).
        bounds: the box of valid inputs, before normalisation.
        mean, std: per channel (axis 1) or one number: the model gets (x - mean) / std. Leave both out if the model
            normalises itself.
        device: where the inputs go; None means where the module's parameters are.
        refuses: whether the last of the logits is that of a refusal, not of a class: an attack succeeds where the
            prediction is another class, and no refusal.
        autocast: a lower precision for the forward pass, such as ``torch.bfloat16``; logits come back in the precision
            of the inputs.

    Raises:
        ArgumentTypeError: if the module cannot be called.
        ModelError: if its parameters have no shape yet.
        SettingError: if mean or std are no numbers or std has a zero, the device is not the module's, or autocast is no
            lower precision.
    """

    def __init__(
        self,
        module: Callable[[Tensor], Any],
        *,
        bounds: Bounds | tuple[float, float] = Bounds(),
        mean: float | Sequence[float] | Tensor | None = None,
        std: float | Sequence[float] | Tensor | None = None,
        device: torch.device | str | None = None,
        autocast: torch.dtype | None = None,
        refuses: bool = False,
    ) -> None:
        if not callable(module):
            raise ArgumentTypeError(
                f"a model must be an nn.Module or a function of a batch, got {type(module).__name__}"
            )
        if isinstance(module, nn.Module) and any(map(is_lazy, module.parameters())):
            raise ModelError("the model has parameters without a shape yet; call it once on a batch, then wrap it")
        self.module = module
        self.bounds = Bounds.of(bounds)
        first = (
            next((p for p in module.parameters() if p.is_floating_point()), None)
            if isinstance(module, nn.Module)
            else None
        )
        self.dtype = first.dtype if first is not None else None
        home = first.device if first is not None else torch.device("cpu")
        self.device = home if device is None else _device(device)
        if first is not None and self.device.type != home.type:
            raise SettingError(
                f"device={self.device} but the module's parameters are on {home}; "
                f"move it first: module.to({str(self.device)!r})"
            )
        if autocast not in (None, torch.float16, torch.bfloat16):
            raise SettingError(f"autocast={shown(autocast)} must be torch.bfloat16, torch.float16 or None")
        self.autocast, self.refuses = autocast, refuses
        self.meter, self.draws = Meter(), 1
        self.stages: tuple[Stage, ...] = ()  # what is prepended; the first gets the inputs
        self._bare: Classifier | None = None
        self.num_classes: int | None = None  # known after the first forward pass
        self.mean, self.std = _channels(mean, "mean"), _channels(std, "std")
        if self.mean is not None and not bool(self.mean.isfinite().all()):
            raise SettingError(f"mean={shown(mean)} must be finite in every channel")
        if self.std is not None and not bool(((self.std > 0) & self.std.isfinite()).all()):
            raise SettingError(f"std={shown(std)} must be positive and finite in every channel")

    @property
    def answers(self) -> int:
        """The number of classes that can be answered: without that of a refusal; 0 before the first forward pass."""
        return self.num_classes - self.refuses if self.num_classes else 0

    def logits(self, x: Batch) -> Logits:
        """Logits (n, k) of a batch (n, *f) in the box, differentiable in x, in its precision; the mean over the draws.

        Raises:  ModelError if the model fails, or does not return one row of logits per input.
        """
        return self._once(x) if self.draws == 1 else self.samples(x).mean(0)

    def samples(self, x: Batch) -> Tensor:
        """Logits of each draw, (draws, n, k), every one by a forward pass of its own; raises as :meth:`logits`."""
        return torch.stack([self._once(x) for _ in range(self.draws)]) if self.draws > 1 else self._once(x)[None]

    def sampled(self, draws: int) -> "Classifier":
        """The same model, with the same meter, for a module that is random: every look takes so many forward passes.

        Logits are the mean over the draws; the loss that an attack climbs, and its gradient, is the mean of the losses.

        Raises:  SettingError if draws is no integer >= 1.
        """
        if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
            raise SettingError(f"draws={shown(draws)} must be an integer >= 1")
        twin = copy.copy(self)
        twin.draws = draws
        return twin

    def prepend(self, transform: Map, *, backward: Backward = None) -> "Classifier":
        """The model behind a transform of its inputs: another model, with a meter of its own.

        An input goes through the transform, then the normalisation, then the module. What is prepended last is the
        outermost: ``model.prepend(a).prepend(b)`` gives b the input, and a what b returns. Every attack on it is
        adaptive: it follows the gradient through the transform, or through what stands for it.

        Args:
            transform: a ``Transform``, an ``nn.Module``, or a function of a batch (n, *f) in the box.
            backward: what stands for it in the backward pass: "identity", the upstream gradient as it is; a
                differentiable map to the same shape; None, what a ``Transform`` declares, and autograd for all else.

        Raises:
            ArgumentTypeError: if one of them cannot be called.
            SettingError: if backward is another word, or the transform has other bounds, or is on another device.
        Source:  Athalye, Carlini & Wagner 2018, arXiv:1802.00420, section 4.
        """
        stage, bare = Stage(transform, backward), self.bare
        bounds = getattr(transform, "bounds", self.bounds)
        if isinstance(bounds, Bounds) and bounds != self.bounds:
            raise SettingError(
                f"the transform has the bounds ({bounds.lower:g}, {bounds.upper:g}), the model ({self.bounds.lower:g}, "
                f"{self.bounds.upper:g}); give the transform those of the model: bounds=model.bounds"
            )
        for tensor in (*stage.parameters(), *stage.buffers()):
            if tensor.device.type != self.device.type:
                raise SettingError(
                    f"the transform is on {tensor.device}, the model on {self.device}; "
                    f"move it first: transform.to({str(self.device)!r})"
                )
        twin = copy.copy(self)
        twin.stages, twin._bare, twin.meter = (stage, *self.stages), bare, Meter()
        twin.module = Prepended(twin.stages, bare._normalised, bare.module)
        twin.mean = twin.std = twin.dtype = None  # all of it is inside
        return twin

    @property
    def bare(self) -> "Classifier":
        """The model without what was prepended; itself where nothing was."""
        return self if self._bare is None else self._bare

    @property
    def transforms(self) -> tuple[Map, ...]:
        """What was prepended, in the order in which an input meets it."""
        return tuple(stage.transform for stage in self.stages)

    @property
    def random(self) -> bool:
        """Whether a transform says that it draws anew in every pass, so that attacks should average over draws."""
        return any(stage.random for stage in self.stages)

    @property
    def lasting(self) -> bool:
        """Whether the fingerprint tells another process that it is the same: not of a function."""
        return isinstance(self.bare.module, nn.Module) and all(stage.lasting for stage in self.stages)

    def _once(self, x: Batch) -> Logits:
        self.meter.forwards += len(x)
        inner = self._normalised(x)
        with told(x), torch.autocast(self.device.type, self.autocast) if self.autocast else nullcontext():
            output = self.module(inner if self.dtype is None else inner.to(self.dtype))
        logits = self._checked(output, len(x)).to(x.dtype)
        if logits.requires_grad:
            logits.register_hook(partial(self.meter.backward, len(x)))
        return logits

    def gradients(self, logits: Logits, x: Batch, cotangents: Tensor) -> Tensor:
        """Gradients (m, n, *f) with respect to x of m weighted sums of logits, from the forward pass that gave them.

        One batched backward pass, or m single ones where the model holds a function that cannot be batched.

        Args:  cotangents: (m, n, k), the weights.
        """
        if not logits.requires_grad:  # the output does not depend on the input
            return x.new_zeros(len(cotangents), *x.shape)
        before = self.meter.backwards
        take = partial(torch.autograd.grad, logits, x, retain_graph=True, materialize_grads=True)
        try:
            grads: Tensor = take(cotangents, is_grads_batched=True)[0]
        except RuntimeError:
            grads = torch.stack([take(each)[0] for each in cotangents])
        self.meter.backwards = before + self.draws * len(cotangents) * len(x)  # the hook sees a batched pass once
        return grads

    def predict(self, x: Batch, *, batch_size: int = 512) -> Labels:
        """The most likely class of each row (n,), without gradients, in chunks; raises as :meth:`logits`."""
        if not len(x):
            return torch.zeros(0, dtype=torch.int64, device=x.device)
        parts = []
        with torch.no_grad(), self.frozen():
            for start in range(0, len(x), batch_size):
                rows = slice(start, min(start + batch_size, len(x)))
                with only(rows):
                    parts.append(self.logits(x[rows].to(self.device)).argmax(1).to(x.device))
        return torch.cat(parts)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Evaluation mode, no parameter gradients; afterwards every submodule and parameter has its own flags back."""
        if not isinstance(self.module, nn.Module):
            yield
            return
        training = [m for m in self.module.modules() if m.training]
        trained = [p for p in self.module.parameters() if p.requires_grad]
        try:
            for module in training:
                module.training = False
            for parameter in trained:
                parameter.requires_grad_(False)
            yield
        finally:
            for module in training:
                module.training = True
            for parameter in trained:
                parameter.requires_grad_(True)

    def uncounted(self) -> "Classifier":
        """The same model with a meter of its own: for looks that are no part of an attack."""
        twin = copy.copy(self)
        twin.meter = Meter()
        return twin

    def computed_by(self, module: nn.Module, *, autocast: torch.dtype | None) -> "Classifier":
        """The same model, with the same meter, through a module that computes the same in another way."""
        twin = copy.copy(self)
        twin.module, twin.autocast = module, autocast
        return twin

    @property
    def fingerprint(self) -> str:
        """sha256 of state dict, bounds and normalisation; a plain function gives its name.

        Behind transforms also of their classes, settings and state dicts, and of what stands for each in the backward
        pass: the numbers of attacks depend on it.
        """
        if self.stages:
            digest = hashlib.sha256(self.bare.fingerprint.encode())
            for stage in self.stages:
                digest.update(stage.describe().encode())
                _add_state(digest, stage)
            return digest.hexdigest()
        digest = hashlib.sha256(repr((self.bounds, _listed(self.mean), _listed(self.std))).encode())
        if isinstance(self.module, nn.Module):
            _add_state(digest, self.module)
        else:
            digest.update(getattr(self.module, "__qualname__", type(self.module).__qualname__).encode())
        return digest.hexdigest()

    def _normalised(self, x: Batch) -> Batch:
        if self.mean is not None:
            x = x - _per_channel(self.mean, x, "mean")
        return x if self.std is None else x / _per_channel(self.std, x, "std")

    def _checked(self, output: object, rows: int) -> Logits:
        logits = getattr(output, "logits", output)  # the output classes of Hugging Face carry it
        if not is_dense(logits) or not logits.is_floating_point():
            kind = f"{type(logits).__name__} of {logits.dtype}" if isinstance(logits, Tensor) else type(output).__name__
            raise ModelError(f"the model returned {kind}; it must return a float tensor of logits (n, k), a dense one")
        if logits.dim() == 1 and len(logits) == rows:
            logits = logits[:, None]
        if logits.dim() != 2 or len(logits) != rows or not logits.shape[1]:
            raise ModelError(
                f"the model returned shape {tuple(logits.shape)} for {rows} inputs; "
                "it must be (n, k): one row of logits per input"
            )
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        self.num_classes = logits.shape[1]
        return logits


@contextmanager
def told(x: Batch) -> Iterator[None]:
    """An error of the user's own model as one that says for which inputs; too little memory stays what it is."""
    try:
        yield
    except (SaddlepointError, torch.OutOfMemoryError, MemoryError, Warning):
        raise
    except Exception as error:
        raise ModelError(
            f"the model failed on inputs of shape {tuple(x.shape)} ({x.dtype}): {shown(error, 200)}; give inputs of "
            "the shape that it was made for, (n, channels, height, width) for most"
        ) from error


def _add_state(digest: "hashlib._Hash", module: nn.Module) -> None:
    for name, tensor in module.state_dict().items():
        flat = tensor.detach().to("cpu").contiguous()
        digest.update(f"{name} {flat.dtype} {tuple(flat.shape)}".encode())
        digest.update(flat.reshape(-1).view(torch.uint8).numpy().tobytes())


def _device(device: object) -> torch.device:
    try:
        return torch.device(device)  # type: ignore[call-overload,no-any-return]
    except (RuntimeError, TypeError) as error:
        raise SettingError(f"device={shown(device)} is no device of torch; give 'cpu', 'cuda' or 'cuda:1'") from error


def _channels(value: object, name: str) -> Tensor | None:
    """One number (), or one per channel (c,), in float64."""
    if value is None:
        return None
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise SettingError(f"{name}={shown(value)} must be one number, or one per channel") from error
    if not is_dense(numbers) or numbers.numel() != max(numbers.shape, default=1):
        raise SettingError(f"{name}={shown(value)} must be one number, or one per channel")
    return numbers.detach().flatten() if numbers.dim() else numbers.detach()


def _per_channel(value: Tensor, x: Batch, name: str) -> Tensor:
    if value.dim() == 1 and len(value) > 1 and (x.dim() < 2 or x.shape[1] != len(value)):
        raise InputError(
            f"{name} has {len(value)} channels, the inputs have shape {tuple(x.shape)}; axis 1 must be the channels"
        )
    return value.to(x).view(-1, *[1] * (x.dim() - 2)) if value.dim() else value.to(x)


def _listed(value: Tensor | None) -> object:
    return None if value is None else value.tolist()
