"""Smallest perturbations of every row: put together from outcomes made by hand, and found where the answer is known."""

import json
import math

import pytest
import torch
from torch import nn

from saddlepoint.attacks import DDN, PGD, Bisect, Restarts
from saddlepoint.balls import L2, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import SettingError
from saddlepoint.evaluation import checked_plan, evaluate
from saddlepoint.evaluation.assemble import assemble
from saddlepoint.evaluation.ensembles import Suite
from saddlepoint.evaluation.store import MemoryStore
from saddlepoint.evaluation.suites import minimal
from saddlepoint.evaluation.work import CODES
from saddlepoint.result import Keep

FREE = L2(math.inf)


def letters(text):
    return torch.tensor([CODES.index(letter) for letter in text], dtype=torch.uint8)


def outcome(data, text, distance):
    """What a job may have found on the rows that are right: a letter and a distance each."""
    rows, n = torch.tensor([i for i, letter in enumerate(text) if letter != "W"]), len(text) - text.count("W")
    whole, flag = torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.bool)
    return {
        "rows": rows, "codes": letters(text.replace("W", "")), "predicted": whole, "forwards": whole + 3,
        "backwards": whole + 2, "distance": torch.tensor(distance), "room": torch.zeros(n), "claimed": flag,
        "strayed": flag, "unreported": whole, "found": whole[:0], "x": data.x[:0], "seconds": torch.tensor(0.5),
    }  # fmt: skip


def assembled(net, data, attacks, found, ball=FREE):
    """The threat of jobs that found this: for each attack letters and distances."""
    plan, store = checked_plan({"net": Classifier(net)}, data, balls=[ball], attacks=attacks), MemoryStore()
    clean, *jobs = plan.jobs()
    right = found[0][0].replace("F", "H").replace("U", "H")
    zeros = torch.zeros(len(data), dtype=torch.int64)
    store.put(clean.key, {"codes": letters(right), "predicted": zeros, "seconds": torch.tensor(0.1)})
    for job, (text, distance) in zip(jobs, found, strict=True):
        store.put(job.key, outcome(data, text, distance))
    (model,) = assemble(plan, store, draw=False).models
    return model.threats[0]


def test_the_worst_case_is_the_smallest_distance_of_each_row(net, data):
    rows = data[:6]
    ddn = ("FWHFUF", [0.5, 9.0, 2.0, 9.0, 1.23456789])
    fmn = ("FWHHFF", [0.75, 9.0, 0.1, 4.0, 1.0])
    threat = assembled(net, rows, ["ddn", "fmn"], [ddn, fmn])
    assert (threat.eps, threat.verdicts) == (None, "FWHFFF")
    first, second, worst = (part.distances for part in (*threat.attacks, threat))
    assert (first.found, first.unsolved) == ([0.5, 2.0, 1.23457], 1)  # the undefined row is apart
    assert (second.found, second.unsolved) == ([0.75, 4.0, 1.0], 2)
    assert (worst.found, worst.unsolved) == ([0.5, 2.0, 4.0, 1.0], 1)
    assert (worst.lower, worst.median, worst.upper) == (1.0, 2.0, 4.0)  # of 0.5, 1, 2, 4 and farther
    assert (second.median, second.upper) == (4.0, None)
    assert threat.worst.count == worst.unsolved


def test_within_a_radius_fixed_budgets_count_for_the_worst_case_only(net, data):
    rows = data[:4]
    pgd, ddn = ("FFHW", [0.5, 0.4, 9.0]), ("HFHW", [9.0, 0.3, 9.0])
    threat = assembled(net, rows, ["pgd", "ddn"], [pgd, ddn], L2(0.5))
    assert threat.attacks[0].distances is None
    assert threat.attacks[1].distances.found == [0.3]
    assert threat.distances.found == [0.5, 0.3]
    assert (threat.distances.unsolved, threat.worst.count, threat.distances.upper) == (1, 1, None)
    assert assembled(net, rows, ["pgd"], [pgd], L2(0.5)).distances is None


def test_passes_add_up_over_the_attacks_until_the_first_success(net, data):
    rows = data[:6]
    found = [("FWHHUH", [0.1] * 5), ("HWHFFH", [0.1] * 5), ("HWFHHH", [0.1] * 5)]
    passes = assembled(net, rows, ["fgsm", "bim", "pgd"], found, L2(0.5)).passes  # five passes a row and attack
    assert (passes.attacks, passes.held, passes.most) == (["fgsm", "bim", "pgd"], 1, 15)
    assert passes.found == [5, 15, 10, 10]
    mixed = assembled(net, rows, ["ddn", "fgsm", "pgd-bisect"], found, L2(0.5)).passes
    assert (mixed.attacks, mixed.held, mixed.most, mixed.found) == (["fgsm"], 3, 5, [5, 5])
    assert assembled(net, rows, ["ddn"], found[:1]).passes is None


def test_passes_of_a_run_are_those_that_its_attacks_counted(net, data):
    run = evaluate({"net": Classifier(net)}, data, balls=[Linf(0.1)], attacks=["pgd"]).record
    (threat,) = run.models[0].threats
    (attack,), passes = threat.attacks, threat.passes
    assert len(passes.found) == attack.fooled > 3
    assert len(set(passes.found)) > 1
    assert sum(passes.found) + passes.held * passes.most == attack.forwards + attack.backwards


@pytest.fixture(scope="module")
def linear():
    """A linear net of two classes on rows far from the box: the distance to its boundary is |margin| / ||w||."""
    drawn = torch.Generator().manual_seed(5)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    x = 0.4 + 0.2 * torch.rand(24, 3, 2, 2, generator=drawn)
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(2, 12, generator=drawn))
        net[1].bias.copy_(-(net[1].weight @ x.flatten(1).mean(0)))
        logits = net(x)
        gap = net[1].weight[0] - net[1].weight[1]
        y, known = logits.argmax(1), (logits[:, 0] - logits[:, 1]).abs() / gap.norm()
        y[::6] = 1 - y[::6]
    return net, Dataset(x, y, classes=("a", "b"), name="toy"), known


def test_distances_without_a_radius_are_those_of_a_closed_form(linear):
    net, data, known = linear
    run = evaluate({"net": Classifier(net)}, data, balls=[FREE], attacks=["ddn", "deepfool"]).record
    (threat,) = run.models[0].threats
    right = torch.tensor([letter != "W" for letter in threat.verdicts])
    assert threat.verdicts == "".join("F" if row else "W" for row in right.tolist())
    found = torch.tensor(threat.distances.found)
    assert (found >= known[right] * (1 - 1e-4)).all()
    assert (found <= known[right] * 1.05).all()
    assert threat.distances.median == sorted(threat.distances.found)[(len(found) - 1) // 2]
    assert "Infinity" not in run.to_json()
    assert json.loads(run.to_json())["models"][0]["threats"][0]["eps"] is None


def test_bisection_finds_the_radius_of_a_closed_form(linear):
    net, data, known = linear
    named = {"name": "pgd-bisect", "rounds": 8, "random_start": False}
    (threat,) = evaluate({"net": Classifier(net)}, data, balls=[L2(1.0)], attacks=[named]).record.models[0].threats
    right = torch.tensor([letter != "W" for letter in threat.verdicts])
    found = torch.tensor(threat.attacks[0].distances.found)
    assert threat.attacks[0].name == "pgd-bisect"
    assert len(found) == int(right.sum())
    assert (found >= known[right] * (1 - 1e-4)).all()
    assert (found <= known[right] + 1 / 2**8 + 1e-4).all()


def test_bisection_is_reused_by_another_process_and_told_apart(net, data):
    model = {"net": Classifier(net)}

    def keys(attack):
        plan = checked_plan(model, data[:4], balls=[Linf(0.1)], attacks=[attack])
        return [job.key for job in plan.jobs()][1:]

    assert keys("pgd-bisect") == keys("pgd-bisect") != keys("bim-bisect")
    plain = Bisect(attack=PGD(ball=Linf(0.1)))
    spec = checked_plan(model, data[:4], balls=[Linf(0.1)], attacks=[plain]).spec()
    assert spec["threats"][0]["attacks"][0]["settings"]["attack"]["class"].endswith(".PGD")


def test_who_looks_for_the_nearest_point():
    ddn, pgd = DDN(ball=FREE), PGD(ball=L2(1.0))
    assert minimal(ddn)
    assert minimal(Restarts(attack=ddn, times=2))
    assert minimal(Bisect(attack=pgd))
    assert not minimal(pgd)
    assert not minimal(Restarts(attack=pgd, times=2))


@pytest.mark.parametrize(
    ("attacks", "named"),
    [
        (["ddn", "pgd", {"name": "fgsm"}], "pgd, fgsm"),
        (["pgd-bisect"], "pgd-bisect"),
        ([PGD(ball=FREE)], "pgd"),
        ([Bisect(attack=PGD(ball=FREE))], "pgd-bisect"),
    ],
)
def test_without_a_radius_the_attacks_that_need_one_are_named(net, data, attacks, named):
    with pytest.raises(SettingError, match=f"L2.* has no border, and {named} cannot do without; give a finite eps"):
        evaluate({"net": Classifier(net)}, data, balls=[FREE], attacks=attacks)


def test_what_is_running_has_no_radius(net, data):
    plan = checked_plan({"net": Classifier(net)}, data, balls=[FREE, L2(0.5)], attacks=["ddn"])
    assert [job.what for job in plan.jobs()] == ["net  clean", "net  ddn  l2", "net  ddn  l2 0.5"]


def test_rows_that_a_member_before_had_fooled_are_at_no_distance_of_this_one(net, data):
    def members(ball):
        return [PGD(ball=ball, steps=3, keep=Keep.FIRST_SUCCESS), DDN(ball=ball, steps=20)]

    model = {"net": Classifier(net)}
    (told,) = evaluate(model, data, suite=Suite("mine", "two of them", members), balls=[L2(0.4)]).record.models
    pgd, ddn = told.threats[0].attacks
    assert pgd.fooled > 0
    assert ddn.fooled > 0
    assert len(ddn.distances.found) == ddn.fooled
    assert min(ddn.distances.found) > 0
    assert ddn.distances.unsolved + ddn.fooled == ddn.attacked
