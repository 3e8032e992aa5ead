"""What a trained net is worth, on rows that it was not trained on."""

from typing import Any

import torch

from saddlepoint.attacks import PGD
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.evaluation import evaluate
from saddlepoint.records import HELD
from saddlepoint.result import Keep
from saddlepoint.solve import Attack


def measure(model: Classifier, test: Dataset, ball: Ball) -> dict[str, Any]:
    """Clean accuracy, PGD-40, and PGD-100 from 10 random starts (worst case), on the test rows; steps of eps / 30."""
    size = float(ball.eps) / 30
    short: Attack = PGD(ball=ball, steps=40, step_size=size, keep=Keep.FIRST_SUCCESS)
    long: Attack = PGD(ball=ball, steps=100, step_size=size, keep=Keep.FIRST_SUCCESS)
    first = evaluate({"model": model}, test, balls=[ball], attacks=[short], draw=False).record.models[0]
    held = torch.tensor([letter == HELD for letter in first.threats[0].verdicts])
    weak = int(held.sum())
    for seed in range(1, 11):
        left = held.nonzero().squeeze(1)
        if not len(left):
            break
        run = evaluate({"model": model}, test[left], balls=[ball], attacks=[long], seed=seed, draw=False)
        held[left] = torch.tensor([v == HELD for v in run.record.models[0].threats[0].verdicts])
    return {
        "data": test.name,
        "rows": len(test),
        "clean": first.clean.count / len(test),
        ball.norm: {
            "eps": ball.eps, "pgd-40": weak / len(test), "pgd-40 and pgd-100 x 10": int(held.sum()) / len(test)
        },
    }  # fmt: skip
