"""What a trained net is worth, on rows that it was not trained on."""

from typing import Any

import torch

from saddlepoint.attacks import PGD
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.evaluation import evaluate
from saddlepoint.evaluation.ensembles import CASCADE
from saddlepoint.records import HELD
from saddlepoint.result import Keep
from saddlepoint.solve import Attack


def measure(model: Classifier, test: Dataset, ball: Ball) -> dict[str, Any]:
    """Clean accuracy, PGD-40 in steps of eps / 30, and the cascade on what it left standing, on the test rows."""
    attack: Attack = PGD(ball=ball, steps=40, step_size=float(ball.eps) / 30, keep=Keep.FIRST_SUCCESS)
    first = evaluate({"model": model}, test, balls=[ball], attacks=[attack], draw=False).record.models[0]
    left = torch.tensor([letter == HELD for letter in first.threats[0].verdicts]).nonzero().squeeze(1)
    held = 0
    if len(left):
        second = evaluate({"model": model}, test[left], balls=[ball], suite=CASCADE, draw=False).record.models[0]
        held = second.threats[0].verdicts.count(HELD)
    return {
        "data": test.name,
        "rows": len(test),
        "clean": first.clean.count / len(test),
        ball.norm: {"eps": ball.eps, "pgd-40": len(left) / len(test), f"pgd-40 and {CASCADE}": held / len(test)},
    }
