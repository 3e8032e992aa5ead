"""The benchmark of blocks over seeds: its page, and that a seed gives other weights."""

import pytest
import torch


def cell(adaptive, **case):
    known = dict.fromkeys(("saddlepoint", "torch", "python", "processor", "threads"), "1")
    return {"case": {**known, "size": {"test": 200}, **case}, "adaptive": adaptive}


def rows(page):
    table = [[part.strip() for part in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in table[2:]}


@pytest.fixture
def page(module):
    bench = module("blocks")

    def made(first, again):
        cells = {f"{name}, {seed}": cell(held, name=name, seed=seed) for (name, seed), held in again.items()}
        named = {
            f"row, photopatch10, {name}, {bench.PLACE.eps:.3g}": cell(held, name=name) for name, held in first.items()
        }
        return rows(bench.block_page(cells, named))

    return made


def test_the_verdict_is_that_of_the_means(page):
    first = {"pgd": 100, "block mean + PGD": 110, "block conv + PGD": 104}
    again = {("pgd", 1): 102, ("pgd", 2): 98, ("block mean + PGD", 1): 106, ("block mean + PGD", 2): 108}
    again |= {("block conv + PGD", 1): 100, ("block conv + PGD", 2): 96}
    told = page(first, again)
    assert told["pgd"][:2] == ["50.0, 51.0, 49.0", "50.0"]
    assert told["block mean + PGD"] == ["55.0, 53.0, 54.0", "54.0", "1.0", "**no**"]
    assert told["block conv + PGD"][-1] == "yes"


def test_no_verdict_before_every_seed_is_there(page):
    told = page({"pgd": 100, "block mean + PGD": 110}, {("pgd", 1): 100, ("pgd", 2): 100})
    assert told["block mean + PGD"][1:] == ["55.0", "", ""]
    assert "block conv + PGD" not in told


def test_a_seed_gives_other_weights_and_a_name_of_its_own(module, monkeypatch):
    bench, asked = module("blocks"), []
    monkeypatch.setattr(bench.Nets, "kept", lambda self, name, make, *rest: asked.append((name, make())))
    for seed in (1, 2, 1):
        bench.Again(None, bench.PLACE, seed).pgd()
    (first, a), (second, b), (third, c) = [
        (name, torch.nn.utils.parameters_to_vector(net.parameters())) for name, net in asked
    ]
    assert first == third != second
    assert torch.equal(a, c)
    assert not torch.equal(a, b)
