import inspect

from saddlepoint.data import data_specs
from saddlepoint.defenses.training.recipes import recipes
from saddlepoint.evaluation import attack_classes
from saddlepoint.models import zoo_names


def test_everything_that_can_be_named_is_listed(command):
    done = command("list")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines() if line.split()]
    first = {line[0] for line in lines}
    assert {*attack_classes(), "universal:PATH"} <= first
    assert {"linf", "l2"} <= first
    assert {f"zoo:{name}" for name in zoo_names()} <= first
    assert set(data_specs()) <= first
    assert set(recipes()) <= first


def test_each_attack_says_what_it_is(command):
    said = command("list").out
    for cls in attack_classes().values():
        assert inspect.getdoc(cls).partition("\n")[0] in said
