import json
import math
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch

from saddlepoint import attacks as library
from saddlepoint.attacks import (
    BIM,
    FGSM,
    MIFGSM,
    PGD,
    AdvGAN,
    Bisect,
    FromCallable,
    Transferred,
    UniversalPerturbation,
)
from saddlepoint.balls import L2, Ball, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.errors import SettingError, SpecError
from saddlepoint.evaluation.suites import DEFAULT, attack_classes, build, described, needs_eps, recognisable, settings
from saddlepoint.losses import margin
from saddlepoint.result import Keep
from saddlepoint.solve import IterativeAttack

EVERY = [getattr(library, name) for name in library.__all__]
ITERATIVE = [cls for cls in EVERY if issubclass(cls, IterativeAttack)]


def ball_of(name, eps=0.1):
    """A ball of the norm that an attack is made for."""
    own = attack_classes()[name].__dataclass_fields__["ball"].default
    return type(own)(eps) if isinstance(own, Ball) else Linf(eps)


def minimal(name):
    return attack_classes()[name].__dataclass_fields__["keep"].default is Keep.MIN_DISTANCE


@pytest.mark.parametrize("cls", ITERATIVE)
def test_every_iterative_attack_has_a_name_and_is_known_by_it(cls):
    assert cls.name == cls.name.lower()
    assert cls.name.replace("-", "").isalnum()
    assert attack_classes()[cls.name] is cls


def test_no_two_attacks_share_a_name():
    names = [cls.name for cls in EVERY if cls not in (AdvGAN, UniversalPerturbation)]  # they make attacks
    assert len(set(names)) == len(names)
    assert set(attack_classes()) == {cls.name for cls in ITERATIVE}
    assert set(DEFAULT) <= set(attack_classes())


@pytest.mark.parametrize("name", sorted(attack_classes()))
def test_attacks_are_built_to_stop_at_the_first_success_or_to_keep_the_nearest(name):
    attack = build(name, ball_of(name))
    assert type(attack) is attack_classes()[name]
    assert (attack.ball, attack.keep) == (
        ball_of(name), Keep.MIN_DISTANCE if minimal(name) else Keep.FIRST_SUCCESS,
    )  # fmt: skip


def test_attacks_made_for_the_least_distance_are_known():
    found = {name for name in attack_classes() if minimal(name)}
    others = {"cw-l0", "cw-l2", "cw-linf", "ddn", "deepfool", "fab", "fmn", "hop-skip-jump", "jsma", "l-bfgs"}
    assert found == others | {"perc-al", "perc-cw"}


@pytest.mark.parametrize("name", sorted(name for name in attack_classes() if minimal(name)))
def test_attacks_made_for_the_least_distance_do_without_a_radius(name):
    ball = ball_of(name, math.inf)
    found = settings(build(name, ball))
    assert not needs_eps(name)
    assert found["ball"] == {"norm": ball.norm, "eps": "inf"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_norm_that_an_attack_is_not_made_for_is_refused():
    with pytest.raises(SettingError, match="ball=Linf has a norm that this attack does not minimise; give it L0"):
        build("jsma", Linf(0.1))


@pytest.mark.parametrize(("name", "near"), [("pgdd", "'pgd'"), ("mifgsm", "'mi-fgsm'"), ("fgms", "'fgsm'")])
def test_an_unknown_name_is_answered_with_the_nearest(name, near):
    with pytest.raises(SpecError, match=f"unknown attack {name!r}; did you mean .*{near}"):
        build(name, Linf(0.1))


def test_a_name_like_no_other_is_answered_with_all():
    with pytest.raises(SpecError, match="known: .*bim, .*pgd"):
        build("zzzzzz", Linf(0.1))


@pytest.mark.parametrize(
    ("named", "attack"),
    [
        ({"name": "pgd"}, PGD(ball=Linf(0.1), keep=Keep.FIRST_SUCCESS)),
        (
            {"name": "pgd", "steps": 7, "step_size": 0.01, "random_start": False, "loss": "margin"},
            PGD(ball=Linf(0.1), steps=7, step_size=0.01, random_start=False, loss=margin, keep=Keep.FIRST_SUCCESS),
        ),
        (
            {"name": "pgd", "steps": "7", "step_size": "2/255", "random_start": "no"},
            PGD(ball=Linf(0.1), steps=7, step_size=2 / 255, random_start=False, keep=Keep.FIRST_SUCCESS),
        ),
        ({"name": "bim", "steps": None, "step_size": "null"}, BIM(ball=Linf(0.1), keep=Keep.FIRST_SUCCESS)),
        ({"name": "mi-fgsm", "decay": 1}, MIFGSM(ball=Linf(0.1), decay=1.0, keep=Keep.FIRST_SUCCESS)),
    ],
)
def test_settings_come_with_the_name(named, attack):
    before = dict(named)
    assert build(named, Linf(0.1)) == attack
    assert named == before


@pytest.mark.parametrize("name", sorted(name for name in attack_classes() if not minimal(name)))
def test_every_fixed_budget_can_be_bisected_by_name(name):
    attack = build(f"{name}-bisect", ball_of(name))
    assert attack == Bisect(attack=build(name, ball_of(name)))
    assert attack.name == f"{name}-bisect"
    found = settings(attack)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["rounds"], found["attack"]["name"]) == (10, name)


def test_a_bisection_takes_the_settings_of_its_attack_and_rounds():
    built = build({"name": "pgd-bisect", "rounds": "4", "steps": 7}, Linf(0.1))
    assert built == Bisect(attack=PGD(ball=Linf(0.1), steps=7, keep=Keep.FIRST_SUCCESS), rounds=4)


def test_who_needs_a_radius():
    needy = {name for name in attack_classes() if needs_eps(name)}
    assert needy == {name for name in attack_classes() if not minimal(name)}
    assert needs_eps("pgd-bisect")
    assert not needs_eps({"name": "ddn", "steps": 3})
    with pytest.raises(SpecError, match="unknown attack 'pgdd'"):
        needs_eps("pgdd")


def test_what_is_kept_is_chosen_by_the_caller():
    assert build("pgd", Linf(0.1), Keep.MAX_LOSS).keep is Keep.MAX_LOSS
    assert build("ddn", L2(0.1), Keep.MAX_LOSS).keep is Keep.MIN_DISTANCE  # or it would return points beyond eps


@pytest.mark.parametrize(
    ("named", "error", "said"),
    [
        ({"steps": 3}, SpecError, "has no name; give one, for example name: pgd"),
        ({"name": 3}, SpecError, "has no name"),
        ({"name": "ddn-bisect"}, SpecError, "unknown attack 'ddn-bisect'"),
        ({"name": "pgdd-bisect"}, SpecError, "unknown attack 'pgdd-bisect'; did you mean 'pgd-bisect'"),
        ({"name": "pgd", "rounds": 3}, SpecError, "unknown setting of pgd 'rounds'"),
        ({"name": "pgd-bisect", "round": 3}, SpecError, "unknown setting of pgd-bisect 'round'; .*'rounds'"),
        ({"name": "pgd-bisect", "attack": 3}, SpecError, "unknown setting of pgd-bisect 'attack'"),
        ({"name": "pgd-bisect", "rounds": -1}, SettingError, "rounds=-1 must be >= 0"),
        ({"name": "pgdd", "steps": 3}, SpecError, "unknown attack 'pgdd'; did you mean 'pgd'"),
        ({"name": "pgd", "step": 3}, SpecError, "unknown setting of pgd 'step'; did you mean .*'steps'"),
        ({"name": "fgsm", "steps": 3}, SpecError, "unknown setting of fgsm 'steps'; known: .*loss"),
        ({"name": "pgd", "ball": Linf(0.2)}, SpecError, "unknown setting of pgd 'ball'"),
        ({"name": "pgd", "keep": "last"}, SpecError, "unknown setting of pgd 'keep'"),
        ({"name": "pgd", 3: 3}, SpecError, "unknown setting of pgd '3'"),
        ({"name": "pgd", "loss": "cross-entropy"}, SpecError, "unknown loss 'cross-entropy'; did you mean 'cross_entr"),
        ({"name": "pgd", "steps": "ten"}, SettingError, "steps='ten' must be an integer; leave it out for the .*, 40"),
        ({"name": "pgd", "steps": True}, SettingError, "steps=True must be an integer"),
        ({"name": "pgd", "steps": None}, SettingError, "steps=None must be an integer"),
        ({"name": "pgd", "steps": 10.0}, SettingError, "steps=10.0 must be an integer"),
        ({"name": "pgd", "steps": -1}, SettingError, "steps=-1 must be an integer >= 0"),
        ({"name": "pgd", "step_size": "2/0"}, SettingError, "step_size='2/0' must be a number or a fraction"),
        ({"name": "pgd", "step_size": "inf"}, SettingError, "step_size=inf must be finite"),
        ({"name": "pgd", "random_start": 1}, SettingError, "random_start=1 must be true or false"),
        ({"name": "mi-fgsm", "decay": "null"}, SettingError, "decay='null' must be a number"),
    ],
)
def test_bad_settings_are_told_with_value_and_rule(named, error, said):
    with pytest.raises(error, match=said):
        build(named, Linf(0.1))


@pytest.mark.parametrize("name", sorted(attack_classes()))
def test_every_setting_of_every_attack_can_be_given_by_name(name):
    attack = build(name, ball_of(name))
    plain = {key: value for key, value in settings(attack).items() if key not in ("ball", "keep")}
    assert build({"name": name, **plain}, ball_of(name)) == attack
    text = {key: str(value).lower() if value is not None else "null" for key, value in plain.items()}
    assert build({"name": name, **text}, ball_of(name)) == attack


@pytest.mark.parametrize("eps", [0.25, 1.5])
@pytest.mark.parametrize("name", sorted(attack_classes()))
def test_settings_name_every_field_and_are_strict_json(name, eps):
    ball = ball_of(name, eps)
    found = settings(build(name, ball))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["ball"] == {"norm": ball.norm, "eps": ball.eps}
    assert found["keep"] == ("min-distance" if minimal(name) else "first-success")
    assert found["loss"] in ("cross_entropy", "margin", "margin_or_cross_entropy", "escape")


def test_a_tensor_cannot_be_given_by_name():
    with pytest.raises(
        SettingError, match="start has one entry for each row of a batch; it can be given in Python only"
    ):
        build({"name": "hop-skip-jump", "start": "0.5"}, L2(0.5))


def test_settings_are_those_that_were_chosen():
    found = settings(PGD(ball=Linf(0.25), steps=7, step_size=0.125, random_start=False, loss=margin))
    assert (found["steps"], found["step_size"], found["random_start"]) == (7, 0.125, False)
    assert found["loss"] == "margin"
    assert settings(MIFGSM(ball=Linf(0.25), decay=0.5))["decay"] == 0.5


def test_a_radius_per_row_is_recorded_by_its_hash():
    found = settings(FGSM(ball=Linf(torch.tensor([0.1, 0.2]))))["ball"]["eps"]
    assert (found["rows"], len(found["sha256"])) == (2, 64)


def ascend(model, x, y):
    return x


def test_an_attack_by_callable_is_recorded_by_its_function():
    found = settings(FromCallable(function=ascend, ball=Linf(0.1)))
    assert found["function"] == "ascend"
    assert found["ball"] == {"norm": "linf", "eps": 0.1}
    assert found["targeted"] is False
    json.dumps(found, allow_nan=False)


@dataclass(frozen=True)
class Nested:
    scales: tuple[float, ...] = (0.5, 1.0)


@dataclass(frozen=True)
class Odd:
    name: ClassVar[str] = "odd"
    inner: Nested = Nested()
    weight: torch.Tensor = field(default_factory=lambda: torch.tensor([1.0, 2.0]))
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def test_whatever_a_field_holds_becomes_json():
    found = settings(Odd())
    assert found == {"inner": {"scales": [0.5, 1.0]}, "weight": [1.0, 2.0], "device": "device"}
    json.dumps(found, allow_nan=False)


def test_an_attack_without_fields_is_recorded_by_its_class():
    class Plain:
        name = "plain"

    assert settings(Plain())["attack"].endswith("Plain")


def test_a_transferred_attack_is_told_from_others_by_the_surrogates_parameters(make_net):
    def around(surrogate, steps=3):
        return Transferred(attack=MIFGSM(ball=Linf(0.1), steps=steps), surrogate=surrogate, source="a")

    one, again, other = (Classifier(make_net(seed)) for seed in (0, 0, 1))
    told = [json.dumps(described(around(each))) for each in (one, again, other, Classifier(make_net(0), mean=0.5))]
    told.append(json.dumps(described(around(one, steps=4))))
    assert told[0] == told[1]
    assert len(set(told)) == len(told) - 1
    assert recognisable(around(one))
    assert not recognisable(around(Classifier(lambda x: x.flatten(1))))
    assert needs_eps(around(one))
