"""A browser is driven through the report: it plots, toggles, tells, changes its theme, and complains of nothing."""

import dataclasses

import pytest
from browser import Browser
from report_runs import (
    HOSTILE,
    draw,
    hostile,
    make_diagnosed,
    make_held,
    make_passes,
    make_picture,
    make_reach,
    make_run,
)

from saddlepoint.report.html import render, write

pytestmark = pytest.mark.browser

MARKUP = "<b>net</b> <a href='#x'>&amp;</a>"  # what plotly would obey
LINES = ".canvas .scatterlayer .trace"
POINTS = """[...document.querySelectorAll(".canvas .scatterlayer .point")].map((point) => {
    const box = point.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
})"""
SEEN = "(selector) => [...document.querySelectorAll(selector)].filter((e) => e.getClientRects().length).length"


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory):
    with Browser(chromium, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Reports by name: two radii, one radius, hostile names, names that plotly would take as markup, distances."""
    folder, fooled, held = tmp_path_factory.mktemp("pages"), make_picture(), make_held()
    for picture in (fooled, held):
        draw(folder, picture)
    run = make_run([fooled], [held])
    single = [dataclasses.replace(model, threats=model.threats[-1:]) for model in run.models]
    marked = [dataclasses.replace(run.models[0], name=MARKUP), run.models[1]]
    runs = {
        "plain": run,
        "single": dataclasses.replace(run, models=single),
        "hostile": hostile(run),
        "markup": dataclasses.replace(run, models=marked),
        "reach": make_reach(),
        "both": make_passes(),
        "diagnosed": make_diagnosed(),
    }
    for name, each in runs.items():
        write(each, folder, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in runs}


def count(browser, selector):
    """How many elements that match can be seen."""
    return browser.run(f"({SEEN})({selector!r})")


def told(browser, place, within=""):
    """What the label says when the mouse is on that marker, line by line; ``within`` is the section of the plot."""
    browser.middle(f"{within} .canvas")
    browser.hover(1, 1)  # away from the marker before: its label lingers
    browser.wait("document.querySelector('.hoverlayer .hovertext') === null")
    browser.hover(*browser.run(POINTS.replace(".canvas", f"{within} .canvas"))[place])
    browser.wait("document.querySelector('.hoverlayer .hovertext') !== null")
    return browser.run("[...document.querySelectorAll('.hoverlayer tspan.line')].map((line) => line.textContent)")


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
@pytest.mark.parametrize("name", ["plain", "single", "hostile", "markup", "reach", "both", "diagnosed"])
def test_it_fits_fetches_nothing_and_complains_of_nothing(browser, pages, tmp_path, name, width, scheme):
    browser.open(pages[name], width=width, scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    told(browser, 1)
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    assert count(browser, ".canvas .main-svg") > 0
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert browser.requests == [pages[name].as_uri()]
    assert browser.console == []


def test_the_legend_shows_and_hides_lines(browser, pages):
    browser.open(pages["plain"])
    assert count(browser, LINES) == 2  # the worst case of each model
    fgsm, worst = (f".key:first-child button:nth-of-type({place})" for place in (2, 1))
    browser.click(fgsm)
    assert count(browser, LINES) == 3
    assert browser.run(f"document.querySelector({fgsm!r}).ariaPressed") == "true"
    browser.click(worst)
    browser.click(fgsm)
    assert count(browser, LINES) == 1
    assert browser.run(f"document.querySelector({worst!r}).ariaPressed") == "false"
    assert told(browser, 0)[0] == "mnist-standard"  # the other model's line is the one left


def test_the_legend_works_by_keyboard(browser, pages):
    browser.open(pages["plain"])
    browser.run("document.querySelector('[data-line=\"1\"]').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=" ", code="Space", windowsVirtualKeyCode=32, text=" ")
    assert count(browser, LINES) == 3


@pytest.mark.parametrize("width", [1200, 400])
def test_a_marker_tells_its_numbers(browser, pages, width):
    browser.open(pages["plain"], width=width)
    assert told(browser, 5) == [
        "mnist-standard", "worst case, eps 0.3", "0.0 % (0.0 to 0.2)", "0 of 2000 rows"
    ]  # fmt: skip
    for place in range(6):
        told(browser, place)
        label = "document.querySelector('.hoverlayer .hovertext')"
        left, right = browser.run(f"(({{left, right}}) => [left, right])({label}.getBoundingClientRect())")
        assert 0 <= left < right <= width
        assert browser.run(f"getComputedStyle({label}.querySelector('tspan')).fill") == "rgb(28, 32, 38)"


def test_one_radius_is_two_markers_and_a_dotted_line(browser, pages):
    browser.open(pages["single"])
    assert len(browser.run(POINTS)) == 4
    assert told(browser, 0)[1] == "clean accuracy"
    assert told(browser, 1)[1] == "worst case, eps 0.3"
    dashes = browser.run(f"[...document.querySelectorAll({LINES + ' .js-line'!r})].map((l) => l.style.strokeDasharray)")
    assert len(dashes) == 2
    assert "" not in dashes


COLORS = """[getComputedStyle(document.body).backgroundColor,
    document.querySelector(".canvas .js-line").style.stroke,
    document.querySelector(".canvas .xtick text").style.fill]"""


def test_the_theme_follows_the_system_and_the_button(browser, pages):
    found = {}
    for scheme in ("light", "dark"):
        browser.open(pages["plain"], scheme=scheme)
        found[scheme] = browser.run(COLORS)
    assert all(light != dark for light, dark in zip(found["light"], found["dark"], strict=True))
    browser.open(pages["plain"], scheme="light")
    for theme, colors in (("light", "light"), ("dark", "dark"), ("auto", "light")):
        browser.click(".theme")
        assert browser.run("document.querySelector('.theme').innerText.trim()") == theme
        assert browser.run(COLORS) == found[colors]
    browser.prefer("dark")
    browser.wait(f"document.querySelector('.canvas .js-line').style.stroke === {found['dark'][1]!r}")
    assert browser.run(COLORS) == found["dark"]


def test_lines_against_distance_go_in_steps_and_tell_their_median(browser, pages):
    browser.open(pages["reach"])
    assert count(browser, f"{LINES} .js-line") == 6
    ways = browser.run(f"[...document.querySelectorAll({LINES + ' .js-line'!r})].map((l) => l.getAttribute('d'))")
    assert all("V" in way or "H" in way for way in ways)
    assert len(browser.run(POINTS)) == 5  # medians: that of the first model's fmn is not known
    assert told(browser, 3) == ["mnist-standard", "ddn", "median 0.4", "of 8 rows right when clean"]
    browser.click(".key:first-child button:nth-of-type(1)")
    assert count(browser, f"{LINES} .js-line") == 5
    assert len(browser.run(POINTS)) == 4


def test_both_kinds_of_plots_stand_in_one_page(browser, pages):
    browser.open(pages["both"])
    assert count(browser, ".canvas .main-svg") >= 2
    titles = browser.run("[...document.querySelectorAll('.canvas .xtitle')].map((title) => title.textContent)")
    assert titles == ["eps", "L2 distance, input units", "passes per row"]
    ticks = browser.run("[...document.querySelectorAll('.low .xtick text')].map((tick) => tick.textContent)")
    assert ticks == ["1", "2", "5", "10", "20", "50"]
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert count(browser, ".plane") == 3
    browser.call("Emulation.setEmulatedMedia", media="")


def test_a_diagnosis_is_drawn_from_the_input_to_the_whole_box(browser, pages):
    browser.open(pages["diagnosed"])
    assert browser.run("document.querySelectorAll('#trust .canvas .main-svg').length > 0")
    assert count(browser, "#trust .canvas .scatterlayer .trace") == 4  # two models in two balls
    labels = browser.run("[...document.querySelectorAll('#trust .canvas .xtick text')].map((t) => t.textContent)")
    assert labels[:6] == ["0", "0.075", "0.15", "0.3", "0.5477", "1"]
    assert told(browser, 5)[1:] == ["eps 1", "31 of 32 rows hold"]
    assert browser.run("[...document.querySelectorAll('#trust details')].map((part) => part.open)") == [False] * 4


def test_a_part_can_be_enlarged_and_stays_so(browser, pages):
    browser.open(pages["plain"])
    x, y = browser.middle(".canvas")
    ticks = "[...document.querySelectorAll('.canvas .ytick text')].map((tick) => tick.textContent)"
    assert browser.run(ticks) == ["0", "25", "50", "75", "100 %"]
    browser.drag((x - 100, y - 60), (x + 100, y + 40))
    browser.wait(f"{ticks}.length === 1")
    assert browser.run(ticks) == ["50"]
    browser.click(".theme")
    assert browser.run(ticks) == ["50"]


def test_hostile_names_are_text(browser, pages):
    browser.open(pages["hostile"])
    assert browser.run("document.scripts.length") == 3
    assert browser.run("document.querySelector('h1').textContent") == HOSTILE
    assert browser.run("document.querySelector('.who').textContent") == HOSTILE
    for place in (7, 1):  # 7: behind the worst case and the five attacks at the other radius
        browser.click(f"#curves .key button:nth-of-type({place})")
    short = f"{HOSTILE[:20]}…{HOSTILE[-10:]}"
    assert told(browser, 1, "#curves")[:2] == [short, f"{short}, eps 0.3"]
    assert browser.console == []


def test_markup_in_a_name_is_text_in_the_plot(browser, pages):
    browser.open(pages["markup"])
    assert told(browser, 1)[0] == f"{MARKUP[:20]}…{MARKUP[-10:]}"
    assert count(browser, ".canvas a, .canvas b") == 0
    assert browser.run("document.querySelector('.who').textContent") == MARKUP


def test_a_planted_script_is_refused(browser, tmp_path):
    page = tmp_path / "planted.html"
    planted = "<script>document.title = 'planted'</script><img src='data:,' onerror='document.title = 1'></body>"
    page.write_text(render(make_run(), None).replace("</body>", planted), encoding="utf-8")
    browser.open(page)
    assert "planted" not in browser.run("document.title")
    assert any("Content Security Policy" in line for line in browser.console)


def test_without_scripts_and_on_paper_the_plain_chart_stands_in(browser, pages):
    browser.open(pages["plain"])
    assert (count(browser, ".canvas"), count(browser, ".plane"), count(browser, ".theme")) == (1, 0, 1)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert (count(browser, ".canvas"), count(browser, ".plane"), count(browser, ".theme")) == (0, 1, 0)
    browser.call("Emulation.setEmulatedMedia", media="")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["plain"])
        assert (count(browser, ".canvas"), count(browser, ".plane"), count(browser, ".theme")) == (0, 1, 0)
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_the_command_can_be_copied(browser, pages):
    browser.open(pages["plain"])
    browser.call("Page.bringToFront")
    browser.click(".copy")
    browser.wait("document.querySelector('.copy').textContent === 'Copied' || String(getSelection())")
    assert browser.console == []
