"""The choice of a run: made once, kept, agreed on by shards, and part of the keys of attacks."""

import dataclasses
import json
import math
import re

import pytest
import torch

import saddlepoint as sp
from saddlepoint.evaluation import checked_plan, precision, run, verify
from saddlepoint.evaluation.examples import export
from saddlepoint.evaluation.precision import FLOAT32, Form, forms
from saddlepoint.records import RunRecord

BALLS = [sp.Linf(0.05), sp.Linf(0.1)]
SHORT = Form(bfloat16=True)


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch):
    """Compilation has its own test: it takes long."""
    offered = forms.offered
    monkeypatch.setattr(
        precision, "offered", lambda *args, **kwargs: [f for f in offered(*args, **kwargs) if not f.compiled]
    )


@pytest.fixture
def fast(monkeypatch):
    """Bfloat16 takes half the time, whatever the clock says, and loses as many verdicts as asked; counts trials."""
    measure, made, lost = precision.measure, [], [0]

    def planted(model, data, tried, *args, **settings):
        found, ready = measure(model, data, tried, *args, **settings)
        made.append(len(data))
        found["times"] = torch.tensor([[1.0 if form != SHORT else 0.5] * 3 for form in (FLOAT32, *tried)])
        found["lost"] = torch.tensor([lost[0] if form == SHORT else 0 for form in tried])
        return found, ready

    planted.made, planted.lost = made, lost
    monkeypatch.setattr(precision, "measure", planted)
    return planted


@pytest.fixture
def seen(monkeypatch):
    """Which autocast each forward pass of the attacks of a run used."""
    found, once = [], sp.Classifier._once

    def watched(self, x):
        found.append(self.autocast)
        return once(self, x)

    monkeypatch.setattr(sp.Classifier, "_once", watched)
    return found


def bare(record):
    """Everything in a run except times."""

    def without(value):
        if isinstance(value, dict):
            return {key: without(item) for key, item in value.items() if key not in ("seconds", "started")}
        return [without(item) for item in value] if isinstance(value, list) else value

    return without(json.loads(record.to_json()))


def planned(net, data, asked="auto", **settings):
    settings = {"balls": BALLS, "attacks": ["fgsm", "pgd"]} | settings
    return checked_plan({"net": sp.Classifier(net)}, data, precision=asked, **settings)


def chosen(record):
    return [model.precision for model in record.models]


def test_what_was_picked_stands_in_the_record(net, data, fast, tmp_path):
    (found,) = chosen(run(planned(net, data), folder=tmp_path).record)
    assert (found.picked, found.rows, found.note) == ("bfloat16", 32, "")  # a fifth of the rows is wrong
    told = {each.name: (each.seconds, each.lost) for each in found.trials}
    assert told == {
        "float32": (1.0, 0), "float32 channels_last": (1.0, 0), "bfloat16": (0.5, 0), "bfloat16 channels_last": (1.0, 0)
    }  # fmt: skip
    record = run(planned(net, data), folder=tmp_path).record
    assert RunRecord.from_json(record.to_json()) == record


def test_attacks_use_it_and_the_judge_does_not(net, data, fast, seen, monkeypatch):
    monkeypatch.setattr(torch.nn.Linear, "forward", counted(torch.nn.Linear.forward, short := []))
    ask, judged = verify._ask, []

    def asked(model, x):
        start = len(short)
        logits = ask(model, x)
        judged.extend(short[start:])
        return logits

    monkeypatch.setattr(verify, "_ask", asked)
    run(planned(net, data))
    assert torch.bfloat16 in seen
    assert True in short
    assert set(judged) == {False}


def counted(forward, short):
    def watched(self, x):
        short.append(torch.is_autocast_enabled("cpu"))
        return forward(self, x)

    return watched


def test_claims_of_a_form_that_float32_does_not_confirm_are_told(net, data, fast, monkeypatch):
    """Planted: a form that calls every row another class, so that attacks leave at once."""
    of = Form.of

    class Wrong(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x).roll(1, 1)

    planted = lambda form, model, twin=None: of(form, model.computed_by(Wrong(model.module), autocast=None))  # noqa: E731
    monkeypatch.setattr(Form, "of", planted)
    found = run(planned(net, data, attacks=["fgsm"])).record
    (first, *_) = told = [each for each in found.findings if each.title == "Claims that were not confirmed"]
    assert len(told) == len(BALLS)
    assert "calls fooled in bfloat16 are not in float32" in first.evidence
    assert first.remedy == "Run again with --precision float32."


def test_a_form_that_loses_a_verdict_is_not_picked(net, data, fast):
    fast.lost[0] = 1
    found = run(planned(net, data)).record
    assert chosen(found)[0].picked == "float32"
    plain = run(planned(net, data, "float32")).record
    assert bare(found)["models"][0]["threats"] == bare(plain)["models"][0]["threats"]


def test_float32_gives_what_a_run_gave_before_and_tries_nothing(net, data, tmp_path, fast):
    plan = planned(net, data, "float32")
    found = run(plan, folder=tmp_path).record
    assert chosen(found) == [None]
    assert "precision" not in found.spec
    assert fast.made == []
    assert not any(job.trial for job in plan.jobs())
    usual = checked_plan({"net": sp.Classifier(net)}, data, balls=BALLS, attacks=["fgsm", "pgd"])
    assert [job.key for job in plan.jobs()] == [job.key for job in usual.jobs()]
    assert bare(run(usual, folder=tmp_path).record) == bare(found)


def test_the_form_is_part_of_the_keys_of_attacks_alone(net, data):
    plan = planned(net, data, probed=20)
    other = plan.settled([SHORT])
    for a, b in zip(plan.jobs(), other.jobs(), strict=True):
        assert (a.key == b.key) == (a.attack is None)
    assert [job.key for job in plan.settled([FLOAT32]).jobs()] == [job.key for job in plan.jobs()]
    assert len({job.key for job in plan.jobs()}) == len(list(plan.jobs()))


def test_a_finished_run_and_a_killed_one_keep_their_choice(net, data, fast, tmp_path, monkeypatch):
    from saddlepoint.evaluation.work import Worker

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "attack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(planned(net, data), folder=tmp_path)
    assert fast.made == [32]
    fast.lost[0] = 5  # measured again, it would be another choice
    resumed = run(planned(net, data), folder=tmp_path).record
    again = run(planned(net, data), folder=tmp_path).record
    assert fast.made == [32]
    assert chosen(resumed)[0].picked == "bfloat16"
    fast.lost[0] = 0
    assert bare(resumed) == bare(again) == bare(run(planned(net, data)).record)


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_a_choice_that_is_damaged_is_made_again_and_attacks_go_with_it(net, data, fast, tmp_path):
    plan = planned(net, data)
    assert chosen(run(plan, folder=tmp_path).record)[0].picked == "bfloat16"
    (trial,) = [job for job in plan.jobs() if job.trial]
    (tmp_path / "jobs" / f"{trial.key}.safetensors").write_bytes(b"?")
    fast.lost[0] = 1
    found = run(plan, folder=tmp_path).record
    assert chosen(found)[0].picked == "float32"
    plain = run(planned(net, data, "float32")).record
    assert bare(found)["models"][0]["threats"] == bare(plain)["models"][0]["threats"]


def test_shards_agree_and_one_of_them_measures(net, data, fast, tmp_path):
    whole = run(planned(net, data)).record
    parts = []
    for i in (2, 1, 3):
        parts.append(run(planned(net, data), folder=tmp_path, shard=(i, 3)))
        fast.lost[0] = 5  # those that come later would choose otherwise
    assert parts[:2] == [None, None]
    assert fast.made == [32, 32]  # that of the whole run, and one for all shards
    assert bare(parts[2].record) == bare(whole)


def test_a_second_process_waits_for_the_choice(tmp_path):
    import threading

    from saddlepoint.evaluation.store import FolderStore

    (tmp_path / "jobs").mkdir()
    order, inside, store = [], threading.Event(), FolderStore(tmp_path)

    def second():
        inside.wait()
        with FolderStore(tmp_path).alone():
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with store.alone():
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_suite_is_never_attacked_in_bfloat16(net, data):
    plan = checked_plan({"net": sp.Classifier(net)}, data[:10], balls=BALLS[:1], precision="auto")
    assert plan.suite is not None
    assert [form.name for form in plan.forms] == ["float32 channels_last"]
    usual = checked_plan({"net": sp.Classifier(net)}, data, balls=BALLS[:1], target="random", precision="auto")
    assert usual.suite is None
    assert not any(form.bfloat16 for form in usual.forms)  # not named by hand


@pytest.mark.parametrize(
    ("change", "note", "picked"),
    [
        (lambda net: sp.Classifier(net.double()), "does not compute in float32", "float64"),
        (lambda net: sp.Classifier(net, autocast=torch.bfloat16), "not compute", "float32 with autocast to bfloat16"),
        (lambda net: sp.Classifier(lambda x: net(x)), "function", "float32"),
    ],
)
def test_what_cannot_be_tried_is_attacked_as_it_was_given(net, data, fast, change, note, picked):
    plan = checked_plan({"net": change(net)}, data, balls=BALLS, attacks=["fgsm"], precision="auto")
    (found,) = chosen(run(plan).record)
    assert (found.picked, found.rows, found.trials) == (picked, 0, [])
    assert note in found.note
    assert fast.made == []


def test_without_a_radius_nothing_is_tried(net, data, fast):
    (found,) = chosen(run(planned(net, data[:4], balls=[sp.L2(math.inf)], attacks=["ddn"])).record)
    assert (found.picked, found.trials) == ("float32", [])


def test_a_model_that_is_never_right_is_attacked_in_float32(net, data, fast):
    wrong = dataclasses.replace(data, y=(sp.Classifier(net).predict(data.x) + 1) % 4)
    (found,) = chosen(run(planned(net, wrong)).record)
    assert (found.picked, found.note) == ("float32", "no row is right when clean")


def test_each_model_has_a_choice_of_its_own(net, data, fast):
    models = {"net": sp.Classifier(net), "function": sp.Classifier(lambda x: net(x))}
    found = chosen(run(checked_plan(models, data, balls=BALLS, attacks=["fgsm"], precision="auto")).record)
    assert [each.picked for each in found] == ["bfloat16", "float32"]


def test_examples_are_made_of_the_model_as_it_was_given(net, data, fast, tmp_path):
    plan = planned(net, data[:10], balls=BALLS[:1], attacks=["fgsm"])
    assert chosen(export(plan, tmp_path / "a").record) == [None]


@pytest.mark.parametrize("asked", ["bfloat16", "", None, 16])
@pytest.mark.usefixtures("unchecked")
def test_other_precisions_are_refused(net, data, asked):
    with pytest.raises(sp.errors.SettingError, match=re.escape("must be one of 'float32', 'auto'")):
        planned(net, data, asked)


@pytest.mark.parametrize(("attacks", "short"), [(["pgd"], True), (["pgd", "deepfool"], False), (["pgd-bisect"], False)])
def test_attacks_for_the_least_distance_are_not_run_in_bfloat16(net, data, attacks, short):
    """Their points lie so close to the boundary that rounding decides; PGD's do not, and so would not tell."""
    assert any(form.bfloat16 for form in planned(net, data, attacks=attacks).forms) == short
