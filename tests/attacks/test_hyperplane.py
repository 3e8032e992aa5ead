import math

import pytest
import torch
from scipy import optimize

from saddlepoint import Bounds, Noise
from saddlepoint.attacks._hyperplane import to_hyperplane

NORMS = {"linf": math.inf, "l2": 2.0, "l1": 1.0}
BOX = Bounds(-0.5, 1.0)


def case(rows=300, features=6):
    """Points of the box, some features at its faces, normals with zeros and sizes far apart, gaps of either sign."""
    like = torch.empty(rows, features, dtype=torch.float64)
    x = (-0.8 + 2.0 * Noise(1).uniform(like)).clamp(BOX.lower, BOX.upper)
    w = Noise(2).normal(like) * 10 ** (3 * Noise(3).normal(like[:, :1])) * (Noise(4).uniform(like) > 0.2)
    room = torch.where(w > 0, BOX.upper - x, x - BOX.lower)
    most = (w.abs() * room).sum(1)
    return x, w, most * Noise(5).uniform(like[:, :1]).squeeze(1)


def length(step, norm):
    return torch.linalg.vector_norm(step, NORMS[norm], dim=1)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("norm", NORMS)
def test_the_step_ends_on_plane_and_box(norm, sign):
    x, w, missing = case()
    w = sign * w  # away from the plane, the features go the other way
    step = to_hyperplane(x, w, sign * missing, BOX, norm)
    torch.testing.assert_close((w * step).sum(1), sign * missing, rtol=1e-9, atol=1e-12)
    assert ((x + step >= BOX.lower - 1e-12) & (x + step <= BOX.upper + 1e-12)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_no_step_is_shorter(norm):
    """The dual bound: a plane, two faces of the box for each feature, and any multiplier bound the distance below."""
    x, w, missing = case()
    found = length(to_hyperplane(x, w, missing, BOX, norm), norm)
    room = torch.where(w > 0, BOX.upper - x, x - BOX.lower)
    assert (found <= bound(w.abs(), room, missing, norm) * (1 + 1e-6) + 1e-9).all()


def bound(rate, room, missing, norm):
    """The least norm by bisection of the one number that every solution depends on; 200 halvings."""
    if norm == "l1":
        level, best = rate.clone(), torch.full_like(missing, math.inf)
        for j in range(rate.shape[1]):  # the feature that is moved in part: steeper ones go all the way
            full = torch.where(rate > level[:, j : j + 1], room, 0)
            rest = (missing - (rate * full).sum(1)).clamp_min(0)
            part = rest / rate[:, j].clamp_min(1e-300)
            equal = torch.where(rate == level[:, j : j + 1], room, 0).sum(1)
            best = torch.where(part <= equal + 1e-12, torch.minimum(best, full.sum(1) + part), best)
        return best
    low, high = torch.zeros_like(missing), torch.full_like(missing, 1e12)
    for _ in range(200):
        middle = (low + high) / 2
        size = torch.minimum(middle[:, None] * (1 if norm == "linf" else rate), room)
        enough = (rate * size).sum(1) >= missing
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    size = torch.minimum(high[:, None] * (1 if norm == "linf" else rate), room)
    return length(torch.where(rate > 0, size, 0), norm)


@pytest.mark.parametrize("norm", NORMS)
def test_against_a_general_solver(norm):
    x, w, missing = case(rows=12, features=4)
    w = w / w.abs().amax(1, keepdim=True)
    missing = missing / case(rows=12, features=4)[1].abs().amax(1)
    found = length(to_hyperplane(x, w, missing, BOX, norm), norm)
    for i in range(len(x)):
        a, b = w[i].numpy(), float(missing[i])
        low, high = (BOX.lower - x[i]).numpy(), (BOX.upper - x[i]).numpy()
        assert float(found[i]) == pytest.approx(solved(a, b, low, high, norm), rel=1e-5, abs=1e-7)


def solved(a, b, low, high, norm):
    """The least norm of a step between low and high with <a, step> = b."""
    d = len(a)
    if norm == "l2":
        start = [(lo + hi) / 2 for lo, hi in zip(low, high, strict=True)]
        plane = {"type": "eq", "fun": lambda v: a @ v - b, "jac": lambda v: a}
        answer = optimize.minimize(
            lambda v: v @ v, start, jac=lambda v: 2 * v, bounds=list(zip(low, high, strict=True)), constraints=plane,
            method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        return float(answer.fun) ** 0.5
    # step = p - q, both >= 0; Linf: p_i + q_i <= s for one more unknown s.
    box = [(0, hi) for hi in high] + [(0, -lo) for lo in low]
    if norm == "l1":
        return optimize.linprog([1] * 2 * d, A_eq=[[*a, *-a]], b_eq=[b], bounds=box).fun
    rows = [[1 if j in (i, d + i) else 0 for j in range(2 * d)] + [-1] for i in range(d)]
    answer = optimize.linprog(
        [0] * 2 * d + [1], A_ub=rows, b_ub=[0] * d, A_eq=[[*a, *-a, 0]], b_eq=[b], bounds=[*box, (0, None)]
    )
    return answer.fun


@pytest.mark.parametrize("norm", NORMS)
def test_a_plane_out_of_reach_means_the_nearest_corner(norm):
    x, w, _ = case()
    for sign in (1, -1):
        step = to_hyperplane(x, w, torch.full((len(x),), sign * 1e12, dtype=x.dtype), BOX, norm)
        corner = torch.where(sign * w > 0, BOX.upper, torch.where(w == 0, x, BOX.lower))
        torch.testing.assert_close(x + step, corner, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_degenerate_input(norm, dtype):
    x = torch.full((5, 3), 0.25, dtype=dtype)
    w = torch.tensor([[0.0, 0, 0], [1, 2, 3], [1e-30, 0, 2e-30], [1e30, -1e30, 0], [0, 0, 0]], dtype=dtype)
    missing = torch.tensor([1.0, 0, 1e-30, 1e29, 0], dtype=dtype)
    step = to_hyperplane(x, w, missing, Bounds(), norm)
    assert step.isfinite().all()
    assert (step[[0, 1, 4]] == 0).all()
    torch.testing.assert_close((w * step).sum(1)[2:4], missing[2:4], rtol=1e-5, atol=0)
    assert to_hyperplane(x[:0], w[:0], missing[:0], Bounds(), norm).shape == (0, 3)
    assert to_hyperplane(x[:, :0], w[:, :0], missing, Bounds(), norm).shape == (5, 0)


@pytest.mark.parametrize("norm", NORMS)
def test_rooms_of_every_size_and_many_features(norm):
    """Newton's method passes one bend of the curve after the other, from below, and must come to the root."""
    rows, features = 20, 2000
    like = torch.empty(rows, features, dtype=torch.float64)
    x = 1 - 2.0 ** (-60 * Noise(1).uniform(like))
    w = 2.0 ** (30 * Noise(2).uniform(like) - 15)
    missing = (w * (1 - x)).sum(1) * torch.linspace(0.01, 0.999, rows, dtype=x.dtype)
    step = to_hyperplane(x, w, missing, Bounds(), norm)
    torch.testing.assert_close((w * step).sum(1), missing, rtol=1e-7, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_float32_is_near_float64(norm):
    x, w, missing = case(features=200)
    wide = to_hyperplane(x, w, missing, BOX, norm)
    narrow = to_hyperplane(x.float(), w.float(), missing.float(), BOX, norm)
    torch.testing.assert_close(length(narrow, norm).double(), length(wide, norm), rtol=1e-3, atol=1e-5)


def test_a_row_does_not_depend_on_the_others():
    x, w, missing = case(rows=40)
    for norm in NORMS:
        whole = to_hyperplane(x, w, missing, BOX, norm)
        for i in (0, 7, 39):
            alone = to_hyperplane(x[i : i + 1], w[i : i + 1], missing[i : i + 1], BOX, norm)
            torch.testing.assert_close(alone[0], whole[i], rtol=0, atol=1e-14)
