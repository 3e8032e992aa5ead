"""The benchmark of filters: what its page concludes, and that a change of one filter measures no other anew."""

from saddlepoint.defenses.transforms import JPEG, Mean, Median


def cell(name, eps, *, oblivious, adaptive, rows=200):
    case = dict.fromkeys(("saddlepoint", "torch", "python", "processor", "threads"), "1")
    case |= {"model": "zoo:fashion-standard", "filter": name, "eps": eps, "rows": rows}
    sides = {"oblivious": oblivious, "adaptive": adaptive, "gradient-free": 150}
    return {"case": case, "clean": 180, "rows": rows, "sides": sides, "held": min(sides.values())}


def test_the_page_says_which_filters_lose_enough(module):
    page = module("adaptive").page
    cells = [
        cell("jpeg:75", 0.05, oblivious=100, adaptive=80),
        cell("bit-depth:3", 0.05, oblivious=100, adaptive=81),
        cell("bit-depth:3", 0.1, oblivious=20, adaptive=20),
        cell("median:3", 0.05, oblivious=100, adaptive=10),
    ]
    lines = page({str(i): each for i, each in enumerate(cells)}).splitlines()
    rows = [[word.strip() for word in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("`bit-depth:3`", "0.05", "**no**"),  # 9.5 points
        ("`median:3`", "0.05", ""),  # it has a gradient of its own: nothing is claimed
        ("`jpeg:75`", "0.05", "yes"),
        ("`bit-depth:3`", "0.1", ""),
    ]
    assert rows[2][3:8] == ["90.0", "50.0", "40.0", "75.0", "40.0"]


def test_every_filter_of_the_table_is_planned_on_each_model(module):
    bench = module("adaptive")
    cases = [case for _, case, _ in bench.plan(quick=False)]
    assert {(c["model"], c["filter"]) for c in cases} == {(m, f) for m in bench.PLACES for f in bench.FILTERS}
    assert {c["rows"] for c in cases if c["filter"].startswith(bench.SLOW)} == {100}
    assert {c["rows"] for c in cases if not c["filter"].startswith(bench.SLOW)} == {500}


def test_a_filter_is_told_by_its_own_files(module, tmp_path, monkeypatch):
    shared = module("_filters")
    assert len({shared.code_of(each) for each in (JPEG(75), Median(2), Mean(3))}) == 3
    assert shared.code_of(Median(2)) == shared.code_of(Median(5))
    for name in ("transform.py", "_used.py", "_other.py"):
        (tmp_path / name).write_text(name)
    mine = tmp_path / "mine.py"
    mine.write_text("from saddlepoint.defenses.transforms._used import x\n")
    monkeypatch.setattr(shared.inspect, "getfile", lambda _: mine)
    before = shared.code_of(object())
    (tmp_path / "_other.py").write_text("changed")
    assert shared.code_of(object()) == before
    (tmp_path / "_used.py").write_text("changed")
    assert shared.code_of(object()) != before
