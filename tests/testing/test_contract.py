"""The contract accepts an honest attack that owes the driver nothing, and rejects every planted fault."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from saddlepoint import L2, Linf
from saddlepoint.attacks import FGSM, PGD
from saddlepoint.errors import SettingError, SpecError
from saddlepoint.testing import check_attack, contract
from saddlepoint.testing._suite import failures
from saddlepoint.testing.contract import CHECKS, _subject

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).with_name("planted.py"))
faults = importlib.util.module_from_spec(_spec)
sys.modules["planted"] = faults
_spec.loader.exec_module(faults)

test_honest = contract(faults.Honest(Linf(0.1)), within=0.999)
test_minimum_norm = contract(faults.Bisection(ball=Linf(float("inf"))), within=1.001)


def failing(attack, *names, targeted=True, within=0.999):
    subject = _subject(attack, within, targeted, None, (3, 2, 2), (2, 3, 4), "cpu")
    return failures({name: CHECKS[name] for name in names}, subject)


@pytest.mark.parametrize("what", faults.EIGHT)
def test_bad_attack_is_rejected(what):
    attack, check = faults.EIGHT[what]
    assert set(failing(attack(Linf(0.1)), check)) == {check}


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_can_fail(check):
    assert set(failing(faults.PLANTED[check](Linf(0.1)), check)) == {check}


def test_minimum_norm_attack_that_stops_too_far_out_is_rejected():
    found = failing(faults.Bisection(ball=Linf(float("inf")), steps=4), "optimum", within=1.001)
    assert "times the least one, 1.001 is declared" in found["optimum"]
    found = failing(faults.Bisection(ball=Linf(float("inf")), steps=0), "optimum", within=1.001)
    assert "reachable rows are not fooled" in found["optimum"]


def test_attack_declared_untargeted_must_refuse_targets():
    assert "silently taken" in failing(FGSM(ball=Linf(0.1)), "targeted", targeted=False)["targeted"]


def test_check_attack_lists_all_failures():
    with pytest.raises(
        AssertionError, match=r"planted fails \d+ of 32 checks:(\n.*)*\n  inside_ball: .*outside the ball"
    ):
        check_attack(faults.OutsideBall(Linf(0.1)))


def test_skipped_checks_need_a_name_and_a_reason():
    attack = FGSM(ball=Linf(0.1))
    with pytest.raises(SpecError, match="did you mean 'inside_ball'"):
        contract(attack, skip={"inside_bal": "why not"})
    with pytest.raises(SettingError, match="reason"):
        contract(attack, skip={"inside_ball": ""})


@pytest.mark.parametrize(
    ("attack", "options", "message"),
    [
        (lambda: object(), {}, "no field ball"),
        (lambda: FGSM(ball=L2(torch.tensor([0.1, 0.2]))), {}, "one eps"),
        (lambda: FGSM(ball=L2(0.1)), {"shape": (12,)}, "channels, height, width"),
    ],
)
def test_subjects_that_cannot_be_tested(attack, options, message):
    with pytest.raises(SettingError, match=message):
        contract(attack(), **options)


def test_skips_are_visible_and_each_check_is_a_test(tmp_path):
    file = tmp_path / "test_one_line.py"
    file.write_text(
        "from saddlepoint import Linf\nfrom saddlepoint.attacks import PGD\nfrom saddlepoint.testing import contract\n"
        "test_contract = contract(PGD(ball=Linf(0.1), steps=2), skip={'shards': 'because I say so'})\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-rs",
        "-q",
        "-p",
        "no:cacheprovider",
        str(file),
        "-k",
        "shards or optimum or zero_eps",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 2 skipped" in done.stdout
    assert "because I say so" in done.stdout
    assert "within= states no share" in done.stdout


def test_importing_the_kit_does_not_import_pytest():
    script = "import sys, saddlepoint.testing; print('pytest' in sys.modules or 'scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_contract_leaves_threads_and_generator_alone():
    before = torch.get_rng_state(), torch.get_num_threads()
    failing(PGD(ball=Linf(0.1), steps=2), "flags_untouched", "zero_eps")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
