"""Adversarial examples on disk: every row, the judge's verdict on it, and nothing lost by a kill."""

import json
import resource

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import saddlepoint as sp
from saddlepoint.errors import RecordError, SettingError
from saddlepoint.evaluation import checked_plan, rounding, run
from saddlepoint.evaluation import plan as planning
from saddlepoint.evaluation.examples import export
from saddlepoint.evaluation.verify import judge
from saddlepoint.evaluation.work import Worker
from saddlepoint.noise import Noise
from saddlepoint.result import AttackResult, Keep
from saddlepoint.testing import NaNModel, away_from

BALL = sp.Linf(0.1)


@pytest.fixture(autouse=True)
def _small_jobs(monkeypatch):
    monkeypatch.setattr(planning, "ROWS", 16)


def planned(net, data, attack="pgd", ball=BALL, **settings):
    return checked_plan({"net": sp.Classifier(net)}, data, balls=[ball], attacks=[attack], **settings)


def read(folder):
    """Tensors, what the file says of them, and the JSON beside it."""
    path = folder / "examples.safetensors"
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["saddlepoint"])
    return load_file(path), about, json.loads((folder / "examples.json").read_text(encoding="utf-8"))


def bare(told):
    return {key: value for key, value in told.items() if key not in ("seconds", "started")}


@pytest.fixture
def found(net, data, tmp_path):
    export(planned(net, data), tmp_path, command="as typed")
    return read(tmp_path)


def test_every_row_is_there_in_order(net, data, found):
    tensors, _, told = found
    assert set(tensors) == {
        "x", "y", "rows", "fooled", "undefined", "predicted", "distance", "forwards", "backwards"
    }  # fmt: skip
    assert all(len(tensor) == len(data) for tensor in tensors.values())
    assert (tensors["x"].dtype, tensors["x"].shape) == (torch.float32, data.x.shape)
    assert torch.equal(tensors["y"], data.y)
    assert torch.equal(tensors["rows"], data.rows)
    assert set(told["verdicts"]) == {"W", "H", "F"}


def test_the_points_are_those_of_the_attack_and_the_input_where_none_was_made(net, data, found):
    tensors, _, told = found
    right = torch.tensor([letter != "W" for letter in told["verdicts"]])
    assert torch.equal(right, net(data.x).argmax(1) == data.y)
    attack = sp.attacks.PGD(ball=BALL, keep=Keep.FIRST_SUCCESS)
    noise = Noise(0).at(data.rows[right]).child("pgd")
    result = attack(sp.Classifier(net), data.x[right], data.y[right], noise=noise)
    torch.testing.assert_close(tensors["x"][right], result.x)
    assert torch.equal(tensors["fooled"][right], result.success)
    assert torch.equal(tensors["forwards"][right], result.forwards)
    assert torch.equal(tensors["x"][~right], data.x[~right])
    assert tensors["forwards"][~right].sum() == tensors["fooled"][~right].sum() == 0
    assert tensors["distance"][~right].sum() == 0


def test_letters_counts_and_flags_agree(net, data, found):
    tensors, about, told = found
    letters = told["verdicts"]
    assert letters == about["verdicts"]
    assert tensors["fooled"].tolist() == [letter == "F" for letter in letters]
    assert tensors["undefined"].tolist() == [letter == "U" for letter in letters]
    counts = [letters.count(letter) for letter in "WHFU"]
    assert [told[name] for name in ("wrong", "held", "fooled", "undefined")] == counts
    assert told["forwards"] == int(tensors["forwards"].sum())
    assert told["backwards"] == int(tensors["backwards"].sum())
    assert torch.equal(tensors["predicted"], net(tensors["x"]).argmax(1))


def test_the_file_says_what_it_is(net, data, found):
    _, about, told = found
    assert about["model"] == {"name": "net", "fingerprint": sp.Classifier(net).fingerprint, "bounds": [0.0, 1.0]}
    assert (about["data"]["name"], about["data"]["fingerprint"]) == ("toy", data.fingerprint)
    assert about["data"]["classes"] == list(data.classes)
    assert about["attack"]["name"] == "pgd"
    assert (about["attack"]["settings"]["steps"], about["attack"]["settings"]["ball"]["eps"]) == (40, 0.1)
    assert (about["target"], about["seed"]) == ("none", 0)
    assert set(about["versions"]) == {"saddlepoint", "torch"}
    assert {key: told[key] for key in about} == about
    assert (told["command"], told["png_files"]) == ("as typed", None)


class Liar:
    """Returns the inputs and says that all of them fool."""

    name = "liar"

    def __call__(self, model, x, y, *, target=None, noise=None, limits=None):
        n, whole = len(x), torch.ones(len(x), dtype=torch.int64)
        flags = torch.ones(n, dtype=torch.bool)
        return AttackResult(
            x=x, success=flags, undefined=~flags, loss=torch.zeros(n), distance=torch.zeros(n),
            forwards=whole, backwards=whole, solved_at=whole,
        )  # fmt: skip


def test_verdicts_are_the_judges_never_the_attacks(net, data, tmp_path):
    found = export(planned(net, data, Liar()), tmp_path)
    assert not bool(found.tensors["fooled"].any())
    assert found.about["held"] > 0
    assert "Claims that were not confirmed" in [finding["title"] for finding in found.about["findings"]]


def test_a_row_without_finite_output_is_undefined_and_written_all_the_same(net, data, tmp_path):
    found = export(planned(NaNModel(net, away_from(data.x)), data), tmp_path)
    tensors, _, told = read(tmp_path)
    assert told["undefined"] > 0
    assert not bool((tensors["fooled"] & tensors["undefined"]).any())
    assert found.about["findings"][0]["level"] == "error"
    json.dumps(told, allow_nan=False)


def test_max_loss_goes_on_after_the_first_success(net, data, tmp_path):
    model = sp.Classifier(net)
    points = []
    for keep in (Keep.FIRST_SUCCESS, Keep.MAX_LOSS):
        attack = sp.attacks.PGD(ball=BALL, keep=keep)
        points.append(export(planned(net, data, attack), tmp_path / keep.value).tensors)
    first, last = points
    verdict = [judge(model, data.x, each["x"], data.y, None, norm="linf", eps=0.1) for each in points]
    assert torch.equal(first["fooled"], last["fooled"])
    hit = first["fooled"]
    assert float(verdict[1].room[hit].mean()) < float(verdict[0].room[hit].mean())
    assert int(last["forwards"].sum()) > int(first["forwards"].sum())


# Kills


def interrupted(monkeypatch, owner, name, at):
    """Let the call number ``at`` of a function be a kill; returns the calls that were made."""
    plain, calls = getattr(owner, name), []

    def call(*arguments, **options):
        calls.append(arguments)
        if len(calls) == at:
            raise KeyboardInterrupt
        return plain(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
    return calls


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(net, data, tmp_path, monkeypatch):
    export(planned(net, data), tmp_path / "whole", png=True)
    with monkeypatch.context() as patch:
        interrupted(patch, Worker, "attack", 3)
        with pytest.raises(KeyboardInterrupt):
            export(planned(net, data), tmp_path / "killed", png=True)
    assert not (tmp_path / "killed/examples.json").exists()
    with monkeypatch.context() as patch:
        calls = interrupted(patch, Worker, "attack", 100)
        export(planned(net, data), tmp_path / "killed", png=True)
        assert len(calls) == 3 - 2  # of 3 jobs, two were done
    same(tmp_path)


def test_a_kill_among_the_images_loses_nothing(net, data, tmp_path, monkeypatch):
    export(planned(net, data), tmp_path / "whole", png=True)
    with monkeypatch.context() as patch:
        interrupted(patch, rounding, "through_file", 4)
        with pytest.raises(KeyboardInterrupt):
            export(planned(net, data), tmp_path / "killed", png=True)
    assert not (tmp_path / "killed/examples.json").exists()
    with monkeypatch.context() as patch:
        calls = interrupted(patch, Worker, "attack", 100)
        export(planned(net, data), tmp_path / "killed", png=True)
        assert calls == []
    same(tmp_path)


def same(folder):
    whole, killed = folder / "whole", folder / "killed"
    assert (killed / "examples.safetensors").read_bytes() == (whole / "examples.safetensors").read_bytes()
    assert bare(read(killed)[2]) == bare(read(whole)[2])
    images = [{path.name: path.read_bytes() for path in (each / "png").iterdir()} for each in (whole, killed)]
    assert images[0] == images[1]
    assert len(images[0]) == read(whole)[2]["png_files"] > 3


def test_images_can_be_asked_for_later(net, data, tmp_path, monkeypatch):
    export(planned(net, data), tmp_path)
    calls = interrupted(monkeypatch, Worker, "attack", 100)
    about = export(planned(net, data), tmp_path, png=True).about
    assert calls == []
    assert about["png_files"] == about["fooled"] > 0


def test_shards_give_the_same_file(net, data, tmp_path):
    export(planned(net, data), tmp_path / "whole")
    found = [export(planned(net, data), tmp_path / "parts", shard=(i, 3)) for i in (2, 3, 1)]
    assert [part is None for part in found] == [True, True, False]
    first, second = (tmp_path / name / "examples.safetensors" for name in ("whole", "parts"))
    assert first.read_bytes() == second.read_bytes()


def test_no_space_left_is_told_and_finished_jobs_are_kept(net, data, tmp_path):
    export(planned(net, data), tmp_path)
    for name in ("examples.safetensors", "examples.json"):
        (tmp_path / name).unlink()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, old[1]))
    try:
        with pytest.raises(RecordError, match="the examples cannot be written .*finished jobs are kept: make room"):
            export(planned(net, data), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert not list(tmp_path.glob(".examples*"))
    assert export(planned(net, data), tmp_path).about["fooled"] > 0


# What is refused


def test_folders_of_other_runs_are_refused(net, data, tmp_path):
    run(planned(net, data), folder=tmp_path / "run")
    export(planned(net, data), tmp_path / "examples")
    with pytest.raises(
        RecordError, match="'run' holds another run, which differs in the command: keeps the points that fool"
    ):
        export(planned(net, data), tmp_path / "run")
    with pytest.raises(
        RecordError, match="'examples' holds another run, which differs in the command: keeps every point"
    ):
        run(planned(net, data), folder=tmp_path / "examples")
    with pytest.raises(RecordError, match="differs in --seed: 0 there, 1 here"):
        export(planned(net, data, seed=1), tmp_path / "examples")
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="'file' is a file; give --out a folder"):
        export(planned(net, data), tmp_path / "file")


def test_only_one_of_each(net, data, tmp_path):
    several = (
        {"balls": [BALL], "attacks": ["fgsm", "pgd"]},
        {"balls": [BALL, sp.Linf(0.2)], "attacks": ["fgsm"]},
    )
    for settings in several:
        with pytest.raises(SettingError, match="one model, one attack and one ball"):
            export(checked_plan({"net": sp.Classifier(net)}, data, **settings), tmp_path)
    models = {"a": sp.Classifier(net), "b": sp.Classifier(net)}
    with pytest.raises(SettingError, match="one model, one attack and one ball"):
        export(checked_plan(models, data, balls=[BALL], attacks=["fgsm"]), tmp_path)


def test_from_python(net, data, tmp_path):
    plan = sp.api.prepare(sp.Classifier(net), data, ball=BALL, attacks=[{"name": "pgd", "steps": 5}])
    found = sp.api.export(plan, tmp_path / "out")
    assert found.about["attack"]["settings"]["steps"] == 5
    assert isinstance(found, sp.api.Examples)
