"""One call from a model and rows to numbers and a report; whatever cannot be evaluated is refused with its remedy."""

import json
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import saddlepoint as sp
from saddlepoint.errors import ArgumentTypeError, DataError, RecordError, SettingError
from saddlepoint.records import RunRecord

BALL = sp.Linf(0.2)


@pytest.fixture
def model():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)))
        net[1].bias.zero_()
    return sp.Classifier(net)


@pytest.fixture
def data(model):
    x = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    y = model.predict(x)
    y[::6] = (y[::6] + 1) % 3
    return sp.Dataset(x, y, classes=("a", "b", "c"), name="toy")


def evaluate(model, data, **settings):
    return sp.evaluate(model, data, **{"ball": BALL, "attacks": ["fgsm"], **settings})


def verdicts(run):
    return run.record.models[0].threats[0].verdicts


# Data


def test_a_data_set_a_pair_and_a_loader_give_the_same(model, data):
    known = verdicts(evaluate(model, data))
    assert set(known) == {"W", "H", "F"}
    assert verdicts(evaluate(model, (data.x, data.y))) == known
    loader = DataLoader(TensorDataset(data.x, data.y), batch_size=7)
    assert verdicts(evaluate(model, loader)) == known
    assert verdicts(evaluate(model, [(data.x[:4], data.y[:4]), (data.x[4:], data.y[4:])])) == known


def test_rows_without_names_are_named_by_their_number(model, data):
    record = evaluate(model, (data.x, data.y)).record
    assert (record.data.name, record.data.classes) == ("data", ["0", "1", "2"])
    assert evaluate(model, data).record.data.classes == ["a", "b", "c"]


def test_rows_may_lie_in_other_bounds(data):
    model = sp.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), bounds=(-1, 1))
    run = evaluate(model, (2 * data.x - 1, data.y))
    assert run.record.models[0].bounds == (-1.0, 1.0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda data: 5, "data is int; it must be a Dataset, a pair"),
        (lambda data: None, "data is NoneType; it must be a Dataset"),
        (lambda data: data.x, "data is Tensor; it must be a Dataset"),
        (lambda data: [data.x, data.y], "a pair of tensors"),
        (lambda data: (data.x,), "a pair of tensors"),
        (lambda data: (data.x, data.y, data.rows), "a pair of tensors"),
        (lambda data: (data.x.numpy(), data.y), "a pair of tensors"),
        (lambda data: (data.x, data.y.tolist()), "a pair of tensors"),
        (lambda data: (data.x, nn.functional.one_hot(data.y)), "a pair of tensors"),
        (lambda data: [], "a pair of tensors"),
        (lambda data: {"x": data.x, "y": data.y}, "it must be a Dataset|a pair of tensors"),
        (lambda data: DataLoader(TensorDataset(data.x)), "data is DataLoader; it must be a Dataset"),
        (lambda data: (data.x.double(), data.y), "x is torch.float64; it must be"),
        (lambda data: ((data.x * 255).byte(), data.y), "float.. / 255"),
        (lambda data: (data.x * 255, data.y), "it must be finite and lie in bounds=.0, 1."),
        (lambda data: (data.x, data.y.int()), "y is torch.int32"),
        (lambda data: (data.x, data.y - 1), "y runs from -1"),
        (lambda data: (data.x, data.y[:-1]), "one value per row"),
        (lambda data: (data.x[:0], data.y[:0]), "data has no rows"),
    ],
)
def test_other_data_are_refused(model, data, make, remedy):
    with pytest.raises(DataError, match=remedy):
        evaluate(model, make(data))


# Models


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: {"mine": net}], ids=["alone", "named"])
def test_a_bare_module_gets_the_hint_to_wrap_it(model, data, wrap):
    with pytest.raises(ArgumentTypeError, match="Sequential; wrap it, .*saddlepoint.Classifier.model, bounds=.0, 1.."):
        evaluate(wrap(model.module), data)


def test_models_keep_their_names(model, data):
    run = evaluate({"one": model, "two": model}, data)
    assert [found.name for found in run.record.models] == ["one", "two"]
    assert evaluate(model, data).record.models[0].name == "model"


def test_no_model_is_refused(data):
    with pytest.raises(SettingError, match="at least one model"):
        evaluate({}, data)


# Numbers


def test_one_threat_has_one_number(model, data):
    run = evaluate(model, data)
    worst = run.record.models[0].threats[0].worst
    assert run.robust_accuracy == worst.count / 30 == verdicts(run).count("H") / 30
    assert run.interval == (worst.low, worst.high)
    assert 0 < run.interval[0] < run.robust_accuracy < run.interval[1] < 1
    assert run.findings == run.record.findings


def test_several_threats_have_no_single_number(model, data):
    for run in (evaluate(model, data, ball=[BALL, sp.L2(0.5)]), evaluate({"one": model, "two": model}, data)):
        for read in (lambda run: run.robust_accuracy, lambda run: run.interval):
            with pytest.raises(SettingError, match=r"2 robust accuracies.*run\.record\.models\[i\]\.threats\[j\]"):
                read(run)
    run = evaluate(model, data, ball=[BALL, sp.L2(0.5)])
    assert [threat.norm for threat in run.record.models[0].threats] == ["linf", "l2"]


def test_without_a_radius_there_is_no_robust_accuracy(model, data):
    run = evaluate(model, data, ball=sp.L2(math.inf), attacks=["ddn"])
    for read in (lambda run: run.robust_accuracy, lambda run: run.interval):
        with pytest.raises(SettingError, match=r"no radius.*threats\[0\]\.distances, or give a radius: ball=L2\(eps\)"):
            read(run)
    (threat,) = run.record.models[0].threats
    assert (threat.eps, threat.distances.unsolved, len(threat.distances.found)) == (None, 0, threat.verdicts.count("F"))


def test_settings_reach_the_run(model, data):
    told = []
    run = evaluate(
        model,
        data,
        attacks=[sp.attacks.PGD(ball=BALL, steps=2)],
        target="1",
        seed=5,
        batch_size=4,
        limits=sp.Limits(forwards=1),
        command="as typed",
        progress=lambda *entry: told.append(entry),
    )
    assert (run.record.spec["target"], run.record.spec["seed"], run.record.command) == ("1", 5, "as typed")
    (attack,) = run.record.models[0].threats[0].attacks
    assert attack.settings["steps"] == 2
    assert attack.forwards <= attack.attacked
    assert [entry[:2] for entry in told] == [(0, 60), (30, 60), (60, 60)]  # the clean rows, then the attack, the end


# Files


def test_a_folder_gets_record_pictures_and_report(model, data, tmp_path):
    run = evaluate(model, data, out=tmp_path / "runs" / "a")
    assert run.folder == tmp_path / "runs" / "a"
    assert RunRecord.from_json((run.folder / "run.json").read_text(encoding="utf-8")) == run.record
    threat = run.record.models[0].threats[0]
    assert threat.easiest
    names = [name for p in threat.easiest for name in (p.clean, p.adversarial, p.difference)]
    names += [p.clean for p in threat.hardest]
    assert set(names) == set(run.files)
    for name in names:
        assert (run.folder / name).read_bytes() == run.files[name]
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(names)


def test_a_folder_with_a_run_is_used_again(model, data, tmp_path):
    evaluate(model, data, out=tmp_path)
    before = json.loads((tmp_path / "run.json").read_text())
    spent = model.meter.forwards
    evaluate(model, data, out=str(tmp_path))
    assert model.meter.forwards == spent + 2 * 16  # the model is looked at twice, no job is done again
    assert json.loads((tmp_path / "run.json").read_text()) == before


def test_a_folder_with_another_run_is_refused(model, data, tmp_path):
    evaluate(model, data, out=tmp_path)
    with pytest.raises(
        RecordError, match="holds another run, which differs in --seed: 0 there, 9 here; give another --out"
    ):
        evaluate(model, data, out=tmp_path, seed=9)
    assert json.loads((tmp_path / "run.json").read_text())["spec"]["seed"] == 0


def test_a_folder_of_other_things_is_refused_before_anything_runs(model, data, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    forwards = model.meter.forwards
    with pytest.raises(RecordError, match="holds files that are no run; give --out a new or empty folder"):
        evaluate(model, data, out=tmp_path)
    assert model.meter.forwards == forwards
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(model, data, tmp_path):
    (tmp_path / "taken").write_text("precious")
    forwards = model.meter.forwards
    with pytest.raises(RecordError, match="'taken' is a file; give --out a folder"):
        evaluate(model, data, out=tmp_path / "taken")
    with pytest.raises(RecordError, match="'inside' cannot be made in 'taken'; give --out another place"):
        evaluate(model, data, out=tmp_path / "taken" / "inside")
    assert model.meter.forwards == forwards


def test_a_run_can_be_saved_later(model, data, tmp_path):
    run = evaluate(model, data)
    assert run.folder is None
    saved = run.save(tmp_path / "later")
    assert (saved.folder, saved.record) == (tmp_path / "later", run.record)
    assert {path.name for path in saved.folder.iterdir()} == {"run.json", "report.html", "pictures"}


def test_pictures_of_an_earlier_run_do_not_stay(model, data, tmp_path):
    first = evaluate(model, data, ball=sp.Linf(0.5)).save(tmp_path)
    others = ("0-0-0-clean.jpg", "0-0-notes.png", "holiday.png", "0-0-99-clean.png.bak")
    for name in others:
        (tmp_path / "pictures" / name).write_bytes(b"precious")
    (tmp_path / "pictures" / "7-7-0-clean.png").write_bytes(b"of a run with more models")
    second = evaluate(model, data[:2], ball=sp.Linf(0.01)).save(tmp_path)
    assert set(first.files) - set(second.files)
    left = {f"pictures/{path.name}" for path in (tmp_path / "pictures").iterdir()}
    assert left == {*second.files, *(f"pictures/{name}" for name in others)}
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "report.html", "pictures"}


def test_a_report_can_be_written_without_a_folder(model, data, tmp_path):
    run = evaluate(model, data)
    run.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(run.files) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    saved = run.save(tmp_path / "kept")
    saved.to_html(str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_bytes() == (saved.folder / "report.html").read_bytes()
    assert page == (tmp_path / "again.html").read_text(encoding="utf-8")


def test_the_number_of_the_readme_call_is_in_its_report(model, data, tmp_path):
    run = evaluate(model, data)
    run.to_html(tmp_path / "report.html")
    assert f"{100 * run.robust_accuracy:.1f}" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": torch.nn.Flatten()}, "the model is Flatten; wrap it"),
        ({"twin": torch.nn.Flatten()}, "the twin is Flatten; wrap it"),
        ({"rows": 0}, "rows=0 must be an integer >= 1"),
        ({"rows": True}, "rows=True must be an integer >= 1"),
        ({"ball": sp.L0(2)}, "cannot be diagnosed; give Linf, L2 or L1 with a radius above 0"),
        ({"ball": sp.Linf(0.0)}, "cannot be diagnosed"),
        ({"ball": sp.L2(math.inf)}, "has no border"),
        ({"ball": sp.Linf(8.0)}, r"must lie in \[0, 1\]"),
        ({"ball": 0.1}, "must be a ball with its radius"),
        ({"data": (torch.rand(3, 4), torch.tensor([0, 1, 5]))}, "run up to class 5, model has classes 0 to 1"),
        (
            {"data": (3 * torch.ones(3, 4), torch.tensor([0, 1, 1]))},
            "x runs from 3 to 3; it must be finite and lie in bounds",
        ),
        ({"seed": 0.5}, "seed=0.5 must be an integer"),
    ],
)
def test_a_diagnosis_says_what_it_cannot_look_at(change, said, unchecked):
    linear = torch.nn.Linear(4, 2)
    given = {"model": sp.Classifier(linear), "data": (torch.rand(6, 4), torch.arange(6) % 2), "ball": sp.Linf(0.1)}
    given |= change
    with pytest.raises(sp.errors.SaddlepointError, match=said):
        sp.diagnose(given.pop("model"), given.pop("data"), **given)
