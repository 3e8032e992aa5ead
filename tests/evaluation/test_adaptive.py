"""Models behind transforms: who attacks them, what each knows, and that the worst of it is what counts."""

import math

import pytest
import torch
from filters import Jitter, Levels, linear

from saddlepoint import L0, L1, L2, Classifier, Dataset, Keep, Limits, Linf, Noise, evaluate
from saddlepoint.api import export, prepare
from saddlepoint.attacks import DDN, EOT, FAB, PGD, DeepFool, Square, Transferred
from saddlepoint.errors import SettingError
from saddlepoint.evaluation.adaptive import Against, parts
from saddlepoint.evaluation.ensembles import SUITES
from saddlepoint.records import FOOLED, RunRecord

ROWS = 60
X = torch.rand(ROWS, 6, generator=torch.Generator().manual_seed(3))
BARE = Classifier(linear())


def data(model):
    return Dataset(X, model.predict(X), classes=("a", "b", "c"), name="rows", bounds=(0.0, 1.0))


def kinds(model, ball, attacks, suite=False, **settings):
    found = parts(model, ball, attacks, Against(**settings), suite=suite)
    return [(part.attack.name, part.role, part.alone) for part in found]


def test_a_bare_model_is_attacked_as_asked():
    assert kinds(BARE, Linf(0.1), [PGD(ball=Linf(0.1))]) == [("pgd", "", False)]
    assert [
        part.role for part in parts(BARE.prepend(Levels()), Linf(0.1), [PGD(ball=Linf(0.1))], None, suite=False)
    ] == [""]


def test_what_was_asked_for_stands_between_what_it_is_compared_with():
    model, ball = BARE.prepend(Levels()), Linf(0.1)
    assert kinds(model, ball, [PGD(ball=ball)]) == [
        ("pgd from the bare model", "oblivious", True),
        ("pgd", "adaptive", False),
        ("square", "gradient-free", True),
    ]
    assert kinds(model, ball, [Square(ball=ball)]) == [
        ("pgd from the bare model", "oblivious", True),
        ("pgd", "adaptive", True),
        ("square", "gradient-free", False),
    ]
    members = SUITES["cascade-1"].members(ball)
    found = kinds(model, ball, members, suite=True)
    assert [name for name, _, alone in found if alone] == ["pgd from the bare model", "pgd", "square"]
    assert {role for _, role, alone in found if not alone} == {"adaptive"}


def test_attacks_that_ask_for_several_gradients_are_not_without_them():
    model, ball, free = BARE.prepend(Levels()), L2(0.5), L2(math.inf)
    assert [entry[:2] for entry in kinds(model, ball, [FAB(ball=ball)])] == [
        ("pgd from the bare model", "oblivious"),
        ("pgd", "adaptive"),
        ("fab", "adaptive"),
        ("square", "gradient-free"),
    ]
    assert [entry[:2] for entry in kinds(model, free, [DeepFool(ball=free)])] == [
        ("deepfool", "adaptive"),
        ("hop-skip-jump", "gradient-free"),
    ]


def test_points_that_were_made_elsewhere_know_nothing_of_a_defense():
    model, ball = BARE.prepend(Jitter()), Linf(0.1)
    found = kinds(model, ball, [PGD(ball=ball), Transferred(attack=PGD(ball=ball), surrogate=BARE, source="s")])
    assert ("pgd from s", "oblivious", False) in found
    assert ("pgd-eot10", "adaptive", False) in found


def test_behind_a_random_transform_looks_are_averaged_once():
    model, ball = BARE.prepend(Levels()).prepend(Jitter()), Linf(0.1)
    found = kinds(model, ball, [PGD(ball=ball), EOT(attack=PGD(ball=ball), draws=5)], draws=3)
    assert [name for name, _, _ in found] == ["pgd from the bare model", "pgd-eot3", "pgd-eot5", "square-eot3"]
    assert kinds(model, ball, [PGD(ball=ball)], draws=1)[1][0] == "pgd"


@pytest.mark.parametrize(
    ("ball", "names"),
    [
        (L2(0.5), ["pgd from the bare model", "pgd", "square"]),
        (L1(0.5), ["pgd from the bare model", "pgd", "square"]),
        (L0(2), ["pgd from the bare model", "pgd"]),
        (L2(math.inf), ["ddn from the bare model", "ddn", "hop-skip-jump"]),
    ],
)
def test_every_ball_has_those_that_its_norm_knows(ball, names):
    attacks = ["ddn"] if math.isinf(ball.eps) else ["pgd"]
    model = BARE.prepend(Levels(4))
    run = evaluate(model, data(model)[:8], ball=ball, attacks=attacks, queries=300)
    record = run.record.models[0].threats[0]
    assert [attack.name for attack in record.attacks] == names
    assert [attack.role for attack in record.attacks] == ["oblivious", "adaptive", "gradient-free"][: len(names)]


def test_queries_are_those_of_the_attack_without_gradients():
    model = BARE.prepend(Levels())
    square = parts(model, Linf(0.1), [PGD(ball=Linf(0.1))], Against(queries=77), suite=False)[-1].attack
    assert (square.steps, square.keep) == (77, Keep.FIRST_SUCCESS)
    run = evaluate(model, data(model), ball=Linf(0.05), attacks=["pgd"], queries=77)
    last = run.record.models[0].threats[0].attacks[-1]
    assert last.forwards <= 78 * last.attacked


def test_the_oblivious_attack_sees_the_bare_model_and_is_judged_by_the_defended_one():
    model, ball = BARE.prepend(Levels()), Linf(0.2)
    y = model.predict(X)
    inner = PGD(ball=ball)
    points = inner(BARE, X, y, noise=Noise(4)).x
    before = model.meter.backwards
    unaware = parts(model, ball, [inner], Against(), suite=False)[0].attack
    found = unaware(model, X, y, noise=Noise(4))
    assert torch.equal(found.x, points)
    assert model.meter.backwards == before
    assert torch.equal(found.success, model.predict(points) != y)
    assert unaware(model, X, None, noise=Noise(4)).success.tolist() == found.success.tolist()


def test_a_rounding_defense_holds_against_those_who_do_not_know_of_it_only():
    model = BARE.prepend(Levels())
    run = evaluate(model, data(model), ball=Linf(0.25), attacks=["pgd"])
    threat = run.record.models[0].threats[0]
    oblivious, adaptive, blind = threat.attacks
    assert oblivious.robust.count > adaptive.robust.count
    assert threat.worst.count <= min(attack.robust.count for attack in threat.attacks)
    assert threat.verdicts.count(FOOLED) == sum(attack.added for attack in threat.attacks)
    assert run.robust_accuracy == threat.worst.value
    assert run.record.models[0].transforms == ["levels count=2"]
    assert run.record.spec["against"] == {"draws": 10, "queries": 1000}
    assert RunRecord.from_json(run.record.to_json()) == run.record
    assert blind.attacked == oblivious.attacked == adaptive.attacked


def test_in_a_suite_the_compared_attacks_see_all_rows():
    model = BARE.prepend(Levels())
    run = evaluate(model, data(model), ball=Linf(0.25), suite="cascade", queries=50)
    attacks = {attack.name: attack for attack in run.record.models[0].threats[0].attacks}
    right = run.record.models[0].clean.count
    assert {attacks[name].attacked for name in ("pgd from the bare model", "pgd", "square", "apgd-margin")} == {right}
    assert attacks["apgd-likeliest"].attacked == right - attacks["apgd-margin"].fooled
    letters = zip(*(attack.verdicts for attack in attacks.values()), strict=True)
    worst = sum(FOOLED not in each and "W" not in each for each in letters)
    assert run.record.models[0].threats[0].worst.count == worst


def test_bare_and_defended_models_stand_side_by_side():
    model = BARE.prepend(Levels())
    run = evaluate({"bare": BARE, "defended": model}, data(BARE), ball=Linf(0.1), attacks=["pgd"], queries=20)
    bare, defended = run.record.models
    assert [attack.name for attack in bare.threats[0].attacks] == ["pgd"]
    assert len(defended.threats[0].attacks) == 3
    assert (bare.transforms, bare.threats[0].attacks[0].role) == ([], "")


def test_a_random_defense_makes_no_findings_of_claims_and_is_reproducible():
    model = BARE.prepend(Jitter(0.3))
    runs = [
        evaluate(model, data(BARE), ball=Linf(0.1), attacks=["pgd"], queries=20, draws=3, batch_size=size)
        for size in (60, 7)
    ]
    assert not any("Claims" in finding.title or "random" in finding.title for finding in runs[0].findings)
    verdicts = [[attack.verdicts for attack in run.record.models[0].threats[0].attacks] for run in runs]
    assert verdicts[0] == verdicts[1]


def test_through_a_random_transform_no_attack_stops_at_the_luck_of_its_draws():
    model, ball = BARE.prepend(Jitter()), Linf(0.1)
    for part in parts(model, ball, SUITES["cascade-1"].members(ball), Against(), suite=True)[1:]:
        inner = part.attack
        while hasattr(inner, "attack"):
            inner = inner.attack
        assert inner.keep is Keep.MAX_LOSS, part


@pytest.mark.parametrize("setting", [{"draws": 0}, {"queries": True}, {"draws": 1.5}])
@pytest.mark.usefixtures("unchecked")
def test_counts_must_be_positive(setting):
    with pytest.raises(SettingError, match="must be an integer >= 1"):
        evaluate(BARE.prepend(Levels()), data(BARE), ball=Linf(0.1), **setting)


def test_a_run_goes_on_where_it_was(tmp_path):
    model = BARE.prepend(Levels())
    first = evaluate(model, data(BARE), ball=Linf(0.1), attacks=["pgd"], queries=20, out=tmp_path)
    before = model.meter.forwards
    again = evaluate(model, data(BARE), ball=Linf(0.1), attacks=["pgd"], queries=20, out=tmp_path)
    assert again.record.models == first.record.models
    assert model.meter.forwards - before < ROWS  # the look at the outputs; nothing is attacked


def test_limits_hold_for_every_part():
    model = BARE.prepend(Levels())
    run = evaluate(model, data(BARE), ball=Linf(0.01), attacks=["pgd"], limits=Limits(forwards=5))
    assert all(attack.forwards <= 5 * attack.attacked for attack in run.record.models[0].threats[0].attacks)


def test_an_attack_for_the_nearest_point_stays_one():
    model, ball = BARE.prepend(Levels()), L2(2.0)
    first = parts(model, ball, [DDN(ball=ball)], Against(), suite=False)[0].attack
    assert first.attack.keep is Keep.MIN_DISTANCE


def test_examples_are_of_the_one_attack_that_was_planned(tmp_path):
    model = BARE.prepend(Levels())
    found = export(prepare(model, data(model), ball=Linf(0.1), attacks=["pgd"]), tmp_path)
    assert [attack.name for attack in found.record.models[0].threats[0].attacks] == ["pgd"]
