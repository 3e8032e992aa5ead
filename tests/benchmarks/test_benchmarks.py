"""The benchmarks' own arithmetic: cells that survive, tables that say what was measured, passes that are counted."""

import json
from pathlib import Path

import pytest
import torch


def plan(measured, **case):
    for name in ("a", "b"):
        yield name, {"case of": name, **case}, lambda name=name: measured.append(name) or {"figure": len(measured)}


def test_a_killed_run_goes_on_where_it_was(module, tmp_path, capsys):
    cells, measured = module("_cells"), []
    path = tmp_path / "folder" / "cells.json"

    def killed():
        raise KeyboardInterrupt

    first, second = plan(measured)
    with pytest.raises(KeyboardInterrupt):
        cells.fill(cells.Cells(path), [first, (*second[:2], killed)])
    cells.fill(cells.Cells(path), plan(measured))
    assert measured == ["a", "b"], "what was there is not measured again"
    assert "[1/2] a: there already" in capsys.readouterr().out
    assert json.loads(path.read_text())["cells"]["b"] == {"case": {"case of": "b"}, "figure": 2}
    assert list(path.parent.iterdir()) == [path], "no half file is left"


def test_two_runs_keep_the_cells_of_both(module, tmp_path):
    cells = module("_cells")
    one, other = (cells.Cells(tmp_path / "cells.json") for _ in range(2))
    for run, name in ((one, "a"), (other, "b"), (one, "c"), (other, "a")):
        run.put(name, {"by": id(run)}, {})
    found = json.loads((tmp_path / "cells.json").read_text())["cells"]
    assert {name: cell["case"]["by"] for name, cell in found.items()} == {"a": id(other), "b": id(other), "c": id(one)}


def test_another_case_is_measured_anew(module, tmp_path):
    cells, measured = module("_cells"), []
    path = tmp_path / "cells.json"
    for version in ("1", "1", "2"):
        cells.fill(cells.Cells(path), plan(measured, version=version), only=["a"])
    assert measured == ["a", "a"]
    assert json.loads(path.read_text())["cells"] == {"a": {"case": {"case of": "a", "version": "2"}, "figure": 2}}


def test_passes_are_counted_and_can_be_repeated_bare(module):
    passes, net, x = module("_passes"), torch.nn.Linear(3, 2), torch.rand(4, 3)
    with passes.watched(net) as calls:
        torch.autograd.grad(net(point := x.clone().requires_grad_()).sum(), point)
        net(x[:1]).detach()
    assert calls == [[4, True], [1, False]]
    assert passes.passes(calls, 4) == [1.25, 1.0]
    with passes.watched(net) as again:
        passes.bare(net, x, calls)
    assert again == calls


def test_the_order_of_a_pair_alternates(module, monkeypatch):
    timing, order = module("_timing"), []
    monkeypatch.setattr(timing, "LEAST", 1e-9)
    found = timing.ratios(lambda: order.append("ours"), lambda: order.append("theirs"), 4)
    assert order[2:] == ["theirs", "ours", "ours", "theirs"] * 2
    assert set(found) == {"wall", "cpu", "seconds"}
    assert timing.spread([1.0, 2.0, 3.0, 4.0, 5.0]) == [2.0, 3.0, 4.0]


def cell(peer, setting, middle):
    environment = {"saddlepoint": "0", "engine": "e", "torch": "2", "python": "3", "processor": "p", "threads": 1}
    case = {"kind": "time", "model": "net", "rows": 8, "attack": "pgd", "steps": 4, "pairs": 21, "version": "9"}
    figures = {"wall": [0.9, middle, 1.1], "cpu": [0.9, 1.0, 1.1], "seconds": [0.5, 0.25]}
    figures |= {"passes": [[5, 4], [4, 4]], "robust": [0.5, 0.625]}
    return {"case": {**case, "peer": peer, "setting": setting, **environment}, **figures}


def test_the_table_holds_the_figures_and_marks_the_fastest_peer(module):
    cells = {
        "1": cell("slow", "same work", 0.8),
        "2": cell("fast", "same work", 1.05),
        "3": cell("fast", "shrinking", 0.2),
    }
    page = module("_tables").peers_page(cells)
    assert "| pgd | 4 | **fast** | 250 ms | 1.050 (0.90–1.10), 1.00 |  | 0.200 (0.90–1.10), 1.00 |" in page
    assert "| pgd | 4 | slow | 250 ms | 0.800 (0.90–1.10), 1.00 |  |  |" in page
    assert "| pgd | fast | 8 | 9 |  | 9 | 62.5 | 50.0 |  | 50.0 |  |" in page
    assert "Peers: fast 9, slow 9." in page
    assert "Medians of 21 pairs" in page


def test_minimum_norm_distances_count_only_points_that_fool(module, monkeypatch):
    pytest.importorskip("scipy")
    bench, nets = module("minimum_norm"), module("_nets")
    net = nets.Net(torch.nn.Linear(2, 2, bias=False), torch.zeros(3, 2), torch.tensor([0, 0, 0]))
    with torch.no_grad():
        net.module.weight.copy_(torch.eye(2))
    points = torch.tensor([[0.0, 0.5], [0.5, 0.0], [0.0, 1.0]])  # the second is still of class 0
    assert bench.judged(net, points, "l2") == {"success": 0.6667, "median": 1.0, "mean": 0.75}
    assert bench.judged(net, points, "l0") == {"success": 0.6667, "median": 1.0, "mean": 1.0}
    assert bench.judged(net, torch.zeros(3, 2), "linf") == {"success": 0.0, "median": None, "mean": None}
    with pytest.raises(AssertionError, match="outside the box"):
        bench.judged(net, points + 1, "l2")


def test_each_target_is_every_other_class_once(module):
    bench, nets = module("minimum_norm"), module("_nets")
    net = nets.Net(torch.nn.Linear(2, 4), torch.rand(3, 2), torch.tensor([0, 1, 3]))
    every, goal = bench.each_target(net)
    assert every.y.tolist() == [0] * 3 + [1] * 3 + [3] * 3
    assert [sorted(part) for part in goal.view(3, 3).tolist()] == [[1, 2, 3], [0, 2, 3], [0, 1, 2]]
    assert torch.equal(every.x, net.x.repeat_interleave(3, 0))


def minimal(task, peer=None, **figures):
    environment = {"saddlepoint": "0", "engine": task, "torch": "2", "python": "3", "processor": "p", "threads": 1}
    case = {"kind": "distance", "task": task, "model": "net", "rows": 8, "norm": "l2", **environment}
    if peer:
        case |= {"kind": "against", "peer": peer, "version": "9", "pairs": 0, "note": "its defaults"}
    return {"case": case, **figures}


def test_the_minimum_norm_page_holds_the_figures_and_says_where_a_peer_differs(module):
    ours = {"success": 1.0, "median": 1.25, "mean": 1.5, "passes": [9.0, 8.0], "seconds": [2.0, 1.0]}
    both = {"success": [1.0, 0.5], "median": [1.25, None], "mean": [1.5, 2.0], "passes": [[9.0, 8.0], [90.0, 10.0]]}
    cells = {
        "a": minimal("ddn", **ours),
        "b": minimal("ddn", "slow", **both, seconds=[1.0, 4.0], wall=[0.25] * 3, cpu=[0.2] * 3),
    }
    page = module("_minimum_tables").minimum_norm_page(cells)
    assert page.count("Measured with") == 1, "the code of each attack has a hash of its own"
    assert "| DDN, 300 steps | 100.0 | 1.25 | 1.5 | 17 | 1.0 |" in page
    row = "| DDN, 300 steps | slow: its defaults | 8 | 100.0 | 50.0 | 1.25 | – | 17 | 100 | 0.25, 0.20 (1) |"
    assert row in page
    assert "Peers: slow 9." in page


def test_every_minimum_norm_task_has_a_title_and_the_files_of_its_attack(module):
    titles, tasks = module("_minimum_tables").TITLES, module("_minimal")
    assert {*tasks.OURS, "l-bfgs"} <= set(titles)
    folder = Path(__file__).parents[2] / "src" / "saddlepoint" / "attacks"
    for task in [*tasks.OURS, "l-bfgs"]:
        assert tasks.files(task), task
        assert all((folder / f"{name}.py").exists() for name in tasks.files(task))


def member(side, seed, robust):
    case = {"kind": "member", "side": side, "member": "apgd-ce", "model": "net", "eps": 0.3, "rows": 500, "seed": seed}
    return {"case": {**case, "torch": "2"}, "robust": robust, "passes": [100.0, 99.0], "seconds": 7.0}


@pytest.mark.parametrize(("ours", "verdict"), [(0.889, "yes"), (0.8925, "**no**")])
def test_a_member_is_at_par_within_half_a_point_or_the_range_of_theirs(module, ours, verdict):
    cells = {str(i): member("theirs", i, robust) for i, robust in enumerate((0.880, 0.886, 0.886))}
    page = module("_tables").autoattack_page({**cells, "ours": member("ours", 0, ours)})
    row = f"| apgd-ce | net | 0.3 | 500 | 1, 3 | {100 * ours:.2f} ({100 * ours:.1f}–{100 * ours:.1f}) "
    assert row + f"| 88.40 (88.0–88.6) | 89.00 | {verdict} | 199 | 199 | 7 s | 7 s |" in page
    assert module("_tables").autoattack_page(cells).count("\n| ") == 2, "without ours there is nothing to compare"


def test_the_perceptual_page_holds_the_figures_and_the_clean_rows_first(module):
    bench = module("perceptual")
    case = {"rows": 200, "saddlepoint": "0", "torch": "2", "python": "3", "processor": "p", "threads": 1}
    shares = {"success": 0.995, "transferred": 0.034, "jpeg": 0.08, "5 bits": 0.5925}
    figures = {"colour": 69.26, "median colour": 50.5, "l2": 1.143, "linf": 0.119, "passes": 2001.0}
    clean = dict.fromkeys([*shares, *figures], 0.0) | {"jpeg": 0.015}
    page = bench.page(
        {
            "perc-al-100": {"case": case, **shares, **figures, "seconds": [30.0, 19.6]},
            "clean": {"case": case, **clean, "seconds": [0.0, 0.0]},
        }
    )
    row = "| PerC-AL, 100 steps | 99.5 | 69.3 | 50.5 | 1.143 | 0.119 | 3.4 | 8.0 | 59.2 | 2,001 | 20 |"
    assert row in page
    assert page.index("the clean rows | 0.0 | 0.0 | 0.0 | 0.000 | 0.000 | 0.0 | 1.5 | 0.0 |") < page.index(row)


def test_jpeg_keeps_flat_images_and_changes_noise(module):
    bench = module("perceptual")
    flat = torch.full((2, 3, 16, 16), 128 / 255)
    noise = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(bench.jpeg(flat), flat, atol=1.5 / 255)
    assert (bench.jpeg(noise) - noise).abs().mean() > 0.05
