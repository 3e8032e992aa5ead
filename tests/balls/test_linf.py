import torch

from saddlepoint import Bounds, Linf, Noise
from saddlepoint.testing import ball_contract

test_axioms = ball_contract(Linf)


def test_projection_is_two_clamps():
    x0 = torch.tensor([[0.1, 0.5, 0.9]])
    x = torch.tensor([[-3.0, 0.65, 3.0]])
    assert Linf(0.2).project(x, x0, Bounds()).tolist() == [[0.0, torch.tensor(0.65).item(), 1.0]]


def test_projection_does_not_touch_its_argument():
    x0, x = torch.full((2, 3), 0.5), torch.full((2, 3), 2.0)
    Linf(0.2).project(x, x0, Bounds())
    assert (x == 2).all()


def test_start_is_uniform_before_the_box():
    x0 = torch.full((2000, 5), 0.5, dtype=torch.float64)
    share = (Linf(0.1).random_start(x0, Bounds(), Noise(0)) - 0.5) / 0.1
    torch.testing.assert_close(share.mean(), torch.tensor(0.0).double(), rtol=0, atol=0.03)
    torch.testing.assert_close(share.var(), torch.tensor(1 / 3).double(), rtol=0, atol=0.02)
    assert share.abs().max() <= 1 + 1e-12


def test_step_is_the_sign():
    assert Linf(0.1).steepest_step(torch.tensor([[0.5, 0.0, -1e-30]])).tolist() == [[1.0, 0.0, -1.0]]


def test_rows_without_features():
    x = torch.zeros(3, 0)
    assert Linf(0.1).distance(x, x).tolist() == [0, 0, 0]
    assert Linf(0.1).project(x, x, Bounds()).shape == (3, 0)
