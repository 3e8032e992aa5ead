"""Files of settings are read as they are written, and safely."""

import pytest

from saddlepoint.cli.yaml_file import read
from saddlepoint.errors import SpecError


@pytest.fixture
def written(tmp_path):
    """A file with this text."""

    def write(text):
        path = tmp_path / "run.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_every_scalar_is_the_text_that_was_written(written):
    found = read(
        written(
            "a: 8/255\nb: 1e-3\nc: no\nd: 010\ne: 2026-01-01\nf: 1:30\ng: 0x1f\nh: ~\ni:\nj: 'q # r'\n"
            "k: [0.1, .5, off]\nl: {m-n: 'yes'}\no: |\n  two\n  lines\n"
        )
    )
    assert found == {
        "a": "8/255", "b": "1e-3", "c": "no", "d": "010", "e": "2026-01-01", "f": "1:30", "g": "0x1f", "h": "~",
        "i": "", "j": "q # r", "k": ["0.1", ".5", "off"], "l": {"m_n": "yes"}, "o": "two\nlines\n",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no settings; write one key"),
        ("# nothing\n", "holds no settings"),
        ("- a\n- b\n", "holds no settings"),
        ("just text", "holds no settings"),
        ("rows: 1\nseed: 2\nrows: 3\n", "line 3: the key 'rows' stands here twice; keep one"),
        ("data-dir: a\ndata_dir: b\n", "line 2: the key 'data_dir' stands here twice"),
        ("attacks:\n  - {name: pgd, steps: 1, steps: 2}\n", "line 2: the key 'steps' stands here twice"),
        ("a: 1\n---\nb: 2\n", "line 2: but found another document"),
        ("a: [1, 2\nb: 3\n", "the file is no YAML: line 2: "),
        ("a: 'b\n", "the file is no YAML: line 2: "),
        ("a: \tb: c\n", "the file is no YAML: line 1: "),
        ("? [a, b]\n: c\n", "line 1: a key must be a word"),
        ("a: !!python/object/apply:os.system ['echo hacked']\n", "line 1: found a tag"),
        ("a: !!int '3'\n", "line 1: found a tag"),
        ("a: 1\nb: ! x\n", "line 2: found a tag"),
        ("!!map\na: 1\n", "line 1: found a tag"),
        ("a: &x [1]\n", "line 1: found an anchor"),
        ("a: 1\nb: *x\n", "line 2: found an anchor .* or alias"),
        (b"a: \xff\xfe\n", "no UTF-8 text; save it as UTF-8"),
        (b"a: \x00\n", "the file is no YAML: "),
        ("a: " + "[" * 60_000, "line 1: found lists or mappings deep in each other"),
        ("a: " + "[" * 30_000 + "]" * 30_000, "line 1: found lists or mappings deep in each other"),
        ("a:\n" + "".join(f"{'  ' * i}-\n" for i in range(1, 200)), "found lists or mappings deep in each other"),
        ("#" * 70_000, "larger than 64 KiB"),
    ],
)
def test_what_is_refused_is_told_in_one_line_with_the_file(written, text, said):
    with pytest.raises(SpecError, match=said) as caught:
        read(written(text))
    assert str(caught.value).startswith("run.yaml: ")
    assert "\n" not in str(caught.value)


def test_laughs_are_refused_before_they_grow(written):
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(SpecError, match="found an anchor"):
        read(written("\n".join(lines)))


def test_files_that_cannot_be_read(written, tmp_path):
    for path in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(SpecError, match="cannot be read .*; give the path of a YAML file"):
            read(path)


def test_merge_keys_are_only_keys(written):
    assert read(written("<<: {rows: 3}\n")) == {"<<": {"rows": "3"}}
