"""Each objective does in a training what it is for."""

import pytest
from all_objectives import moving

from saddlepoint.attacks import PGD
from saddlepoint.balls import L2, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.defenses.training import AWP, Distillation, Schedule, Standard, fit

SCHEDULE = Schedule(epochs=30, batch_size=30, peak=4e-2)


def robust(net, batch, ball):
    return 1 - PGD(ball=ball, steps=10)(Classifier(net), *batch).success.float().mean().item()


def trained(make_net, batch, objective):
    net = make_net()
    fit(net, *batch, objective, SCHEDULE)
    return net


@pytest.mark.slow
@pytest.mark.parametrize("name", moving(Linf(0.1)))
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "awp"])
def test_it_makes_robust(make_net, batch, name, wrapped):
    ball = L2(0.4)
    objective = moving(ball)[name]
    standard = robust(trained(make_net, batch, Standard()), batch, ball)
    net = trained(make_net, batch, AWP(objective=objective, warmup=0.2) if wrapped else objective)
    assert robust(net, batch, ball) > standard + 0.05
    assert (Classifier(net).predict(batch[0]) == batch[1]).float().mean() > 0.7


def test_a_student_learns_from_its_teacher_alone(make_net, batch):
    teacher = trained(make_net, batch, Standard())
    x, _ = batch
    wrong = (batch[1] + 1) % 3  # only the teacher knows
    student = make_net(seed=1)
    fit(student, x, wrong, Distillation(teacher=teacher, temperature=2.0, weight=1.0), SCHEDULE)
    predicted = Classifier(student).predict(x)
    assert (predicted == Classifier(teacher).predict(x)).float().mean() > 0.85
    assert (predicted == wrong).float().mean() < 0.15
