import inspect

from saddlepoint.balls import Linf
from saddlepoint.cli.detect import DETECTORS
from saddlepoint.data import data_specs
from saddlepoint.defenses.training.recipes import recipes
from saddlepoint.defenses.transforms import TRANSFORMS
from saddlepoint.errors import SpecError
from saddlepoint.evaluation import attack_classes
from saddlepoint.evaluation.ensembles import SUITES
from saddlepoint.evaluation.suites import PRESETS, bisectable, build
from saddlepoint.models import zoo_names


def test_everything_that_can_be_named_is_listed(command):
    done = command("list")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines() if line.split()]
    first = {line[0] for line in lines}
    assert {*attack_classes(), "advgan:PATH", "universal:PATH"} <= first
    assert {"pgd-bisect", "square-bisect", "di-mi-fgsm-bisect"} <= first
    assert {*TRANSFORMS, *DETECTORS, *SUITES} - {"autoencoder"} <= first, "whose weights no spec can name"
    assert {"linf", "l2"} <= first
    assert {f"zoo:{name}" for name in zoo_names()} <= first
    assert set(data_specs()) <= first
    assert set(recipes()) <= first


def test_a_terminal_has_no_links(command):
    said = command("list").out
    assert ":class:" not in said
    assert "A generator that was fitted by AdvGAN" in said


def test_every_bisection_that_is_listed_can_be_built_and_no_other():
    listed = bisectable()
    names = [f"{name}-bisect" for name in (*attack_classes(), *PRESETS)]
    assert set(listed) < set(names)
    for name in names:
        try:
            build(name, Linf(0.1))
        except SpecError:
            assert name not in listed
        else:
            assert name in listed


def test_each_attack_says_what_it_is(command):
    said = command("list").out
    for cls in attack_classes().values():
        assert inspect.getdoc(cls).partition("\n")[0] in said
