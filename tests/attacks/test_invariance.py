"""Verdicts do not depend on shrinking, batch size or order: a trained net in float64, every attack, both norms."""

import pytest
import torch
from torch import nn

from saddlepoint import L2, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import BIM, FGSM, ILLC, MIFGSM, PGD
from saddlepoint.losses import margin

ROWS, FEATURES, CLASSES = 500, 16, 5
MODES = {
    "max-loss": {},
    "first-success": {"keep": Keep.FIRST_SUCCESS},
    "min-distance": {"keep": Keep.MIN_DISTANCE},
    "last": {"keep": Keep.LAST},
}
ATTACKS = {
    "fgsm": lambda ball, **mode: FGSM(ball=ball, **mode),
    "bim": lambda ball, **mode: BIM(ball=ball, steps=5, step_size=ball.eps / 3, **mode),
    "mi-fgsm": lambda ball, **mode: MIFGSM(ball=ball, steps=5, **mode),
    "pgd": lambda ball, **mode: PGD(ball=ball, steps=5, loss=margin, **mode),
    "illc": lambda ball, **mode: ILLC(ball=ball, steps=5, step_size=ball.eps / 3, **mode),
}


@pytest.fixture(scope="module")
def trained():
    """Blobs of five classes, and a small net that has learned them; a few labels are wrong on purpose."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    centers = torch.rand(CLASSES, FEATURES, generator=generator, dtype=torch.float64)
    y = torch.arange(ROWS) % CLASSES
    x = (centers[y] + 0.25 * torch.randn(ROWS, FEATURES, generator=generator, dtype=torch.float64)).clamp(0, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, CLASSES)
        ).double()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    torch.set_num_threads(threads)
    y = y.clone()
    y[::50] = (y[::50] + 1) % CLASSES
    return Classifier(net), x, y


def in_batches(attack, case, order, size, limits):
    """The result of every row, put back in order."""
    model, x, y = case
    fields = {}
    for rows in order.split(size):
        result = attack(model, x[rows], y[rows], noise=Noise(5, rows), limits=limits)
        for name in result.__dataclass_fields__:
            fields.setdefault(name, []).append(getattr(result, name))
    back = order.argsort()
    return {name: torch.cat(parts)[back] for name, parts in fields.items()}


CASES = [(name, mode) for name in ATTACKS for mode in MODES if name == "pgd" or mode == "first-success"]


@pytest.mark.parametrize(("name", "mode"), CASES)
@pytest.mark.parametrize("ball", [Linf(0.08), L2(0.3)], ids=["linf", "l2"])
@pytest.mark.usefixtures("unchecked")  # hundreds of batches; annotations are checked by the contracts
def test_verdicts_are_identical(trained, name, ball, mode):
    attack = ATTACKS[name](ball, **MODES[mode])
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(7))
    wanted = in_batches(attack, trained, torch.arange(ROWS), ROWS, Limits(shrink_at=0))
    assert 0.05 < wanted["success"].double().mean() < 0.95
    runs = [(order, 500, 1.0), (order, 7, 0.8), (order[:40], 1, 0.8), (order, 500, 0.8)]
    for rows, size, share in runs if mode == "first-success" else runs[:2]:
        found = in_batches(attack, trained, rows, size, Limits(shrink_at=share))
        kept = rows.sort().values
        for field in ("success", "undefined", "forwards", "backwards", "solved_at"):
            assert torch.equal(found[field], wanted[field][kept]), (field, size, share)
        # In L2 every projected point is equally far away: which of them is nearest is a matter of rounding.
        compared = "distance" if mode == "min-distance" else "x"
        torch.testing.assert_close(found[compared], wanted[compared][kept], rtol=0, atol=1e-9)
