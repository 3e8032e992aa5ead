import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from saddlepoint._files import locked
from saddlepoint.balls import Linf
from saddlepoint.classifier import Classifier
from saddlepoint.cli import train as module
from saddlepoint.data import Dataset, load_data
from saddlepoint.defenses.training import checkpoint
from saddlepoint.defenses.training.recipes import RECIPES
from saddlepoint.models import LeNet, SmallCNN, file_sha256, load_weights
from saddlepoint.result import Keep

TRAIN, TEST = 96, 24


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Recipes of one epoch, few digits, and few steps of measurement."""
    short = {
        name: replace(recipe, schedule=replace(recipe.schedule, epochs=1, batch_size=32))
        for name, recipe in RECIPES.items()
    }
    whole = {split: load_data(f"mnist10k:{split}") for split in ("train", "test")}
    monkeypatch.setattr(module, "RECIPES", short)
    monkeypatch.setattr(
        module, "load_data", lambda spec: whole[spec.partition(":")[2]][: TEST if "test" in spec else TRAIN]
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def card(path):
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_weights_and_card_are_written(command, small, recipe):
    done = command("train", recipe, "--out", "net.safetensors")
    assert done.code == 0, done.err
    told = card(small / "net.safetensors")
    assert json.loads(done.out) == told["accuracy"]
    assert {path.name for path in small.iterdir()} == {"net.json", "net.safetensors"}
    robust = RECIPES[recipe].robust

    net = SmallCNN()
    load_weights(net, small / "net.safetensors", told["sha256"])
    test = load_data("mnist10k:test")[:TEST]
    clean = float((Classifier(net).predict(test.x) == test.y).float().mean())
    assert told["accuracy"]["clean"] == pytest.approx(clean)
    assert (told["accuracy"]["rows"], told["accuracy"]["data"]) == (TEST, "mnist10k:test")
    linf = told["accuracy"]["linf"]
    assert linf["eps"] == 0.3
    assert 0 <= linf["pgd-40 and pgd-100 x 10"] <= linf["pgd-40"] <= clean

    assert told["architecture"] == {"name": "SmallCNN", "channels": 1, "size": 28, "classes": 10}
    assert (told["bounds"], told["classes"], told["parameters"]) == ([0.0, 1.0], 10, 166_406)
    assert told["description"].startswith("SmallCNN on mnist10k: ")
    how = told["recipe"]
    assert (how["name"], how["data"], how["rows"]) == (recipe, "mnist10k:train", TRAIN)
    assert how["data_sha256"] == load_data("mnist10k:train")[:TRAIN].fingerprint
    assert (how["optimizer"], how["epochs"], how["batch_size"], how["seed"]) == ("adam", 1, 32, 0)
    assert {"peak", "rise", "final_loss"} <= set(how)
    assert how["final_loss"] > 0
    assert ({"norm", "eps", "attack", "steps", "step_size", "warmup"} <= set(how)) is robust
    assert told["environment"] == {"torch": torch.__version__, "threads": torch.get_num_threads()}


def test_training_is_the_same_twice_and_another_with_another_seed(command, small, monkeypatch):
    monkeypatch.setattr(module, "measure", lambda model, test, eps: {})
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        done = command("train", "pgd", "--seed", seed, "--out", f"{name}.safetensors")
        assert done.code == 0, done.err
    first, second, third = (file_sha256(small / f"{name}.safetensors") for name in "abc")
    assert first == second == card(small / "a.safetensors")["sha256"]
    assert third != first
    assert (small / "a.json").read_bytes() == (small / "b.json").read_bytes()


def test_the_seed_chooses_the_first_weights():
    net = {"name": "SmallCNN", "channels": 1, "size": 28, "classes": 10}
    first, again, other = (next(module._net(net, seed).parameters()) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_options_reach_the_training_and_the_card(command, small, monkeypatch):
    measured = []
    monkeypatch.setattr(module, "measure", lambda model, test, eps: measured.append(eps) or {})
    words = ["--eps", "8/255", "--epochs", "2", "--batch-size", "48", "--seed", "5", "--device", "cpu"]
    assert command("train", "pgd", *words, "--out", "net.safetensors").code == 0
    how = card(small / "net.safetensors")["recipe"]
    assert (how["eps"], how["epochs"], how["batch_size"], how["seed"]) == (8 / 255, 2, 48, 5)
    assert measured == [8 / 255]


def test_another_architecture(command, small, monkeypatch):
    monkeypatch.setattr(module, "measure", lambda model, test, eps: {})
    assert command("train", "standard", "--net", "LeNet", "--out", "net.safetensors").code == 0
    told = card(small / "net.safetensors")
    assert told["architecture"] == {"name": "LeNet", "channels": 1, "size": 28, "classes": 10}
    load_weights(LeNet(), small / "net.safetensors", told["sha256"])


def test_the_callers_generator_is_not_touched(command, small, monkeypatch):
    monkeypatch.setattr(module, "measure", lambda model, test, eps: {})
    before = torch.get_rng_state()
    assert command("train", "standard", "--out", "net.safetensors").code == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_only_rows_that_held_so_far_are_attacked_again(monkeypatch):
    """Row 0 is wrong; PGD-40 fools row 1; the start of seed s fools row s + 1; rows 5 and beyond 11 hold."""
    test = Dataset(torch.zeros(14, 1, 28, 28), torch.zeros(14, dtype=torch.int64), classes=("a", "b"), name="toy")
    calls = []

    def fake(models, data, *, balls, attacks, seed=0, draw):
        (attack,), rows = attacks, data.rows.tolist()
        calls.append((attack.steps, seed, rows))
        falls = 1 if attack.steps == 40 else seed + 1
        verdicts = "".join("W" if row == 0 else "F" if row == falls and row != 5 else "H" for row in rows)
        assert (attack.ball, attack.step_size, attack.keep, balls) == (Linf(0.3), 0.01, Keep.FIRST_SUCCESS, [Linf(0.3)])
        threat = SimpleNamespace(verdicts=verdicts)
        model = SimpleNamespace(threats=[threat], clean=SimpleNamespace(count=len(rows) - verdicts.count("W")))
        return SimpleNamespace(record=SimpleNamespace(models=[model]))

    monkeypatch.setattr(module, "evaluate", fake)
    found = module.measure(Classifier(SmallCNN()), test, 0.3)
    assert found == {
        "data": "toy",
        "rows": 14,
        "clean": 13 / 14,
        "linf": {"eps": 0.3, "pgd-40": 12 / 14, "pgd-40 and pgd-100 x 10": 3 / 14},
    }
    assert [call[:2] for call in calls] == [(40, 0)] + [(100, seed) for seed in range(1, 11)]
    assert calls[1][2] == list(range(2, 14))
    assert calls[-1][2] == [5, 11, 12, 13]


def test_measuring_ends_when_no_row_holds():
    net = SmallCNN()
    test = Dataset(
        torch.zeros(2, 1, 28, 28), torch.zeros(2, dtype=torch.int64), classes=tuple("0123456789"), name="toy"
    )
    wrong = replace(test, y=(Classifier(net).predict(test.x) + 1) % 10)
    found = module.measure(Classifier(net), wrong, 0.3)
    assert (found["clean"], found["linf"]["pgd-40 and pgd-100 x 10"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("words", "value", "remedy"),
    [
        (["pdg"], "unknown recipe 'pdg'", "did you mean 'pgd'"),
        (["pgd", "--net", "Lenet"], "unknown architecture 'Lenet'", "did you mean 'LeNet'"),
        (["pgd", "--out", "net.pt"], "--out 'net.pt'", "must end in .safetensors"),
        (["pgd", "--out", "gone/net.safetensors"], "--out 'net.safetensors'", "make it first, or give another"),
        (["standard", "--eps", "0.3"], "--eps cannot be given for 'standard'", "trains on clean inputs"),
        (["pgd", "--eps", "x"], "eps='x'", "such as 0.3 or 8/255"),
        (["pgd", "--epochs", "0"], "epochs=0", "must be at least 1"),
        (["pgd", "--batch-size", "0"], "batch_size=0", "must be at least 1"),
        (["pgd", "--threads", "0"], "--threads 0", "must be >= 1"),
        (["pgd", "--device", "nonsense"], "--device 'nonsense'", "cannot be used here"),
    ],
)
def test_bad_words_end_in_one_line(refused, small, words, value, remedy):
    line = refused("train", *words, *([] if "--out" in words else ["--out", "net.safetensors"]))
    assert value in line
    assert remedy in line
    assert list(small.iterdir()) == []


def test_unknown_data_are_refused(refused, tmp_path):
    line = refused("train", "standard", "--data", "mnist", "--out", tmp_path / "net.safetensors")
    assert "unknown data set 'mnist'; did you mean 'mnist10k'" in line


def test_images_that_are_not_square_are_refused(refused, small, monkeypatch):
    wide = Dataset(torch.zeros(4, 1, 8, 6), torch.zeros(4, dtype=torch.int64), classes=("a", "b"), name="wide")
    monkeypatch.setattr(module, "load_data", lambda spec: wide)
    assert "wide has 8 x 6" in refused("train", "standard", "--out", "net.safetensors")


def test_killed_it_goes_on_and_ends_with_the_same_files(command, small, monkeypatch):
    monkeypatch.setattr(module, "measure", lambda model, test, eps: {})
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    assert command("train", "pgd", "--epochs", "2", "--out", "whole.safetensors").code == 0
    keep, written = checkpoint.Checkpoint.keep, []

    def killing(self, run):
        keep(self, run)
        written.append(run.done)
        if len(written) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "keep", killing)
    assert command("train", "pgd", "--epochs", "2", "--out", "part.safetensors").code == 130
    assert (small / "part.checkpoint").exists()
    assert not (small / "part.safetensors").exists()
    assert command("train", "pgd", "--epochs", "2", "--out", "part.safetensors").code == 0
    assert written == [1, 2, 3, 4, 5, 6]  # nothing was done twice
    for suffix in (".safetensors", ".json"):
        assert (small / f"part{suffix}").read_bytes() == (small / f"whole{suffix}").read_bytes()
    assert not (small / "part.checkpoint").exists()


def test_a_checkpoint_of_another_training_is_refused(command, refused, small, monkeypatch):
    monkeypatch.setattr(module, "measure", lambda model, test, eps: 1 / 0)
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    with pytest.raises(ZeroDivisionError):
        command("train", "pgd", "--out", "net.safetensors")
    before = (small / "net.checkpoint").read_bytes()
    line = refused("train", "pgd", "--epochs", "2", "--out", "net.safetensors")
    assert "'net.checkpoint' is of another training: its recipe differ" in line
    assert (small / "net.checkpoint").read_bytes() == before


def test_options_from_a_file(command, refused, small, monkeypatch):
    monkeypatch.setattr(module, "measure", lambda model, test, eps: {})
    (small / "recipe.yaml").write_text("recipe: pgd\neps: 8/255\nepochs: 2\nout: net.safetensors\n")
    assert command("train", "--config", "recipe.yaml", "--epochs", "1").code == 0
    how = card(small / "net.safetensors")["recipe"]
    assert (how["name"], how["eps"], how["epochs"]) == ("pgd", 8 / 255, 1)
    (small / "recipe.yaml").write_text("recipe: pgd\neps: far\nout: net.safetensors\n")
    assert refused("train", "--config", "recipe.yaml").startswith("recipe.yaml: eps: eps='far' must be a number")


def test_two_processes_may_not_train_into_one_file(refused, small):
    with locked(small / "net.lock"):
        line = refused("train", "standard", "--out", "net.safetensors")
    assert "another process trains into 'net.safetensors'; wait for it" in line


@pytest.mark.parametrize(("data", "eps"), [("mnist10k", 0.3), ("fashion-mnist", 0.1)])
def test_the_radius_is_the_data_sets_customary_one(command, small, monkeypatch, data, eps):
    measured = []
    monkeypatch.setattr(module, "measure", lambda model, test, eps: measured.append(eps) or {})
    assert command("train", "pgd", "--data", data, "--out", "net.safetensors").code == 0
    assert measured == [eps] == [card(small / "net.safetensors")["recipe"]["eps"]]
