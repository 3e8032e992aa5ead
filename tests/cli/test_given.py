"""Any command can take its options from a file; what was typed goes first."""

from pathlib import Path
from typing import Annotated

import pytest
import typer

from saddlepoint.cli import given
from saddlepoint.errors import SaddlepointError, SettingError, SpecError


@pytest.fixture
def written(tmp_path):
    """A file with this text."""

    def write(text):
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def called(monkeypatch):
    """Call a command with these words: what it was given."""
    monkeypatch.setenv("COLUMNS", "200")
    got = {}

    def brew(
        ctx: typer.Context,
        recipe: Annotated[str, typer.Argument()],
        out: Annotated[Path, typer.Option()],
        rows: Annotated[int | None, typer.Option()] = None,
        bar: Annotated[float, typer.Option()] = 0.5,
        eps: Annotated[str, typer.Option()] = "0.3",
        dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
        config: Annotated[Path | None, given.option("parts")] = None,
    ) -> None:
        got.update(locals())
        with given.of(ctx).at("rows"):
            if rows == 99:
                raise SettingError("99 are too many")

    app = typer.Typer()
    app.command("brew")(brew)
    app.command("other")(lambda: None)
    group = typer.main.get_command(app)

    def call(*words):
        got.clear()
        group.main(["brew", *map(str, words)], standalone_mode=False)
        return got

    return call


def test_options_and_arguments_are_keys(called, written):
    path = written(
        "recipe: pgd\nout: some/where\nrows: 12\nbar: 1/4\neps: [0.1, 8/255]\ndry-run: yes\nparts: {a: [1]}\n"
    )
    got = called("--config", path)
    assert (got["recipe"], got["out"], got["rows"], got["bar"]) == ("pgd", Path("some/where"), 12, 0.25)
    assert (got["eps"], got["dry_run"]) == ("0.1,8/255", True)
    assert given.of(got["ctx"]).get("parts") == {"a": ["1"]}


def test_typed_words_go_first(called, written):
    path = written("recipe: pgd\nout: some/where\nrows: 12\n")
    for words in (["--config", path, "--rows", 7, "fast"], ["fast", "--rows", 7, "--config", path]):
        got = called(*words)
        assert (got["recipe"], got["rows"], got["out"]) == ("fast", 7, Path("some/where"))


def test_without_a_file_nothing_changes(called):
    got = called("fast", "--out", "x")
    assert (got["rows"], got["bar"], got["config"]) == (None, 0.5, None)
    assert given.of(got["ctx"]).get("rows") is None


def test_errors_inside_name_file_and_place_only_where_the_file_gave_the_value(called, written):
    path = written("recipe: a\nout: b\nrows: 99\n")
    with pytest.raises(SettingError, match="^run.yaml: rows: 99 are too many$"):
        called("--config", path)
    with pytest.raises(SettingError, match="^99 are too many$"):
        called("--config", written("recipe: a\nout: b\nrows: 1\n"), "--rows", "99")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("row: 3", "run.yaml: unknown key 'row'; did you mean 'rows'"),
        ("config: other.yaml", "unknown key 'config'"),
        ("ctx: 3", "unknown key 'ctx'"),
        ("help: yes", "unknown key 'help'"),
        ("<<: {rows: 3}", "unknown key '<<'"),
        ("rows: ten", "run.yaml: rows: 'ten' must be an integer; to leave it open, leave the key out"),
        ("rows: yes", "rows: 'yes' must be an integer"),
        ("rows: 1e3", "rows: '1e3' must be an integer"),
        ("rows: 10.5", "rows: '10.5' must be an integer"),
        ("rows:", "rows: '' must be an integer"),
        ("rows: [1, 2]", r"rows: \['1', '2'\] must be an integer"),
        ("bar: 1/0", "bar: '1/0' must be a number or a fraction"),
        ("bar: {a: 1}", "bar: {'a': '1'} must be a number"),
        ("dry_run: 1", "dry_run: '1' must be true or false"),
        ("out:", "out: '' must be text"),
        ("eps: []", r"eps: \[\] must be text or a list"),
        ("eps: [0.1, '']", r"eps: \['0.1', ''\] must be text"),
        ("eps: {a: b}", "eps: {'a': 'b'} must be text"),
        ("recipe: [[a]]", r"recipe: \[\['a'\]\] must be text"),
    ],
)
def test_bad_values_are_told_with_file_key_value_and_rule(called, written, line, said):
    with pytest.raises(SaddlepointError, match=said) as caught:
        called("--config", written(f"{line}\n"), "fast", "--out", "x")
    assert str(caught.value).startswith("run.yaml: ")


def test_fields_of_a_mapping():
    assert given.fields({"a": "1", "b": "2"}, ("a",), ("b",)) == {"a": "1", "b": "2"}
    for value, said in (
        ("a", "'a' must be a mapping with the keys a, b"),
        ({"a": "1", "aa": "2"}, "unknown key 'aa'; did you mean 'a'"),
        ({"b": "2"}, "the key 'a' is missing; write a: and its value"),
    ):
        with pytest.raises(SpecError, match=said):
            given.fields(value, ("a",), ("b",))
