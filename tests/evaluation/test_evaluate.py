"""Several models, balls and attacks: counts, verdicts and worst cases agree with each other, and are recorded."""

import json
import math

import pytest
import torch
from torch import nn

from saddlepoint.attacks import FGSM, PGD
from saddlepoint.balls import L2, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.errors import DataError, RadiusError, SettingError, SpecError
from saddlepoint.evaluation import evaluate
from saddlepoint.evaluation.stats import wilson
from saddlepoint.evaluation.work import Worker
from saddlepoint.records import RunRecord

BALLS = [Linf(0.1), L2(0.4)]
ATTACKS = ("fgsm", "bim", "mi-fgsm", "pgd", "illc")


@pytest.fixture
def models(make_net):
    return {"first": Classifier(make_net(0)), "second": Classifier(make_net(7))}


@pytest.fixture(scope="module")
def run(make_net, data):
    models = {"first": Classifier(make_net(0)), "second": Classifier(make_net(7))}
    return evaluate(models, data, balls=BALLS, attacks=ATTACKS)


def threats(run):
    return [(model, threat) for model in run.record.models for threat in model.threats]


def right(net, data):
    with torch.no_grad():
        return (net(data.x).argmax(1) == data.y).tolist()


def test_every_model_meets_every_attack_in_every_ball(run):
    assert [model.name for model in run.record.models] == ["first", "second"]
    for model in run.record.models:
        assert [(threat.norm, threat.eps) for threat in model.threats] == [("linf", 0.1), ("l2", 0.4)]
        assert all([attack.name for attack in threat.attacks] == list(ATTACKS) for threat in model.threats)


def test_the_test_case_has_rows_of_every_kind(run):
    assert all(set(threat.verdicts) == {"W", "H", "F"} for _, threat in threats(run)[:2])


def test_letters_and_counts_are_one(run, data):
    for model, threat in threats(run):
        for attack in threat.attacks:
            letters = attack.verdicts
            assert len(letters) == len(data)
            assert attack.robust == wilson(letters.count("H"), len(data))
            assert (attack.fooled, attack.undefined) == (letters.count("F"), letters.count("U"))
            assert attack.attacked == model.clean.count == len(data) - letters.count("W")
            assert (attack.distance is None) == (attack.fooled == 0)


def test_rows_that_are_wrong_when_clean_are_those_of_the_bare_module(run, models, data):
    for model, threat in threats(run):
        known = right(models[model.name].module, data)
        assert model.clean == wilson(sum(known), len(data))
        assert [letter != "W" for letter in threat.verdicts] == known


def test_the_worst_case_is_the_combination_of_all_attacks(run, data):
    for _, threat in threats(run):
        for i, letter in enumerate(threat.verdicts):
            each = {attack.verdicts[i] for attack in threat.attacks}
            assert letter == ("W" if "W" in each else "F" if "F" in each else "U" if "U" in each else "H")
        assert threat.worst == wilson(threat.verdicts.count("H"), len(data))
        assert threat.worst.count <= min(attack.robust.count for attack in threat.attacks)


def test_one_attack_alone_gives_the_same_as_among_others(run, models, data):
    alone = evaluate(models, data, balls=[BALLS[1]], attacks=["pgd"]).record
    for model, known in zip(alone.models, run.record.models, strict=True):
        assert model.threats[0].attacks[0].verdicts == known.threats[1].attacks[3].verdicts


def test_the_record_is_strict_json_and_comes_back(run):
    text = run.record.to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert RunRecord.from_json(text) == run.record


def test_what_was_asked_for_is_recorded(run, models, data):
    record = run.record
    assert record.spec == {
        "models": ["first", "second"],
        "data": "toy",
        "rows": 40,
        "suite": None,
        "attacks": list(ATTACKS),
        "threats": [{"norm": "linf", "eps": 0.1}, {"norm": "l2", "eps": 0.4}],
        "target": "none",
        "seed": 0,
    }
    assert (record.data.name, record.data.rows, record.data.shape) == ("toy", 40, [1, 6, 6])
    assert record.data.classes == ["plane", "bird", "cat", "frog"]
    assert record.data.fingerprint == data.fingerprint
    for model in record.models:
        assert model.fingerprint == models[model.name].fingerprint
        assert (model.parameters, model.classes, model.bounds) == (36 * 16 + 16 + 16 * 4 + 4, 4, (0.0, 1.0))
    assert {"saddlepoint", "torch", "python", "system", "device", "threads"} == set(record.environment)
    assert record.started.endswith("+00:00")


def test_settings_are_recorded(models, data):
    attack = PGD(ball=Linf(0.1), steps=7, step_size=0.03)
    (record,) = evaluate(models, data, balls=[Linf(0.1)], attacks=[attack]).record.models[0].threats[0].attacks
    assert record.settings["steps"] == 7
    assert record.settings["step_size"] == 0.03
    assert record.settings["ball"] == {"norm": "linf", "eps": 0.1}


def test_pictures_belong_to_rows_that_were_fooled(run, data):
    shown = 0
    ids = data.rows.tolist()
    for model, threat in threats(run):
        assert len(threat.easiest) == min(4, threat.verdicts.count("F"))
        for picture in threat.easiest:
            row = ids.index(picture.row)
            fooling = [attack.name for attack in threat.attacks if attack.verdicts[row] == "F"]
            assert picture.attack in fooling
            assert picture.fooled_by == len(fooling)
            assert picture.label == picture.clean_prediction == data.classes[int(data.y[row])]
            assert picture.adversarial_prediction != picture.label
            assert 0 < picture.distance <= threat.eps * (1 + 1e-6), model.name
            shown += 1
            assert {picture.clean, picture.adversarial, picture.difference} <= set(run.files)
    held = sum(len(threat.hardest) for _, threat in threats(run))
    assert len(run.files) == 3 * shown + held > held > 0


def test_the_hardest_rows_held_under_every_attack(run, data):
    ids = data.rows.tolist()
    for _, threat in threats(run):
        assert len(threat.hardest) == min(8, threat.worst.count)
        rooms = [picture.room for picture in threat.hardest]
        assert rooms == sorted(rooms, reverse=True)
        assert all(room > 0 for room in rooms)
        for picture in threat.hardest:
            row = ids.index(picture.row)
            assert {attack.verdicts[row] for attack in threat.attacks} == {"H"}
            assert picture.attack in {attack.name for attack in threat.attacks}
            assert picture.label == data.classes[int(data.y[row])]
            assert picture.clean in run.files


def test_pictures_can_be_left_out(models, data):
    run = evaluate(models, data, balls=BALLS, attacks=["fgsm"], draw=False)
    assert run.files == {}
    assert all(threat.easiest == threat.hardest == [] for _, threat in threats(run))


def test_rows_that_are_no_images_have_no_pictures(data):
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        module.bias.zero_()
    flat = type(data)(
        torch.tensor([[0.5, 0.4], [0.9, 0.1], [0.2, 0.3]]), torch.tensor([0, 0, 0]), classes=("a", "b"), name="flat"
    )
    run = evaluate({"net": Classifier(module)}, flat, balls=[Linf(0.125)], attacks=["fgsm"])
    assert run.record.models[0].threats[0].verdicts == "FHW"
    assert run.files == {}


def test_classes_that_the_data_do_not_name_are_numbered(net, data):
    wide = nn.Sequential(net, nn.Linear(4, 6))
    with torch.no_grad():
        wide[1].weight.copy_(torch.eye(6, 4))
        wide[1].weight[5] = wide[1].weight[1]
        wide[1].bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, -100.0, 0.01]))  # class 5 wins wherever class 1 did
    run = evaluate({"net": Classifier(wide)}, data, balls=[Linf(0.2)], attacks=["pgd"])
    threat = run.record.models[0].threats[0]
    assert 5 in threat.fooled_as
    assert {picture.adversarial_prediction for picture in threat.easiest} <= {*data.classes, "4", "5"}


def test_progress_reaches_its_total(models, data):
    told = []
    evaluate(
        models,
        data[:12],
        balls=[*BALLS, Linf(0.1)],  # the same ball twice is one
        attacks=("fgsm", "mi-fgsm"),
        batch_size=5,
        progress=lambda done, total, what: told.append((done, total, what)),
    )
    total = 2 * 12 * (1 + 2 * 2)  # the clean rows too
    assert {entry[1] for entry in told} == {total}
    counts = [entry[0] for entry in told]
    assert counts == sorted(counts)
    assert counts[-1] == total
    assert {entry[2] for entry in told} == {
        f"{model}  {attack}  {ball}"
        for model in models
        for attack in ("fgsm", "mi-fgsm")
        for ball in ("linf 0.1", "l2 0.4")
    } | {f"{model}  clean" for model in models}


def test_a_job_is_announced_before_it_runs(net, data, tmp_path, monkeypatch):
    said = []

    def spied(name):
        plain = getattr(Worker, name)

        def call(worker, job, *given):
            said.append(f"runs {job.what}")
            return plain(worker, job, *given)

        monkeypatch.setattr(Worker, name, call)

    for name in ("clean", "attack"):
        spied(name)
    settings = {"balls": [Linf(0.1)], "attacks": ["fgsm", "pgd"], "draw": False, "folder": tmp_path}
    for again in (False, True):
        said.clear()
        evaluate({"net": Classifier(net)}, data, **settings, progress=lambda done, total, what: said.append(what))
        jobs = ["net  clean", "net  fgsm  linf 0.1", "net  pgd  linf 0.1"]
        pairs = [each for job in jobs for each in ([job] if again else [job, f"runs {job}"])]
        assert said == [*pairs, jobs[-1]]


def test_the_seed_moves_random_starts_only(models, data):
    def verdicts(attack, seed):
        found = evaluate(models, data, balls=[Linf(1.0)], attacks=[attack], seed=seed, draw=False)
        assert any("F" in threat.verdicts for _, threat in threats(found))
        return [(a.verdicts, a.forwards, a.distance) for _, threat in threats(found) for a in threat.attacks]

    weak = PGD(ball=Linf(1.0), steps=0)  # the random start, looked at
    assert verdicts(weak, 1) == verdicts(weak, 1)
    assert verdicts(weak, 1) != verdicts(weak, 2)
    assert verdicts("fgsm", 1) == verdicts("fgsm", 2)


def test_nothing_of_the_callers_is_touched(models, data):
    for model in models.values():
        model.module.train()
        model.module[1].eval()
    flags = [[part.training for part in model.module.modules()] for model in models.values()]
    state = torch.get_rng_state()
    x, y = data.x.clone(), data.y.clone()
    evaluate(models, data, balls=BALLS, attacks=["fgsm", "illc"])
    assert flags == [[part.training for part in model.module.modules()] for model in models.values()]
    assert all(p.requires_grad and p.grad is None for model in models.values() for p in model.module.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(x, data.x)
    assert torch.equal(y, data.y)


def test_radius_zero_fools_nobody(models, data):
    for _, threat in threats(evaluate(models, data, balls=[Linf(0.0), L2(0.0)], attacks=["mi-fgsm", "illc"])):
        assert set(threat.verdicts) == {"W", "H"}


@pytest.mark.parametrize("wrong", ["models", "balls", "attacks"])
def test_nothing_to_do_is_refused(models, data, wrong):
    given = {"models": models, "balls": BALLS, "attacks": ["fgsm"]}
    given[wrong] = type(given[wrong])()
    with pytest.raises(SettingError, match="at least one model, one attack and one ball"):
        evaluate(given["models"], data, balls=given["balls"], attacks=given["attacks"])


def test_no_rows_are_refused(models, data):
    with pytest.raises(DataError, match="toy has no rows"):
        evaluate(models, data[:0], balls=BALLS)


def test_a_batch_of_nothing_is_refused(models, data):
    with pytest.raises(SettingError, match="batch_size=0 must be >= 1"):
        evaluate(models, data, balls=BALLS, batch_size=0)


def test_an_unknown_attack_is_refused_before_anything_runs(models, data):
    with pytest.raises(SpecError, match="did you mean 'pgd'"):
        evaluate(models, data, balls=BALLS, attacks=["fgsm", "pgdd"])
    assert all(model.meter.forwards == 0 for model in models.values())


def test_an_attack_with_another_ball_is_refused(models, data):
    for ball in (Linf(0.2), L2(0.1)):
        with pytest.raises(SettingError, match="give both the same ball"):
            evaluate(models, data, balls=[Linf(0.1)], attacks=[FGSM(ball=ball)])
    with pytest.raises(SettingError, match="give both the same ball"):
        evaluate(models, data, balls=BALLS, attacks=[FGSM(ball=BALLS[0])])


@pytest.mark.parametrize(("ball", "rule"), [(Linf(torch.full((40,), 0.1)), "one eps"), (L2(math.inf), "finite eps")])
def test_a_radius_that_cannot_be_reported_is_refused(models, data, ball, rule):
    with pytest.raises(SettingError, match=rule):
        evaluate(models, data, balls=[ball])


def test_a_radius_beyond_the_box_is_refused(models, data):
    with pytest.raises(RadiusError, match="8/255"):
        evaluate(models, data, balls=[Linf(8.0)])


@pytest.mark.parametrize("bounds", [(0.0, 0.5), (0.5, 1.0)])
def test_rows_outside_the_bounds_of_a_model_are_refused(net, data, bounds):
    with pytest.raises(DataError, match="toy runs from .* the inputs of net from .*give Classifier the bounds"):
        evaluate({"net": Classifier(net, bounds=bounds)}, data, balls=[Linf(0.1)])


@pytest.mark.parametrize("target", ["9", "ten"])
def test_a_bad_target_is_refused(models, data, target):
    with pytest.raises(SpecError, match=f"target='{target}' must be none, least-likely, random, or a class"):
        evaluate(models, data, balls=[Linf(0.1)], attacks=["fgsm"], target=target)


def test_bad_settings_are_refused_even_if_no_row_is_left_to_attack(models, data):
    wrong = data[::5][:4]  # the first net is wrong on all of them
    first = {"first": models["first"]}
    assert evaluate(first, wrong, balls=[Linf(0.1)], attacks=["fgsm"]).record.models[0].clean.count == 0
    with pytest.raises(SpecError, match="target='ten'"):
        evaluate(first, wrong, balls=[Linf(0.1)], attacks=["fgsm"], target="ten")
    with pytest.raises(RadiusError, match="8/255"):
        evaluate(first, wrong, balls=[Linf(8.0)], attacks=["fgsm"])


def test_a_surrogate_adds_its_transferred_points_after_the_attacks(models, data, make_net):
    other = Classifier(make_net(3))
    run = evaluate({"first": models["first"]}, data, balls=[BALLS[0]], attacks=["fgsm"], surrogates={"zoo:x": other})
    (threat,) = run.record.models[0].threats
    assert [attack.name for attack in threat.attacks] == ["fgsm", "mi-fgsm from zoo:x"]
    blind = threat.attacks[1]
    assert blind.forwards + blind.backwards > 0
    assert blind.settings["surrogate"]["fingerprint"] == other.fingerprint
    assert other.meter.backwards == blind.backwards
    left_out = evaluate({"first": models["first"]}, data, balls=[BALLS[0]], attacks=["fgsm"])
    assert left_out.record.models[0].threats[0].attacks[0].verdicts == threat.attacks[0].verdicts


def test_a_suite_with_a_surrogate_is_not_called_by_the_name_of_the_suite_alone(models, data, make_net):
    run = evaluate({"first": models["first"]}, data, balls=[BALLS[0]], surrogates={"b": Classifier(make_net(3))})
    assert run.record.spec["suite"] == "cascade-1 and transfer from b"
    assert run.record.models[0].threats[0].attacks[-1].name == "mi-fgsm from b"


@pytest.mark.usefixtures("unchecked")
def test_surrogates_that_do_not_go_with_the_models_are_refused(models, data):
    def ask(surrogates, balls=BALLS):
        evaluate(models, data, balls=balls, attacks=["ddn"] if balls is not BALLS else ["fgsm"], surrogates=surrogates)

    with pytest.raises(SettingError, match="the surrogate s has 3 classes, first 4"):
        ask({"s": Classifier(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)))})
    with pytest.raises(SettingError, match="does not go with a surrogate; give Linf, L2 or L1 with a radius"):
        ask({"s": models["second"]}, [L2(math.inf)])
    with pytest.raises(SettingError, match="the surrogate s is on meta, first on cpu"):
        ask({"s": Classifier(lambda x: x, device="meta")})
