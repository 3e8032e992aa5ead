"""``saddlepoint attack``: adversarial examples as files."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from saddlepoint.evaluation.work import Worker

MODEL, DATA = "zoo:mnist-standard", "mnist10k:test"


@pytest.fixture
def small(folder):
    return ["attack", MODEL, DATA, "--rows", "12", "--eps", "51/255", "--out", "out"]


def told(name="out"):
    return json.loads((Path(name) / "examples.json").read_text(encoding="utf-8"))


def test_from_words_to_files(command, small):
    done = command(*small, "--attack", "fgsm", "--seed", "3", "--png")
    assert done.code == 0, done.err
    about = told()
    tensors = load_file("out/examples.safetensors")
    assert (about["attack"]["name"], about["seed"], about["data"]["rows"]) == ("fgsm", 3, 12)
    assert about["command"] == f"saddlepoint {' '.join(small)} --attack fgsm --seed 3 --png"
    assert (about["fooled"], about["wrong"]) == (int(tensors["fooled"].sum()), about["verdicts"].count("W"))
    assert about["fooled"] > 0
    assert len(list(Path("out/png").iterdir())) == about["png_files"] == about["fooled"]
    rows = [line.split() for line in done.out.splitlines()]
    assert ["held", str(about["held"])] in rows
    assert ["fooled", str(about["fooled"])] in rows
    assert (
        f"{about['png_files']} images of points that fool; rounded to 8 bits, {about['png_fooled']} still fool, "
        f"{about['png_fooled_inside']} of them inside the ball (largest distance 0.2)"
    ) in done.out
    assert done.out.rstrip().endswith("examples  out/examples.safetensors")


def test_without_png_there_are_no_images(command, small):
    done = command(*small)
    assert done.code == 0
    assert "images" not in done.out
    assert told()["attack"]["settings"]["steps"] == 40  # pgd
    assert not Path("out/png").exists()


def test_a_killed_command_goes_on(command, small, monkeypatch):
    plain = Worker.attack

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "attack", killed)
    assert command(*small).code != 0
    assert not Path("out/examples.json").exists()
    jobs = {path: path.stat().st_mtime_ns for path in Path("out/jobs").iterdir()}
    assert jobs  # the clean rows
    monkeypatch.setattr(Worker, "attack", plain)
    assert command(*small).code == 0
    assert all(path.stat().st_mtime_ns == then for path, then in jobs.items())
    assert told()["fooled"] > 0


def test_what_is_kept_can_be_chosen(command, small):
    for keep in ("first-success", "max-loss", "min-distance"):
        assert command(*small[:-1], keep, "--keep", keep).code == 0
        assert told(keep)["attack"]["settings"]["keep"] == keep
    assert told("max-loss")["forwards"] > told("first-success")["forwards"]


def test_a_file_of_settings(command, folder):
    Path("run.yaml").write_text(
        f"model: {MODEL}\ndata: {DATA}\nrows: 20\neps: 51/255\nout: out\npng: yes\nkeep: max-loss\n"
        "attack: {name: pgd, steps: 3, step_size: 4/255}\n",
        encoding="utf-8",
    )
    done = command("attack", "--config", "run.yaml", "--rows", "10")
    assert done.code == 0, done.err
    about = told()
    settings = about["attack"]["settings"]
    assert (settings["steps"], settings["step_size"], settings["keep"]) == (3, 4 / 255, "max-loss")
    assert about["data"]["rows"] == 10
    assert about["png_files"] is not None


def test_colour_images(command, folder):
    (folder / "colour.py").write_text(
        "import torch\nfrom torch import nn\n\ndef net():\n"
        "    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))\n"
        "    nn.init.normal_(module[1].weight, generator=torch.Generator().manual_seed(0))\n"
        "    return module\n"
    )
    pixels = np.random.default_rng(0).integers(0, 256, (12, 3, 4, 4), dtype=np.uint8)
    sys.path.insert(0, str(folder))
    try:
        import colour

        with torch.no_grad():
            labels = colour.net()(torch.from_numpy(pixels / 255).float()).argmax(1).numpy()
    finally:
        sys.path.remove(str(folder))
    np.savez("mine.npz", x=pixels, y=labels, classes=np.array(["../a", "b/c", "d"]))
    words = ["attack", "py:colour:net", "npz:mine.npz", "--eps", "16/255", "--out", "out", "--png"]
    done = command(*words)
    assert done.code == 0, done.err
    about = told()
    assert about["png_files"] > 0
    assert about["png_fooled_inside"] == about["png_fooled"]  # inputs and eps are on the grid
    assert all(path.parent == Path("out/png") for path in Path("out").rglob("*.png"))


def test_shards(command, small):
    first = command(*small, "--shard", "1/2")
    assert "shard 1/2 is done; jobs of other shards are still missing" in first.out
    assert not Path("out/examples.json").exists()
    assert command(*small, "--shard", "2/2").code == 0
    assert "--shard" not in told()["command"]


def test_a_dry_run_writes_nothing(command, small):
    done = command(*small, "--dry-run")
    assert (done.code, Path("out").exists()) == (0, False)
    assert f"{MODEL}  pgd" in done.out


def test_budgets_hold_per_row(command, small):
    assert command(*small, "--forwards", "2").code == 0
    assert int(load_file("out/examples.safetensors")["forwards"].max()) <= 2


def test_targets(command, small):
    assert command(*small, "--target", "random").code == 0
    assert told()["target"] == "random"


def test_findings_are_told_but_not_that_rows_are_few(command, small, folder):
    (folder / "soft.py").write_text(
        "from torch import nn\nfrom ownnets import net as plain\n\n"
        "def net():\n    return nn.Sequential(plain(), nn.Softmax(1))\n"
    )
    done = command("attack", "py:soft:net", *small[2:])
    assert "look like probabilities" in done.out
    assert "Few rows" not in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--eps", "0.1,0.2"], "1 attacks and 2 radii; examples are of one"),
        (["--attack", "fgsm,pgd"], "2 attacks and 1 radii"),
        (["--attack", "pgdd"], "unknown attack 'pgdd'; did you mean 'pgd'"),
        (["--keep", "last"], "unknown --keep 'last'; known: first-success, max-loss"),
        (["--out", "ownnets.py"], "'ownnets.py' is a file; give --out a folder"),
        (["--out", "."], "holds files that are no run"),
        (["--eps", "8"], "did you mean 0.03137, that is 8/255?"),
        (["--eps", ""], "--eps is missing"),
        (["--shard", "2"], "--shard '2' must be i/m"),
        (["--rows", "0"], "--rows 0 must lie in"),
        (["--target", "ten"], "target='ten' must be none"),
    ],
)
def test_bad_words_end_in_one_line(refused, small, words, said):
    assert said in refused(*small, *words)


def test_images_of_rows_that_are_none(refused, folder):
    np.savez("flat.npz", x=np.zeros((4, 784), dtype=np.uint8), y=np.array([0, 1, 2, 9]))
    line = refused("attack", MODEL, "npz:flat.npz", "--eps", "0.1", "--out", "out", "--png")
    assert "png needs images (n, c, h, w) with 1 or 3 channels, npz:flat.npz has rows of shape (784,)" in line
    assert not Path("out").exists()


def test_without_pillow_the_extra_is_named(refused, small, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "'Pillow'; install it with: pip install 'saddlepoint[cli]'" in refused(*small, "--png")
    assert not Path("out").exists()


def test_the_folder_of_another_run_is_refused(command, refused, small):
    assert command("evaluate", *small[1:], "--attacks", "fgsm").code == 0
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    assert "the folder 'out' holds another run" in refused(*small, "--attack", "fgsm")
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before
