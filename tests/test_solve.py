"""The driver: which points are looked at, which are kept, what is counted, and who leaves when."""

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from saddlepoint import AttackResult, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import BIM, ILLC, PGD
from saddlepoint.errors import ModelError
from saddlepoint.losses import margin
from saddlepoint.problem import Problem
from saddlepoint.solve import IterativeAttack, search


@dataclass(frozen=True)
class Place:
    x: Tensor
    done: Tensor
    path: Tensor


@dataclass(frozen=True, kw_only=True)
class Walk(IterativeAttack[Place]):
    """Visits given points (n, t); ``stop`` is the step after which each row calls itself done."""

    path: Tensor
    stop: Tensor | None = None
    looks: list = field(default_factory=list)
    name: ClassVar[str] = "walk"
    needs_gradient: ClassVar[bool] = False

    def length(self, problem):
        return self.path.shape[1] - 1

    def init(self, problem):
        rows = problem.noise.rows
        return Place(self.path[rows][:, :1], self.done(rows, 0), self.path[rows])

    def step(self, problem, state, seen, t):
        self.looks.append(problem.noise.rows.tolist())
        return Place(state.path[:, t + 1 : t + 2], self.done(problem.noise.rows, t + 1), state.path)

    def done(self, rows, t):
        return torch.zeros_like(rows, dtype=torch.bool) if self.stop is None else self.stop[rows] < t


def line(x):
    """Class 1 above 0.5, and no answer above 0.9."""
    z = x.flatten(1)
    z = torch.where(z > 0.9, torch.nan, z)
    return torch.cat([0.5 - z, z - 0.5], 1)


def walk(path, *, keep=Keep.MAX_LOSS, limits=Limits(), y=0, stop=None):  # noqa: B008
    path = torch.tensor(path)
    x = torch.full((len(path), 1), 0.3)
    model = Classifier(line)
    attack = Walk(ball=Linf(1.0), loss=margin, keep=keep, path=path, stop=stop)
    result = attack(model, x, torch.full((len(path),), y), limits=limits)
    assert isinstance(result, AttackResult)
    return result, model, attack


# Which point is kept.

PATHS = [
    [0.3, 0.4, 0.2, 0.1],  # never
    [0.3, 0.6, 0.4, 0.8],  # twice, the second time by more
    [0.3, 0.7, 0.55, 0.52],  # ever nearer
    [0.6, 0.7, 0.2, 0.1],  # at once, then lost
    [0.3, 0.4, 0.95, 0.6],  # no answer before any success
    [0.3, 0.6, 0.95, 0.8],  # no answer after a success
]


@pytest.mark.parametrize(
    ("keep", "wanted"),
    [
        (Keep.MAX_LOSS, [0.4, 0.8, 0.7, 0.7, 0.95, 0.6]),
        (Keep.MIN_DISTANCE, [0.3, 0.6, 0.52, 0.6, 0.95, 0.6]),
        (Keep.FIRST_SUCCESS, [0.4, 0.6, 0.7, 0.6, 0.95, 0.6]),
        (Keep.LAST, [0.1, 0.8, 0.52, 0.1, 0.6, 0.8]),
    ],
)
def test_which_point_is_kept(keep, wanted):
    result, *_ = walk(PATHS, keep=keep)
    torch.testing.assert_close(result.x.flatten(), torch.tensor(wanted))
    undefined = [False] * 4 + [keep is not Keep.LAST, False]
    assert result.undefined.tolist() == undefined
    assert result.success.tolist() == [v > 0.5 and not u for v, u in zip(wanted, undefined, strict=True)]
    torch.testing.assert_close(result.distance, (torch.tensor(wanted) - 0.3).abs())
    loss = torch.tensor([2 * v - 1 if v < 0.9 else torch.nan for v in wanted])
    torch.testing.assert_close(result.loss, loss, equal_nan=True)


@pytest.mark.parametrize(
    ("keep", "forwards", "solved_at"),
    [
        (Keep.MAX_LOSS, [4, 4, 4, 4, 3, 3], [-1, 2, 2, 1, -1, 2]),
        (Keep.MIN_DISTANCE, [4, 4, 4, 4, 3, 3], [-1, 2, 2, 1, -1, 2]),
        (Keep.FIRST_SUCCESS, [4, 2, 2, 1, 3, 2], [-1, 2, 2, 1, -1, 2]),
        (Keep.LAST, [3, 3, 3, 3, 3, 3], [-1] * 6),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 1.0])
def test_each_row_is_counted_until_it_is_settled(keep, forwards, solved_at, share):
    result, model, _ = walk(PATHS, keep=keep, limits=Limits(shrink_at=share))
    assert result.forwards.tolist() == forwards
    assert result.solved_at.tolist() == solved_at
    assert (result.backwards == 0).all()
    if share == 1:
        assert model.meter.forwards == sum(forwards) + 6
    if share == 0:
        assert model.meter.forwards == 6 * max(forwards) + 6


def test_settled_rows_leave():
    *_, attack = walk(PATHS, keep=Keep.FIRST_SUCCESS, limits=Limits(shrink_at=1.0))
    assert attack.looks == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 4, 5], [0, 4]]
    *_, attack = walk(PATHS, keep=Keep.FIRST_SUCCESS, limits=Limits(shrink_at=0.5))
    assert attack.looks == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [0, 4]]


def test_rows_that_are_wrong_when_clean_cost_a_minimum_norm_attack_one_pass():
    result, *_ = walk([[0.3, 0.2, 0.1], [0.3, 0.6, 0.7]], keep=Keep.MIN_DISTANCE, y=1)
    assert result.forwards.tolist() == [1, 1]
    assert result.distance.tolist() == [0, 0]
    assert result.success.all()


def test_rows_that_call_themselves_done_are_settled_with_their_best_point():
    result, *_ = walk(PATHS[:3], stop=torch.tensor([0, 1, 9]))
    assert result.forwards.tolist() == [1, 2, 4]
    torch.testing.assert_close(result.x.flatten(), torch.tensor([0.3, 0.6, 0.7]))


def test_rows_that_are_done_before_the_first_look_are_judged_all_the_same():
    result, model, _ = walk(PATHS[:2], stop=torch.tensor([-1, -1]))
    assert result.forwards.tolist() == [0, 0]
    assert not result.success.any()
    assert model.meter.forwards == 2


def test_row_that_is_done_keeps_the_last_point_that_was_looked_at():
    result, *_ = walk(PATHS[:3], keep=Keep.LAST, stop=torch.tensor([0, 1, 9]))
    torch.testing.assert_close(result.x.flatten(), torch.tensor([0.3, 0.6, 0.52]))


@pytest.mark.parametrize("keep", Keep)
@pytest.mark.parametrize("budget", range(6))
def test_budget_of_forward_passes(keep, budget):
    result, model, _ = walk(PATHS, keep=keep, limits=Limits(forwards=budget))
    assert (result.forwards <= budget).all()
    assert model.meter.forwards <= 6 * budget + 6
    full, *_ = walk([path[: max(1, budget)] for path in PATHS], keep=keep)
    if keep is not Keep.LAST and budget > 0:
        assert torch.equal(result.x, full.x)
        assert torch.equal(result.success, full.success)


def test_budget_of_backward_passes():
    model, x, y = Classifier(line), torch.full((3, 1), 0.45), torch.zeros(3, dtype=torch.int64)
    attack = PGD(ball=Linf(0.1), steps=5, random_start=False)
    for budget, forwards in ((0, 0), (2, 2), (5, 6), (9, 6)):
        result = attack(model, x, y, limits=Limits(backwards=budget))
        assert (result.backwards == min(budget, 5)).all()
        assert (result.forwards == forwards).all()


def test_budget_of_zero_returns_the_inputs_and_their_verdict():
    for attack in (
        PGD(ball=Linf(0.1), steps=5),
        ILLC(ball=Linf(0.1), steps=2),
        BIM(ball=Linf(0.1), keep=Keep.MIN_DISTANCE),
    ):
        x = torch.tensor([[0.3], [0.7]])
        result = attack(Classifier(line), x, torch.tensor([0, 0]), limits=Limits(forwards=0))
        assert torch.equal(result.x, x)
        assert result.success.tolist() == [False, True]
        assert result.forwards.tolist() == [0, 0]


def test_time_limit_returns_the_best_so_far():
    result = PGD(ball=Linf(0.1), steps=10**6, step_size=0.05)(
        Classifier(line), torch.full((2, 1), 0.45), torch.tensor([0, 0]), limits=Limits(seconds=0.2)
    )
    assert result.success.all()
    assert (result.forwards < 10**6).all()


# Rows and batches.


def test_passes_of_a_fixed_budget_attack():
    model = Classifier(line)
    x, y = torch.full((3, 1), 0.3), torch.zeros(3, dtype=torch.int64)
    result = PGD(ball=Linf(0.1), steps=7)(model, x, y)
    assert (result.forwards == 8).all()
    assert (result.backwards == 7).all()
    assert (model.meter.forwards, model.meter.backwards) == (3 * 8 + 3, 3 * 7)


def test_last_point_is_returned_without_a_look_at_it():
    model = Classifier(line)
    x, y = torch.full((3, 1), 0.3), torch.zeros(3, dtype=torch.int64)
    result = PGD(ball=Linf(0.1), steps=7, keep=Keep.LAST)(model, x, y)
    assert (result.forwards == 7).all()
    assert model.meter.forwards == 3 * 7 + 3


@pytest.mark.parametrize("y", [torch.zeros(0, dtype=torch.int64), None])
def test_no_rows(y):
    model = Classifier(line)
    result = PGD(ball=Linf(0.1), steps=3)(model, torch.zeros(0, 1), y)
    assert result.x.shape == (0, 1)
    assert result.success.shape == (0,)
    assert model.meter.forwards == 0


def test_one_eps_per_row_under_shrinking():
    x, y = torch.full((4, 1), 0.4), torch.zeros(4, dtype=torch.int64)
    eps = torch.tensor([0.05, 0.3, 0.08, 0.2])
    attack = PGD(ball=Linf(eps), steps=6, random_start=False, keep=Keep.FIRST_SUCCESS, loss=margin)
    result = attack(Classifier(line), x, y, limits=Limits(shrink_at=1.0))
    assert result.success.tolist() == [False, True, False, True]
    torch.testing.assert_close(result.distance[~result.success], eps[~result.success])
    assert (result.distance <= eps + 1e-6).all()


def test_shrunk_rows_keep_their_noise():
    x, y = torch.full((6, 1), 0.46), torch.zeros(6, dtype=torch.int64)

    class Wander(Walk):
        def init(self, problem):
            return Place(problem.x0, torch.zeros(len(problem.x0), dtype=torch.bool), problem.x0)

        def length(self, problem):
            return 8

        def step(self, problem, state, seen, t):
            share = problem.noise.uniform(problem.x0, t) * 2 - 1
            return Place(problem.project(problem.x0 + 0.06 * share), state.done, state.path)

    attack = Wander(ball=Linf(0.06), keep=Keep.FIRST_SUCCESS, path=x)
    found = [attack(Classifier(line), x, y, noise=Noise(1), limits=Limits(shrink_at=share)) for share in (0.0, 1.0)]
    assert found[0].forwards.unique().numel() > 1
    assert torch.equal(found[0].x, found[1].x)
    assert torch.equal(found[0].forwards, found[1].forwards)


def test_model_is_frozen_while_it_is_searched_and_thawed_after_an_error():
    modes = []

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            modes.append((self.training, self.weight.requires_grad))
            if len(modes) == 3:
                raise KeyError
            return line(x * self.weight)

    module = Module()
    attack = PGD(ball=Linf(0.1), steps=5)
    with pytest.raises(ModelError, match="KeyError"):
        attack(Classifier(module), torch.full((2, 1), 0.3), torch.tensor([0, 0]))
    assert modes == [(False, False)] * 3
    assert module.training
    assert module.weight.requires_grad


def test_search_alone_leaves_the_points_in_the_record_unverified():
    model = Classifier(line)
    attack = PGD(ball=Linf(0.1), steps=3, random_start=False)
    problem = Problem.open(attack, model, torch.full((2, 1), 0.45), torch.tensor([0, 0]), None, Noise(), Limits())
    search(attack, problem)
    assert model.meter.forwards == 8
    assert (problem.record.points() > 0.5).all()


def test_attacks_are_values():
    assert PGD(ball=Linf(0.1), steps=5) == PGD(ball=Linf(0.1), steps=5)
    assert PGD(ball=Linf(0.1), steps=5) != PGD(ball=Linf(0.1), steps=6)
    assert hash(PGD(ball=Linf(0.1))) == hash(PGD(ball=Linf(0.1)))
    with pytest.raises(AttributeError):
        PGD(ball=Linf(0.1)).steps = 3
