"""Checks that a result tells the truth."""

import math

import torch
from torch import Tensor

from saddlepoint.problem import Limits
from saddlepoint.result import AttackResult, Keep
from saddlepoint.testing._subject import Case, Subject, fooled_rows
from saddlepoint.testing._suite import expect, expect_close, named

SLACK = 1e-6


def complete_result(subject: Subject) -> None:
    """One entry per row in every field, of the right type, detached."""
    for dtype in (torch.float32, torch.float64):
        case = subject.case(dtype)
        result, n = subject.run(case), len(case.x)
        expect(result.x.shape == case.x.shape, f"x has shape {tuple(result.x.shape)}, not {tuple(case.x.shape)}")
        expect(result.x.dtype == dtype, f"x is {result.x.dtype}, the inputs are {dtype}")
        expect(not result.x.requires_grad and not result.loss.requires_grad, "the result carries a graph")
        for name, kind in _KINDS.items():
            value: Tensor = getattr(result, name)
            expect(value.shape == (n,), f"{name} has shape {tuple(value.shape)}, not ({n},)")
            expect(value.dtype in kind, f"{name} is {value.dtype}")
        expect(~(result.success & result.undefined), "a row is both fooled and undefined")


def inside_ball(subject: Subject) -> None:
    """No point is further from its input than eps."""
    for attack in subject.variants():
        for dtype in (torch.float32, torch.float64):
            case = subject.case(dtype)
            _in_ball(subject, case, subject.run(case, attack).x, float(subject.ball.eps))


def inside_box(subject: Subject) -> None:
    """No feature leaves the bounds, not even by rounding."""
    for attack in subject.variants():
        for dtype in (torch.float32, torch.float64):
            case = subject.case(dtype)
            _in_box(case, subject.run(case, attack).x)


def other_bounds(subject: Subject) -> None:
    """Ball and box hold, and verdicts are true, for inputs in [-2, 3] too."""
    case = subject.case(bounds=(-2.0, 3.0))
    result = subject.run(case)
    _in_ball(subject, case, result.x, float(subject.ball.eps))
    _in_box(case, result.x)
    expect(result.success == fooled_rows(case, result.x), "success differs from the verdict of the bare module")


def true_success(subject: Subject) -> None:
    """Success is what the bare module says of exactly the returned points."""
    for attack in subject.variants():
        for dtype in (torch.float32, torch.float64):
            case = subject.case(dtype)
            result = subject.run(case, attack)
            wrong = result.success != fooled_rows(case, result.x)
            expect(~wrong, f"success differs from the verdict of the bare module in {int(wrong.sum())} rows")
            expect(~result.undefined, "rows are undefined though every output is finite")


def true_distance(subject: Subject) -> None:
    """Distance is that of the returned points."""
    case = subject.case()
    result = subject.run(case)
    expect_close(result.distance, _distance(subject, result.x, case.x), 1e-9, "distance is not that of x")


def true_counts(subject: Subject) -> None:
    """The passes of all rows, and one forward of each to verify it, are those that the meter saw."""
    for attack in subject.variants():
        case = subject.case()
        if getattr(attack, "needs_graph", False):  # rows that are wrong anyway settle at a look whose gradients follow
            case = Case(case.model, case.x[:-3], case.y[:-3])
        result, meter = subject.run(case, attack, limits=Limits(shrink_at=1.0)), case.model.meter
        forwards, backwards = int(result.forwards.sum()) + len(case.x), int(result.backwards.sum())
        expect(forwards == meter.forwards, f"{forwards} forwards with verification, the meter saw {meter.forwards}")
        expect(backwards == meter.backwards, f"{backwards} backwards, the meter saw {meter.backwards}")
        solved = result.solved_at
        expect(
            (solved == -1) | ((solved >= 1) & (solved <= result.forwards)), "solved_at is no forward pass of its row"
        )


def limited(subject: Subject) -> None:
    """No row takes more passes than its limit, and what it found within them is returned."""
    case = subject.case()
    least = torch.zeros(len(case.x), dtype=torch.bool, device=case.x.device)
    for budget in (1, 2, 3, 5, math.inf):
        result = _limited_run(subject, Limits(forwards=budget))
        if subject.keep is not Keep.LAST:
            expect(~least | result.success, f"a success found earlier is lost with {budget} forwards")
            least = result.success
    for limits in (Limits(forwards=0), Limits(backwards=0), Limits(backwards=2), Limits(seconds=0)):
        _limited_run(subject, limits)


def _limited_run(subject: Subject, limits: Limits) -> AttackResult:
    case = subject.case()
    result = subject.run(case, limits=limits)
    for name in ("forwards", "backwards"):
        limit, spent = getattr(limits, name), getattr(result, name)
        verification = len(case.x) if name == "forwards" else 0
        if limit is not None:
            expect(spent <= limit, f"a row took {int(spent.max())} {name}, its limit is {limit}")
            total = getattr(case.model.meter, name)
            expect(
                total <= limit * len(case.x) + verification, f"the meter saw {total} {name} under a limit of {limit}"
            )
    _in_ball(subject, case, result.x, float(subject.ball.eps))
    expect(result.success == fooled_rows(case, result.x), f"success is not the verdict on x under {limits}")
    return result


def _in_ball(subject: Subject, case: Case, x: Tensor, eps: float | Tensor) -> None:
    over = _distance(subject, x, case.x) - eps
    expect(over <= SLACK, f"a point is {over.max().item():.3g} outside the ball")


def _in_box(case: Case, x: Tensor) -> None:
    bounds = case.model.bounds
    expect(x.isfinite(), "a point is not finite")
    expect((x >= bounds.lower) & (x <= bounds.upper), f"points range from {x.min().item()} to {x.max().item()}")


def _distance(subject: Subject, x: Tensor, x0: Tensor) -> Tensor:
    delta = (x.double() - x0.double()).flatten(1)
    orders = {"linf": float("inf"), "l2": 2.0, "l1": 1.0, "l0": 0.0}
    if subject.ball.norm in orders:
        norm: Tensor = torch.linalg.vector_norm(delta, orders[subject.ball.norm], dim=1)
        return norm
    distance: Tensor = subject.ball.distance(x.double(), x0.double())
    return distance


_FLOATS, _FLAGS, _WHOLE = (torch.float32, torch.float64), (torch.bool,), (torch.int64,)
_KINDS = {
    "success": _FLAGS,
    "undefined": _FLAGS,
    "loss": _FLOATS,
    "distance": _FLOATS,
    "forwards": _WHOLE,
    "backwards": _WHOLE,
    "solved_at": _WHOLE,
}

CHECKS = named(
    complete_result, inside_ball, inside_box, other_bounds, true_success, true_distance, true_counts, limited
)
