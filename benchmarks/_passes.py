"""What an attack asked of a module: seen by hooks on it, and asked again without the attack."""

from contextlib import contextmanager

import torch


@contextmanager
def watched(module):
    """A list that fills with [rows, whether their gradient was taken], one entry for every call of the module."""
    calls = []

    def seen(_module, _inputs, logits):
        call = [len(logits), False]
        calls.append(call)
        if logits.requires_grad:
            logits.register_hook(lambda _grad: call.__setitem__(1, True))

    handle = module.register_forward_hook(seen)
    try:
        yield calls
    finally:
        handle.remove()


def passes(calls, rows):
    """Forward and backward passes per row."""
    return [sum(n for n, _ in calls) / rows, sum(n for n, gradient in calls if gradient) / rows]


def bare(module, x, calls):
    """The same calls, with nothing around them: gradients of the inputs alone, by autograd.grad."""
    for rows, gradient in calls:
        with torch.set_grad_enabled(gradient):
            point = x[:rows].detach().requires_grad_(gradient)
            logits = module(point)
        if gradient:
            torch.autograd.grad(logits.sum(), point)
