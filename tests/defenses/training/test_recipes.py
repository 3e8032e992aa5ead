import dataclasses
import json

import pytest

from saddlepoint.defenses.training import Adversarial, Schedule, Standard
from saddlepoint.defenses.training.recipes import RECIPES, customary


def test_each_recipe_makes_its_objective():
    assert RECIPES["standard"].make(0.3) == Standard()
    made = RECIPES["pgd"].make(0.25)
    assert isinstance(made, Adversarial)
    assert made.attack.ball.eps == 0.25
    assert (customary("mnist10k"), customary("fashion-mnist:train"), customary("npz:x")) == (0.3, 0.1, 8 / 255)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_is_recorded_whole(name):
    recipe = RECIPES[name]
    schedule = Schedule(epochs=3, seed=7)
    told = recipe.describe(schedule, 0.125)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert {**told, **dataclasses.asdict(schedule)} == told
    assert (told.get("eps"), told.get("norm")) == ((0.125, "linf") if recipe.robust else (None, None))
    assert recipe.description


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.robust])
def test_what_is_recorded_is_what_is_run(name):
    recipe = RECIPES[name]
    made, told = recipe.make(0.3), recipe.settings
    assert (made.attack.name, made.attack.steps, made.warmup) == (told["attack"], told["steps"], told["warmup"])
    assert told["step_size"] == "2.5 eps / steps"
    assert made.attack.step_size is None
