import re
import sys
import types

import pytest
import torch
from report_runs import ESCAPED, HOSTILE
from torch import nn

from saddlepoint.cli import planning as module
from saddlepoint.data import Dataset, load_data
from saddlepoint.evaluation import precision
from saddlepoint.evaluation.work import Worker
from saddlepoint.models import save_weights
from saddlepoint.records import RunRecord

MODEL, DATA = "py:ownnets:net", "mnist10k:test"


@pytest.fixture
def small(folder):
    """Words of a run on a few digits."""
    return ["evaluate", MODEL, DATA, "--rows", "40", "--attacks", "fgsm,mi-fgsm", "--eps", "0.1"]


def record(folder, name="out"):
    return RunRecord.from_json((folder / name / "run.json").read_text(encoding="utf-8"))


def test_a_run_from_words_to_report(command, small, folder):
    done = command(*small, "--out", "out", "--seed", "3")
    assert done.code == 0, done.err
    run = record(folder)
    assert run.command == f"saddlepoint {' '.join(small)} --out out --seed 3"
    assert (run.data.name, run.data.rows, run.spec["seed"]) == (DATA, 40, 3)
    (model,) = run.models
    (threat,) = model.threats
    assert (model.name, threat.norm, threat.eps) == (MODEL, "linf", 0.1)
    assert [attack.name for attack in threat.attacks] == ["fgsm", "mi-fgsm"]
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3 * len(threat.easiest) + len(threat.hardest)
    for name in (picture.clean for picture in (*threat.easiest, *threat.hardest)):
        assert (folder / "out" / name).is_file()


def test_the_terminal_says_what_the_record_says(command, small, folder):
    said = command(*small, "--out", "out").out
    threat = record(folder).models[0].threats[0]
    for line in ("clean", "fgsm", "mi-fgsm", "worst case"):
        assert any(row.split()[: len(line.split())] == line.split() for row in said.splitlines()), line
    assert f"{100 * threat.worst.value:.1f} %" in said
    assert "Few rows" in said
    assert f"py:ownnets:net: {100 * threat.worst.value:.1f} % robust accuracy" in said
    assert said.rstrip().endswith("report  out/report.html")


def test_nothing_is_written_without_a_folder(command, small, folder):
    before = {path.name for path in folder.iterdir()}
    done = command(*small)
    assert done.code == 0
    assert "report.html" not in done.out
    assert {path.name for path in folder.iterdir()} - before <= {"__pycache__"}


def test_several_models_norms_and_radii(command, folder):
    (folder / "other.py").write_text("from ownnets import net as net\n")
    words = [MODEL, "py:other:net", MODEL, DATA, "--rows", "20", "--attacks", "fgsm", "--norm", "l2"]
    done = command("evaluate", *words, "--eps", "64/255, 1.5,64/255", "--out", "out")
    assert done.code == 0, done.err
    run = record(folder)
    assert [model.name for model in run.models] == [MODEL, "py:other:net"]
    for model in run.models:
        assert [(threat.norm, threat.eps) for threat in model.threats] == [("l2", 64 / 255), ("l2", 1.5)]


def test_weights_batch_size_device_and_target(command, small, folder):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    save_weights(net, folder / "other.safetensors")
    with torch.no_grad():
        data = load_data(DATA)[:40]
        right = int((net(data.x).argmax(1) == data.y).sum())
    assert right > 0
    options = ["--weights", "other.safetensors", "--batch-size", "7", "--device", "cpu", "--target", "random"]
    done = command(*small, *options, "--threads", torch.get_num_threads(), "--out", "out")
    assert done.code == 0, done.err
    run = record(folder)
    assert run.models[0].clean.count == right
    assert run.spec["target"] == "random"
    assert "Targeted attacks" in done.out


def test_the_same_words_give_the_same_numbers(command, small, folder):
    runs = []
    for name, size in (("a", "auto"), ("b", "9")):
        assert command(*small, "--batch-size", size, "--out", name).code == 0
        runs.append(record(folder, name).models[0])
    first, second = ([(a.verdicts, a.forwards) for a in model.threats[0].attacks] for model in runs)
    assert first == second


def with_net(name, factory):
    """A module of that name, with a factory of that name."""
    made = types.ModuleType(name)
    setattr(made, factory, lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    return made


def test_hostile_names_are_text(command, folder, monkeypatch):
    digits = load_data(DATA)[:60]

    def hostile_data(spec):
        return Dataset(digits.x, digits.y, classes=(HOSTILE,) * 10, name=HOSTILE)

    monkeypatch.setitem(sys.modules, HOSTILE, with_net(HOSTILE, "net"))
    monkeypatch.setitem(sys.modules, "plain", with_net("plain", HOSTILE))
    monkeypatch.setattr(module, "load_data", hostile_data)
    specs = [f"py:{HOSTILE}:net", f"py:plain:{HOSTILE}"]
    torch.manual_seed(0)
    done = command("evaluate", *specs, HOSTILE, "--attacks", "fgsm", "--eps", "0.3", "--out", HOSTILE)
    assert done.code == 0, done.err
    for spec in specs:
        assert f"{spec}: " in done.out  # the citation
    assert f"60 rows of {HOSTILE}" in done.out
    assert f"report  {HOSTILE}/report.html" in done.out
    run = record(folder, HOSTILE)
    assert [model.name for model in run.models] == specs
    assert run.models[0].threats[0].easiest[0].label == HOSTILE
    page = (folder / HOSTILE / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page.lower()
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;[/red]") > 5
    assert f"py:{ESCAPED}:net" in page
    assert f"py:plain:{ESCAPED}" in page


def test_a_hostile_file_is_text(command, folder):
    name = "<img src=x onerror=alert(1)>[red]"
    (folder / f"{name}.py").write_text((folder / "ownnets.py").read_text())
    done = command(
        "evaluate", f"py:{name}:net", DATA, "--rows", "20", "--attacks", "fgsm", "--eps", "0.1", "--out", "out"
    )
    assert done.code == 0, done.err
    assert f"py:{name}:net: " in done.out
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;[red]" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([f"py:{HOSTILE}:net", DATA], HOSTILE),
        ([f"zoo:{HOSTILE}", DATA], f"unknown zoo model '{HOSTILE}'"),
        ([MODEL, HOSTILE], "unknown data set 'red]'; known"),
        ([MODEL, DATA, "--attacks", HOSTILE], f"unknown attack '{HOSTILE}'"),
        ([MODEL, DATA, "--norm", HOSTILE], f"unknown norm '{HOSTILE}'"),
        ([MODEL, DATA, "--device", HOSTILE], f"--device '{HOSTILE}' cannot be used here"),
        ([MODEL, DATA, "--weights", HOSTILE], f"weights '{HOSTILE}' cannot be read"),
    ],
)
def test_hostile_words_are_text_in_errors(refused, folder, words, said):
    assert said in refused("evaluate", *words, "--eps", "0.1")


@pytest.mark.parametrize(
    ("words", "value", "remedy"),
    [
        ([MODEL], MODEL, "then the data set, for example py:ownnets:net mnist10k:test"),
        ([MODEL, DATA], "--eps is missing", "for example --eps 0.3"),
        ([MODEL, DATA, "--eps", ","], "','", "give at least one"),
        ([MODEL, DATA, "--eps", "-0.1"], "eps='-0.1'", "must be finite and >= 0"),
        ([MODEL, DATA, "--eps", "nan"], "eps='nan'", "must be finite and >= 0"),
        ([MODEL, DATA, "--eps", "inf"], "eps='inf'", "must be finite and >= 0"),
        ([MODEL, DATA, "--eps", "a/b"], "eps='a/b'", "such as 0.3 or 8/255"),
        ([MODEL, DATA, "--eps", "8/0"], "eps='8/0'", "such as 0.3 or 8/255"),
        ([MODEL, DATA, "--eps", "0.1,x"], "eps='x'", "such as 0.3 or 8/255"),
        ([MODEL, DATA, "--eps", "8"], "eps=8", "did you mean 0.03137, that is 8/255?"),
        ([MODEL, DATA, "--eps", "0.1", "--attacks", "pgdd"], "unknown attack 'pgdd'", "did you mean 'pgd'"),
        ([MODEL, DATA, "--eps", "0.1", "--attacks", "PGD"], "unknown attack 'PGD'", r"did you mean 'pgd'\?$"),
        ([MODEL, "ok.npz", "--eps", "0.1"], "unknown data set 'ok.npz'", "did you mean 'npz:ok.npz'"),
        ([MODEL, DATA, "--eps", "0.1", "--attacks", ""], "''", "give at least one"),
        ([MODEL, DATA, "--eps", "0.1", "--norm", "l3"], "unknown norm 'l3'", "'l2'"),
        (["zoo:mnist-pdg", DATA, "--eps", "0.1"], "unknown zoo model 'mnist-pdg'", "did you mean|known:"),
        (["resnet", DATA, "--eps", "0.1"], "unknown model 'resnet'", "did you mean|known:"),
        (["timm:resnet50", DATA, "--eps", "0.1"], "'timm:resnet50'", "named by py:"),
        (["py:nowhere:net", DATA, "--eps", "0.1"], "no module 'nowhere'", "without .py"),
        (["py:ownnets:nett", DATA, "--eps", "0.1"], "unknown factory in 'ownnets' 'nett'", "did you mean 'net'"),
        ([MODEL, "mnist", "--eps", "0.1"], "unknown data set 'mnist'", "did you mean 'mnist10k'"),
        ([MODEL, "mnist10k", "--eps", "0.1"], "'mnist10k' has no split", "mnist10k:test"),
        ([MODEL, "mnist10k:valid", "--eps", "0.1"], "'valid'", "did you mean|known:"),
        ([MODEL, DATA, "--eps", "0.1", "--rows", "2001"], "--rows 2001", r"must lie in \[1, 2000\]"),
        ([MODEL, DATA, "--eps", "0.1", "--rows", "0"], "--rows 0", r"must lie in \[1, 2000\]"),
        ([MODEL, DATA, "--eps", "0.1", "--batch-size", "0"], "--batch-size '0'", "auto or an integer >= 1"),
        ([MODEL, DATA, "--eps", "0.1", "--batch-size", "²"], "--batch-size '²'", "auto or an integer >= 1"),
        ([MODEL, DATA, "--eps", "0.1", "--threads", "0"], "--threads 0", "must be >= 1"),
        ([MODEL, DATA, "--eps", "0.1", "--device", "nonsense"], "--device 'nonsense'", "cannot be used here"),
        ([MODEL, DATA, "--eps", "0.1", "--device", "meta"], "--device 'meta'", "cannot be used here"),
        (
            [MODEL, DATA, "--eps", "0.1", "--rows", "9", "--target", "ten"],
            "target='ten'",
            "a class of the model, 0 to 9",
        ),
        (
            [MODEL, DATA, "--eps", "0.1", "--rows", "200", "--attacks", "illc", "--target", "1"],
            "ILLC steers to the least likely class",
            "leave target out",
        ),
        ([MODEL, DATA, "--eps", "0.1", "--weights", "weights.pt"], "'weights.pt' look like a pickle", "Convert it"),
        ([MODEL, DATA, "--eps", "0.1", "--weights", "gone.safetensors"], "'gone.safetensors'", "give the path"),
        ([MODEL, DATA, "--eps", "0.1", "--out", "ownnets.py"], "'ownnets.py' is a file", "give --out a folder"),
        (
            [MODEL, DATA, "--eps", "0.1", "--out", "."],
            "the folder '.' holds files that are no run",
            "a new or empty folder",
        ),
    ],
)
def test_bad_words_end_in_one_line(refused, folder, words, value, remedy):
    torch.save(nn.Linear(2, 2).state_dict(), folder / "weights.pt")
    line = refused("evaluate", *words)
    assert value in line
    assert re.search(remedy, line), line


@pytest.mark.parametrize(
    ("more", "needy"),
    [
        ([], "the suite cascade-1"),
        (["--norm", "l2"], "the suite cascade-1"),
        (["--suite", "autoattack"], "the suite autoattack"),
        (["--target", "random"], "fgsm, bim, mi-fgsm, pgd, illc"),
        (["--norm", "l0"], "fgsm, bim, mi-fgsm, pgd, illc"),
        (["--attacks", "fgsm,ddn"], "fgsm"),
    ],
)
def test_a_missing_radius_names_what_would_run(refused, folder, more, needy):
    assert f"; needed by {needy}, not by attacks that look for the nearest point" in refused(
        "evaluate", MODEL, DATA, *more
    )


def test_a_missing_radius_in_a_file_names_what_would_run(refused, folder):
    (folder / "run.yaml").write_text("threats: [{norm: l1}]\n", encoding="utf-8")
    line = refused("evaluate", MODEL, DATA, "--config", "run.yaml")
    assert line.startswith("run.yaml: threats[0]: the key 'eps' is missing")
    assert "needed by the suite cascade-1" in line


def test_words_of_the_wrong_kind_end_in_usage(command, folder):
    for words in (["--rows", "ten"], ["--seed", "x"], ["--nonsense"]):
        done = command("evaluate", MODEL, DATA, "--eps", "0.1", *words)
        assert done.code == 2
        assert "Usage" in done.err
        assert words[0] in done.err


def test_nothing_is_left_behind_by_a_refused_run(refused, folder):
    refused("evaluate", MODEL, DATA, "--eps", "8", "--rows", "200", "--out", "out")
    assert not (folder / "out").exists()


def test_where_there_is_no_terminal_there_is_no_progress_bar(command, small):
    done = command(*small)
    assert done.err == ""
    assert "━" not in done.out


def test_the_progress_bar_goes_to_the_other_stream(command, small, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = command(*small)
    assert "━" in done.err
    assert "━" not in done.out


def test_an_interrupted_run_says_that_it_goes_on(command, small, folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "attack", interrupted)
        without = command(*small)
        done = command(*small, "--out", "out[red]")
    assert (without.code, without.out, without.err) == (130, "", "")
    assert (done.code, done.out) == (130, "")
    (line,) = done.err.splitlines()
    assert line == "interrupted: what is finished is kept in out[red]; the same command goes on from there"
    assert command(*small, "--out", "out[red]").code == 0


def test_a_precision_is_chosen_where_it_is_asked_for(command, small, folder, monkeypatch):
    offered = precision.offered
    monkeypatch.setattr(precision, "offered", lambda *a, **k: [f for f in offered(*a, **k) if not f.compiled])
    done = command(*small, "--out", "out", "--precision", "auto", "--no-diagnose")
    assert done.code == 0, done.err
    found = record(folder).models[0].precision
    assert "bfloat16" in [each.name for each in found.trials]  # attacks were named
    assert f"{MODEL}: attacked in {found.picked}" in done.out
    assert "Precision of the attacks" in (folder / "out" / "report.html").read_text(encoding="utf-8")
    asked = command(*small[:5], "--eps", "0.1", "--precision", "auto", "--dry-run").out
    assert f"{MODEL}  precision" in asked


def test_attacks_that_were_not_named_are_offered_no_bfloat16(command, small, monkeypatch):
    asked, offered = [], precision.offered

    def watched(shape, *, exact):
        asked.append(exact)
        return offered(shape, exact=exact)

    monkeypatch.setattr(precision, "offered", watched)
    words = [*small[:5], "--eps", "0.1", "--precision", "auto", "--dry-run"]
    for more in ([], ["--suite", "autoattack"], ["--target", "random"], ["--attacks", "pgd"]):
        assert command(*words, *more).code == 0
    assert asked == [True, True, True, False]


def test_precision_is_float32_unless_told(command, small, folder):
    assert "attacked in" not in command(*small, "--out", "out").out
    assert record(folder).models[0].precision is None


def test_an_unknown_precision_is_refused_and_the_file_named(command, refused, small, folder):
    assert "precision='bfloat16' must be one of 'float32', 'auto'" in refused(*small, "--precision", "bfloat16")
    (folder / "run.yaml").write_text("precision: half\n", encoding="utf-8")
    assert "run.yaml: precision: " in refused(*small, "--config", "run.yaml")


def test_a_surrogate_or_the_mean_of_two_is_transferred_from(command, folder):
    words = ["evaluate", "py:ownnets:net", "mnist10k:test", "--rows", "20", "--attacks", "fgsm", "--eps", "0.1"]
    done = command(*words, "--no-diagnose", "--surrogate", "zoo:mnist-standard,zoo:mnist-standard+zoo:mnist-pgd")
    assert done.code == 0, done.err
    assert "mi-fgsm from zoo:mnist-standard" in done.out
    assert "mi-fgsm from zoo:mnist-standard+zoo:mnist-pgd" in done.out
