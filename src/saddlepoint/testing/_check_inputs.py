"""Checks of every kind of input that an attack must take."""

import math

import torch
from torch import Tensor, nn

from saddlepoint.classifier import Classifier
from saddlepoint.errors import InputError, SettingError
from saddlepoint.noise import Noise
from saddlepoint.testing._subject import CLASSES, MEAN, STD, Case, Subject, bare, fooled_rows
from saddlepoint.testing._suite import expect, expect_close, named

ATOL = 1e-9


def batch_of_one(subject: Subject) -> None:
    """A single row gets what it gets among others."""
    case = subject.case()
    whole = subject.run(case)
    one = subject.attack(case.model, case.x[:1], case.y[:1], noise=Noise(3))
    expect_close(one.x, whole.x[:1], ATOL, "a batch of one gives another point")
    expect(one.success == whole.success[:1], "a batch of one gives another verdict")


def empty_batch(subject: Subject) -> None:
    """No rows in, no rows out."""
    for dtype in (torch.float32, torch.float64):
        case = subject.case(dtype)
        result = subject.attack(case.model, case.x[:0], case.y[:0])
        expect(result.x.shape == (0, *subject.shape), f"x has shape {tuple(result.x.shape)}")
        expect(result.x.dtype == dtype, f"x is {result.x.dtype}, the inputs are {dtype}")
        for name in ("success", "undefined", "loss", "distance", "forwards", "backwards", "solved_at"):
            expect(getattr(result, name).shape == (0,), f"{name} has shape {tuple(getattr(result, name).shape)}")


def any_rank(subject: Subject) -> None:
    """The same features in another shape give the same points."""
    case = subject.case()
    wanted = subject.run(case).x.flatten(1)
    shapes = {2: (subject.features,), 3: (subject.shape[0], subject.features // subject.shape[0]), 4: subject.shape}
    for rank in subject.ranks:
        shape = shapes.get(rank, (*[1] * (rank - 2), subject.features))
        found = subject.run(Case(case.model, case.x.reshape(-1, *shape), case.y)).x
        expect(found.shape == (len(case.x), *shape), f"rank {rank}: x has shape {tuple(found.shape)}")
        expect_close(found.flatten(1), wanted, ATOL, f"rank {rank}: points differ")


def mixed_precision(subject: Subject) -> None:
    """float64 inputs through a float32 model stay float64, and the verdicts are true."""
    case = subject.case(torch.float32)
    wide = Case(case.model, case.x.double(), case.y)
    result = subject.run(wide)
    expect(result.x.dtype == torch.float64, f"x is {result.x.dtype}, the inputs are float64")
    with torch.no_grad():
        predicted = case.module(((result.x - MEAN) / STD).float()).argmax(1)
    expect(result.success == (predicted != case.y), "success is not the verdict on x")


def noncontiguous(subject: Subject) -> None:
    """Strides of the inputs do not matter."""
    case = subject.case()
    wanted = subject.run(case).x
    wide = torch.stack([case.x, 1 - case.x], -1)[..., 0]
    turned = case.x.movedim(0, -1).contiguous().movedim(-1, 0)
    channels_last = case.x.movedim(1, -1).contiguous().movedim(-1, 1)
    for x in (wide, turned, channels_last):
        expect(not x.is_contiguous(), "this input should not be contiguous")
        expect_close(subject.run(Case(case.model, x, case.y)).x, wanted, ATOL, "other strides give other points")


def predicted_labels(subject: Subject) -> None:
    """Without labels the model's own predictions are attacked."""
    case = subject.case()
    predicted = bare(case.module, case.x).argmax(1)
    given = subject.attack(case.model, case.x, predicted, noise=Noise(3))
    found = subject.attack(case.model, case.x, None, noise=Noise(3))
    expect_close(found.x, given.x, ATOL, "y=None and the predictions give different points")
    expect(found.success == given.success, "y=None and the predictions give different verdicts")


def targeted(subject: Subject) -> None:
    """A target is reached or not, as the bare module says; an attack that takes none refuses it."""
    case = subject.case()
    logits = bare(case.module, case.x)
    target = (logits.argmax(1) + 1) % CLASSES
    if not subject.targeted:
        try:
            subject.run(case, target=target)
        except (SettingError, InputError) as error:
            expect("target" in str(error), f"the error must say that a target is refused: {error}")
            return
        raise AssertionError("declared targeted=False, but a target is silently taken")
    result = subject.run(case, target=target)
    expect(result.success == fooled_rows(case, result.x, target), "success is not: the module predicts the target")
    nearer = bare(case.module, result.x).log_softmax(1) - logits.log_softmax(1)
    gain = nearer.gather(1, target[:, None]).mean()
    if subject.eps > 0:
        expect(gain > 0, f"log-probability of the target rose by {gain.item():.3g}; it should rise")


def single_logit(subject: Subject) -> None:
    """One logit z, (n, 1) or (n,), is the two classes (0, z)."""
    case = subject.case()
    two, y = _Head(case.module, "two"), None
    wanted = subject.attack(_wrapped(two), case.x, y, noise=Noise(3))
    for form in ("column", "flat"):
        found = subject.attack(_wrapped(_Head(case.module, form)), case.x, y, noise=Noise(3))
        expect_close(found.x, wanted.x, ATOL, "a single logit gives other points than the logits (0, z)")
        expect(found.success == wanted.success, "a single logit gives other verdicts than the logits (0, z)")


def logit_shift(subject: Subject) -> None:
    """A constant added to all logits of a row changes nothing; log-probabilities do as well as logits."""
    case = subject.case()
    wanted = subject.run(case)
    for form in ("shift", "negative"):
        found = subject.run(Case(_wrapped(_Head(case.module, form)), case.x, case.y))
        expect(found.success == wanted.success, f"other verdicts with {form} added to the logits")
        expect_close(found.distance, wanted.distance, 1e-6, f"other distances with {form} added to the logits")


class _Head(nn.Module):
    """The net with another form of output."""

    def __init__(self, net: nn.Module, form: str) -> None:
        super().__init__()
        self.net, self.form = net, form

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        if self.form == "shift":
            return logits + 50 * x.detach().flatten(1)[:, :1]
        if self.form == "negative":
            return logits - 40 * math.pi
        z = logits[:, 1:2] - logits[:, :1]
        return torch.cat([torch.zeros_like(z), z], 1) if self.form == "two" else z if self.form == "column" else z[:, 0]


def _wrapped(module: nn.Module) -> Classifier:
    return Classifier(module, mean=MEAN, std=STD)


CHECKS = named(
    batch_of_one,
    empty_batch,
    any_rank,
    mixed_precision,
    noncontiguous,
    predicted_labels,
    targeted,
    single_logit,
    logit_shift,
)
