"""The axioms that every ball obeys."""

import math

import torch
from torch import Tensor

from saddlepoint.balls import Ball, Bounds
from saddlepoint.noise import Noise
from saddlepoint.testing._kind import DTYPES, ROWS, SHAPE, UNIT, Kind, mixed, points
from saddlepoint.testing._suite import expect, expect_close, named


def projection_is_inside(kind: Kind) -> None:
    """Any point lands in ball and box, in both precisions, also with one eps per row."""
    for dtype in DTYPES:
        x0, x = points(dtype)
        for eps in (0.0, *kind.radii(), mixed(kind, dtype)):
            ball = kind.of(eps)
            _expect_inside(ball, ball.project(x, x0, UNIT), x0, UNIT)
    wide = Bounds(-2.0, 3.0)
    _expect_inside(
        kind.of(kind.radii()[0]), kind.of(kind.radii()[0]).project(7 * x, 5 * x0 - 2, wide), 5 * x0 - 2, wide
    )


def projection_is_idempotent(kind: Kind) -> None:
    """Projecting twice is projecting once, bit for bit."""
    for dtype in DTYPES:
        x0, x = points(dtype)
        for eps in kind.radii():
            once = kind.of(eps).project(x, x0, UNIT)
            expect(kind.of(eps).project(once, x0, UNIT) == once, f"a second projection moves points, eps={eps:g}")


def projection_keeps_what_is_inside(kind: Kind) -> None:
    """Points of ball and box stay, up to the rounding of one addition."""
    for dtype in DTYPES:
        x0, _ = points(dtype)
        for eps in kind.radii():
            inside = kind.of(eps * 0.99).random_start(x0, UNIT, Noise(2))
            atol = 2 * torch.finfo(dtype).eps
            expect_close(kind.of(eps).project(inside, x0, UNIT), inside, atol, "a feasible point was moved")


def projection_is_nearest(kind: Kind) -> None:
    """<x - P(x), q - P(x)> <= 0 for every feasible q: of a convex set, that is the nearest point."""
    if not kind.convex:
        return
    x0, x = points(torch.float64)
    for eps in kind.radii():
        ball = kind.of(eps)
        nearest = ball.project(x, x0, UNIT)
        others = [ball.random_start(x0, UNIT, Noise(seed)) for seed in range(40)]
        pull = x - nearest
        others += [ball.project(nearest + step * pull, x0, UNIT) for step in (0.01, 1.0, 100.0)]
        others += [(x0 + eps * share * ball.steepest_step(pull)).clamp(0, 1) for share in (0.5, 1.0)]
        for q in others:
            product = (pull * (q - nearest)).flatten(1).sum(1)
            expect(product <= 1e-9, f"a feasible point is nearer, by {product.max().item():.3g}, eps={eps:g}")


def start_is_inside(kind: Kind) -> None:
    """Random starts lie in ball and box, and fill it."""
    for dtype in DTYPES:
        x0, _ = points(dtype)
        for eps in (0.0, *kind.radii(), mixed(kind, dtype)):
            start = kind.of(eps).random_start(x0, UNIT, Noise(1))
            _expect_inside(kind.of(eps), start, x0, UNIT)
        middle = torch.full_like(x0, 0.5)
        small = kind.of(kind.radii()[0])
        reach = small.distance(small.random_start(middle, UNIT, Noise(1)), middle) / kind.radii()[0]
        expect(reach.max() > 0.8, "random starts stay near the center")
        expect((small.random_start(middle, UNIT, Noise(2)) != small.random_start(middle, UNIT, Noise(1))).any(), "seed")


def start_depends_on_the_row_only(kind: Kind) -> None:
    """A row's start is that of its id, in any order and batch, in both precisions, and rows differ."""
    x0, _ = points(torch.float64)
    ball, rows = kind.of(kind.radii()[1]), torch.arange(ROWS)
    whole = ball.random_start(x0, UNIT, Noise(1).at(rows))
    order = (rows * 7 + 3) % ROWS
    for part in order.split(9):
        found = ball.random_start(x0[part], UNIT, Noise(1).at(part))
        expect_close(found, whole[part], 1e-12, "a row's start depends on its batch")
    single = ball.random_start(x0.float(), UNIT, Noise(1).at(rows))
    expect_close(single.double(), whole, 1e-5, "float32 and float64 start at different points")
    middle = torch.full_like(x0, 0.5)
    expect(ball.random_start(middle, UNIT, Noise(1)).flatten(1).unique(dim=0).shape[0] == ROWS, "two rows start alike")


def step_is_steepest(kind: Kind) -> None:
    """No direction of unit norm gains more on a linear function; it has unit norm itself."""
    for dtype in DTYPES:
        for scale in (1.0, 1e-30, 1e30):
            grad = Noise(4).normal(torch.empty(ROWS, *SHAPE, dtype=dtype)) * scale
            grad[1::3, 0] = 0
            step, origin = kind.of(1.0).steepest_step(grad), torch.zeros_like(grad)
            expect_close(kind.of(1.0).distance(step, origin), grad.new_ones(ROWS), 1e-5, "the step has no unit norm")
            if dtype == torch.float64 and kind.convex:
                _expect_steepest(kind, grad / scale, step)
    features = math.prod(SHAPE)
    spike = torch.zeros(1, *SHAPE).index_put((torch.tensor(0), *torch.zeros(3, dtype=torch.int64)), torch.tensor(-2.0))
    step = kind.of(1.0).steepest_step(spike).flatten()
    expect(step[0] == -1 and (step[1:] == 0).all(), f"one slope among {features} must be followed alone")


def zero_gradient_gives_no_step(kind: Kind) -> None:
    """Rows without a gradient stay where they are; the others are not touched by that."""
    grad = Noise(4).normal(torch.empty(ROWS, *SHAPE))
    wanted = kind.of(1.0).steepest_step(grad)
    grad[::2] = 0
    step = kind.of(1.0).steepest_step(grad)
    expect(step[::2] == 0, "a zero gradient gives a step")
    expect(step[1::2] == wanted[1::2], "a zero gradient changes the step of another row")


def zero_radius_is_the_identity(kind: Kind) -> None:
    """eps=0 gives x0 back, bit for bit."""
    for dtype in DTYPES:
        x0, x = points(dtype)
        for eps in (0.0, torch.zeros(ROWS, dtype=dtype)):
            expect(kind.of(eps).project(x, x0, UNIT) == x0, "project with eps=0 moves x0")
            expect(kind.of(eps).random_start(x0, UNIT, Noise(1)) == x0, "random_start with eps=0 moves x0")


def distance_is_a_norm(kind: Kind) -> None:
    """Zero for equal points only, symmetric, homogeneous, with the triangle inequality; one value per row."""
    x0, x = points(torch.float64)
    far = kind.of(1.0).distance
    between = Noise(9).normal(x0)
    expect(far(x, x0).shape == (ROWS,) and (far(x, x0) > 0).all(), "distinct points must have a positive distance")
    expect(far(x0, x0) == 0, "a point has a distance from itself")
    expect_close(far(x, x0), far(x0, x), 1e-12, "the distance is not symmetric")
    expect(far(x, x0) <= far(x, between) + far(between, x0) + 1e-9, "the triangle inequality fails")
    if kind.convex:
        expect_close(far(3 * x, 3 * x0), 3 * far(x, x0), 1e-9, "three times the perturbation is not three times as far")
    expect(far(x[:0], x0[:0]).shape == (0,), "the distance of no rows must be empty")


def rows_do_not_mix(kind: Kind) -> None:
    """Taking rows, and a per-row eps, treat each row as on its own."""
    x0, x = points(torch.float64)
    eps = mixed(kind, torch.float64)
    whole, rows = kind.of(eps).project(x, x0, UNIT), torch.tensor([5, 0, 17])
    expect_close(kind.of(eps).take(rows).project(x[rows], x0[rows], UNIT), whole[rows], 1e-12, "take mixes rows")
    for i in (0, 1, 2, 7):
        alone = kind.of(float(eps[i])).project(x[i : i + 1], x0[i : i + 1], UNIT)
        expect_close(alone, whole[i : i + 1], 1e-12, "a row depends on the eps of another")
    for dtype in DTYPES:
        x0, x = points(dtype)
        for radius in kind.radii():
            whole = kind.of(radius).project(x, x0, UNIT)
            for i in range(0, ROWS, 3):
                easy = x0.clone()
                easy[i] = x[i]
                found = kind.of(radius).project(easy, x0, UNIT)
                expect(found[i] == whole[i], "a row is projected differently where the others are done at once")


def _expect_inside(ball: Ball, x: Tensor, x0: Tensor, bounds: Bounds) -> None:
    expect((x >= bounds.lower) & (x <= bounds.upper), "a point is outside the box")
    over = ball.distance(x.double(), x0.double()) - ball.eps
    expect(over <= 1e-6, f"a point is {over.max().item():.3g} outside the ball")


def _expect_steepest(kind: Kind, grad: Tensor, step: Tensor) -> None:
    gain, origin = (grad * step).flatten(1).sum(1), torch.zeros_like(grad)
    ball = kind.of(1.0)
    corners = [Noise(seed).normal(grad).sign() for seed in range(20)]
    spikes = [torch.eye(math.prod(SHAPE)).to(grad)[i].view(1, *SHAPE).expand_as(grad) for i in range(math.prod(SHAPE))]
    others = [Noise(seed).normal(grad) for seed in range(40)] + corners + spikes + [grad, grad.sign()]
    for other in others:
        length = ball.distance(other, origin).view(-1, 1, 1, 1)
        expect((grad * other / length).flatten(1).sum(1).abs() <= gain + 1e-9, "another direction gains more")


CHECKS = named(
    projection_is_inside,
    projection_is_idempotent,
    projection_keeps_what_is_inside,
    projection_is_nearest,
    start_is_inside,
    start_depends_on_the_row_only,
    step_is_steepest,
    zero_gradient_gives_no_step,
    zero_radius_is_the_identity,
    distance_is_a_norm,
    rows_do_not_mix,
)
