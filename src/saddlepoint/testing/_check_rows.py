"""Checks that what a row gets depends on nothing but the row."""

import torch
from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.classifier import Classifier
from saddlepoint.problem import Limits
from saddlepoint.result import AttackResult
from saddlepoint.solve import Attack
from saddlepoint.testing._subject import LARGEST, Case, Subject
from saddlepoint.testing._suite import expect, expect_close, named
from saddlepoint.testing.models import NaNModel, away_from

ATOL = 1e-9
BAD = slice(4, 20, 5)


def shrinking(subject: Subject) -> None:
    """Whether settled rows leave the batch changes no point, verdict or count."""
    for attack in subject.variants():
        case = _spoiled(subject, inside=True)[0]
        whole = subject.run(case, attack, limits=Limits(shrink_at=0))
        for share in (0.8, 1.0):
            shrunk = subject.run(case, attack, limits=Limits(shrink_at=share))
            _same(shrunk, whole, f"shrink_at={share}")
            for name in ("forwards", "backwards", "solved_at"):
                expect(getattr(shrunk, name) == getattr(whole, name), f"{name} differs with shrink_at={share}")


def shards(subject: Subject) -> None:
    """Batches of 1, of 7 and of all rows, shuffled, give each row the same."""
    case = subject.case()
    order = (torch.arange(len(case.x), device=case.x.device) * 7 + 2) % len(case.x)
    batches = {"1": order[:5].split(1), "7": order.split(7), "all": (order,)}
    for attack in subject.variants():
        whole = subject.run(case, attack)
        for size, parts in batches.items():
            for rows in parts:
                _same(subject.run(case, attack, rows=rows), _rows_of(whole, rows), f"shuffled batches of {size}")


def eps_per_row(subject: Subject) -> None:
    """Each row gets what its own eps alone would give it."""
    case, radii = subject.case(), [0.0, subject.eps / 3, subject.eps]
    choice = torch.arange(len(case.x), device=case.x.device) % 3
    eps = torch.tensor(radii, dtype=case.x.dtype, device=case.x.device)[choice]
    mixed = subject.run(case, subject.sized(eps))
    expect(subject.ball.distance(mixed.x, case.x) <= eps + 1e-6, "a point is outside the ball of its own eps")
    for i, radius in enumerate(radii):
        rows = (choice == i).nonzero().squeeze(1)
        alone = subject.run(case, subject.sized(radius), rows=rows)
        _same(_rows_of(mixed, rows), alone, f"eps={radius:g} alone and among others")


def nan_rows(subject: Subject) -> None:
    """Rows whose output is NaN come out undefined, and their neighbours as if they were not there."""
    _check_nan(subject, inside=False)


def nan_inside_ball(subject: Subject) -> None:
    """The same where the output is finite at the input, and NaN everywhere around it."""
    _check_nan(subject, inside=True)


def zero_gradient(subject: Subject) -> None:
    """Rows without any gradient stay finite and are not fooled; their neighbours are as without them."""
    case, fine = _spoiled(subject, inside=False, flat=True)
    attack = subject.reduced()
    result, alone = subject.run(case, attack), subject.run(fine, attack)
    for name in ("x", "loss", "distance"):
        expect(getattr(result, name).isfinite(), f"{name} is not finite")
    expect(~result.success[BAD] & ~result.undefined[BAD], "a row with constant output is not held")
    good = _good(case)
    _same(_rows_of(result, good), _rows_of(alone, good), "rows beside one without gradient")


def _check_nan(subject: Subject, *, inside: bool) -> None:
    case, fine = _spoiled(subject, inside=inside)
    attack: Attack = subject.reduced()
    good, still = _good(case), Limits(shrink_at=0)
    for limits in (still, Limits()):
        result = subject.run(case, attack, limits=limits)
        expect(~result.success[BAD], "a row with NaN output is called fooled")
        expect(result.undefined[BAD], "a row with NaN output is called robust, not undefined")
        expect(result.x.isfinite(), "a point is not finite")
        expect(~result.undefined[good], "a neighbour of a row with NaN output came out undefined")
        alone = subject.run(fine, attack, limits=limits)
        if limits is still:
            expect(result.x[good] == alone.x[good], "a row with NaN output moved a neighbour")
            expect(result.success[good] == alone.success[good], "a row with NaN output changed a neighbour's verdict")
        else:
            _same(_rows_of(result, good), _rows_of(alone, good), "rows beside one with NaN output")


class _Sides(torch.nn.Module):
    """A net that ignores the first feature, which then marks the rows to spoil: no gradient moves it."""

    def __init__(self, net: torch.nn.Module, flat: bool) -> None:
        super().__init__()
        self.net, self.flat = net, flat

    def forward(self, x: Tensor) -> Tensor:
        features = x.flatten(1)
        logits: Tensor = self.net(torch.cat([torch.zeros_like(features[:, :1]), features[:, 1:]], 1))
        constant = torch.arange(logits.shape[1], device=x.device).to(x)
        return torch.where(upper_side(x)[:, None], constant, logits) if self.flat else logits


def upper_side(x: Tensor) -> Tensor:
    """Rows (n,) whose first feature is in the upper half of the box."""
    return x.flatten(1)[:, 0] > 0.5


def _spoiled(subject: Subject, *, inside: bool, flat: bool = False) -> tuple[Case, Case]:
    """A case with bad rows, and the same without what is bad about them."""
    plain = subject.case()
    features = plain.x.flatten(1).clone()
    features[:, 0] = (0.5 - LARGEST) / 2
    features[BAD, 0] = 1 - (0.5 - LARGEST) / 2
    x = features.view(plain.x.shape)
    sides = _Sides(plain.module, flat)
    clean = away_from(x)
    where = (lambda v: upper_side(v) & clean(v)) if inside else upper_side
    bad = sides if flat else NaNModel(sides, where)
    fine = _Sides(plain.module, False)
    with torch.no_grad():
        y = fine(x).argmax(1)
    y[-3:] = (y[-3:] + 1) % 4
    if flat:
        y[BAD] = 3
    return Case(Classifier(bad, bounds=Bounds()), x, y), Case(Classifier(fine), x, y)


def _good(case: Case) -> Tensor:
    return (~upper_side(case.x)).nonzero().squeeze(1)


def _rows_of(result: AttackResult, rows: Tensor) -> AttackResult:
    return AttackResult(**{name: getattr(result, name)[rows] for name in AttackResult.__dataclass_fields__})


def _same(found: AttackResult, wanted: AttackResult, message: str) -> None:
    expect(
        found.success == wanted.success, f"{message}: {int((found.success != wanted.success).sum())} verdicts differ"
    )
    expect(found.undefined == wanted.undefined, f"{message}: undefined rows differ")
    expect_close(found.x, wanted.x, ATOL, f"{message}: points differ")


CHECKS = named(shrinking, shards, eps_per_row, nan_rows, nan_inside_ball, zero_gradient)
