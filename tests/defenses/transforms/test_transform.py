"""What every transform shares: streams of noise by row id."""

import torch

from saddlepoint.noise import Noise, drawing, drawn


def test_a_row_draws_the_same_whoever_is_beside_it():
    x, rows = torch.zeros(4, 3), torch.tensor([5, 6, 7, 8])
    with drawing(Noise(3, rows)):
        whole = drawn(x).normal(x)
    with drawing(Noise(3, rows[2:])):
        part = drawn(x[2:]).normal(x[2:])
    assert torch.equal(whole[2:], part)


def test_every_draw_is_a_fresh_one():
    x = torch.zeros(4, 3)
    with drawing(Noise(3)):
        assert not torch.equal(drawn(x).normal(x), drawn(x).normal(x))


def test_outside_of_a_run_the_generator_of_torch_decides():
    x = torch.zeros(4, 3)
    torch.manual_seed(1)
    first = drawn(x).normal(x)
    torch.manual_seed(1)
    assert torch.equal(first, drawn(x).normal(x))
    assert not torch.equal(first, drawn(x).normal(x))
