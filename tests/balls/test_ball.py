"""What all balls share: the radius, equality, records, and where ball meets box."""

import json
import pickle

import pytest
import torch

from saddlepoint import L2, Bounds, Linf
from saddlepoint.balls.ball import flat_norm
from saddlepoint.errors import RadiusError

BALLS = [Linf, L2]


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("eps", [-0.1, float("nan"), True, "0.1", None])
@pytest.mark.usefixtures("unchecked")
def test_eps_must_be_a_number_of_at_least_zero(ball, eps):
    with pytest.raises(RadiusError, match="must be a number >= 0"):
        ball(eps)


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize(
    ("eps", "message"),
    [
        (torch.tensor([1, 2]), "float tensor"),
        (torch.tensor(0.1), "float tensor"),
        (torch.rand(2, 2), r"got \(2, 2\)"),
        (torch.tensor([0.1, -0.2]), "the smallest is -0.2"),
        (torch.tensor([0.1, float("nan")]), "not NaN"),
    ],
)
def test_per_row_eps_must_be_a_float_vector(ball, eps, message):
    with pytest.raises(RadiusError, match=message):
        ball(eps)


@pytest.mark.parametrize("ball", BALLS)
def test_balls_are_values(ball):
    assert ball(0.5) == ball(0.5)
    assert ball(0.5) != ball(0.25)
    assert Linf(0.5) != L2(0.5)
    assert ball(0.5) != 0.5
    eps = torch.tensor([0.1, 0.2])
    assert ball(eps) == ball(eps.clone())
    assert ball(eps) != ball(eps.flip(0))
    assert ball(eps) != ball(0.1)
    assert {ball(0.5): 1}[ball(0.5)] == 1
    assert hash(ball(eps)) == hash(ball(eps.clone()))
    assert pickle.loads(pickle.dumps(ball(eps))) == ball(eps)
    with pytest.raises(AttributeError):
        ball(0.5).eps = 0.6


@pytest.mark.parametrize("ball", BALLS)
def test_description_is_json(ball):
    assert json.loads(json.dumps(ball(1).describe(), allow_nan=False)) == {"norm": ball.norm, "eps": 1.0}
    assert json.loads(json.dumps(ball(float("inf")).describe(), allow_nan=False))["eps"] == "inf"
    rows = ball(torch.tensor([0.1, 0.2])).describe()["eps"]
    assert rows["rows"] == 2
    assert len(rows["sha256"]) == 64


@pytest.mark.parametrize("ball", BALLS)
def test_take(ball):
    assert ball(0.5).take(torch.tensor([0])) == ball(0.5)
    assert ball(torch.tensor([0.1, 0.2, 0.3])).take(torch.tensor([2, 0])).eps.tolist() == pytest.approx([0.3, 0.1])


@pytest.mark.parametrize("ball", BALLS)
def test_radius_broadcasts_in_the_type_of_the_input(ball):
    x = torch.zeros(2, 3, 4, dtype=torch.float64)
    assert ball(0.5).radius(x) == 0.5
    radius = ball(torch.tensor([0.1, 0.2])).radius(x)
    assert radius.shape == (2, 1, 1)
    assert radius.dtype == torch.float64


@pytest.mark.parametrize("ball", BALLS)
def test_radius_must_fit_the_box(ball):
    x = torch.zeros(2, 3, 4)
    bounds = Bounds(0.0, 2.0)
    widest = ball(0.0).widest(bounds, 12)
    assert widest == {"linf": 2.0, "l2": 2 * 12**0.5}[ball.norm]
    for eps in (0.0, widest, float("inf"), torch.tensor([0.0, widest]), torch.tensor([0.0, float("inf")])):
        ball(eps).check(x, bounds)
    for eps in (8.0, torch.tensor([0.1, 8.0])):
        with pytest.raises(RadiusError, match=r"eps=8 must lie in .* did you mean 0.03137, that is 8/255\?"):
            ball(eps).check(x, bounds)
    with pytest.raises(RadiusError, match=r"eps has 3 entries, the batch 2 rows"):
        ball(torch.rand(3)).check(x, bounds)
    ball(torch.rand(0)).check(x[:0], bounds)


def test_norm_of_tiny_and_huge_rows_neither_underflows_nor_overflows():
    x = torch.tensor([[3e-30, 4e-30], [3e30, 4e30], [0.0, 0.0], [3e-42, 4e-42]])
    found = flat_norm(x)
    assert found.shape == (4, 1)
    torch.testing.assert_close(found[:3].flatten(), torch.tensor([5e-30, 5e30, 0.0]))
    assert found[3] < 1e-38
    assert flat_norm(torch.zeros(2, 0)).tolist() == [[0.0], [0.0]]
    assert flat_norm(torch.ones(2, 2, 2)).shape == (2, 1, 1)
