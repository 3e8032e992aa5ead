"""The command ``train``: what it writes, what it refuses, and that it goes on after a kill."""

import importlib
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from saddlepoint._files import locked
from saddlepoint.balls import L2, Linf
from saddlepoint.classifier import Classifier
from saddlepoint.cli import measuring, training
from saddlepoint.cli import train as module
from saddlepoint.cli.job import Job
from saddlepoint.data import Dataset, load_data
from saddlepoint.defenses.training import checkpoint
from saddlepoint.defenses.training.recipes import recipes
from saddlepoint.models import LeNet, SmallCNN, file_sha256, load_weights, save_weights
from saddlepoint.result import Keep
from saddlepoint.training_record import TrainingRecord

TRAIN, TEST = 96, 24
METHODS = [name for name, recipe in recipes().items() if not recipe.preset]
FILES = {"net.json", "net.safetensors", "net.training.html", "net.training.json"}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Recipes of one epoch, few digits, and few steps of measurement."""
    short = {}
    for name, recipe in recipes().items():
        checks = None if recipe.validation is None else {**recipe.validation, "rows": 24, "guard": "off", "steps": 2}
        schedule = replace(recipe.schedule, epochs=1, batch_size=32)
        soft = {"temperature": 2.0} if recipe.teacher else {}  # labels of so young a teacher are uniform at 100
        short[name] = replace(recipe, schedule=schedule, validation=checks).changed(objective=soft)
    whole = {split: load_data(f"mnist10k:{split}") for split in ("train", "test")}
    monkeypatch.setattr(module, "recipes", lambda: short)
    monkeypatch.setattr(
        module, "load_data", lambda spec: whole[spec.partition(":")[2]][: TEST if "test" in spec else TRAIN]
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def unmeasured(monkeypatch):
    """Nothing is measured: a list of the balls in which it would have been."""
    balls = []
    monkeypatch.setattr(training, "measure", lambda model, test, ball: balls.append(ball) or {})
    return balls


def card(path):
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("recipe", ["standard", "pgd"])
def test_weights_and_card_are_written(command, small, recipe):
    done = command("train", recipe, "--out", "net.safetensors")
    assert done.code == 0, done.err
    told = card(small / "net.safetensors")
    assert json.loads(done.out) == told["accuracy"]
    assert {path.name for path in small.iterdir()} == FILES
    robust = recipe == "pgd"

    net = SmallCNN()
    load_weights(net, small / "net.safetensors", told["sha256"])
    test = load_data("mnist10k:test")[:TEST]
    clean = float((Classifier(net).predict(test.x) == test.y).float().mean())
    assert told["accuracy"]["clean"] == pytest.approx(clean)
    assert (told["accuracy"]["rows"], told["accuracy"]["data"]) == (TEST, "mnist10k:test")
    linf = told["accuracy"]["linf"]
    assert linf["eps"] == 0.3
    assert 0 <= linf["pgd-40 and cascade-1"] <= linf["pgd-40"] <= clean

    assert told["architecture"] == {"name": "SmallCNN", "channels": 1, "size": 28, "classes": 10}
    assert (told["bounds"], told["classes"], told["parameters"]) == ([0.0, 1.0], 10, 166_406)
    assert told["description"].startswith("SmallCNN on mnist10k: ")
    how = told["recipe"]
    assert (how["name"], how["data"], how["rows"]) == (recipe, "mnist10k:train", TRAIN)
    assert how["data_sha256"] == load_data("mnist10k:train")[:TRAIN].fingerprint
    assert (how["optimizer"]["name"], how["epochs"], how["batch_size"], how["seed"]) == ("adam", 1, 32, 0)
    assert {"peak", "rise", "final_loss"} <= set(how)
    assert how["final_loss"] > 0
    assert ({"norm", "eps"} <= set(how)) is robust
    assert how["objective"] == dict(recipes()[recipe].objective)
    record = TrainingRecord.from_json((small / "net.training.json").read_text(encoding="utf-8"))
    assert (len(record.epochs), record.kept, record.ended) == (1, 1, "finished")
    assert record.forwards == TRAIN * (11 if robust else 1)
    assert record.backwards == TRAIN * (11 if robust else 1)
    assert f"loss {record.epochs[0].loss:.4f}" in done.err
    assert told["environment"] == {"torch": torch.__version__, "threads": torch.get_num_threads()}


def test_training_is_the_same_twice_and_another_with_another_seed(command, small, unmeasured):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        done = command("train", "pgd", "--seed", seed, "--out", f"{name}.safetensors")
        assert done.code == 0, done.err
    first, second, third = (file_sha256(small / f"{name}.safetensors") for name in "abc")
    assert first == second == card(small / "a.safetensors")["sha256"]
    assert third != first
    assert (small / "a.json").read_bytes() == (small / "b.json").read_bytes()


@pytest.mark.usefixtures("unchecked")
def test_the_seed_chooses_the_first_weights():
    net = {"name": "SmallCNN", "channels": 1, "size": 28, "classes": 10}
    rows = load_data("mnist10k:test")[:2]
    job = Job(
        recipe=recipes()["standard"], ball=Linf(0.1), out=None, learn=rows, test=rows, architecture=net, device="cpu",
        seed=0,
    )  # fmt: skip
    first, again, other = (next(replace(job, seed=seed).net().parameters()) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_options_reach_the_training_and_the_card(command, small, unmeasured):
    words = ["--eps", "8/255", "--epochs", "2", "--batch-size", "48", "--seed", "5", "--device", "cpu"]
    assert command("train", "pgd", *words, "--out", "net.safetensors").code == 0
    how = card(small / "net.safetensors")["recipe"]
    assert (how["eps"], how["epochs"], how["batch_size"], how["seed"]) == (8 / 255, 2, 48, 5)
    assert unmeasured == [Linf(8 / 255)]


def test_another_architecture(command, small, unmeasured):
    assert command("train", "standard", "--net", "LeNet", "--out", "net.safetensors").code == 0
    told = card(small / "net.safetensors")
    assert told["architecture"] == {"name": "LeNet", "channels": 1, "size": 28, "classes": 10}
    load_weights(LeNet(), small / "net.safetensors", told["sha256"])


def test_the_callers_generator_is_not_touched(command, small, unmeasured):
    before = torch.get_rng_state()
    assert command("train", "standard", "--out", "net.safetensors").code == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_the_cascade_runs_on_the_rows_that_held(monkeypatch):
    """Row 0 is wrong; PGD-40 fools row 1; the cascade fools rows 2 and 3; two more hold."""
    test = Dataset(torch.zeros(6, 1, 28, 28), torch.zeros(6, dtype=torch.int64), classes=("a", "b"), name="toy")
    calls = []

    def fake(models, data, *, balls, attacks=None, suite=None, draw):
        rows = data.rows.tolist()
        calls.append(rows)
        if attacks is not None:
            assert (attacks[0].ball, attacks[0].step_size, attacks[0].keep) == (Linf(0.3), 0.01, Keep.FIRST_SUCCESS)
        else:
            assert suite == "cascade-1"
        falls = {1} if suite is None else {2, 3}
        verdicts = "".join("W" if row == 0 else "F" if row in falls else "H" for row in rows)
        model = SimpleNamespace(threats=[SimpleNamespace(verdicts=verdicts)], clean=SimpleNamespace(count=5))
        return SimpleNamespace(record=SimpleNamespace(models=[model]))

    monkeypatch.setattr(measuring, "evaluate", fake)
    found = measuring.measure(Classifier(SmallCNN()), test, Linf(0.3))
    linf = {"eps": 0.3, "pgd-40": 4 / 6, "pgd-40 and cascade-1": 2 / 6}
    assert found == {"data": "toy", "rows": 6, "clean": 5 / 6, "linf": linf}
    assert calls == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5]]


def test_measuring_ends_when_no_row_holds():
    net = SmallCNN()
    test = Dataset(
        torch.zeros(2, 1, 28, 28), torch.zeros(2, dtype=torch.int64), classes=tuple("0123456789"), name="toy"
    )
    wrong = replace(test, y=(Classifier(net).predict(test.x) + 1) % 10)
    found = measuring.measure(Classifier(net), wrong, Linf(0.3))
    assert (found["clean"], found["linf"]["pgd-40 and cascade-1"]) == (0.0, 0.0)


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["standard", "--data", "mnist10k:train"],
            "--data 'mnist10k:train' must be the name without a split, mnist10k: ",
        ),
        (
            ["pgd", "--data", "npz:a.npz:test"],
            "--data 'npz:a.npz:test' must be the name without a split, npz:a.npz: both",
        ),
        (["standard", "--data", "npz"], "data set 'npz' has no path; write --data npz:PATH"),
        (["fast-cifar10"], "'cifar10' has no path; write --data cifar10:PATH, or give --data-dir, the folder"),
        (["fast-cifar10", "--data", "cifar10:gone"], "'gone' is not a folder"),
        (["fast-cifar10", "--data-dir", "gone"], "'gone' is not a folder"),
    ],
)
def test_data_are_named_without_a_split(refused, tmp_path, words, message):
    assert message in refused("train", *words, "--dry-run", "--out", tmp_path / "net.safetensors")


def test_images_that_are_not_square_are_refused(refused, small, monkeypatch):
    wide = Dataset(torch.zeros(4, 1, 8, 6), torch.zeros(4, dtype=torch.int64), classes=("a", "b"), name="wide")
    monkeypatch.setattr(module, "load_data", lambda spec: wide)
    assert "wide has 8 x 6" in refused("train", "standard", "--out", "net.safetensors")


def test_killed_it_goes_on_and_ends_with_the_same_files(command, small, unmeasured, monkeypatch):
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    assert command("train", "pgd", "--epochs", "2", "--out", "whole.safetensors").code == 0
    keep, written = checkpoint.Checkpoint.keep, []

    def killing(self, run, among):
        keep(self, run, among)
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


def test_a_checkpoint_of_another_training_is_refused(command, refused, small, monkeypatch, capsys):
    monkeypatch.setattr(training, "measure", lambda model, test, ball: 1 / 0)
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    with pytest.raises(ZeroDivisionError):
        command("train", "pgd", "--out", "net.safetensors")
    capsys.readouterr()
    before = (small / "net.checkpoint").read_bytes()
    line = refused("train", "pgd", "--epochs", "2", "--out", "net.safetensors")
    assert "'net.checkpoint' is of another training: its recipe differ" in line
    assert (small / "net.checkpoint").read_bytes() == before


def test_options_from_a_file(command, refused, small, unmeasured):
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


def test_a_place_that_cannot_be_written_is_refused(refused, small, monkeypatch):
    monkeypatch.setattr(training, "fit", None)
    (small / "net.lock").mkdir()  # root, too, cannot open it
    line = refused("train", "standard", "--out", "net.safetensors")
    assert line == "cannot write 'net.safetensors' (Is a directory); choose another --out"


@pytest.mark.parametrize(
    ("x", "y", "classes", "message"),
    [
        (torch.zeros(4, 1, 6, 6), [0, 1, 2, 0], "abc", r"have the shape (1, 8, 8), those of own:test (1, 6, 6)"),
        (torch.zeros(4, 1, 8, 8), [0, 1, 3, 0], "abcd", r"own:test run up to class 3, own:train has classes 0 to 2"),
        (torch.zeros(4, 1, 8, 8), [0, 1, 2, 0], "acb", "class 1 is 'b' in own:train and 'c' in own:test"),
        (torch.zeros(0, 1, 8, 8), [], "abc", "own:test has no rows"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_splits_that_do_not_fit_are_refused_before_the_training(
    refused, small, monkeypatch, x, y, classes, message, more
):
    learn = Dataset(torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]), classes=tuple("abc"), name="own:train")
    test = Dataset(x, torch.tensor(y, dtype=torch.int64), classes=tuple(classes), name="own:test")
    monkeypatch.setattr(module, "load_data", lambda spec: learn if spec.endswith("train") else test)
    assert message in refused("train", "standard", "--out", "net.safetensors", *more)
    assert list(small.iterdir()) == []


def test_a_test_split_may_lack_the_last_classes(command, small, unmeasured, monkeypatch):
    x, y = torch.zeros(4, 1, 28, 28), torch.tensor([0, 1, 2, 0])
    splits = {
        "own:train": Dataset(x, y, classes=("0", "1", "2"), name="own:train"),
        "own:test": Dataset(x, y % 2, classes=("0", "1"), name="own:test"),
    }
    monkeypatch.setattr(module, "load_data", splits.__getitem__)
    done = command("train", "standard", "--data", "own", "--out", "net.safetensors")
    assert done.code == 0, done.err


def test_weights_are_kept_whatever_happens_to_their_measurement(command, small, monkeypatch):
    words = ["train", "standard", "--out", "net.safetensors"]
    monkeypatch.setattr(training, "measure", lambda model, test, ball: sys.exit(9))
    assert command(*words).code == 9
    told = card(small / "net.safetensors")
    load_weights(SmallCNN(), small / "net.safetensors", told["sha256"])
    assert "accuracy" not in told
    monkeypatch.setattr(training, "measure", lambda model, test, ball: {"rows": 0})
    done = command(*words)
    assert (done.code, json.loads(done.out)) == (0, {"rows": 0}), done.err
    assert card(small / "net.safetensors") == {**told, "accuracy": {"rows": 0}}
    assert {path.name for path in small.iterdir()} == FILES


@pytest.mark.parametrize(("data", "eps"), [("mnist10k", 0.3), ("fashion-mnist", 0.1)])
def test_the_radius_is_the_data_sets_customary_one(command, small, unmeasured, data, eps):
    assert command("train", "pgd", "--data", data, "--out", "net.safetensors").code == 0
    assert unmeasured == [Linf(eps)]
    assert card(small / "net.safetensors")["recipe"]["eps"] == eps


@pytest.mark.parametrize("recipe", METHODS)
def test_every_method_trains(command, small, unmeasured, recipe):
    done = command("train", recipe, "--out", "net.safetensors", "--seed", 3)
    assert done.code == 0, done.err
    extra = {name.replace("net", "net.teacher") for name in FILES} if "distillation" in recipe else set()
    assert {path.name for path in small.iterdir()} == FILES | extra
    assert unmeasured[-1] == recipes()[recipe].ball("mnist10k")
    assert recipe != "strong-adversary" or unmeasured[-1] == L2(1.5)


def test_weights_are_perturbed_where_it_is_asked_for(command, small, unmeasured):
    for name, words in (("a", []), ("b", ["--awp"])):
        assert command("train", "fast", *words, "--out", f"{name}.safetensors").code == 0
    assert file_sha256(small / "a.safetensors") != file_sha256(small / "b.safetensors")
    records = [TrainingRecord.from_json((small / f"{name}.training.json").read_text()) for name in "ab"]
    assert [record.backwards / (TRAIN - 24) for record in records] == [2, 3]
    assert card(small / "b.safetensors")["recipe"]["awp"] == {}


def test_a_penalty_on_jacobians_goes_around_the_objective(command, refused, small, unmeasured):
    for name, words in (("a", []), ("b", ["--contractive", 0.5]), ("c", ["--contractive", 0])):
        assert command("train", "fast", *words, "--out", f"{name}.safetensors").code == 0
    plain, held, none = (file_sha256(small / f"{name}.safetensors") for name in "abc")
    assert plain == none != held
    assert card(small / "b.safetensors")["recipe"]["objective"]["contractive"] == 0.5
    assert "at least 0" in refused("train", "fast", "--contractive", -1, "--out", "d.safetensors")


def test_a_teacher_is_kept_and_not_trained_again(command, refused, small, unmeasured):
    words = ["train", "defensive-distillation", "--out", "net.safetensors"]
    assert command(*words).code == 0
    teacher, student = (file_sha256(small / f"net{name}.safetensors") for name in (".teacher", ""))
    told = card(small / "net.teacher.safetensors")
    assert told["recipe"]["objective"] == {"name": "standard", "temperature": 2.0}
    before = (small / "net.teacher.safetensors").stat().st_mtime_ns
    assert command(*words).code == 0
    assert (small / "net.teacher.safetensors").stat().st_mtime_ns == before
    assert (file_sha256(small / "net.teacher.safetensors"), file_sha256(small / "net.safetensors")) == (
        teacher,
        student,
    )
    line = refused(*words, "--seed", 1)
    assert "'net.teacher.safetensors' is no teacher of this training; delete it" in line
    done = command("train", "distillation", "--teacher", "zoo:mnist-standard", "--out", "other.safetensors")
    assert done.code == 0, done.err
    assert not (small / "other.teacher.safetensors").exists()


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_what_is_finished_is_not_trained_again(command, small, monkeypatch):
    words = ["train", "standard", "--out", "net.safetensors"]
    first, before = command(*words), times(small)
    monkeypatch.setattr(training, "fit", None)
    again = command(*words)
    assert (again.code, again.out) == (0, first.out), again.err
    assert "net.safetensors is done already" in again.err
    assert times(small) == before


def test_another_training_does_not_take_the_place_of_a_finished_one(command, refused, small, unmeasured):
    words = ["--out", "net.safetensors"]
    assert command("train", "standard", *words).code == 0
    before = times(small)
    line = refused("train", "standard", "--seed", 1, *words)
    assert line == "'net.safetensors' is of another training: its recipe differ; give another --out, or delete it"
    assert "its net differ" in refused("train", "standard", "--net", "LeNet", *words)
    assert "its net, recipe differ" in refused("train", "rce", "--net", "LeNet", *words)
    assert "'gone.safetensors' cannot be read" in refused("train", "standard", "--start", "gone.safetensors", *words)
    line = refused("train", "distillation", *words)
    assert "'net.safetensors' is there without its teacher 'net.teacher.safetensors'" in line
    line = refused("train", "distillation", "--teacher", "zoo:mnist-standard", *words)
    assert "its recipe, teacher differ" in line
    assert times(small) == before
    save_weights(SmallCNN(), small / "net.safetensors")
    assert "'net.safetensors' was changed after its training" in refused("train", "standard", *words)
    (small / "net.json").write_text("[]")
    assert "is there, and no 'net.json' says that it is of this training" in refused("train", "standard", *words)
    (small / "net.safetensors").unlink()
    assert command("train", "standard", *words).code == 0


def test_killed_between_its_files_it_goes_on(command, small, unmeasured, monkeypatch):
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    words, report = ["train", "standard", "--out", "net.safetensors"], training.write
    monkeypatch.setattr(training, "write", lambda *given: sys.exit(9))
    assert command(*words).code == 9
    assert (small / "net.safetensors").exists()
    monkeypatch.setattr(training, "write", report)
    assert command(*words).code == 0
    assert {path.name for path in small.iterdir()} == FILES


def test_validation_chooses_and_is_recorded(command, small, unmeasured):
    words = ["--validation", 30, "--keep", "best", "--patience", 2, "--guard", "off", "--epochs", 3]
    done = command("train", "pgd", *words, "--out", "net.safetensors")
    assert done.code == 0, done.err
    record = TrainingRecord.from_json((small / "net.training.json").read_text())
    assert record.settings["validation"]["keep"] == "best"
    assert record.kept == record.best.number
    assert all(epoch.pgd is not None for epoch in record.epochs)
    assert done.err.count("PGD") == len(record.epochs)
    assert "Accuracy on held-out rows" in (small / "net.training.html").read_text()


def test_the_guard_is_told(command, small, unmeasured, monkeypatch):
    from saddlepoint.defenses.training import epochs

    monkeypatch.setattr(epochs, "suspicion", lambda before, now: "planted" if now.number == 2 else None)
    words = ["--epochs", 4, "--validation", 30]
    short = module.recipes()
    monkeypatch.setattr(
        "saddlepoint.defenses.training.validation.LEAST_ROWS", 10
    )  # so that few digits are enough for it
    monkeypatch.setattr(module, "recipes", lambda: short)
    done = command("train", "fast", *words, "--guard", "stop", "--out", "net.safetensors")
    assert done.code == 0, done.err
    assert "guard epoch 2: planted; rolled back to the last weights that were not suspect, and stopped" in done.err
    told = card(small / "net.safetensors")["recipe"]
    assert (told["kept"], told["ended"]) == (1, "guard")
    assert "Catastrophic overfitting suspected in epoch 2" in (small / "net.training.html").read_text()


def test_a_dry_run_prints_plan_and_cost_and_writes_nothing(command, small):
    done = command("train", "pgd", "--dry-run", "--epochs", 2, "--out", "net.safetensors")
    assert done.code == 0, done.err
    assert "11 forward and 11 backward passes per row and step" in done.out
    assert f"{TRAIN} rows x 2 epochs = {TRAIN * 2 * 22:,} passes of a row" in done.out
    assert "166,406 parameters" in done.out
    done = command("train", "free", "--dry-run", "--out", "net.safetensors")
    assert "72 rows x 1 epochs x 4 times each" in done.out
    assert "not run here" in command("train", "pgd-mnist", "--dry-run", "--out", "net.safetensors").out
    done = command("train", "distillation", "--dry-run", "--out", "net.safetensors")
    assert "trained first, kept as net.teacher.safetensors" in done.out
    assert "2 forward and 1 backward passes" in done.out
    assert list(small.iterdir()) == []


def test_the_cost_is_what_is_spent(command, small, unmeasured):
    for recipe in ("trades", "mart", "fgsm-mixed"):
        words = ["train", recipe, "--out", f"{recipe}.safetensors"]
        told = command(*words, "--dry-run").out
        assert command(*words).code == 0
        record = TrainingRecord.from_json((small / f"{recipe}.training.json").read_text())
        rows = TRAIN - 24
        each = f"{record.forwards // rows} forward and {record.backwards // rows} backward passes per row"
        assert each in told


def test_a_net_whose_code_has_changed_is_refused(command, refused, small, monkeypatch, capsys):
    monkeypatch.setattr(training, "measure", lambda model, test, ball: 1 / 0)
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    code = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.{}())\n"
    (small / "changing.py").write_text(code.format("Tanh"))
    words = ["train", "standard", "--net", "py:changing:net", "--out", "net.safetensors"]
    with pytest.raises(ZeroDivisionError):
        command(*words)
    capsys.readouterr()
    (small / "changing.py").write_text(code.format("Softsign"))
    sys.modules.pop("changing")
    importlib.invalidate_caches()
    assert "is of another training: its structure differ" in refused(*words)


def test_a_net_of_ones_own(command, refused, small, unmeasured, monkeypatch):
    (small / "mynets.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    words = ["train", "standard", "--out", "net.safetensors"]
    assert command(*words, "--net", "py:mynets:net").code == 0
    told = card(small / "net.safetensors")
    assert (told["architecture"], told["parameters"]) == ({"py": "py:mynets:net"}, 7850)
    assert told["description"].startswith("py:mynets:net on mnist10k")
    (small / "recipe.yaml").write_text("recipe: standard\nout: other.safetensors\nnet: py:mynets:net\n")
    line = refused("train", "--config", "recipe.yaml")
    assert "net: 'py:mynets:net' runs code; if you trust the file and the code, add --allow-code" in line
    (small / "recipe.yaml").write_text(
        "recipe: standard\nout: other.safetensors\nnet: py:mynets:net\nallow_code: yes\n"
    )
    assert "add --allow-code" in refused("train", "--config", "recipe.yaml")  # a file does not allow itself
    assert command("train", "--config", "recipe.yaml", "--allow-code").code == 0
    del sys.modules["mynets"]


def test_settings_of_a_recipe_from_a_file(command, refused, small, unmeasured):
    (small / "own.yaml").write_text(
        "recipe: fast\nout: net.safetensors\nobjective: {start: zero}\n"
        "schedule:\n  epochs: 2\n  optimizer: {name: sgd, momentum: 0.5}\n  rate: cosine\n"
        "validation: {rows: 30, guard: off}\n"
    )
    assert command("train", "--config", "own.yaml").code == 0
    how = card(small / "net.safetensors")["recipe"]
    assert how["objective"] == {"name": "fast", "start": "zero"}
    assert (how["epochs"], how["rate"], how["optimizer"]["name"]) == (2, "cosine", "sgd")
    assert how["validation"]["rows"] == 30
    for text, rule in (
        ("objective: {strat: zero}", "own.yaml: objective: unknown setting of Fast 'strat'"),
        ("schedule: {epochs: few}", "own.yaml: schedule: epochs='few' must be an integer"),
        ("schedule: cosine", "own.yaml: schedule: 'cosine' must be a mapping of settings"),
    ):
        (small / "own.yaml").write_text(f"recipe: fast\nout: net.safetensors\n{text}\n")
        assert rule in refused("train", "--config", "own.yaml")


def test_it_begins_with_other_weights(command, refused, small, unmeasured):
    assert command("train", "standard", "--out", "a.safetensors").code == 0
    assert command("train", "standard", "--start", "a.safetensors", "--out", "b.safetensors").code == 0
    assert file_sha256(small / "a.safetensors") != file_sha256(small / "b.safetensors")
    line = refused("train", "standard", "--net", "LeNet", "--start", "a.safetensors", "--out", "c.safetensors")
    assert "do not fit LeNet" in line


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["pgd", "--keep", "best"], "--keep needs rows that are held out: give --validation too"),
        (["pgd", "--validation", "100"], "rows=100 are too few for the guard, which needs 512"),
        (["pgd", "--validation", "96", "--guard", "off"], "there are 96 rows, and 96 are to be held out"),
        (["pgd", "--validation", "30", "--keep", "worst"], "unknown keep 'worst'"),
        (["pgd", "--precision", "half"], "unknown precision 'half'; known: bfloat16, float32"),
        (["pgd", "--teacher", "zoo:mnist-pgd"], "--teacher cannot be given for 'pgd', which learns from labels alone"),
        (["distillation", "--teacher", "zoo:mnist"], "unknown zoo model 'mnist'"),
        (["pgd", "--net", "py:nowhere:net"], "there is no module 'nowhere'"),
        (["pgd", "--start", "gone.safetensors"], "weights 'gone.safetensors' cannot be read"),
    ],
)
def test_options_that_make_no_sense_end_in_one_line(refused, small, words, rule):
    assert rule in refused("train", *words, "--out", "net.safetensors")
    assert not (small / "net.safetensors").exists()


def test_events_for_tensorboard(command, small, unmeasured):
    pytest.importorskip("tensorboard")
    assert command("train", "fast", "--tensorboard", "--out", "net.safetensors").code == 0
    assert [path.name.startswith("events") for path in (small / "net.tensorboard").iterdir()] == [True]


def test_without_tensorboard_it_says_what_to_install(refused, small, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    line = refused("train", "fast", "--tensorboard", "--out", "net.safetensors")
    assert "needs the package 'tensorboard'; install it with: pip install 'saddlepoint[train]'" in line
