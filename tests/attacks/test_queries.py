"""Slopes from pairs of losses: their mean and spread by closed form, budgets, and points inside the box."""

import pytest
import torch

from saddlepoint import Classifier, Limits, Linf, Noise
from saddlepoint.attacks import NES, SPSA
from saddlepoint.attacks._queries import at_once, slopes
from saddlepoint.attacks.spsa import _either
from saddlepoint.errors import SettingError
from saddlepoint.losses import margin
from saddlepoint.problem import Problem
from saddlepoint.testing import LinearModel

FEATURES = 6


def opened(rows=5, limits=None):
    """A problem on a linear model of two classes, whose margin has the slope w; and w."""
    weight = torch.randn(2, FEATURES, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x = torch.full((rows, FEATURES), 0.5, dtype=torch.float64)
    y = torch.zeros(len(x), dtype=torch.int64)
    attack = SPSA(ball=Linf(0.1), loss=margin)
    problem = Problem.open(attack, Classifier(LinearModel(weight)), x, y, None, Noise(1), limits or Limits())
    return problem, weight[1] - weight[0]


@pytest.mark.parametrize(("draw", "own"), [(_either, -1), (Noise.normal, 1)], ids=["rademacher", "normal"])
def test_slopes_have_the_mean_and_the_spread_of_their_draws(draw, own):
    # Of a linear loss, a pair gives (w.u) u: its mean is w, and the variance of entry j is |w|^2 -+ w_j^2.
    problem, w = opened(rows=1500)
    pairs = 4
    found, spent = slopes(problem, problem.x0, 0.01, 2 * pairs, draw, 0)
    assert not spent.any()
    spread = (w.square().sum() + own * w.square()) / pairs
    assert ((found.mean(0) - w).abs() < 5 * (spread / len(found)).sqrt()).all()
    assert found.var(0) == pytest.approx(spread, rel=0.25)


def test_either_sign_is_drawn_anew_for_every_pair_step_and_row():
    problem, _ = opened(rows=3)
    first, again = (slopes(problem, problem.x0, 0.01, 2, _either, 0)[0] for _ in range(2))
    other = slopes(problem, problem.x0, 0.01, 2, _either, 1)[0]
    assert torch.equal(first, again)
    assert (first != other).any(1).all()
    assert len(first.sign().unique(dim=0)) > 1


@pytest.mark.parametrize("rows", [1, 3, 700])
def test_a_row_is_told_the_same_whoever_shares_the_pass(rows):
    whole, _ = slopes(opened(rows)[0], opened(rows)[0].x0, 0.01, 60, Noise.normal, 0)
    alone, _ = slopes(opened(1)[0], opened(1)[0].x0, 0.01, 60, Noise.normal, 0)
    assert torch.allclose(whole[0], alone[0], atol=1e-9)


def test_a_pass_holds_many_points_of_few_rows_and_few_of_many():
    assert at_once(1, 784) == 512
    assert at_once(100, 784) == 5
    assert at_once(2000, 784) == 1
    assert at_once(2, 3 * 224 * 224) == 13  # by memory


def test_a_budget_is_spent_on_pairs_but_for_the_last_look():
    limits = Limits(forwards=torch.tensor([1, 2, 3, 8, 100]))
    problem, _ = opened(limits=limits)
    _, spent = slopes(problem, problem.x0, 0.01, 10, Noise.normal, 0)
    assert spent.tolist() == [True, True, False, False, False]
    assert torch.as_tensor(problem.record.passes).tolist() == [0, 0, 2, 6, 10]


@pytest.mark.parametrize("attack", [SPSA(ball=Linf(0.3), steps=3, delta=0.2), NES(ball=Linf(0.3), steps=3, sigma=0.2)])
def test_nothing_outside_the_box_is_asked(attack):
    seen = []

    def module(x):
        seen.append((x.min().item(), x.max().item()))
        return x.flatten(1)[:, :3]

    x = torch.tensor([[0.0, 1.0, 0.5, 0.1], [1.0, 0.99, 0.0, 0.5]])
    attack(Classifier(module), x, torch.tensor([1, 0]))
    lower, upper = map(list, zip(*seen, strict=True))
    assert (min(lower), max(upper)) == (0.0, 1.0)


@pytest.mark.parametrize("samples", [0, 3, -2, 2.0, True])
@pytest.mark.parametrize("attack", [SPSA, NES])
@pytest.mark.usefixtures("unchecked")
def test_samples_come_in_pairs(attack, samples):
    with pytest.raises(SettingError, match="even integer"):
        attack(ball=Linf(0.1), samples=samples)


@pytest.mark.parametrize("reach", [0.0, -1.0, float("inf"), float("nan")])
def test_a_pair_needs_two_points(reach):
    with pytest.raises(SettingError, match=r"delta=.* must be finite and > 0"):
        SPSA(ball=Linf(0.1), delta=reach)
    with pytest.raises(SettingError, match=r"sigma=.* must be finite and > 0"):
        NES(ball=Linf(0.1), sigma=reach)
