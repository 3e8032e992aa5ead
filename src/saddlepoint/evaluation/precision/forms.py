"""The forms in which a model can be computed for attacks; the user's own module stays as it is in each."""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from saddlepoint.classifier import Classifier
from saddlepoint.errors import shown

PRECISIONS = ("float32", "auto")


@final
@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to compute a model.

    Args:
        bfloat16: autocast inside the forward pass; inputs, logits, losses and gradients stay in float32.
        channels_last: images and weights lie in memory channels last.
        compiled: by ``torch.compile``.
    """

    bfloat16: bool = False
    channels_last: bool = False
    compiled: bool = False

    @property
    def name(self) -> str:
        """What reports call it.

        >>> Form(channels_last=True, compiled=True).name
        'float32 channels_last compiled'
        """
        parts = {"channels_last": self.channels_last, "compiled": self.compiled}
        return " ".join(["bfloat16" if self.bfloat16 else "float32", *(part for part, has in parts.items() if has)])

    def of(self, model: Classifier, twin: nn.Module | None = None) -> Classifier:
        """The model in this form, with the same meter; its module is a copy where more is asked of it than autocast.

        Args:  twin: what :func:`copied` gave, for several forms to share.
        """
        assert isinstance(model.module, nn.Module), "a function has no other form"
        module: nn.Module = model.module
        if self.channels_last or self.compiled:
            inner = copied(module, channels_last=self.channels_last) if twin is None else twin
            module = _Arranged(torch.compile(inner) if self.compiled else inner, self)
        return model.computed_by(module, autocast=torch.bfloat16 if self.bfloat16 else None)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Where attacks run in this form: some take several gradients of one forward pass.

        A compiled graph gives its buffers away to the first of them, unless a switch that holds for one thread says no.
        What compilers warn of is not for the user to mend.
        """
        if not self.compiled:
            yield
            return
        from torch._functorch import config  # no public name has it

        kept, one_thread = config.patch(donated_buffer=False), torch.autograd.set_multithreading_enabled(False)
        with kept, one_thread, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield


FLOAT32 = Form()


def offered(shape: torch.Size, *, exact: bool) -> list[Form]:
    """The forms to try beside float32, the most changed last.

    Args:  shape: of the rows (n, *f); only images (n, c, h, w) have channels;  exact: without bfloat16.
    """
    images = len(shape) == 4
    kinds = [(False, images, False), (True, False, False), (True, images, False)]
    kinds += [(False, images, True), (True, images, True)]
    forms = [Form(bfloat16=short, channels_last=last, compiled=fast) for short, last, fast in dict.fromkeys(kinds)]
    return [form for form in forms if form != FLOAT32 and not (exact and form.bfloat16)]


def native(model: Classifier) -> str:
    """What a model computes in, as it was given."""
    dtype = torch.float32 if model.dtype is None else model.dtype
    lower = "" if model.autocast is None else f" with autocast to {_plain(model.autocast)}"
    return _plain(dtype) + lower


def copied(module: nn.Module, *, channels_last: bool) -> nn.Module:
    """A copy of a module in evaluation mode whose parameters take no gradients.

    Raises:  TypeError if it refuses to be copied.
    """
    try:
        twin = copy.deepcopy(module).train(False).requires_grad_(False)
    except Exception as error:
        raise TypeError(f"the module cannot be copied: {shown(error)}") from error
    return twin.to(memory_format=torch.channels_last) if channels_last else twin  # type: ignore[call-overload]


@final
class _Arranged(nn.Module):
    """A module whose inputs are laid out in memory as its weights are."""

    def __init__(self, inner: Callable[[Tensor], object], form: Form) -> None:
        super().__init__()
        self.inner = inner
        self.form = form
        self.train(False)

    def forward(self, x: Tensor) -> object:
        return self.inner(x.contiguous(memory_format=torch.channels_last) if self.form.channels_last else x)


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
