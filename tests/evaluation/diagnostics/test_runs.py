"""The diagnosis of a run is a job like others: kept, found again, shared among shards, and counted apart."""

import dataclasses
import json

import pytest
import torch

import saddlepoint as sp
from saddlepoint.evaluation import checked_plan, diagnostics, evaluate, run
from saddlepoint.evaluation.diagnostics import battery
from saddlepoint.evaluation.examples import export
from saddlepoint.testing.models import MaskedModel

BALLS = [sp.Linf(0.05), sp.Linf(0.1)]


@pytest.fixture(scope="module")
def quick_net(make_net):
    """A net, and probes of a few steps: what they find does not matter here."""
    small = {"QUERIES": 25, "MORE": 5, "STEPS": 5, "DRAWS": 3, "RESTARTS": 2, "RUNG_STEPS": 3}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small.items():
            patch.setattr(battery, name, value)
        yield make_net()


def bare(record):
    """Everything in a run except times."""

    def without(value):
        if isinstance(value, dict):
            return {key: without(item) for key, item in value.items() if key not in ("seconds", "started")}
        return [without(item) for item in value] if isinstance(value, list) else value

    return without(json.loads(record.to_json()))


def planned(net, data, probed=40, **settings):
    settings = {"balls": BALLS, "attacks": ["fgsm", "pgd"]} | settings
    return checked_plan({"net": sp.Classifier(net)}, data, probed=probed, **settings)


@pytest.fixture(scope="module")
def whole(quick_net, data):
    return run(planned(quick_net, data)).record


def found(record):
    return [threat.diagnosis for model in record.models for threat in model.threats]


def test_every_ball_has_its_diagnosis_next_to_its_verdicts(whole):
    assert [(diagnosis.rows, diagnosis.compared) for diagnosis in found(whole)] == [(32, True)] * 2  # a fifth is wrong
    (held,) = [probe for probe in found(whole)[0].probes if probe.name == "rows that the run calls held"]
    assert held.numbers["held"] == whole.models[0].threats[0].verdicts.count("H")


def test_no_number_of_the_attacks_depends_on_it(quick_net, data, whole):
    without = run(planned(quick_net, data, probed=0)).record
    assert found(without) == [None, None]
    for a, b in zip(whole.models[0].threats, without.models[0].threats, strict=True):
        assert (
            bare(dataclasses.replace(whole, models=[dataclasses.replace(whole.models[0], threats=[a])]))["models"][0][
                "threats"
            ][0]["attacks"]
            == bare(without)["models"][0]["threats"][without.models[0].threats.index(b)]["attacks"]
        )


def test_its_passes_are_counted_apart_and_not_by_the_meter(quick_net, data, whole):
    model = sp.Classifier(quick_net)
    tensors = diagnostics.measure(model, data, BALLS[0], rows=40, seed=0)
    assert (model.meter.forwards, model.meter.backwards) == (0, 0)
    assert tensors["passes"].tolist() == [found(whole)[0].forwards, found(whole)[0].backwards]
    assert min(tensors["passes"].tolist()) > 0


def test_it_does_not_depend_on_the_batch_size(quick_net, data):
    one, other = (
        diagnostics.measure(sp.Classifier(quick_net), data, BALLS[1], rows=40, seed=0, batch_size=size)
        for size in (512, 7)
    )
    assert all(torch.equal(one[name], other[name]) for name in one if name.startswith(("codes", "rows", "rungs.codes")))


def test_a_finished_diagnosis_is_not_made_again(quick_net, data, whole, tmp_path, monkeypatch):
    assert bare(run(planned(quick_net, data), folder=tmp_path).record) == bare(whole)
    monkeypatch.setattr(diagnostics, "measure", lambda *_, **__: pytest.fail("measured again"))
    assert bare(run(planned(quick_net, data), folder=tmp_path).record) == bare(whole)


def test_a_killed_run_goes_on(quick_net, data, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(diagnostics, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(planned(quick_net, data), folder=tmp_path)
    assert list((tmp_path / "jobs").glob("*.json"))  # the attacks before it
    assert bare(run(planned(quick_net, data), folder=tmp_path).record) == bare(whole)


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_shards_share_it_and_the_last_one_assembles(quick_net, data, whole, tmp_path):
    parts = [run(planned(quick_net, data), folder=tmp_path, shard=(i, 3)) for i in (2, 1, 3)]
    assert parts[:2] == [None, None]
    assert bare(parts[2].record) == bare(whole)


@pytest.mark.parametrize(
    "settings",
    [
        {"target": "random", "balls": BALLS[:1]},
        {"balls": [sp.L2(float("inf"))], "attacks": ["ddn"]},
        {"balls": [sp.L0(3)], "attacks": ["jsma"]},
        {"balls": [sp.Linf(0.0)]},
    ],
    ids=["target", "no radius", "L0", "eps 0"],
)
def test_what_the_probes_cannot_ask_is_left_out(quick_net, data, settings):
    assert found(run(planned(quick_net, data[:12], **settings)).record) == [None]


def test_a_masked_model_is_found_where_the_run_has_gradients_alone(quick_net, data):
    masked = {"net": sp.Classifier(MaskedModel(quick_net))}
    blind = evaluate(masked, data, balls=[sp.Linf(0.2)], attacks=["fgsm", "pgd"], probed=40).record
    (diagnosis,) = found(blind)
    assert (diagnosis.verdict, diagnosis.causes) == ("do not cite", ["masked gradients"])
    assert [f.level for f in blind.findings if f.title == "Diagnosis: do not cite (masked gradients)"] == ["warning"]


def test_examples_are_written_without_it(quick_net, data, tmp_path):
    plan = planned(quick_net, data[:10], balls=BALLS[:1], attacks=["fgsm"])
    assert found(export(plan, tmp_path / "a").record) == [None]
