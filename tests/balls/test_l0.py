"""The L0 ball, its projection against all subsets."""

import itertools

import pytest
import torch

from saddlepoint import Bounds, Noise
from saddlepoint.balls import L0
from saddlepoint.testing import ball_contract

test_axioms = ball_contract(L0, convex=False)


@pytest.mark.parametrize("eps", [0, 1, 2, 3.7, 6])
def test_projection_is_the_nearest_of_all_subsets(eps):
    bounds, d = Bounds(-1, 2), 6
    x0 = (Noise(0).uniform(torch.empty(200, d, dtype=torch.float64)) * 4 - 1.5).clamp(-1, 2)
    x = x0 + 2 * Noise(1).normal(x0)
    x[::7] = x[::7].round()  # ties, and features that do not move
    found = (L0(eps).project(x, x0, bounds) - x).square().sum(1)
    inside = x.clamp(-1, 2)
    costs = []
    for kept in itertools.combinations(range(d), int(eps)):
        point = x0.clone()
        point[:, kept] = inside[:, kept]
        costs.append((point - x).square().sum(1))
    torch.testing.assert_close(found, torch.stack(costs).amin(0), rtol=0, atol=1e-12)


def test_every_channel_is_a_feature():
    x0, x = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    x[0, :, 1, 1] = 0.5
    assert L0(3).distance(x, x0).tolist() == [3.0]
    assert L0(1.0).widest(Bounds(), 12) == 12


def test_starts_change_that_many_features():
    middle = torch.full((50, 20), 0.5)
    start = L0(5).random_start(middle, Bounds(), Noise(0))
    assert (start != middle).sum(1).tolist() == [5] * 50
    counts = (start != middle).sum(0)
    assert counts.min() > 0  # every feature has its turn: 12.5 of 50 expected


def test_the_step_moves_the_one_feature_that_gains_most_and_can_move():
    grad, x = torch.tensor([[3.0, -4.0, 1.0], [0.0, 0.0, 0.0]]), torch.tensor([[0.5, 0.0, 0.5], [0.5, 0.5, 0.5]])
    assert L0(1.0).steepest_step(grad).tolist() == [[0, -1, 0], [0, 0, 0]]
    assert L0(1.0).steepest_step(grad, x, Bounds()).tolist() == [[1, 0, 0], [0, 0, 0]]
