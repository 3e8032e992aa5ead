"""What is put together from the outcomes: per-row records, and work of an older format that is done again."""

import dataclasses
from pathlib import Path

import pytest
import torch

from saddlepoint.balls import Linf
from saddlepoint.classifier import Classifier
from saddlepoint.evaluation import evaluate, plan
from saddlepoint.records import RunRecord

BALL = Linf(0.15)


@pytest.fixture
def run(net, data):
    return evaluate({"net": Classifier(net)}, data, balls=[BALL], attacks=["fgsm", "pgd"]).record


def predicted(net, x):
    with torch.no_grad():
        return net(x).argmax(1)


def test_labels_and_ids_are_those_of_the_rows(run, data):
    assert (run.data.labels, run.data.ids) == (data.y.tolist(), data.rows.tolist())
    assert RunRecord.from_json(run.to_json()) == run


def test_clean_verdicts_are_those_of_the_model(run, net, data):
    right = predicted(net, data.x) == data.y
    assert run.models[0].verdicts == "".join("H" if row else "W" for row in right.tolist())


def test_every_fooled_row_says_what_it_was_taken_for_by_the_first_attack_that_fooled_it(run, net, data):
    threat = run.models[0].threats[0]
    x = data.x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(net(x), data.y, reduction="sum")
    stepped = predicted(net, (data.x + 0.15 * torch.autograd.grad(loss, x)[0].sign()).clamp(0, 1))
    fgsm = threat.attacks[0].verdicts
    taken = dict(zip((i for i, v in enumerate(threat.verdicts) if v == "F"), threat.fooled_as, strict=True))
    assert "F" in fgsm
    assert all(taken[i] == int(stepped[i]) for i, letter in enumerate(fgsm) if letter == "F")
    assert all(taken[i] != int(data.y[i]) for i in taken)


def test_an_attack_added_the_rows_that_none_before_it_had_fooled(net, data):
    attacks = [
        {"name": "pgd", "steps": 1, "step_size": 0.1},
        "fgsm",
        "pgd",
        "pgd",
    ]  # the second fools some again, and adds some
    (threat,) = evaluate({"net": Classifier(net)}, data, balls=[BALL], attacks=attacks).record.models[0].threats
    seen: set[int] = set()
    for attack in threat.attacks:
        fooled = {row for row, letter in enumerate(attack.verdicts) if letter == "F"}
        assert attack.added == len(fooled - seen)
        seen |= fooled
    assert threat.attacks[0].added == threat.attacks[0].fooled > 0
    assert 0 < threat.attacks[1].added < threat.attacks[1].fooled
    assert sum(attack.added for attack in threat.attacks) == threat.verdicts.count("F")


def test_the_easiest_row_is_the_one_of_fewest_passes(net, data):
    (threat,) = evaluate({"net": Classifier(net)}, data, balls=[BALL], attacks=["pgd"]).record.models[0].threats
    passes = [picture.passes for picture in threat.easiest]
    assert passes == sorted(passes)
    assert passes[0] >= 1
    assert min(passes) < max(passes)


def test_jobs_of_any_size_give_the_same_record(run, net, data, monkeypatch):
    monkeypatch.setattr(plan, "ROWS", 7)
    again = evaluate({"net": Classifier(net)}, data, balls=[BALL], attacks=["fgsm", "pgd"]).record

    def rows(record):
        (threat,) = record.models[0].threats
        shown = [picture.row for kind in (threat.easiest, threat.hardest) for picture in kind]
        return threat.verdicts, threat.fooled_as, shown, [a.forwards + a.backwards for a in threat.attacks]

    assert rows(again) == rows(run)


def test_outcomes_of_another_format_are_computed_again(net, data, tmp_path, monkeypatch):
    model = Classifier(net)

    def go():
        before = model.meter.forwards
        found = evaluate({"net": model}, data, balls=[BALL], attacks=["fgsm"], folder=tmp_path).record
        return model.meter.forwards - before, dataclasses.replace(found, seconds=0.0, models=[])

    monkeypatch.setattr(plan, "FORMAT", plan.FORMAT - 1)
    spent, old = go()
    looks = 2 * min(16, len(data))
    assert go() == (looks, old)  # nothing but a look at the model
    kept = set(Path(tmp_path, "jobs").iterdir())
    monkeypatch.undo()
    again, new = go()
    assert (again, new) == (spent, old)
    assert len(set(Path(tmp_path, "jobs").iterdir()) - kept) == len(kept)
