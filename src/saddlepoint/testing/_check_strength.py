"""Checks against what is known: closed forms, the identity, and models that nothing can fool."""

from typing import cast

import torch
from torch import Tensor

from saddlepoint.classifier import Classifier
from saddlepoint.result import Keep
from saddlepoint.testing._subject import Case, Subject
from saddlepoint.testing._suite import expect, named
from saddlepoint.testing.linear import LinearModel
from saddlepoint.testing.models import ConstantModel


def optimum(subject: Subject) -> None:
    """On a linear model the stated share of the largest margin, or the stated multiple of the least distance."""
    within = subject.within
    if within is None:
        return
    case = subject.linear()
    module = cast(LinearModel, case.module)
    result = subject.run(case)
    if subject.keep is Keep.MIN_DISTANCE:
        least = module.minimal_distance(case.x, case.y, subject.ball, case.model.bounds)
        reachable = least <= float(subject.ball.eps) / within
        expect(result.success[reachable], f"{int((~result.success[reachable]).sum())} reachable rows are not fooled")
        worst = (result.distance / least)[reachable].max().item()
        expect(worst <= within, f"the distance is up to {worst:.6g} times the least one, {within:g} is declared")
        return
    clean = _margin(module(case.x), case.y)
    gain = _margin(module(result.x), case.y) - clean
    most = module.optimum(case.x, case.y, subject.ball, case.model.bounds).margin - clean
    expect(gain <= most * (1 + 1e-6) + 1e-6, "the margin is beyond the optimum over ball and box: the ball is left")
    share = (gain / most.clamp_min(1e-12)).min().item()
    expect(share >= within, f"the worst row reaches {share:.9g} of the largest gain in margin, {within:g} is declared")


def larger_eps(subject: Subject) -> None:
    """A larger ball does not mean fewer successes on a linear model."""
    case = subject.linear()
    counts = [
        int(subject.run(case, subject.sized(eps)).success.sum())
        for eps in (0.0, subject.eps / 4, subject.eps / 2, subject.eps)
    ]
    expect(counts == sorted(counts), f"successes for eps growing from 0 to {subject.eps:g}: {counts}")


def zero_eps(subject: Subject) -> None:
    """A ball of radius 0 leaves every input as it is, and only rows that are wrong anyway are successes."""
    for dtype in (torch.float32, torch.float64):
        case = subject.case(dtype)
        result = subject.run(case, subject.sized(0.0))
        expect(result.x == case.x, "eps=0 moved a point")
        expect(result.distance == 0, "the distance is not 0 with eps=0")
        wrong = torch.arange(len(case.x), device=case.x.device) >= len(case.x) - 3
        expect(result.success == wrong, "eps=0: success differs from being misclassified without any attack")
        expect(~result.undefined, "eps=0: a row is undefined")


def constant_model(subject: Subject) -> None:
    """Nothing fools a model that always says the same, and the points stay finite."""
    case = subject.case()
    y = torch.full_like(case.y, 2)
    model = Classifier(ConstantModel(torch.tensor([0.0, 1.0, 5.0, -2.0])).to(case.x))
    result = subject.run(Case(model, case.x, y))
    expect(~result.success, "a constant model is called fooled")
    expect(~result.undefined, "a constant model is called undefined")
    for name in ("x", "loss", "distance"):
        expect(getattr(result, name).isfinite(), f"{name} is not finite")


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    """Other minus own logit of a model with two classes."""
    return logits.detach().gather(1, 1 - y[:, None])[:, 0] - logits.detach().gather(1, y[:, None])[:, 0]


CHECKS = named(optimum, larger_eps, zero_eps, constant_model)
