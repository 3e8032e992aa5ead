"""Points made on one model and judged on another: nothing of the model is used but its verdict."""

import pytest
import torch
from torch import nn

from saddlepoint import L2, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import DDN, MIFGSM, PGD, Restarts, Transferred
from saddlepoint.errors import ArgumentTypeError, SettingError
from saddlepoint.models import ensemble
from saddlepoint.testing import ConstantModel, LinearModel, contract

OF_THE_SURROGATE = "passes are those of the surrogate, which the model's meter does not see"


def _surrogate(x):
    """Four classes of inputs of any shape."""
    flat = x.flatten(1)
    return flat @ Noise(2).normal(flat.new_empty(flat.shape[1], 4))


def _around(ball):
    return Transferred(attack=PGD(ball=ball, steps=3), surrogate=Classifier(_surrogate))


test_contract_linf = contract(_around(Linf(0.1)), rebuild=_around, skip={"true_counts": OF_THE_SURROGATE})
test_contract_l2 = contract(_around(L2(0.3)), rebuild=_around, skip={"true_counts": OF_THE_SURROGATE})


def linear(seed=2, rows=40, features=8, classes=4):
    drawn = torch.Generator().manual_seed(seed)
    return LinearModel(torch.randn(classes, features, generator=drawn, dtype=torch.float64))


@pytest.fixture
def rows():
    return torch.rand(40, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_from_the_model_itself_it_is_the_attack(rows):
    model = Classifier(linear())
    y = model.predict(rows)
    attack = MIFGSM(ball=Linf(0.1), steps=4)
    plain, moved = attack(model, rows, y), Transferred(attack=attack, surrogate=model)(model, rows, y)
    for name in ("x", "success", "undefined", "loss", "distance", "forwards", "backwards"):
        assert torch.equal(getattr(plain, name), getattr(moved, name)), name


def test_the_points_are_the_surrogates_and_the_verdict_is_the_models(rows):
    other, model = Classifier(linear(3)), Classifier(linear())
    y = model.predict(rows)
    attack = MIFGSM(ball=Linf(0.2), steps=4)
    made = attack(other, rows, y)
    other, model = Classifier(linear(3)), Classifier(linear())
    found = Transferred(attack=attack, surrogate=other)(model, rows, y)
    assert torch.equal(found.x, made.x)
    assert torch.equal(found.success, linear()(made.x).argmax(1) != y)
    assert not torch.equal(found.success, made.success)
    assert (model.meter.forwards, model.meter.backwards) == (len(rows), 0), "asked once, to verify"
    assert int(found.forwards.sum()) + len(rows) == other.meter.forwards
    assert int(found.backwards.sum()) == other.meter.backwards


def test_labels_that_are_left_out_are_those_of_the_model_and_count(rows):
    other, model = Classifier(linear(3)), Classifier(linear())
    attack = Transferred(attack=MIFGSM(ball=Linf(0.2), steps=4), surrogate=other)
    given, asked = attack(model, rows, model.predict(rows)), attack(model, rows, None)
    assert torch.equal(given.x, asked.x)
    assert torch.equal(given.forwards + 1, asked.forwards)


def test_a_budget_is_of_the_surrogates_passes(rows):
    model = Classifier(linear())
    attack = Transferred(attack=MIFGSM(ball=Linf(0.2), steps=9), surrogate=Classifier(linear(3)))
    found = attack(model, rows, model.predict(rows), limits=Limits(forwards=4, backwards=3))
    assert int(found.forwards.max()) <= 4
    assert int(found.backwards.max()) == 3


def test_a_surrogate_of_other_bounds_sees_what_the_model_sees(rows):
    class Byte(nn.Module):
        def forward(self, x):
            return linear(3)(x / 255)

    model = Classifier(linear())
    y = model.predict(rows)
    attack = MIFGSM(ball=Linf(0.1), steps=4)
    unit = Transferred(attack=attack, surrogate=Classifier(linear(3)))(model, rows, y)
    byte = Transferred(attack=attack, surrogate=Classifier(Byte(), bounds=(0, 255)))(model, rows, y)
    torch.testing.assert_close(byte.x, unit.x, rtol=0, atol=1e-12)


def test_it_aims_at_targets_and_runs_inside_restarts(rows):
    other, model = Classifier(linear(3)), Classifier(linear())
    y = model.predict(rows)
    goal = (y + 1) % 4
    inner = PGD(ball=Linf(0.3), steps=5)
    one = Transferred(attack=inner, surrogate=other)
    found = one(model, rows, y, target=goal)
    assert torch.equal(found.success, model.predict(found.x) == goal)
    often = Restarts(attack=one, times=3)(model, rows, y, target=goal)
    assert bool((often.success | ~found.success).all())
    assert one.name == "pgd from another model"


def test_a_surrogate_without_gradient_gives_back_the_input(rows):
    model = Classifier(linear())
    flat = Classifier(ConstantModel(torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)))
    for attack in (MIFGSM(ball=Linf(0.1), steps=3), DDN(steps=3)):
        assert torch.equal(Transferred(attack=attack, surrogate=flat)(model, rows, None).x, rows)


def test_the_surrogate_runs_in_evaluation_mode_and_keeps_its_flags(rows):
    modes = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(8, 4).double()

        def forward(self, x):
            modes.append(self.training)
            return self.inner(x)

    module = Watched().train()
    Transferred(attack=PGD(ball=Linf(0.1), steps=2), surrogate=Classifier(module, bounds=(-1, 1)))(
        Classifier(linear()), rows, None
    )
    assert modes
    assert not any(modes)
    assert module.training
    assert module.inner.weight.requires_grad


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_transferred_is_told():
    attack = PGD(ball=Linf(0.1))
    with pytest.raises(ArgumentTypeError, match="surrogate is Linear; wrap it"):
        Transferred(attack=attack, surrogate=nn.Linear(3, 2))
    with pytest.raises(ArgumentTypeError, match="source='' must be text"):
        Transferred(attack=attack, surrogate=Classifier(_surrogate), source="")
    far = Classifier(_surrogate, device="meta")
    with pytest.raises(SettingError, match="the surrogate is on meta, the model on cpu"):
        Transferred(attack=attack, surrogate=far)(Classifier(_surrogate), torch.rand(2, 3), None)


def test_an_ensemble_is_a_surrogate(rows):
    model = Classifier(linear())
    both = ensemble([Classifier(linear(3)), Classifier(linear(4))])
    attack = Transferred(attack=MIFGSM(ball=Linf(0.1), steps=4, keep=Keep.LAST), surrogate=both, source="two")
    assert attack.name == "mi-fgsm from two"
    mean = LinearModel((linear(3).weight + linear(4).weight) / 2)
    wanted = MIFGSM(ball=Linf(0.1), steps=4, keep=Keep.LAST)(Classifier(mean), rows, model.predict(rows))
    torch.testing.assert_close(attack(model, rows, model.predict(rows)).x, wanted.x, rtol=0, atol=1e-12)
