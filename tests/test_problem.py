"""What a caller may give, what one look tells, and what it costs."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from saddlepoint import L2, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import FGSM, PGD
from saddlepoint.errors import ArgumentTypeError, InputError, RadiusError, SettingError
from saddlepoint.losses import cross_entropy, margin
from saddlepoint.problem import Problem, Spent
from saddlepoint.testing import ConstantModel, LinearModel

ATTACK = PGD(ball=Linf(0.1), steps=2)


@pytest.fixture
def model():
    generator = torch.Generator().manual_seed(0)
    return Classifier(LinearModel(torch.randn(3, 6, generator=generator)))


@pytest.fixture
def x():
    return torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def y(model, x):
    return model.predict(x)


def opened(model, x, y, attack=ATTACK, *, target=None, noise=Noise(), limits=Limits(), aim=None):  # noqa: B008
    return Problem.open(attack, model, x, y, target, noise, limits, aim)


# What a caller may give.


@pytest.mark.usefixtures("unchecked")
def test_a_bare_module_must_be_wrapped(model, x, y):
    with pytest.raises(
        ArgumentTypeError, match=r"model is LinearModel; wrap it.*saddlepoint.Classifier\(model, bounds=\(0, 1\)\)"
    ):
        ATTACK(model.module, x, y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: (x * 255).to(torch.uint8), r"x is torch.uint8.*x.float\(\) / 255"),
        (lambda x: x.half(), "x is torch.float16"),
        (lambda x: x.numpy(), "x is ndarray"),
        (lambda x: x.tolist(), "x is list"),
        (lambda x: x * 255, r"inputs range from .* to 2\d\d.*, the bounds are \[0, 1\].*normalisation"),
        (lambda x: x - 0.5, "inputs range from -0"),
        (lambda x: x.where(x != x.max(), torch.nan), "inputs range from nan to nan"),
        (lambda x: x.where(x != x.max(), torch.inf), "inputs range from .* to inf"),
        (lambda x: x[0, 0, 0], r"x has shape \(\); it must be a batch"),
        (lambda x: x[:, 0, 0], r"x has shape \(5,\); it must be a batch"),
        (lambda x: x.to("meta"), "x is on meta, the model on cpu; move it"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_inputs_that_cannot_be_attacked(model, x, y, change, message):
    with pytest.raises(InputError, match=message):
        ATTACK(model, change(x), y)


def test_rounding_outside_the_bounds_is_clamped(model, x, y):
    x[0], x[1] = 1 + 5e-7, -5e-7
    problem = opened(model, x, y)
    assert problem.x0.min() == 0
    assert problem.x0.max() == 1
    assert x.max() > 1, "the caller's tensor stays as it was"
    x[0] = 1 + 5e-6
    with pytest.raises(InputError, match="inputs range"):
        opened(model, x, y)


@pytest.mark.parametrize("name", ["y", "target"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y.float(), "torch.float32; it must be an integer tensor of class indices"),
        (lambda y: y > 0, "torch.bool"),
        (lambda y: y.tolist(), "is list"),
        (lambda y: y[:3], r"has shape \(3,\); it must be \(5,\)"),
        (lambda y: nn.functional.one_hot(y, 3), r"has shape \(5, 3\)"),
        (lambda y: y + 3, r"holds class 3 to 5; the model has classes 0 to 2"),
        (lambda y: y - 3, "holds class -3 to -1"),
        (lambda y: y.to("meta"), "is on meta, x on cpu; move it"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_labels_that_mean_nothing(model, x, change, message, name):
    y = torch.tensor([0, 1, 2, 0, 1])
    labels = {"y": y, "target": None} | {name: change(y)}
    with pytest.raises(InputError, match=f"{name} .*{message}" if "is" not in message[:3] else f"{name} {message}"):
        ATTACK(model, x, labels["y"], target=labels["target"])


@pytest.mark.parametrize("wrong", [3, -1])
def test_target_and_aim_must_be_classes_with_and_without_labels(model, x, y, wrong):
    for labels in (y, None):
        with pytest.raises(InputError, match="target holds class"):
            ATTACK(model, x, labels, target=torch.full((5,), wrong))
        with pytest.raises(InputError, match="aim holds class"):
            opened(model, x, labels, aim=torch.full((5,), wrong)).look(x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
@pytest.mark.usefixtures("unchecked")
def test_any_integer_type_will_do_for_labels(model, x, y, dtype):
    assert torch.equal(ATTACK(model, x, y.to(dtype)).x, ATTACK(model, x, y).x)


@pytest.mark.parametrize(
    ("ball", "message"),
    [
        (Linf(8.0), r"eps=8 must lie in \[0, 1\].*did you mean 0.03137, that is 8/255\?"),
        (L2(128.0), r"eps=128 must lie in \[0, 2.44949\]"),
        (Linf(torch.tensor([0.1, 0.2])), "eps has 2 entries, the batch 5 rows"),
    ],
)
def test_radii_that_do_not_fit(model, x, y, ball, message):
    with pytest.raises(RadiusError, match=message):
        PGD(ball=ball, steps=2)(model, x, y)


def test_noise_must_be_bound_to_as_many_rows(model, x, y):
    with pytest.raises(InputError, match="bound to 3 row ids, the batch has 5 rows"):
        ATTACK(model, x, y, noise=Noise(0, torch.arange(3)))


@pytest.mark.parametrize(
    "settings", [{"forwards": -1}, {"backwards": -1}, {"seconds": -1.0}, {"forwards": float("nan")}]
)
def test_limits_must_not_be_negative(settings):
    with pytest.raises(SettingError, match="must be a number >= 0"):
        Limits(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shrink_at": -0.1}, r"lie in \[0, 1\]"),
        ({"shrink_at": 1.1}, "switches shrinking off"),
        ({"check_every": 0}, ">= 1"),
    ],
)
def test_limits_on_shrinking(settings, message):
    with pytest.raises(SettingError, match=message):
        Limits(**settings)


def test_no_labels_means_the_predictions_at_one_forward_pass(model, x, y):
    model.meter.forwards = 0
    problem = opened(model, x, None)
    assert torch.equal(problem.y, y)
    assert problem.record.forwards == 1
    assert model.meter.forwards == 5


# What one look tells.


@pytest.mark.parametrize("loss", [cross_entropy, margin])
@pytest.mark.parametrize("aimed", [False, True])
def test_look(model, x, y, loss, aimed):
    target = (y + 1) % 3 if aimed else None
    problem = opened(model, x, y, PGD(ball=Linf(0.1), loss=loss), target=target)
    seen = problem.look(x)
    leaf = x.clone().requires_grad_()
    logits = model.module(leaf)
    values = loss(logits, y, target)
    assert torch.equal(seen.logits, logits)
    assert torch.equal(seen.loss, values)
    torch.testing.assert_close(seen.grad, torch.autograd.grad(values.sum(), leaf)[0])
    assert torch.equal(seen.success, logits.argmax(1) == target if aimed else logits.argmax(1) != y)
    assert not any(tensor.requires_grad for tensor in seen[:4])
    assert seen.graph is None
    assert (problem.record.forwards, problem.record.backwards) == (1, 1)


def test_look_without_gradient(model, x, y):
    problem = opened(model, x, y)
    seen = problem.look(x, gradient=False)
    assert seen.grad.numel() == 0
    assert (problem.record.forwards, problem.record.backwards) == (1, 0)
    assert model.meter.backwards == 0


def test_aim_steers_the_loss_and_not_the_verdict(model, x, y):
    aim = (y + 1) % 3
    seen = opened(model, x, y).look(x, aim=aim)
    assert torch.equal(seen.loss, cross_entropy(model.module(x), y, aim).detach())
    assert not seen.success.any()
    assert torch.equal(opened(model, x, y, aim=aim).look(x).loss, seen.loss)
    target = (y + 2) % 3
    assert torch.equal(opened(model, x, y, target=target, aim=aim).look(x).loss, seen.loss)


def test_look_under_no_grad_still_has_a_gradient(model, x, y):
    with torch.no_grad():
        assert (opened(model, x, y).look(x).grad != 0).any()


def test_output_that_does_not_depend_on_the_input_costs_no_backward_pass(x):
    constant = torch.tensor([1.0, 2.0])
    model = Classifier(lambda x: constant.expand(len(x), 2))
    y = torch.ones(5, dtype=torch.int64)
    result = ATTACK(model, x, y)
    assert not result.success.any()
    assert (result.backwards == 0).all()
    assert model.meter.backwards == 0


def test_gradient_that_autograd_expands_is_no_trouble(x):
    y = torch.ones(5, dtype=torch.int64)
    result = ATTACK(Classifier(ConstantModel(torch.tensor([1.0, 2.0]))), x, y)
    assert (result.backwards == 2).all()


def test_gradients_that_are_not_finite_become_zero_in_their_places_only(x):
    def root(x):  # an infinite slope at 0
        z = x.flatten(1)
        return torch.stack([z.sqrt().sum(1), z.sum(1)], 1)

    x[0, 0, 0] = 0
    y = torch.zeros(5, dtype=torch.int64)
    seen = opened(Classifier(root), x, y).look(x)
    assert seen.grad.isfinite().all()
    assert seen.grad[0, 0, 0] == 0
    assert (seen.grad.flatten(1)[0, 1:] != 0).all()
    assert (seen.grad[1:] != 0).all()


def test_other_queries_are_counted_and_are_no_candidates(model, x, y):
    problem = opened(model, x, y)
    wrong = model.module((x - 0.5).clamp(0, 1)).argmax(1)
    logits = problem.logits((x - 0.5).clamp(0, 1))
    assert torch.equal(logits.argmax(1), wrong)
    assert not logits.requires_grad
    assert problem.record.forwards == 1
    assert torch.equal(problem.record.x, x)


@pytest.mark.parametrize(
    "limits", [Limits(forwards=1), Limits(backwards=1), Limits(forwards=torch.ones(5)), Limits(forwards=1.5)]
)
def test_budget_is_spent_before_it_is_exceeded(model, x, y, limits):
    problem = opened(model, x, y, limits=limits)
    before = model.meter.forwards
    problem.look(x)
    with pytest.raises(Spent):
        problem.look(x)
    assert problem.record.forwards == 1
    assert model.meter.forwards == before + 5


def test_budget_of_time(model, x, y):
    problem = opened(model, x, y, limits=Limits(seconds=0))
    with pytest.raises(Spent):
        problem.logits(x)


# Rows that leave.


@dataclass(frozen=True)
class Done:
    x: torch.Tensor
    done: torch.Tensor
    marks: torch.Tensor


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 1.0])
def test_rows_that_are_done_leave_once_they_are_enough(model, x, y, share):
    eps = torch.linspace(0.05, 0.09, 5)
    target = (y + 1) % 3
    problem = opened(model, x, y, PGD(ball=Linf(eps)), target=target, limits=Limits(shrink_at=share))
    done = torch.tensor([False, True, False, False, False])
    smaller, state = problem.shrink(Done(x, done, torch.arange(5)), 0)
    if share < 0.8:
        assert smaller is problem
        assert problem.record.settled_rows == 1
        return
    left = torch.tensor([0, 2, 3, 4])
    assert torch.equal(smaller.x0, x[left])
    assert torch.equal(smaller.y, y[left])
    assert torch.equal(smaller.target, target[left])
    assert torch.equal(smaller.aim, target[left])
    assert torch.equal(smaller.ball.eps, eps[left])
    assert smaller.noise.rows.tolist() == left.tolist()
    assert state.marks.tolist() == left.tolist()
    assert torch.equal(smaller.random_start(), problem.random_start()[left])
    assert smaller.record is problem.record
    assert not smaller.empty


def test_rows_that_are_done_are_looked_for_only_so_often(model, x, y):
    problem = opened(model, x, y, limits=Limits(check_every=3))
    state = Done(x, torch.ones(5, dtype=torch.bool), x)
    for t in (1, 2):
        assert problem.shrink(state, t)[0] is problem
        assert not problem.empty
    problem.shrink(state, 3)
    assert problem.empty


def test_limits_by_row_shrink_with_the_rows(model, x, y):
    budget = torch.tensor([1, 2, 3, 4, 5])
    result = PGD(ball=Linf(0.1), steps=9)(model, x, y, limits=Limits(forwards=budget))
    assert torch.equal(result.forwards, budget)
    for i in range(5):
        alone = PGD(ball=Linf(0.1), steps=9)(
            model, x[i : i + 1], y[i : i + 1], noise=Noise(0, torch.tensor([i])), limits=Limits(forwards=i + 1)
        )
        torch.testing.assert_close(alone.x[0], result.x[i])


def test_problem_tells_the_geometry_of_its_rows(model, x, y):
    problem = opened(model, x, y, FGSM(ball=L2(0.3)))
    assert problem.radius == 0.3
    assert problem.bounds == model.bounds
    grad = torch.randn_like(x)
    assert torch.equal(problem.steepest_step(grad), L2(0.3).steepest_step(grad))
    assert torch.equal(problem.project(x + grad), L2(0.3).project(x + grad, x, model.bounds))
    assert problem.record.keep is Keep.MAX_LOSS


# Several gradients of one forward pass, confidence, and minimum distance.


class _Rounded(torch.autograd.Function):
    """The identity, whose gradient cannot be batched."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad.clone() if bool((grad == grad).all()) else grad  # a decision on values has no batched form


class _Hard(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(_Rounded.apply(x))


@pytest.mark.parametrize("wrap", [lambda module: module, _Hard])
@pytest.mark.parametrize("m", [1, 3])
def test_gradients_of_several_logits_from_one_forward(model, x, y, wrap, m):
    module, model = model.module, Classifier(wrap(model.module))
    problem = opened(model, x, y)
    problem.model.meter.forwards = problem.model.meter.backwards = 0
    with torch.enable_grad():
        seen = problem.look(x, gradient=False, graph=True)
    weights = torch.randn(m, 5, 3, generator=torch.Generator().manual_seed(2))
    found = problem.gradients(seen, weights)
    wanted = torch.einsum("mnk,kd->mnd", weights, module.weight).view(m, 5, 2, 3)
    torch.testing.assert_close(found, wanted.detach())
    assert not found.requires_grad
    assert (problem.record.forwards, problem.record.backwards) == (1, m)
    assert (model.meter.forwards, model.meter.backwards) == (5, 5 * m)
    assert seen.grad.numel() == 0


def test_gradients_of_a_model_that_ignores_its_input(x):
    model = Classifier(ConstantModel(torch.tensor([0.0, 1.0, 2.0])))
    problem = opened(model, x, torch.full((5,), 2))
    seen = problem.look(x, gradient=False, graph=True)
    assert (problem.gradients(seen, torch.ones(2, 5, 3)) == 0).all()


def test_gradients_stay_within_the_budget(model, x, y):
    limits = Limits(backwards=torch.tensor([2.0, 9.0, 1.0, 9.0, 0.0]))
    problem = opened(model, x, y, limits=limits)
    seen = problem.look(x, gradient=False, graph=True)
    problem.gradients(seen, torch.ones(2, 5, 3))
    assert problem.record.settled.tolist() == [False, False, True, False, True]
    problem.gradients(seen, torch.ones(2, 5, 3))
    assert problem.record.settled.tolist() == [True, False, True, False, True]
    with pytest.raises(Spent):
        problem.gradients(seen, torch.ones(8, 5, 3))
    assert problem.record.result(model, ATTACK.ball, margin, x, y, None).backwards.tolist() == [2, 4, 0, 4, 0]


def test_success_needs_the_confidence_asked_for():
    model = Classifier(LinearModel(torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.5])))
    x, y = torch.tensor([[0.4]]), torch.tensor([0])
    for confidence, wanted in ((0.0, True), (0.2, True), (0.35, False)):
        problem = opened(model, x, y, FGSM(ball=Linf(0.4), keep=Keep.FIRST_SUCCESS, confidence=confidence))
        assert problem.look(torch.tensor([[0.8]])).success.tolist() == [wanted]  # its margin is 0.3
        assert problem.empty is wanted


@pytest.mark.parametrize("confidence", [-1.0, float("nan"), float("inf"), "2", True])
@pytest.mark.usefixtures("unchecked")
def test_a_confidence_that_cannot_be(model, x, y, confidence):
    with pytest.raises(SettingError, match=r"confidence=.* must be a finite number >= 0, in logit units"):
        opened(model, x, y, PGD(ball=Linf(0.1), confidence=confidence))


def test_under_min_distance_points_beyond_eps_are_no_candidates():
    model = Classifier(LinearModel(torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.5])))
    x, y = torch.tensor([[0.4], [0.4]]), torch.tensor([0, 0])
    problem = opened(model, x, y, PGD(ball=Linf(torch.tensor([0.2, 0.3])), keep=Keep.MIN_DISTANCE))
    assert problem.look(torch.full((2, 1), 0.65)).success.tolist() == [False, True]
    result = problem.result()
    assert result.success.tolist() == [False, True]
    assert result.x.flatten().tolist() == pytest.approx([0.4, 0.65])


# Questions about single rows.


def test_a_question_counts_for_its_row_and_is_not_kept(model, x, y):
    problem = opened(model, x, y)
    problem.look(x, gradient=False)
    before = model.meter.forwards
    rows = torch.tensor([3, 0, 3, 3])
    points = torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(2))
    seen = problem.ask(points, rows)
    logits = model.uncounted().logits(points)
    torch.testing.assert_close(seen.logits, logits)
    torch.testing.assert_close(seen.loss, cross_entropy(logits, y[rows]))
    assert torch.equal(seen.success, logits.argmax(1) != y[rows])
    assert model.meter.forwards - before == 4
    result = problem.result()
    assert result.forwards.tolist() == [2, 1, 1, 4, 1]
    assert torch.equal(result.x, x), "points that were only asked about are not returned"


def test_a_row_that_cannot_afford_its_questions_settles(model, x, y):
    problem = opened(model, x, y, limits=Limits(forwards=torch.tensor([3, 3, 1, 9, 9])))
    problem.look(x, gradient=False)
    before = model.meter.forwards
    rows = torch.tensor([0, 0, 1, 1, 1, 3])
    seen = problem.ask(x[rows], rows)
    assert seen.logits.isnan().any(1).tolist() == [False, False, True, True, True, False]
    assert not seen.success[2:5].any()
    assert model.meter.forwards - before == 3, "what a row cannot afford is not asked"
    assert problem.record.settled.tolist() == [False, True, False, False, False]
    with pytest.raises(Spent):
        problem.ask(x.repeat(9, 1, 1), torch.arange(5).repeat(9))
    assert problem.result().forwards.tolist() == [3, 1, 1, 2, 1]


def test_questions_are_part_of_when_a_row_was_solved(model, x, y):
    first = problem = opened(model, x, y)
    problem.look(x, gradient=False)
    rows = torch.tensor([1, 1, 4])
    problem.ask(x[rows], rows)
    problem.record.settle(torch.tensor([True, False, False, False, False]))
    problem, _ = problem.shrink(torch.zeros(5), 0)
    assert problem.record.passes.tolist() == [3, 1, 1, 2]
    weight = model.module.weight
    beyond = 10 * (weight[(y + 1) % 3] - weight[y]).view_as(x)
    problem.look(beyond[1:], gradient=False)
    result = first.result()
    hit = model.predict(beyond) != y
    hit[0] = False
    assert hit.any()
    assert torch.equal(result.solved_at, torch.where(hit, torch.tensor([1, 4, 2, 2, 3]), -1))
    assert result.forwards.tolist() == [1, 4, 2, 2, 3]


def test_questions_ask_for_the_confidence_and_the_target(model, x, y):
    target = (y + 1) % 3
    attack = PGD(ball=Linf(0.1), steps=2, confidence=0.3)
    problem = opened(model, x, y, attack, target=target)
    points, rows = torch.randn(200, 2, 3, generator=torch.Generator().manual_seed(3)), torch.arange(200) % 5
    success = problem.ask(points, rows).success
    assert torch.equal(success, margin(model.logits(points), y[rows], target[rows]) >= 0.3)
    assert 0 < success.double().mean() < 1


@pytest.mark.parametrize("keep", [Keep.MAX_LOSS, Keep.FIRST_SUCCESS])
def test_of_points_that_are_free_to_leave_the_ball_those_inside_count(keep):
    model = Classifier(LinearModel(torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.5])))
    x, y = torch.tensor([[0.4], [0.4]]), torch.tensor([0, 0])
    problem = opened(model, x, y, PGD(ball=Linf(torch.tensor([0.2, 0.3])), keep=keep))
    assert problem.look(torch.tensor([[0.8], [0.8]]), free=True).success.tolist() == [False, False]
    assert torch.equal(problem.record.x, x)
    assert problem.look(torch.tensor([[0.65], [0.65]]), free=True).success.tolist() == [False, True]
    assert problem.record.settled_rows == (1 if keep is Keep.FIRST_SUCCESS else 0)
    problem.look(torch.tensor([[0.45], [0.66]]), free=True)
    result = problem.result()
    assert result.success.tolist() == [False, True]
    assert result.x.flatten().tolist() == pytest.approx([0.45, 0.65 if keep is Keep.FIRST_SUCCESS else 0.66])
    assert result.solved_at.tolist() == [-1, 2]
