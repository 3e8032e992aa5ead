"""The tests by which one attack beats another, by hand; and what a run's verdicts make of a diagnosis."""

import math

import pytest
import torch

from saddlepoint.evaluation.diagnostics import conclude
from saddlepoint.evaluation.diagnostics.battery import LETTERS
from saddlepoint.evaluation.diagnostics.evidence import Versus, tail

N = 40
ATTACKS = ("fgsm-ce", "fgsm-margin", "pgd-ce", "pgd-margin", "more", "restarts", "random", "square")


def coded(fooled, n, undefined=()):
    letters = ["F" if i in fooled else "U" if i in undefined else "H" for i in range(n)]
    return torch.tensor([LETTERS.index(letter) for letter in letters], dtype=torch.uint8)


def found(n=N, places=None, **fooled):
    """What is measured of a sound model, of which no attack fools a row but those said."""
    yes, no = torch.ones(n, dtype=torch.bool), torch.zeros(n, dtype=torch.bool)
    half, rungs = (n + 1) // 2, 32
    sizes = dict.fromkeys(ATTACKS[:4], n) | dict.fromkeys(ATTACKS[4:], half)
    codes = {
        f"codes.{name}": coded(fooled.get(name.replace("-", "_"), ()), size, fooled.get("undefined", ()))
        for name, size in sizes.items()
    }
    return {
        "rows": torch.arange(n) if places is None else places,
        "answers": torch.tensor(2),
        "change": torch.zeros(n),
        "scale": torch.ones(n),
        "margin": torch.full((n,), -1.0),
        "far": yes,
        "near": yes,
        "told": yes,
        "flat_ce": no,
        "flat_margin": no,
        **codes,
        "rungs.eps": torch.tensor([0.1, 0.2, 0.4, 0.6, 1.0], dtype=torch.float64),
        "rungs.codes": torch.stack([coded(range(share), rungs) for share in (0, 0, 0, 16, 32)]),
        "rungs.loss": torch.arange(5.0)[:, None].expand(5, rungs) - 0.9,
        "passes": torch.tensor([10, 3]),
        "seconds": torch.tensor(1.5, dtype=torch.float64),
    }


def named(diagnosis):
    return {probe.name: probe for probe in diagnosis.probes}


@pytest.mark.parametrize(("hits", "tosses"), [(0, 0), (0, 5), (3, 5), (5, 5), (7, 9), (60, 100)])
def test_the_tail_of_a_fair_coin_by_counting(hits, tosses):
    exact = sum(math.comb(tosses, i) for i in range(hits, tosses + 1)) / 2**tosses
    assert tail(hits, tosses) == pytest.approx(exact)
    if tosses <= 10:
        sides = [bin(toss).count("1") >= hits for toss in range(2**tosses)]
        assert tail(hits, tosses) == pytest.approx(sum(sides) / len(sides))


def test_seven_rows_to_none_are_beyond_chance_and_six_are_not():
    assert Versus(100, 7, 0, 50).beats
    assert not Versus(100, 6, 0, 50).beats
    assert not Versus(100, 20, 13, 50).beats
    assert not Versus(100, 0, 30, 50).beats


def test_a_share_of_the_rows_parts_doubt_from_worse():
    assert Versus(100, 9, 0, 50).concern == "doubt"
    assert Versus(100, 10, 0, 50).concern == "do not cite"
    assert Versus(100, 6, 0, 50).concern == "none"


def test_a_sound_model_is_trusted_and_its_cost_is_told():
    diagnosis = conclude(found())
    assert (diagnosis.verdict, diagnosis.causes, diagnosis.rows) == ("trust", [], N)
    assert (diagnosis.forwards, diagnosis.backwards, diagnosis.seconds) == (10, 3, 1.5)
    assert [rung.held.count for rung in diagnosis.rungs] == [32, 32, 32, 16, 0]
    assert [rung.loss for rung in diagnosis.rungs] == pytest.approx([-0.9, 0.1, 1.1, 2.1, 3.1])


@pytest.mark.parametrize(
    ("attack", "probe", "cause"),
    [
        ("square", "gradient-free beats gradients", "masked gradients"),
        ("random", "random search beats gradients", "masked gradients"),
        ("more", "more steps help", "weak attack"),
        ("restarts", "more restarts help", "weak attack"),
        ("fgsm_ce", "one step beats many", "masked gradients"),
        ("pgd_margin", "cross-entropy falls behind", "weak attack"),
    ],
)
def test_an_attack_that_beats_another_is_a_concern(attack, probe, cause):
    diagnosis = conclude(found(**{attack: range(10)}))
    assert (diagnosis.verdict, diagnosis.causes) == ("do not cite", [cause])
    assert diagnosis.probes[0].name == probe
    assert diagnosis.probes[0].remedy
    assert conclude(found(**{attack: range(6)})).verdict == "trust"


def test_both_the_same_rows_are_no_difference():
    assert conclude(found(square=range(15), pgd_ce=range(15), more=range(15), restarts=range(15))).verdict == "trust"


def test_a_zero_gradient_counts_only_where_something_moves_and_holds():
    flat = found() | {"flat_ce": torch.ones(N).bool(), "flat_margin": torch.ones(N).bool()}
    assert conclude(flat).verdict == "do not cite"
    assert conclude(flat | {"far": torch.zeros(N).bool()}).verdict == "trust"
    every = {name: range(N) for name in ("pgd_ce", "pgd_margin", "more", "restarts")}
    fooled = found(**every) | {"flat_ce": flat["flat_ce"], "flat_margin": flat["flat_margin"]}
    assert named(conclude(fooled))["gradients of exactly zero"].concern == "none"


def test_pieces_give_blind_gradients_their_cause():
    blind = found(square=range(15)) | {"near": torch.zeros(N).bool(), "flat_margin": torch.ones(N).bool()}
    assert conclude(blind).causes == ["quantised input"]


def test_a_loss_that_falls_with_eps_is_a_doubt():
    tensors = found()
    tensors["rungs.loss"] = tensors["rungs.loss"].clone()
    tensors["rungs.loss"][3] = 0.0  # below that of the ball before it
    probe = named(conclude(tensors))["the loss does not rise with eps"]
    assert (probe.concern, probe.numbers["down"]) == ("doubt", 32)


def test_rows_that_hold_in_the_whole_box_are_counted():
    tensors = found()
    tensors["rungs.codes"] = torch.stack([coded((), 32)] * 4 + [coded(range(31), 32)])
    assert conclude(tensors).verdict == "trust"
    tensors["rungs.codes"][-1] = coded(range(30), 32)
    assert named(conclude(tensors))["the whole box is not enough"].concern == "doubt"
    tensors["rungs.codes"][-1] = coded(range(10), 32)
    assert named(conclude(tensors))["the whole box is not enough"].concern == "do not cite"
    tensors["answers"] = torch.tensor(1)  # nothing says that another answer exists
    assert named(conclude(tensors))["the whole box is not enough"].concern == "none"


def test_one_undefined_row_is_too_many():
    diagnosis = conclude(found(undefined=[3]))
    assert (diagnosis.verdict, diagnosis.causes) == ("do not cite", ["undefined rows"])


# Next to a run: ``letters`` of all rows of its data, of which the diagnosis saw some.


def test_a_row_is_found_at_its_place_in_the_data():
    places = torch.arange(N) * 2 + 1
    letters = "W" * 20 + "H" * 70
    probe = named(conclude(found(places=places, square=[0, 1, 12]), letters))["rows that the run calls held"]
    assert probe.numbers == {"rows": N, "held": 30, "fooled": 1}  # row 12 is at place 25; 0 and 1 are wrong there


@pytest.mark.parametrize(
    ("broken", "concern"), [(0, "none"), (1, "none"), (2, "doubt"), (3, "doubt"), (9, "do not cite")]
)
def test_rows_that_a_run_called_held_weigh_by_its_interval(broken, concern):
    diagnosis = conclude(found(pgd_margin=range(broken)), "H" * 30 + "F" * 10)
    probe = named(diagnosis)["rows that the run calls held"]
    assert (probe.concern, probe.numbers["fooled"]) == (concern, broken)
    assert diagnosis.verdict == {"none": "trust"}.get(concern, concern)
    assert diagnosis.compared
    if concern != "none":
        assert diagnosis.causes == ["weak attack"]
        assert "pgd-margin" in probe.remedy


def test_a_run_that_got_as_far_as_the_probes_is_in_doubt_at_most():
    masked = found(square=range(15))
    assert conclude(masked, "H" * N).verdict == "do not cite"
    past = conclude(masked, "F" * 15 + "H" * (N - 15))
    assert (past.verdict, past.causes) == ("doubt", ["masked gradients"])
    assert "got as far" in named(past)["gradient-free beats gradients"].evidence


def test_no_row_left_is_a_number_that_nothing_can_lower():
    done = conclude(found(square=range(15)), "F" * N)
    assert (done.verdict, done.causes) == ("trust", [])


def test_a_better_loss_in_the_run_mends_a_worse_one_in_the_probes():
    assert conclude(found(pgd_margin=range(12)), "F" * 12 + "H" * 28).verdict == "trust"


def test_noise_is_not_mended_by_any_run():
    noisy = found() | {"change": torch.full((N,), 0.5)}
    for letters in (None, "F" * N, "H" * N):
        assert conclude(noisy, letters).causes == ["random output"]
        assert conclude(noisy, letters).verdict == "do not cite"
    assert conclude(found() | {"change": torch.full((N,), 1e-6)}).verdict == "trust"
