"""No place of a file leaves in a report, and what is no path stays as it was."""

import dataclasses

import pytest
from report_runs import HOSTILE, make_held, make_picture, make_run

from saddlepoint.records import Finding
from saddlepoint.report.privacy import base_name, base_names, command, public


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/home/ada/models/net.py", "net.py"),
        ("folder:/home/Ada Lovelace/sets/birds", "folder:birds"),
        ("py:/srv/code/nets.py:make", "py:nets.py:make"),
        ("~/nets/a.pt2", "a.pt2"),
        ("~ada/nets/a.pt2", "a.pt2"),
        (r"C:\Users\ada\net.onnx", "net.onnx"),
        (r"\\server\share\net.onnx", "net.onnx"),
        ("file:///home/ada/net.onnx", "net.onnx"),
        ("/home/ada", "~"),
        ("/root", "~"),
        ("/data/home/ada", "ada"),
        ("folder:/home/Ada Lovelace", "folder:~"),
        ("python at /opt/x/bin/python", "python at python"),
        (r"C:\Users\ada", "~"),
        ("--weights=/mnt/w/best.safetensors", "--weights=best.safetensors"),
        ("@/home/ada/args", "@args"),
    ],
)
def test_paths_shrink_to_base_names(name: str, shown: str) -> None:
    assert base_name(name) == shown


@pytest.mark.parametrize(
    "name", ["zoo:mnist-pgd", "hf:owner/name", "8/255", "runs/a", "linf:8/255", "https://example.org/a/b", HOSTILE, ""]
)
def test_what_is_no_absolute_path_stays(name: str) -> None:
    assert base_name(name) == name
    assert base_names(name) == name


def test_paths_in_running_text() -> None:
    text = "read '/home/ada/x.npz' (see /var/log/a/b.log), 3/5 rows of /home/ada and/or ~/y/z.pt"
    assert base_names(text) == "read 'x.npz' (see b.log), 3/5 rows of ~ and/or z.pt"


def test_a_command_keeps_its_quoting() -> None:
    line = "saddlepoint evaluate 'folder:/home/Ada Lovelace/my birds' --eps 8/255 --out=/data/runs/a"
    assert command(line) == "saddlepoint evaluate 'folder:my birds' --eps 8/255 --out=a"
    assert command('saddlepoint evaluate "a b"  c') == 'saddlepoint evaluate "a b"  c'


def test_a_command_that_cannot_be_split_is_shortened_as_text() -> None:
    assert command("saddlepoint evaluate 'x /home/ada/net.py") == "saddlepoint evaluate 'x net.py"


def test_a_run_is_shortened_everywhere_but_in_picture_files() -> None:
    picture, held = make_picture(stem="/somewhere/else"), make_held(stem="/somewhere/else")
    run = make_run([picture], [held])
    finding = Finding(level="note", title="t", evidence="in /home/ada/x/y.npz.", remedy="move /home/ada/x/y.npz away")
    found = public(
        dataclasses.replace(
            run, spec={"data": ["npz:/home/ada/y.npz"]}, environment={"home": "/home/ada"}, findings=[finding]
        )
    )
    assert found.spec == {"data": ["npz:y.npz"]}
    assert found.environment == {"home": "~"}
    assert found.findings[0].evidence == "in y.npz."
    assert found.findings[0].remedy == "move y.npz away"
    assert found.models[0].threats[-1].easiest == [picture]
    assert found.models[0].threats[-1].hardest == [held]
    assert found.models[0].bounds == (0.0, 1.0)


def test_characters_that_cannot_be_printed_are_replaced() -> None:
    assert base_name("a\x00\x1b\u202e\ud800b") == "a\ufffd\ufffd\ufffd\ufffdb"
