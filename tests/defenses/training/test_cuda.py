"""Training on a GPU, in bfloat16."""

import math

import pytest
import torch

from saddlepoint.attacks import PGD
from saddlepoint.balls import Linf
from saddlepoint.defenses.training import Adversarial, Fast, Schedule, Trades, fit
from saddlepoint.models import PreActResNet18

BALL = Linf(8 / 255)
OBJECTIVES = [Adversarial(attack=PGD(ball=BALL, steps=10)), Fast(ball=BALL), Trades(ball=BALL, steps=10)]


@pytest.mark.gpu
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_an_epoch_in_bfloat16(objective):
    x, y = torch.rand(256, 3, 32, 32), torch.randint(10, (256,))
    net = PreActResNet18().cuda()
    before = [p.detach().clone() for p in net.parameters()]
    epochs = fit(net, x, y, objective, Schedule(epochs=1, batch_size=64, precision="bfloat16")).epochs
    assert math.isfinite(epochs[0].loss)
    assert all(p.dtype == torch.float32 and bool(p.isfinite().all()) for p in net.parameters())
    assert any(not torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
