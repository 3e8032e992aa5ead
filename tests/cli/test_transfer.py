import json
import signal
import subprocess
import sys
import time

import pytest

WORDS = ["transfer", "zoo:mnist-standard,zoo:mnist-standard+zoo:mnist-pgd", "zoo:mnist-standard,py:ownnets:net"]
REST = ["mnist10k:test", "--eps", "0.2", "--steps", "2", "--rows", "30"]


def test_the_matrix_is_printed_and_written(command, folder):
    done = command(*WORDS, *REST, "--attacks", "bim,di-mi-fgsm", "--out", "runs/t")
    assert done.code == 0, done.err
    assert "di-mi-fgsm  Linf eps 0.2" in done.out
    assert "report  runs/t/report.html" in done.out
    told = json.loads((folder / "runs/t/transfer.json").read_text(encoding="utf-8"))
    assert told["sources"][1] == "zoo:mnist-standard+zoo:mnist-pgd"
    assert [cell["knowledge"] for cell in told["handed"][:2]] == ["white-box", "black-box"]
    page = (folder / "runs/t/report.html").read_text(encoding="utf-8")
    assert page.count('<table class="results heat">') == 2
    assert "src=" not in page.replace("img-src", "")
    assert str(folder) not in page
    for handed in told["handed"]:
        share = handed["fooled"]
        assert f"{handed['knowledge']}: {share['count']} of {share['rows']} row" in page


def test_bad_words_are_refused_in_one_line(refused, folder):
    assert "--eps is missing" in refused(*WORDS, "mnist10k:test")
    assert "one radius" in refused(*WORDS, *REST[:1], "--eps", "0.1,0.2")
    assert "unknown zoo model" in refused("transfer", "zoo:mnist-standard+zoo:no", *WORDS[2:], *REST)
    assert "must lie in [1," in refused(*WORDS, *REST[:-1], "0")


@pytest.mark.slow
def test_a_kill_loses_no_finished_job(command, folder):
    words = [*WORDS[:1], "zoo:mnist-standard,zoo:mnist-lenet", "zoo:mnist-lenet", "mnist10k:test", "--eps", "0.2"]
    words += ["--steps", "5", "--rows", "200", "--attacks", "bim,mi-fgsm", "--threads", "1"]
    assert command(*words, "--out", "whole").code == 0
    run = [sys.executable, "-m", "saddlepoint", *words, "--out", "killed"]
    with subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not attacked(folder / "killed"):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it was not done"
    marks = {path: path.stat().st_mtime_ns for path in (folder / "killed" / "jobs").glob("*.json")}
    assert 0 < len(marks) < len(list((folder / "whole" / "jobs").glob("*.json")))
    assert not (folder / "killed" / "transfer.json").exists()
    assert command(*words, "--out", "killed").code == 0
    assert all(path.stat().st_mtime_ns == then for path, then in marks.items()), "what was done is not done again"
    whole, killed = (
        json.loads((folder / name / "transfer.json").read_text(encoding="utf-8")) for name in ("whole", "killed")
    )
    assert killed["handed"] == whole["handed"]
    assert killed["models"] == whole["models"]


def attacked(run):
    """Whether points of an attack are kept there: those files are the large ones."""
    return any(path.stat().st_size > 100_000 for path in (run / "jobs").glob("*.safetensors"))
