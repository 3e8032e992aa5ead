"""The benchmark of preprocessing: what the adaptive attacker sees, and what the page concludes."""

import torch
from torch import nn

from saddlepoint.defenses.transforms import DenoisingAutoencoder, Thermometer


def test_the_adaptive_model_has_the_same_values_and_a_gradient(module):
    bench = module("_defended")
    x = torch.rand(5, 1, 4, 4, requires_grad=True)
    coded = bench.Defended(Thermometer(4), nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    assert torch.equal(coded.naive()(x), coded.adaptive()(x))
    assert torch.autograd.grad(coded.adaptive()(x).sum(), x)[0].abs().sum() > 0
    front = bench.Defended(DenoisingAutoencoder((1, 4, 4)), nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))
    assert list(front.adaptive()) == list(front.naive())
    alone = bench.Defended(None, nn.Flatten())
    assert alone.adaptive() is alone.naive() is alone.net


def cell(kind, name, **figures):
    case = {"kind": kind, "name": name, "data": "d", "rows": None, "epochs": 2}
    case["size"] = {"test": 100, "starts": 1, "queries": 10}
    case |= dict.fromkeys(("saddlepoint", "torch", "python", "processor", "threads"), "1")
    if kind == "row":
        case["eps"] = 0.1
        figures = {**dict.fromkeys(("clean", "oblivious", "still", "naive", "codes", "square", "adaptive")), **figures}
    return {"case": case, **figures}


def test_the_page_says_what_held(module):
    page = module("_defense_tables").defense_page
    cells = [
        cell("row", "thermometer", clean=90, still=90, naive=80, adaptive=4),
        cell("row", "pgd", clean=85, adaptive=70),
        cell("row", "thermometer + LS-PGA", clean=80, adaptive=50),
        cell("row", "block mean + PGD", clean=85, adaptive=71),
        cell("distance", "none", rows=10, fooled=10, mean=1.0, median=1.0),
        cell("distance", "contractive", rows=10, fooled=10, mean=1.2, median=1.0),
        cell("distance", "autoencoder", rows=10, fooled=0),
    ]
    lines = page({str(i): each for i, each in enumerate(cells)}).splitlines()
    verdicts = {line.split("|")[1].strip(): line.split("|")[3].strip() for line in lines if line.count("|") == 4}
    assert verdicts["thermometer at eps 0.1: naive PGD without a start = clean"] == "yes"
    assert verdicts["thermometer at eps 0.1: naive PGD within 3 of clean"] == "**no**"
    assert verdicts["thermometer: adaptive <= 10"] == "yes"
    assert verdicts["thermometer + LS-PGA beats PGD training (the survey)"] == "**no**"
    assert verdicts["block mean + PGD: within 2 of PGD training"] == "yes"
    assert verdicts["contractive: mean C&W L2 >= 1.1 x bare"] == "yes"
    assert not any("autoencoder" in what for what in verdicts)  # nothing was measured of it
