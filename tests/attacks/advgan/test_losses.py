"""The losses at points where they are known."""

import torch

from saddlepoint.attacks.advgan.losses import adversarial, beyond, distilled, passing, told_apart

LOGITS, Y = torch.tensor([[5.0, 2.0, 0.0], [1.0, 2.0, 0.0]]), torch.tensor([0, 0])


def test_adversarial_is_what_the_margin_lacks():
    assert adversarial(LOGITS, Y, None).tolist() == [3, 0]
    assert adversarial(LOGITS, Y, None, 2.0).tolist() == [5, 1]
    assert adversarial(LOGITS, Y, torch.tensor([1, 2])).tolist() == [3, 2]


def test_rows_whose_target_is_their_label_count_nothing():
    logits = LOGITS.flip(1).requires_grad_()
    short = adversarial(logits, Y, torch.tensor([0, 1]), 10.0)
    assert short[0] == 0
    assert (torch.autograd.grad(short.sum(), logits)[0][0] == 0).all()


def test_beyond_the_bound():
    move = torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]]]).requires_grad_()
    found = beyond(move, 1.0)
    assert found.tolist() == [4, 0]
    assert beyond(move, 6.0).tolist() == [0, 0]
    assert torch.autograd.grad(beyond(move, 0.0).sum(), move)[0].isfinite().all()  # also of the norm of nothing


def test_least_squares_of_patches():
    clean, other = torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert told_apart(clean, other).tolist() == [0, 1]
    assert passing(other).tolist() == [1, 0.5]


def test_a_copy_that_answers_like_the_box_has_only_its_entropy_left():
    answers = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    found = distilled(torch.tensor([[0.0, 0.0], [50.0, 0.0]]), answers)
    torch.testing.assert_close(found, torch.tensor([2.0, 1.0]).log())
