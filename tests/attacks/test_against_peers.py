"""Our iterates against those of foolbox and torchattacks: same model, digits, step size and steps, no random start.

They need the peers, which no other test does: pip install foolbox torchattacks
"""

import warnings

import pytest

import saddlepoint as sp
from saddlepoint import L2, Keep, Linf
from saddlepoint.attacks import BIM, FGSM, MIFGSM, PGD

pytestmark = pytest.mark.slow

ROWS, LINF, SIZE = 256, 0.1, 0.01


def peer(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=ImportError)


@pytest.fixture
def foolbox():
    return peer("foolbox")


@pytest.fixture
def torchattacks():
    return peer("torchattacks")


@pytest.fixture(scope="module")
def case():
    """A trained net and test digits."""
    model, data = sp.load_model("zoo:mnist-standard"), sp.load_data("mnist10k:test")[:ROWS]
    return model, data.x, data.y


def inner(x):
    """The same digits well inside the box, where how ball and box are combined does not matter."""
    return 0.25 + x / 2


def share_that_agrees(found, wanted):
    """Share of rows whose points agree to 1e-5 in every feature."""
    return ((found - wanted).abs().flatten(1).amax(1) <= 1e-5).float().mean().item()


def check(record_property, found, wanted, start):
    assert (wanted - start).abs().amax() > 1e-3, "the peer did not move"
    share = share_that_agrees(found, wanted)
    record_property("agreeing", share)
    print(
        f"{share:.4f} of {len(found)} rows agree to 1e-5, largest difference {(found - wanted).abs().max().item():.2e}"
    )
    assert share >= 0.99


@pytest.mark.parametrize("steps", [1, 10, 40])
def test_pgd_equals_torchattacks(torchattacks, case, record_property, steps):
    model, x, y = case
    ours = PGD(ball=Linf(LINF), steps=steps, step_size=SIZE, random_start=False, keep=Keep.LAST)(model, x, y).x
    theirs = torchattacks.PGD(model.module, eps=LINF, alpha=SIZE, steps=steps, random_start=False)(x, y)
    check(record_property, ours, theirs, x)


@pytest.mark.parametrize("steps", [1, 10, 40])
def test_pgd_equals_foolbox(foolbox, case, record_property, steps):
    model, x, y = case
    ours = PGD(ball=Linf(LINF), steps=steps, step_size=SIZE, random_start=False, keep=Keep.LAST)(model, x, y).x
    attack = foolbox.attacks.LinfPGD(abs_stepsize=SIZE, steps=steps, random_start=False)
    theirs = attack.run(foolbox.PyTorchModel(model.module, bounds=(0, 1), device="cpu"), x, y, epsilon=LINF)
    check(record_property, ours, theirs, x)


def test_l2_pgd_equals_torchattacks(torchattacks, case, record_property):
    model, x, y = case[0], inner(case[1]), case[2]
    ours = PGD(ball=L2(0.2), steps=40, step_size=0.02, random_start=False, keep=Keep.LAST)(model, x, y).x
    theirs = torchattacks.PGDL2(model.module, eps=0.2, alpha=0.02, steps=40, random_start=False)(x, y)
    check(record_property, ours, theirs, x)


def test_l2_pgd_equals_foolbox(foolbox, case, record_property):
    model, x, y = case[0], inner(case[1]), case[2]
    ours = PGD(ball=L2(0.2), steps=40, step_size=0.02, random_start=False, keep=Keep.LAST)(model, x, y).x
    attack = foolbox.attacks.L2PGD(abs_stepsize=0.02, steps=40, random_start=False)
    theirs = attack.run(foolbox.PyTorchModel(model.module, bounds=(0, 1), device="cpu"), x, y, epsilon=0.2)
    check(record_property, ours, theirs, x)


def test_targeted_pgd_equals_torchattacks(torchattacks, case, record_property):
    model, x, y = case
    target = (y + 1) % 10
    ours = PGD(ball=Linf(LINF), steps=40, step_size=SIZE, random_start=False, keep=Keep.LAST)(
        model, x, y, target=target
    ).x
    attack = torchattacks.PGD(model.module, eps=LINF, alpha=SIZE, steps=40, random_start=False)
    attack.set_mode_targeted_by_function(lambda images, labels: (labels + 1) % 10)
    check(record_property, ours, attack(x, y), x)


@pytest.mark.parametrize("name", ["FGSM", "BIM", "MIFGSM"])
def test_other_gradient_attacks_equal_torchattacks(torchattacks, case, record_property, name):
    model, x, y = case
    ours, settings = {
        "FGSM": (FGSM(ball=Linf(LINF), keep=Keep.LAST), {}),
        "BIM": (BIM(ball=Linf(LINF), steps=20, step_size=SIZE, keep=Keep.LAST), {"alpha": SIZE, "steps": 20}),
        "MIFGSM": (MIFGSM(ball=Linf(LINF), steps=20, step_size=SIZE, keep=Keep.LAST), {"alpha": SIZE, "steps": 20}),
    }[name]
    theirs = getattr(torchattacks, name)(model.module, eps=LINF, **settings)(x, y)
    check(record_property, ours(model, x, y).x, theirs, x)
