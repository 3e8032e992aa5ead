import sys

import pytest

from saddlepoint.data import Dataset, data_specs, load_data
from saddlepoint.errors import DataError, SettingError, SpecError

EMBEDDED = ["mnist10k:train", "mnist10k:test", "photopatch10:train", "photopatch10:test"]


@pytest.mark.parametrize("spec", EMBEDDED)
def test_embedded_data_load(spec):
    data = load_data(spec)
    assert isinstance(data, Dataset)
    assert data.name == spec


def test_every_spec_is_listed():
    specs = data_specs()
    assert specs[: len(EMBEDDED)] == EMBEDDED
    assert {spec.partition(":")[0] for spec in specs} == {
        "mnist10k",
        "photopatch10",
        "fashion-mnist",
        "cifar10",
        "npz",
        "folder",
    }
    assert len(set(specs)) == len(specs)
    assert not any(" " in spec for spec in specs)


@pytest.mark.parametrize("spec", [spec for spec in data_specs() if "PATH" in spec])
def test_every_spec_with_a_path_is_understood(spec, tmp_path):
    with pytest.raises(DataError, match="'gone'|'gone/t"):  # the file that is missing, without what stands after it
        load_data(spec.replace("PATH", str(tmp_path / "gone")).replace("SIZE", "32"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mnist10:test", "unknown data set 'mnist10'; did you mean 'mnist10k'"),
        ("fashion_mnist:test", "unknown data set 'fashion_mnist'; did you mean 'fashion-mnist'"),
        ("zzz:test", "unknown data set 'zzz'; known: cifar10, fashion-mnist, folder, mnist10k, npz, photopatch10"),
        ("", "unknown data set ''"),
        ("/home/ada/rows.npz", "unknown data set 'rows.npz'; did you mean 'npz:rows.npz'"),
        ("Rows.NPZ:test", "unknown data set 'Rows.NPZ'; did you mean 'npz:Rows.NPZ:test'"),
        ("MNIST10K:test", r"unknown data set 'MNIST10K'; did you mean 'mnist10k'\?$"),
        ("mnist10k", "has no split; write mnist10k:train or mnist10k:test"),
        ("mnist10k:", "unknown split of 'mnist10k' ''; known: test, train"),
        ("mnist10k:tests", "unknown split of 'mnist10k' 'tests'; did you mean 'test'"),
        ("fashion-mnist", "has no split; write fashion-mnist:train or fashion-mnist:test"),
        ("fashion-mnist:t10k", "unknown split of 'fashion-mnist' 't10k'"),
        ("npz", "data set 'npz' has no path; write npz:PATH or npz:PATH@nhwc or npz:PATH:train or npz:PATH:test"),
        ("npz:test", "data set 'npz' has no path"),
        ("folder:", "data set 'folder' has no path; write folder:PATH or folder:PATH@SIZE or folder:PATH:train"),
        ("cifar10", "data set 'cifar10' has no path; write cifar10:PATH:train or cifar10:PATH:test"),
        ("photopatch:test", "unknown data set 'photopatch'; did you mean 'photopatch10'"),
        ("photopatch10", "has no split; write photopatch10:train or photopatch10:test"),
        ("hf:mnist:test", "'hf' is not available in this version; use one of mnist10k:train, mnist10k:test"),
    ],
)
def test_unknown_spec_says_what_is_near(spec, message):
    with pytest.raises(SpecError, match=message):
        load_data(spec)


@pytest.mark.parametrize("spec", ["npz:\0", "folder:\0", "cifar10:\0", "npz:" + "a" * 5000, "folder:" + "a/" * 5000])
def test_path_that_cannot_exist_is_refused(spec):
    with pytest.raises(DataError):
        load_data(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mnist10k:test", "data_dir cannot be given for 'mnist10k', which comes with the package; leave it out"),
        ("photopatch10:test", "data_dir cannot be given for 'photopatch10', which comes with the package"),
        ("npz:rows.npz", "data_dir cannot be given for 'npz'; write the path into the spec: npz:PATH"),
        ("folder:birds", "data_dir cannot be given for 'folder'; write the path into the spec: folder:PATH"),
    ],
)
def test_data_dir_goes_with_some_sets_only(spec, message, tmp_path):
    with pytest.raises(SettingError, match=message):
        load_data(spec, data_dir=tmp_path)


@pytest.mark.parametrize("kind", ["npz", "folder", "cifar10"])
def test_home_is_expanded(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "gone").write_bytes(b"no set at all")
    with pytest.raises(DataError, match="'gone' (is or holds|is not a folder)|no folder 'gone'"):
        load_data(f"{kind}:~/gone")


@pytest.mark.parametrize(
    "words", [["evaluate", "py:saddlepoint.models:SmallCNN", "fashion-mnist:test"], ["train", "x"]]
)
def test_the_folder_can_be_given_on_the_command_line(words, tmp_path, fashion, monkeypatch, capsys):
    from saddlepoint.cli import train
    from saddlepoint.cli.main import main

    for split in ("train", "test"):
        fashion(tmp_path / "sets", split, n=3)
    if words[0] == "evaluate":
        words = [*words, "--attacks", "fgsm", "--eps", "0.1"]
    else:
        seen = []
        monkeypatch.setattr(train, "_architecture", lambda net, data: seen.append(data.name) or sys.exit(0))
        words = ["train", "standard", "--data", "fashion-mnist", "--out", str(tmp_path / "net.safetensors")]
    monkeypatch.setattr(sys, "argv", ["saddlepoint", *words, "--data-dir", str(tmp_path / "sets")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None), capsys.readouterr().err
    if words[0] == "evaluate":
        assert "3 rows of fashion-mnist:test" in capsys.readouterr().out
    else:
        assert seen == ["fashion-mnist:train"]
