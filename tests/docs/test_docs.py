"""What the documentation says can be run runs, names what exists, and leaves nothing out."""

import re
import shlex
import sys
import tomllib
import types
from pathlib import Path

import pytest

import saddlepoint
from saddlepoint import attacks
from saddlepoint.cli.common import BALLS
from saddlepoint.defenses import training
from saddlepoint.evaluation import attack_classes
from saddlepoint.evaluation.ensembles import CASCADE

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md")) + [path for path in [ROOT / "README.md"] if path.exists()]
ATTACK_PAGES = [path for path in PAGES if path.parent.name == "attacks"]
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[\w.]+)\")?\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def blocks(page, language):
    """Every fenced block of a language that is not marked ``<!-- not run: reason -->``: its code, title and line."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        if match["language"] == language and match["reason"] is None:
            yield match["code"], match["title"], text[: match.start("code")].count("\n")


def name_of(page):
    """``docs/attacks/pgd.md``: two pages of one name in two folders are two tests."""
    return page.relative_to(ROOT).as_posix()


def runnable(pages):
    return [pytest.param(page, id=name_of(page)) for page in pages if any(blocks(page, "python"))]


def run(page, folder, monkeypatch):
    """Run the blocks of a page, one after another, in one module; a block with a title is a file that others import."""
    made = [Path(title).stem for _, title, _ in blocks(page, "python") if title]
    for name in made:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    try:
        for code, title, line in blocks(page, "python"):
            if title:
                (folder / title).write_text(code, encoding="utf-8")
            else:
                exec(compile("\n" * line + code, str(page), "exec"), vars(module))
    finally:
        for name in made:
            sys.modules.pop(name, None)


@pytest.mark.parametrize("page", runnable(PAGES))
def test_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    run(page, tmp_path, monkeypatch)


def test_a_block_that_fails_is_noticed(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(
        '```python title="mine.py"\nanswer = 41\n```\n\n```python\nimport mine\nassert mine.answer == 42\n```\n'
    )
    with pytest.raises(AssertionError):
        run(page, tmp_path, monkeypatch)


def commands():
    """Every line of a console block that calls saddlepoint, and the page that it stands on."""
    for page in PAGES:
        for language in ("console", "bash", "shell"):
            for code, _, _ in blocks(page, language):
                for line in code.replace("\\\n", " ").splitlines():
                    words = shlex.split(line.removeprefix("$ "), comments=True)
                    if words[:1] == ["saddlepoint"]:
                        yield pytest.param(page, words[1:], id=f"{name_of(page)}: {line}")


@pytest.mark.parametrize(("page", "words"), list(commands()))
def test_commands_have_options_that_exist(page, words, tmp_path, monkeypatch):
    typer = pytest.importorskip("typer")
    from saddlepoint.cli.main import commands

    monkeypatch.chdir(tmp_path)
    for code, title, _ in blocks(page, "yaml"):  # files that the commands of the page name
        (tmp_path / title).write_text(code, encoding="utf-8")
    group = typer.main.get_command(commands())
    group.commands[words[0]].make_context(words[0], words[1:])  # reads the arguments; nothing is run


def test_the_commands_that_read_a_file_are_named():
    typer = pytest.importorskip("typer")
    from saddlepoint.cli.main import commands

    group = typer.main.get_command(commands())
    reading = {name for name, each in group.commands.items() if any(param.name == "config" for param in each.params)}
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"from YAML\. It is for (.*?)\.\n", text, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence)) == reading


QUOTED = [
    pytest.param(match["reason"].removeprefix("quoted from "), match["code"], id=f"{name_of(page)}: {match['reason']}")
    for page in PAGES
    for match in FENCE.finditer(page.read_text(encoding="utf-8"))
    if (match["reason"] or "").startswith("quoted from ")
]


@pytest.mark.parametrize(("path", "code"), QUOTED)
def test_quoted_code_is_the_code(path, code):
    assert code in (ROOT / path).read_text(encoding="utf-8"), (
        f"the documentation quotes {path} as it was; quote it anew"
    )


def test_the_design_draws_the_layers_as_they_are_held():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [re.sub(r"[()]", "", layer) for layer in contracts[0]["layers"] if layer != "(__main__)"]
    drawn = re.search(r"^```\n(cli -> .+?)^```$", (ROOT / "docs/design.md").read_text(encoding="utf-8"), re.M | re.S)
    assert drawn[1].split() == " -> ".join(layers).split()


def headings(page):
    """The title and the headings of a page, outside its blocks of code."""
    return re.findall(r"^#+ (.+)$", re.sub(FENCE, "", page.read_text(encoding="utf-8")), re.MULTILINE)


@pytest.mark.parametrize("name", attacks.__all__)
def test_every_attack_has_a_page_and_a_row(name):
    pages = [page for page in ATTACK_PAGES if any(re.search(rf"\b{name}\b", heading) for heading in headings(page))]
    assert pages, f"no heading of docs/attacks/*.md names {name}; give it a page, docs/attacks/<its name>.md"
    table = (ROOT / "docs/choosing-an-attack.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| \[`{name}`\]\(([\w/-]+\.md)(#[\w-]+)?\) \|", table, re.MULTILINE)
    assert row, f"docs/choosing-an-attack.md has no row | [`{name}`](attacks/PAGE.md) | ..."
    assert ROOT / "docs" / row[1] in pages, f"the row of {name} links {row[1]}, whose headings do not name it"
    assert f"::: saddlepoint.attacks.{name}\n" in (ROOT / "docs/api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [pytest.param(path, id=path.stem) for path in ATTACK_PAGES if path.stem != "index"])
def test_the_list_of_attacks_links_the_page(page):
    text = (page.parent / "index.md").read_text(encoding="utf-8")
    assert f"]({page.name})" in text, f"docs/attacks/index.md has no link to {page.name}"


def test_the_page_of_an_attack_is_named_as_on_the_command_line():
    stems = {path.stem for path in ATTACK_PAGES}
    assert set(attack_classes()) <= stems
    assert stems - set(attack_classes()) == {"index", "combinators", "from-callable", "advgan", "universal"}


@pytest.mark.parametrize("name", saddlepoint.__all__)
def test_every_public_name_is_in_the_api(name):
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    is_module = isinstance(getattr(saddlepoint, name), types.ModuleType)
    entry = f"## saddlepoint.{name}\n" if is_module else f"::: saddlepoint.{name}\n"
    assert entry in text, f"docs/api.md lacks {entry!r}"


def test_what_is_claimed_to_be_there_is_counted():
    objectives = [cls for cls in vars(training).values() if hasattr(cls, "loss") and cls is not training.Objective]
    words = {5: "five", 14: "fourteen"}
    said = (ROOT / "docs/why.md").read_text(encoding="utf-8")
    assert f"It has {words[len(BALLS)]} norms, {words[len(objectives)]} objectives of training" in said
    assert len(objectives) == len(set(objectives))


@pytest.mark.parametrize("where", ["docs/command-line.md", "src/saddlepoint/cli/options.py"])
def test_every_norm_is_named_where_it_is_chosen(where):
    said = (ROOT / where).read_text(encoding="utf-8")
    (line,) = re.findall(r"Norm of the ball: .*|- `--norm` is .*", said)
    assert all(norm in line for norm in BALLS)


def test_the_default_of_evaluate_is_the_suite_that_runs():
    page = (ROOT / "docs/choosing-an-attack.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| how robust a model is at a radius")]
    assert f"by default: the suite [`{CASCADE}`]" in row


def test_every_page_is_in_the_navigation():
    listed = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2])
    for path in sorted((ROOT / "docs").rglob("*.md")):
        entry = path.relative_to(ROOT / "docs").as_posix()
        assert entry in listed, f"add a line for {entry} under nav: in mkdocs.yml"
    for entry in set(listed) - {"CHANGELOG.md"}:
        assert (ROOT / "docs" / entry).exists(), f"mkdocs.yml lists {entry}, which does not exist"
