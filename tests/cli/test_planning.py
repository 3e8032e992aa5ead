"""``evaluate --config``: a file says what the options say, and more."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from saddlepoint.models import save_weights
from saddlepoint.records import RunRecord

MODEL, DATA = "py:ownnets:net", "mnist10k:test"
BASE = f"models: {MODEL}\ndata: {DATA}\nrows: 20\neps: 0.1\nattacks: fgsm\n"


@pytest.fixture
def written(folder):
    """A file in the current folder."""

    def write(text):
        Path("run.yaml").write_text(text, encoding="utf-8")
        return "run.yaml"

    return write


def record(name="out"):
    return RunRecord.from_json((Path(name) / "run.json").read_text(encoding="utf-8"))


def without(text, *keys):
    return "".join(f"{line}\n" for line in text.splitlines() if line.partition(":")[0] not in keys)


def test_a_file_gives_the_run_that_the_words_give(command, written):
    words = [MODEL, DATA, "--rows", "20", "--eps", "0.1,8/255", "--attacks", "fgsm,bim", "--seed", "3"]
    assert command("evaluate", *words, "--out", "words").code == 0
    written(without(BASE, "eps", "attacks") + "eps: [0.1, 8/255]\nattacks: [fgsm, bim]\nseed: 3\nout: out\n")
    done = command("evaluate", "--config", "run.yaml")
    assert done.code == 0, done.err
    ours, theirs = record(), record("words")
    assert ours.command == "saddlepoint evaluate --config run.yaml"
    assert ours.spec == theirs.spec
    found = [[[a.verdicts for a in t.attacks] for t in run.models[0].threats] for run in (ours, theirs)]
    assert found[0] == found[1]


def test_models_threats_and_settings(command, written, folder):
    torch.manual_seed(0)
    save_weights(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), folder / "own.safetensors")
    written(
        f"models: [{MODEL}, {{name: mine, spec: '{MODEL}', weights: own.safetensors}}]\n"
        f"data: {DATA}\nrows: 20\nout: out\n"
        "threats:\n  - {norm: [linf], eps: [0.1, 8/255]}\n  - {norm: l2, eps: 1e-1}\n  - {norm: linf, eps: 0.1}\n"
        "attacks:\n  - fgsm\n  - {name: pgd, steps: 3, step-size: 2/255, random_start: no, loss: margin}\n"
    )
    done = command("evaluate", "--config", "run.yaml")
    assert done.code == 0, done.err
    run = record()
    assert [model.name for model in run.models] == [MODEL, "mine"]
    assert run.models[0].fingerprint != run.models[1].fingerprint
    assert [(t.norm, t.eps) for t in run.models[0].threats] == [("linf", 0.1), ("linf", 8 / 255), ("l2", 0.1)]
    settings = run.models[0].threats[0].attacks[1].settings
    assert {key: settings[key] for key in ("steps", "step_size", "random_start", "loss", "keep")} == {
        "steps": 3,
        "step_size": 2 / 255,
        "random_start": False,
        "loss": "margin",
        "keep": "first-success",
    }


def test_typed_words_go_first(command, written):
    written(without(BASE, "eps") + "threats: {norm: linf, eps: 0.1}\nout: nowhere\nseed: 5\n")
    words = ["--eps", "0.2", "--attacks", "bim", "--rows", "10", "--out", "out"]
    done = command("evaluate", "--config", "run.yaml", *words)
    assert done.code == 0, done.err
    run = record()
    assert (run.data.rows, run.spec["seed"]) == (10, 5)
    (threat,) = run.models[0].threats
    assert (threat.eps, [attack.name for attack in threat.attacks]) == (0.2, ["bim"])
    assert not Path("nowhere").exists()
    written(BASE)
    done = command("evaluate", "zoo:mnist-pgd", "mnist10k:train", "--config", "run.yaml", "--dry-run")
    assert "zoo:mnist-pgd  fgsm" in done.out
    assert MODEL not in done.out


def test_a_dry_run_can_be_asked_for_in_the_file(command, written):
    done = command("evaluate", "--config", written(BASE + "dry-run: true\nout: out\n"))
    assert (done.code, Path("out").exists()) == (0, False)
    assert "jobs" in done.out


def test_a_bar_in_the_file(command, written):
    written(BASE + "fail-under: 100\n")
    assert command("evaluate", "--config", "run.yaml").code == 1
    assert command("evaluate", "--config", "run.yaml", "--fail-under", "0").code == 0


def test_budgets_reach_the_attacks(command, written):
    for budget in ("forwards", "backwards"):
        written(
            without(BASE, "attacks", "models") + f"models: zoo:mnist-pgd\nattacks: pgd\n{budget}: 3\nout: {budget}\n"
        )
        assert command("evaluate", "--config", "run.yaml").code == 0
        attack = record(budget).models[0].threats[0].attacks[0]
        assert 0 < getattr(attack, budget) <= 3 * attack.attacked


@pytest.mark.parametrize(
    ("drop", "text", "said"),
    [
        ((), "row: 3", "unknown key 'row'; did you mean 'rows'"),
        ((), "specs: a", "unknown key 'specs'"),
        (("rows",), "rows: 2001", r"rows: --rows 2001 must lie in \[1, 2000\]"),
        (("data",), "data: mnist", "data: unknown data set 'mnist'; did you mean 'mnist10k'"),
        (("data",), "data: {a: b}", "data: {'a': 'b'} must be text"),
        (("data",), "", "models and data must be given, for example zoo:mnist-pgd and mnist10k:test"),
        (("models",), "", "models and data must be given"),
        (("models",), "models: []", r"models: \[\] is empty; give at least one"),
        (("models",), "models: [zoo:mnist-pgd, zoo:mnist-pdg]", r"models\[1\]: unknown zoo model 'mnist-pdg'"),
        (("models",), "models: [zoo:mnist-pgd, zoo:mnist-pgd]", r"models\[1\]: the name 'zoo:mnist-pgd' .* twice"),
        (("models",), "models: [{spec: a, wieghts: b}]", r"models\[0\]: unknown key 'wieghts'; did you mean 'weights'"),
        (("models",), "models: [{name: a}]", r"models\[0\]: the key 'spec' is missing"),
        (("models",), "models: [[a]]", r"models\[0\]: \['a'\] must be a mapping with the keys spec, name, weights"),
        (("models",), "models: [{spec: [a, b], name: c}]", r"models\[0\]: unknown model 'a,b'"),
        (("models",), "models: ['']", r"models\[0\]: '' must be text"),
        (
            ("models",),
            f"models: {{spec: '{MODEL}', weights: gone.safetensors}}",
            "models: weights 'gone.safetensors' cannot be read",
        ),
        (("attacks",), "attacks: [fgsm, pgdd]", r"attacks\[1\]: unknown attack 'pgdd'; did you mean 'pgd'"),
        (("attacks",), "attacks: [fgsm, {name: pgdd}]", r"attacks\[1\].name: unknown attack 'pgdd'"),
        (("attacks",), "attacks: [{steps: 3}]", r"attacks\[0\]: the attack {'steps': '3'} has no name"),
        (("attacks",), "attacks: [{name: pgd, step: 3}]", r"attacks\[0\].step: unknown setting of pgd 'step'"),
        (
            ("attacks",),
            "attacks:\n- fgsm\n- {name: pgd, steps: ten}",
            r"attacks\[1\].steps: steps='ten' must be an integer; leave it out for the default, 40",
        ),
        (("attacks",), "attacks: {name: pgd, steps: -1}", "attacks.steps: steps=-1 must be an integer >= 0"),
        (("attacks",), "attacks: [{name: pgd, step_size: 2}]", None),
        (("attacks",), "attacks: [{name: pgd, loss: hinge}]", r"attacks\[0\].loss: unknown loss 'hinge'; known: cross"),
        (("attacks",), "attacks: [[fgsm]]", r"attacks\[0\]: \['fgsm'\] must be a name, or a mapping"),
        (("attacks",), "attacks: []", r"attacks: \[\] is empty; give at least one"),
        (("attacks",), "attacks:", "attacks: '' names nothing; give at least one"),
        (("eps",), "", "--eps is missing"),
        (("eps",), "eps: -0.1", "eps: eps='-0.1' must be finite and >= 0"),
        (("eps",), "eps: [0.1, x]", "eps: eps='x' must be a number or a fraction"),
        ((), "norm: no", "norm: unknown norm 'no'"),
        ((), "threats: [{norm: linf, eps: 0.1}]", "threats: eps and norm stand beside threats; keep one of the two"),
        (("eps",), "threats: []", r"threats: \[\] is empty; give at least one"),
        (("eps",), "threats: [{norm: linf}]", r"threats\[0\]: the key 'eps' is missing"),
        (("eps",), "threats: [{norm: l3, eps: 1}]", r"threats\[0\].norm: unknown norm 'l3'"),
        (("eps",), "threats: [{norm: l2, eps: [1, inf]}]", r"threats\[0\].eps: eps='inf' must be finite"),
        (("eps",), "threats: [{norm: [linf, l2], eps: 1}]", r"threats\[0\].norm: unknown norm 'linf,l2'"),
        (("eps",), "threats: linf", "threats: 'linf' must be a mapping with the keys norm, eps"),
        ((), "batch-size: 0", "batch_size: --batch-size '0' must be auto or an integer >= 1"),
        ((), "device: nonsense", "device: --device 'nonsense' cannot be used here"),
        ((), "threads: 0", "threads: --threads 0 must be >= 1"),
        ((), "shard: 3/2", "shard: --shard '3/2' must be i/m"),
        ((), "fail_under: 101", r"fail_under: --fail-under 101 must lie in \[0, 100\]"),
        ((), "forwards: -1", "forwards: .*forwards"),
        ((), "target: ten", "target: target='ten' must be none, least-likely, random, or a class"),
    ],
)
def test_a_bad_file_ends_in_one_line_with_file_and_key(command, refused, written, drop, text, said):
    written(without(BASE, *drop) + text + "\n")
    if said is None:  # a step of 2 in a box of width 1 is odd, but allowed
        assert command("evaluate", "--config", "run.yaml").code == 0
        return
    line = refused("evaluate", "--config", "run.yaml")
    assert re.search(said, line), line
    assert line.startswith("run.yaml: ")


def test_a_file_that_is_not_there(refused, folder):
    assert "gone.yaml: the file cannot be read" in refused("evaluate", "--config", "some/gone.yaml")


def test_without_words_and_file_both_are_named(refused, folder):
    assert "MODEL [MODEL ...] DATA must be given" in refused("evaluate", "--eps", "0.1")


def test_paths_are_those_of_the_current_folder(command, written, folder):
    (folder / "deep").mkdir()
    (folder / "deep/run.yaml").write_text(BASE + "out: out\n", encoding="utf-8")
    assert command("evaluate", "--config", "deep/run.yaml").code == 0
    assert (folder / "out/run.json").is_file()
