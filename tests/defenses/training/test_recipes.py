import json
from importlib import resources

import pytest
import yaml
from torch import nn

from saddlepoint.attacks import PGD
from saddlepoint.balls import L2, Bounds, Linf
from saddlepoint.defenses.training import (
    AWP,
    SGD,
    Adversarial,
    ContractivePenalty,
    Fast,
    Schedule,
    Standard,
    Trades,
    Validation,
)
from saddlepoint.defenses.training.recipes import Recipe, customary, recipes
from saddlepoint.defenses.training.recipes.reading import read
from saddlepoint.defenses.training.recipes.typed import read as typed
from saddlepoint.errors import SettingError, SpecError

METHODS = {
    "standard", "fgsm-mixed", "strong-adversary", "pgd", "fast", "trades", "distillation", "defensive-distillation",
    "free", "mart", "rce",
}  # fmt: skip


@pytest.fixture(params=sorted(recipes()))
def recipe(request):
    return recipes()[request.param]


def made(recipe, ball):
    return recipe.make(ball, teacher=nn.Linear(2, 2) if recipe.teacher else None)


def test_every_method_has_a_recipe_before_the_presets():
    names = list(recipes())
    assert set(names[: len(METHODS)]) == METHODS
    assert all(recipes()[name].preset for name in names[len(METHODS) :])


def test_every_file_is_read_and_makes_its_objective(recipe):
    ball = recipe.ball(recipe.data)
    objective = made(recipe, ball)
    assert (getattr(objective, "ball", None) or getattr(getattr(objective, "attack", None), "ball", None)) == (
        ball if recipe.robust else None
    )
    validation = recipe.validate(ball)
    assert validation is None or validation.ball == ball
    assert recipe.description
    assert ("not run here" in recipe.title) is not recipe.ran


def test_a_recipe_is_recorded_whole(recipe):
    told = recipe.describe(recipe.ball(recipe.data))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["epochs"] == recipe.schedule.epochs
    assert ("eps" in told) is recipe.robust


def test_the_recipes_of_the_embedded_models_are_what_they_were():
    pgd, standard = recipes()["pgd"], recipes()["standard"]
    assert standard.make(Linf(0.3)) == Standard()
    assert standard.schedule == Schedule(epochs=10)
    assert pgd.make(Linf(0.25)) == Adversarial(attack=PGD(ball=Linf(0.25), steps=10), warmup=0.2)
    assert pgd.schedule == Schedule(epochs=30, shift=1)
    assert (pgd.validation, standard.validation) == (None, None)  # held-out rows would change the weights
    assert (customary("mnist10k"), customary("fashion-mnist:train"), customary("npz:x")) == (0.3, 0.1, 8 / 255)
    assert pgd.ball("fashion-mnist") == Linf(0.1)
    assert recipes()["strong-adversary"].ball("mnist10k") == L2(1.5)


def test_published_settings():
    fast = recipes()["fast-cifar10"]
    assert fast.make(fast.ball("cifar10")) == Fast(ball=Linf(8 / 255), step_size=10 / 255, bn="train")
    assert fast.schedule == Schedule(
        epochs=15, batch_size=128, rate="cyclic", peak=0.2, rise=0.5, crop=4, flip=True, precision="bfloat16",
        optimizer=SGD(weight_decay=5e-4),
    )  # fmt: skip
    trades = recipes()["trades-cifar10"]
    assert trades.make(trades.ball("cifar10")) == Trades(ball=Linf(0.031), beta=6.0, steps=10, step_size=0.007)
    assert (trades.net, trades.schedule.drops) == ("WideResNet", (75 / 76,))


def test_step_sizes_follow_the_radius():
    trades = recipes()["trades-cifar10"]
    assert trades.make(Linf(0.062)).step_size == pytest.approx(0.014)
    assert trades.validate(Linf(0.062)).step_size == pytest.approx(0.006)


def test_settings_are_changed_one_by_one():
    changed = recipes()["fast"].changed(
        objective={"start": "zero"}, schedule={"epochs": "3", "optimizer": {"name": "sgd", "nesterov": "yes"}},
        validation={"rows": "600", "patience": 2}, awp={"gamma": "1e-2"},
    )  # fmt: skip
    made = changed.make(Linf(0.1), Bounds(-1, 1))
    assert made == AWP(objective=Fast(ball=Linf(0.1), start="zero", bounds=Bounds(-1, 1)), gamma=0.01)
    assert (changed.schedule.epochs, changed.schedule.optimizer) == (3, SGD(nesterov=True))
    assert changed.schedule.batch_size == recipes()["fast"].schedule.batch_size
    known = Validation(ball=Linf(0.1), rows=600, steps=10, patience=2, keep="best", guard="warn")
    assert changed.validate(Linf(0.1)) == known


def test_a_contractive_penalty_goes_around_the_objective_and_awp_around_it():
    changed = recipes()["standard"].changed(objective={"contractive": "0.03"})
    assert changed.make(Linf(0.1)) == ContractivePenalty(objective=Standard(), weight=0.03)
    assert changed.describe(Linf(0.1))["objective"] == {"name": "standard", "contractive": "0.03"}
    both = changed.changed(awp={}).make(Linf(0.1))
    assert both == AWP(objective=ContractivePenalty(objective=Standard(), weight=0.03))
    told = {"weight": 0.03, "sigma": "1/10", "warmup": 0.2}
    full = recipes()["fast"].changed(objective={"contractive": told}).make(Linf(0.1), Bounds(-1, 1))
    inside = recipes()["fast"].make(Linf(0.1), Bounds(-1, 1))
    assert full == ContractivePenalty(objective=inside, weight=0.03, sigma=0.1, warmup=0.2, bounds=Bounds(-1, 1))
    with pytest.raises(SpecError, match="unknown setting of ContractivePenalty 'wait'"):
        recipes()["fast"].changed(objective={"contractive": {"wait": 1}}).make(Linf(0.1))
    with pytest.raises(SettingError, match="weight=-1.0 must be a finite number"):
        recipes()["fast"].changed(objective={"contractive": -1.0}).make(Linf(0.1))


@pytest.mark.parametrize(
    ("told", "error", "rule"),
    [
        ([], SpecError, "x.yaml: a recipe is a mapping"),
        ({"description": "d"}, SpecError, "x.yaml: a recipe needs objective"),
        ({"description": "d", "objective": {"nam": "fast"}}, SpecError, "an objective needs a name, one of standard"),
        ({"description": "d", "objective": {"name": "fsat"}}, SpecError, "objective 'fsat'; did you mean 'fast'"),
        ({"descripton": "d", "objective": {"name": "fast"}}, SpecError, "setting of Recipe 'descripton'; did you mean"),
        (
            {"description": "d", "objective": {"name": "fast"}, "schedule": {"epoch": 3}}, SpecError,
            "unknown setting of Schedule 'epoch'; did you mean 'epochs'",
        ),
        (
            {"description": "d", "objective": {"name": "fast"}, "schedule": {"epochs": 2.5}}, SettingError,
            "epochs=2.5 must be an integer",
        ),
        (
            {"description": "d", "objective": {"name": "fast"}, "schedule": {"optimizer": "admw"}}, SpecError,
            "unknown optimizer 'admw'; did you mean 'adam'",
        ),
        ({"description": "d", "objective": {"name": "fast"}, "norm": "linff"}, SpecError, "unknown norm 'linff'"),
        ({"description": "d", "objective": {"name": "fast"}, "eps": -1}, SettingError, "eps=-1.0 must be a finite"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_recipe_is_refused(told, error, rule):
    with pytest.raises(error, match=rule):
        read("x", told)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"flip": "maybe"}, "flip='maybe' must be true or false"),
        ({"peak": "1/0"}, "peak='1/0' must be a number or a fraction"),
        ({"drops": 0.5}, "drops=0.5 must be a list of numbers"),
        ({"points": [[0, 1, 2]]}, "points=.* must be a list of numbers"),
        ({"rate": 3}, "rate=3 must be text"),
    ],
)
def test_a_setting_of_another_kind_is_refused(settings, rule):
    with pytest.raises(SettingError, match=rule):
        typed(Schedule, settings)


def test_files_are_read_without_running_anything():
    folder = resources.files("saddlepoint.defenses.training.recipes")
    for file in folder.iterdir():
        if file.name.endswith(".yaml"):
            assert isinstance(read("x", yaml.safe_load(file.read_text(encoding="utf-8"))), Recipe)
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load("description: !!python/object/apply:os.getcwd []")
