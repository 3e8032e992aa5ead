"""The page: complete, self-contained, and proof against hostile names and missing files."""

import base64
import dataclasses
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from report_runs import ESCAPED, draw, hostile, make_held, make_picture, make_run, threat, wilson

from saddlepoint.errors import MissingExtraError, RecordError
from saddlepoint.records import Appearance, RunRecord
from saddlepoint.report.html import render, write

BUNDLE = (resources.files("saddlepoint.report") / "vendor" / "plotly-basic.min.js").read_text(encoding="utf-8")


def ours(page: str) -> str:
    """The page without the vendored library."""
    assert page.count(BUNDLE) == 1
    return page.replace(BUNDLE, "")


def embedded(page: str, tag: str) -> list[str]:
    """What stands between the tags of that name, as it stands."""
    return re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())


def test_it_says_what_to_cite() -> None:
    said = Page(render(make_run(), None)).text
    assert "mnist-pgd: 91.2 % robust accuracy (95 % interval 89.9 to 92.4) under the worst case of 5 attacks" in said
    assert "an upper bound on the true robust accuracy" in said
    assert "not AutoAttack" in said


def test_findings_come_worst_first() -> None:
    page = render(make_run(), None)
    places = [page.index(f'<article class="finding {level}">') for level in ("error", "warning", "note")]
    assert places == sorted(places)
    assert "Find out where the model overflows" in page


def test_a_run_without_findings_says_so() -> None:
    assert "Nothing was found that speaks against" in render(dataclasses.replace(make_run(), findings=[]), None)


def test_every_attack_has_a_row_in_every_table() -> None:
    page = render(make_run(), None)
    for name in ("fgsm", "pgd", "apgd-ce", "fab", "square", "worst case", "clean"):
        assert page.count(f'<th scope="row">{name}</th>') >= 2
    assert "<b>91.2 %</b><small>89.9 to 92.4</small>" in page


def test_one_radius_is_a_chart_too() -> None:
    run = make_run()
    short = [dataclasses.replace(model, threats=model.threats[:1]) for model in run.models]
    page = render(dataclasses.replace(run, models=short), None)
    lines = re.findall(r'<polyline class="line s\d" points="([^"]*)"', page)
    assert [[point.split(",")[0] for point in line.split()] for line in lines] == [["0.00", "100.00"]] * 2
    assert [len(trace["x"]) for trace in json.loads(embedded(page, "script")[0])[0]["traces"]] == [2] * 12


def test_without_a_threat_there_is_no_chart_and_no_library() -> None:
    run = make_run()
    page = render(dataclasses.replace(run, models=[dataclasses.replace(run.models[0], threats=[])]), None)
    assert "<polyline" not in page
    assert BUNDLE not in page
    assert json.loads(embedded(page, "script")[0]) == []


def test_a_curve_over_many_radii_labels_those_with_room_and_skips_what_was_not_measured() -> None:
    run = make_run()
    dense = [threat(eps / 255, [1900 - eps], 1948, 2000) for eps in (1, 2, 4, 8, 16)]
    models = [
        dataclasses.replace(run.models[0], threats=dense),
        dataclasses.replace(run.models[1], threats=[dense[1], dense[3]]),
        dataclasses.replace(run.models[1], name="unmeasured", threats=[]),
    ]
    page = render(dataclasses.replace(run, models=models), None)
    axis = page.split('class="x-axis"')[1].split("</svg>")[0]
    assert re.findall(r">([^<>]+)</text>", axis) == ["0", "2/255", "4/255", "8/255", "16/255"]
    assert [len(line.split()) for line in re.findall(r'<polyline class="line s\d" points="([^"]*)"', page)] == [6, 3]
    assert "not measured" in page


def test_a_curve_starts_at_the_clean_accuracy() -> None:
    points = re.findall(r'<polyline class="line s0" points="([^"]*)"', render(make_run(), None))
    assert points == ["0.00,2.60 33.33,5.00 100.00,8.80"]


def test_pictures_are_embedded_byte_for_byte(tmp_path: Path) -> None:
    picture = make_picture()
    draw(tmp_path, picture)
    images = [tag for tag in Page(render(make_run([picture]), tmp_path)).tags if tag[0] == "img"]
    assert len(images) == 3
    source = images[0][1]["src"] or ""
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == (tmp_path / picture.clean).read_bytes()
    assert (images[0][1]["width"], images[0][1]["class"]) == ("4", "coarse")


def test_what_is_no_picture_leaves_a_placeholder(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("this is a text file, not a picture")
    (tmp_path.parent / "outside.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(16))
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(9 * 2**20)
    pictures = [
        dataclasses.replace(make_picture(), clean="text.png", adversarial="../outside.png", difference="gone.png"),
        dataclasses.replace(make_picture(), clean="huge.png", adversarial="nul\x00.png", difference=""),
    ]
    page = render(make_run(pictures), tmp_path)
    assert "<img" not in page
    for reason in (
        "not a PNG file",
        "outside the run&#39;s folder",
        "file not found",
        "too large to embed",
        "not embedded",
    ):
        assert reason in page


def test_extremes_say_what_makes_them_so(tmp_path: Path) -> None:
    fooled, held = make_picture(), make_held()
    for picture in (fooled, held):
        draw(tmp_path, picture)
    page = render(make_run([fooled], [held]), tmp_path)
    said = Page(ours(page)).text
    assert "row 7, label 7; fooled by 3 of 5 attacks with 41 passes; shown: apgd-ce, distance 0.3" in said
    assert re.search(r"row 9\s?room 12.3\s?under fab", said)
    assert "fewest passes of all attacks together" in said
    assert "the gap between the logit of the label and the next one" in said
    assert "with a target" not in said
    aimed = dataclasses.replace(make_run([fooled]), spec={"target": "random"})
    assert "with a target: the gap to the target’s logit" in Page(ours(render(aimed, tmp_path))).text


def test_extremes_of_a_suite_name_the_member_that_fooled_them() -> None:
    picture = dataclasses.replace(make_picture(), fooled_by=1)
    run = make_run([picture])
    suite = dataclasses.replace(run, spec={**run.spec, "suite": "autoattack"})
    names = [attack.name for attack in run.models[0].threats[-1].attacks]
    said = Page(ours(render(suite, None))).text
    place = names.index(picture.attack) + 1
    assert f"fooled by {picture.attack}, member {place} of 5, with 41 passes" in said
    assert "fooled by 1 of" not in said
    assert "most attacks fooled" not in said
    assert "the fewest passes of all members of the suite together" in said


def test_extremes_of_a_suite_beside_other_attacks_say_how_many_fooled_them() -> None:
    run = make_run([make_picture()])  # fooled by three
    for model in run.models:
        for ball in model.threats:
            ball.attacks[0] = dataclasses.replace(ball.attacks[0], role="adaptive")
    said = Page(ours(render(dataclasses.replace(run, spec={**run.spec, "suite": "cascade-1"}), None))).text
    assert f"fooled by {make_picture().attack} and 2 more with 41 passes" in said
    assert "most attacks fooled" in said


@pytest.mark.parametrize(("easy", "hard"), [(True, False), (False, True)])
def test_one_kind_of_extremes_alone(easy: bool, hard: bool) -> None:
    page = render(make_run([make_picture()] * easy, [make_held()] * hard), None)
    assert ("No row was fooled." in page) is hard
    assert ("No row held under every attack." in page) is easy


def test_without_a_folder_pictures_are_placeholders() -> None:
    page = render(make_run([make_picture()]), None)
    assert "<img" not in page
    assert page.count("not embedded") == 3


def test_hostile_strings_are_text_everywhere(tmp_path: Path) -> None:
    page = ours(render(hostile(make_run()), tmp_path))
    assert page.count("<script") == page.count("</script") == 3
    assert ESCAPED in page
    assert page.count("alert(1)") > 30
    assert {name for name, _ in Page(page).tags}.isdisjoint({"iframe", "object", "base", "form"})
    assert not any("alert(1)" in script for script in embedded(page, "script")[1:])


def test_nothing_is_fetched(tmp_path: Path) -> None:
    picture = make_picture()
    draw(tmp_path, picture)
    page = ours(render(make_run([picture]), tmp_path))
    sources = [value or "" for _, attrs in Page(page).tags for name, value in attrs.items() if name in {"src", "href"}]
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not re.search(r"https?:|@import|url\(", page)


def test_links_inside_the_page_lead_somewhere() -> None:
    tags = Page(render(make_run(), None)).tags
    places = {attrs.get("id") for _, attrs in tags}
    links = [attrs["href"] or "" for name, attrs in tags if name == "a"]
    assert links
    assert all(link.removeprefix("#") in places for link in links)


def test_the_policy_admits_only_this_style_and_these_scripts() -> None:
    page = render(make_run(), None)
    tags = Page(page).tags
    policy = next(a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    style, scripts = embedded(page, "style"), embedded(page, "script")[1:]
    assert BUNDLE in scripts[0]
    allowed = [
        f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'" for part in (*style, *scripts)
    ]
    assert policy == (
        f"default-src 'none'; img-src data:; style-src {allowed[0]}; script-src {allowed[1]} {allowed[2]}; "
        "base-uri 'none'; form-action 'none'"
    )
    assert [attrs for name, attrs in tags if name == "script"] == [{"type": "application/json", "id": "plots"}, {}, {}]
    assert all(not name.startswith("on") and name != "style" for _, attrs in tags for name in attrs)


def test_a_report_with_pictures_is_light_enough_to_be_sent(tmp_path: Path) -> None:
    from PIL import Image

    pictures = [make_picture(row, stem=f"pictures/{row}") for row in range(24)]
    noise = Image.effect_noise((64, 64), 80)
    for picture in pictures:
        draw(tmp_path, picture)
        for name in (picture.clean, picture.adversarial, picture.difference):
            noise.save(tmp_path / name)
    write(make_run(pictures), tmp_path, tmp_path / "report.html")
    assert 1_000_000 < (tmp_path / "report.html").stat().st_size < 3_000_000


def test_places_are_not_told() -> None:
    run = dataclasses.replace(
        make_run(), command="saddlepoint evaluate zoo:a npz:/home/ada/sets/x.npz --out /home/ada/runs/a"
    )
    page = render(run, None)
    assert "saddlepoint evaluate zoo:a npz:x.npz --out a" in page
    assert "ada" not in Page(page).text.split()
    assert "/home" not in page


def test_hashes_settings_and_versions_are_told() -> None:
    said = Page(render(make_run(), None)).text
    record = hashlib.sha256(make_run().to_json().encode()).hexdigest()
    for piece in (
        record,
        "4f1c" * 16,
        "9ab0" * 16,
        "d00d" * 16,
        "steps 40",
        "2.9.0",
        "3 min 42 s",
        "207,018 parameters",
    ):
        assert piece in said


def test_settings_that_differ_say_where() -> None:
    page = render(make_run(), None)
    assert '<th scope="row">pgd<small>Linf eps 0.1</small></th><td><span class="setting"><i>eps</i> 0.1</span>' in page
    same = [dataclasses.replace(model, threats=model.threats[:1]) for model in make_run().models]
    assert "<small>Linf eps 0.1</small>" not in render(dataclasses.replace(make_run(), models=same), None)


def test_settings_of_one_model_name_it() -> None:
    run = make_run()
    threats = [[model.threats[0]] for model in run.models]
    threats[1][0].attacks[0].settings["steps"] = 7
    models = [dataclasses.replace(model, threats=kept) for model, kept in zip(run.models, threats, strict=True)]
    page = render(dataclasses.replace(run, models=models), None)
    assert "<small>mnist-standard, Linf eps 0.1</small>" in page


def test_undefined_rows_stand_out() -> None:
    assert render(make_run(), None).count('<td class="bad">3</td>') == 2


def test_shares_are_never_rounded_to_all_or_nothing() -> None:
    run = make_run()
    ball = dataclasses.replace(run.models[0].threats[0], worst=wilson(29_999, 30_000))
    page = render(dataclasses.replace(run, models=[dataclasses.replace(run.models[0], threats=[ball])]), None)
    assert "&gt;99.9" in page


@pytest.mark.parametrize("models", [0, 1, 7])
def test_any_number_of_models(models: int) -> None:
    run = make_run()
    page = render(dataclasses.replace(run, models=[run.models[0]] * models), None)
    assert page.endswith("</html>")


def test_models_without_threats_attacks_or_rows() -> None:
    run = make_run()
    shapes = [[], [threat(0.3, [], 5, 9)], [dataclasses.replace(threat(0.3, [0], 0, 0), worst=wilson(0, 0))]]
    models = [dataclasses.replace(run.models[0], name=f"m{i}", threats=shape) for i, shape in enumerate(shapes)]
    page = render(dataclasses.replace(run, models=models), None)
    assert "no attack was run" in page
    assert "no row was measured" in page


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    again = RunRecord.from_json(make_run().to_json())
    write(make_run(), None, tmp_path / "a.html")
    write(again, None, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no-such-folder.*choose another place"):
        write(make_run(), None, tmp_path / "no-such-folder" / "a.html")


def test_without_jinja_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"saddlepoint\[cli\]"):
        render(make_run(), None)


def test_a_suite_shows_the_rows_that_each_member_saw_and_added() -> None:
    run = make_run()
    attacks = run.models[0].threats[0].attacks
    attacks[-1] = dataclasses.replace(attacks[-1], attacked=1234, added=56)
    plain = render(run, None)
    assert "seen</th>" not in plain
    assert "<small>of 1234</small>" in plain
    page = render(dataclasses.replace(run, spec=run.spec | {"suite": "autoattack"}), None)
    assert "rows<br>seen</th>" in page
    assert "<td>1234</td><td>56</td>" in page


def test_appearance_is_a_section_where_it_is_known_and_only_there() -> None:
    run = make_run()
    assert 'id="appearance"' not in render(run, None)
    attacks = run.models[1].threats[1].attacks
    attacks[0] = dataclasses.replace(attacks[0], appearance=Appearance(colour=1.25, colour_high=7.5, ssim=0.98765))
    part = render(run, None).split('<section id="appearance">')[1].split("</section>")[0]
    assert re.findall(r"<h3>(.*?)</h3>", part) == ["Linf eps 0.3"], "the other radius has none"
    cells = {
        name: re.findall(r"<td[^>]*>(.*?)</td>", row)
        for name, row in re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', part)
    }
    assert cells["fgsm"] == ["–", "–", "–", "1.25", "7.5", "0.9877"]
    assert cells["square"] == ["–"] * 6
