import math

import numpy as np
import pytest
import torch

from saddlepoint import L0, L1, L2, Classifier, Keep, Limits, Linf, Noise
from saddlepoint.attacks import Bisect, Square
from saddlepoint.attacks._windows import Image, pattern, rescaled, share
from saddlepoint.errors import SettingError
from saddlepoint.losses import cross_entropy, margin
from saddlepoint.testing import ConstantModel, LinearModel, contract

RANKS = (4,)  # the shape of an input says where its windows lie; other ranks are tested below
test_contract = contract(Square(ball=Linf(0.1), steps=80, rescale=True), within=0.9, ranks=RANKS)
test_contract_l2 = contract(Square(ball=L2(0.3), steps=60, rescale=True), within=0.3, ranks=RANKS)
test_contract_l1 = contract(Square(ball=L1(0.5), steps=60, rescale=True), within=0.15, ranks=RANKS)

BALLS = [Linf(0.15), L2(0.7), L1(2.0)]
SHAPES = [(3, 7, 7), (2, 4, 9), (1, 3, 2), (1, 1, 11), (2, 5), (13,)]


def seen_by(attack, x, classes=3, **given):
    """Everything that the model was asked, (looks, n, *f): no row leaves; and the result."""
    weight = torch.randn(classes, x[0].numel(), generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    points = []

    def module(v):
        points.append(v.clone())
        return v.flatten(1) @ weight.T

    y = (x.flatten(1) @ weight.T).argmax(1)
    result = attack(Classifier(module), x, y, limits=Limits(shrink_at=0), **given)
    return torch.stack(points[:-1]), result, y


def images(shape, rows=6, dtype=torch.float64):
    x = torch.rand(rows, *shape, generator=torch.Generator().manual_seed(2), dtype=dtype) * 1.4 - 0.2
    return x.clamp(0, 1)  # some features at the faces of the box


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: ball.norm)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_proposal_lies_in_ball_and_box(ball, shape, dtype):
    x = images(shape, dtype=dtype)
    eps = torch.linspace(0.1, 1, len(x), dtype=dtype) * ball.eps
    points, result, _ = seen_by(Square(ball=type(ball)(eps), steps=40, rescale=True), x)
    assert len(points) == 41
    for point in points:
        assert (ball.distance(point, x) <= eps * (1 + 8 * torch.finfo(dtype).eps)).all()
        assert ((point >= 0) & (point <= 1)).all()
    moves = (points[1:] != points[:-1]).flatten(2).any(2)
    assert moves.double().mean() > 0.3, "proposals do not move"
    assert result.forwards.unique().item() == 41


def test_a_window_lies_anywhere_with_equal_chance():
    image, size = Image(1, 5, 7), (2, 3)
    at = Noise(4).uniform(torch.empty(24_000, 2))
    cells = image.cells(size, at)[:, 0]
    corners = torch.bincount(cells[:, 0], minlength=35).view(5, 7)
    assert (corners[:4, :5] > 0).all(), "a window leaves out the last line or column"
    assert corners[4:].sum() + corners[:, 5:].sum() == 0
    expected = 24_000 / 20
    assert ((corners[:4, :5] - expected) ** 2 / expected).sum() < 36.2  # 1 % of chi-square with 19 degrees of freedom
    for row in cells[:50]:
        mask = torch.zeros(5, 7, dtype=torch.bool)
        top, left = divmod(int(row[0]), 7)
        mask[top : top + 2, left : left + 3] = True
        assert torch.equal(row.sort().values, mask.flatten().nonzero().flatten())


def test_rows_have_windows_of_their_own():
    points, _, _ = seen_by(Square(ball=Linf(0.1), steps=5), torch.full((8, 1, 12, 12), 0.5, dtype=torch.float64))
    places = {tuple((points[1, i] != points[0, i]).flatten().tolist()) for i in range(8)}
    assert len(places) > 4


def published_share(p_init, it):
    """The schedule of the authors' code."""
    for least, halvings in (
        (8000, 9),
        (6000, 8),
        (4000, 7),
        (2000, 6),
        (1000, 5),
        (500, 4),
        (200, 3),
        (50, 2),
        (10, 1),
    ):
        if it > least:
            return p_init / 2**halvings
    return p_init


def test_the_schedule_and_the_sizes_are_those_of_the_authors_code():
    for t in range(10_001):
        assert share(0.8, t) == published_share(0.8, t)
    assert [rescaled(t, 500) for t in (0, 1, 250, 499)] == [0, 20, 5000, 9980]
    for side in (1, 2, 3, 8, 28, 32):
        for t in (0, 20, 60, 300, 700, 3000, 9000):
            p = share(0.8, t)
            s = max(round(math.sqrt(p * side * side)), 1)
            assert Image(1, side, side).window(p) == (min(s, side),) * 2
            s = max(s, 3)
            s += s % 2 == 0
            assert Image(1, side, side).window(p, odd=True) == (min(s, side),) * 2


def test_a_window_too_wide_for_the_image_is_as_long_as_its_share():
    assert Image(1, 1, 100).window(0.4) == (1, 40)
    assert Image(1, 100, 4).window(0.8) == (80, 4)
    assert Image(1, 4, 100).window(0.01) == (2, 2)
    assert Image(1, 1, 2).window(0.1, odd=True) == (1, 2)


@pytest.mark.parametrize("order", [1, 2])
def test_patterns_are_those_of_the_authors_code(order):
    def bump(a, b):
        delta, middle = np.zeros((a, b)), [a // 2, b // 2]
        for k in range(max(a // 2 + 1, b // 2 + 1)):
            rows = slice(max(middle[0], 0), min(middle[0] + 2 * k + 1, a))
            delta[rows, max(middle[1], 0) : min(middle[1] + 2 * k + 1, b)] += 1 / (k + 1) ** (2 if order == 2 else 4)
            middle = [middle[0] - 1, middle[1] - 1]
        return delta / np.linalg.norm(delta.ravel(), order)

    for side in (2, 3, 5, 6, 9):
        wanted = np.concatenate([bump(side // 2, side), -bump(side - side // 2, side)])
        wanted /= np.linalg.norm(wanted.ravel(), order)
        np.testing.assert_allclose(pattern(side, side, order).numpy(), wanted, atol=1e-12)
    assert pattern(1, 1, order).abs().item() == 1


def test_a_proposal_puts_one_window_at_corners_of_the_linf_ball():
    x = images((3, 9, 9), rows=20)
    points, _, _ = seen_by(Square(ball=Linf(0.2), steps=30, p_init=0.1), x)
    low, high = (x - 0.2).clamp_min(0), (x + 0.2).clamp_max(1)
    assert torch.equal((points[0] == low) | (points[0] == high), torch.ones_like(x, dtype=torch.bool))
    stripes = torch.where(points[0] == high, 1, -1)[((x > 0.2) & (x < 0.8)).all(2).nonzero(as_tuple=True)[0]]
    assert stripes.numel() == 0 or set(stripes.unique().tolist()) <= {-1, 1}
    for channel in range(3):
        changed = points[1, :, channel] != points[0, :, channel]
        assert (changed.flatten(1).sum(1) <= 9).all(), "the window holds 3 x 3 pixels"
        new = points[1, :, channel]
        up, down = (~changed | (new == high[:, channel])), (~changed | (new == low[:, channel]))
        assert (up.flatten(1).all(1) | down.flatten(1).all(1)).all(), "one sign for each channel"


@pytest.mark.parametrize("ball", [L2(0.7), L1(2.0)], ids=["l2", "l1"])
def test_the_mass_of_two_windows_by_hand(ball):
    x, rows, c = images((2, 9, 9), rows=10), torch.arange(10), 2
    order = 2 if ball.norm == "l2" else 1
    points, _, _ = seen_by(Square(ball=ball, steps=1, p_init=0.1), x, noise=Noise(3, rows))
    draw = Noise(3, rows).child("window").uniform(x.new_empty(10, 5 + c), 0)
    norm = lambda v: torch.linalg.vector_norm(v, order, dim=(-2, -1), keepdim=True)  # noqa: E731
    for i in range(10):
        delta = (points[0] - x)[i].clone()
        top, left, top2, left2 = (int(v * 7) for v in draw[i, :4])
        first = (slice(None), slice(top, top + 3), slice(left, left + 3))
        second = (slice(None), slice(top2, top2 + 3), slice(left2, left2 + 3))
        mask = torch.zeros_like(delta)
        mask[first] = mask[second] = 1
        kept, whole = norm(delta * mask), torch.linalg.vector_norm(delta.flatten(), order)
        shape = pattern(3, 3, order) if draw[i, 4] < 0.5 else pattern(3, 3, order).T
        sign = torch.where(draw[i, 5:] < 0.5, -1.0, 1.0).view(c, 1, 1)
        new = shape * sign + delta[first] / (1e-300 + norm(delta[first]))
        room = max(ball.eps**order - whole**order, 0) / c
        length = (room + kept**order) ** (1 / order) * (1 if order == 2 else c)
        delta[second] = 0
        delta[first] = new / norm(new) * length
        if order == 2:
            wanted = (x[i] + delta * ball.eps / delta.norm()).clamp(0, 1)
        else:
            wanted = ball.project((x[i] + delta)[None], x[i : i + 1], Classifier(lambda v: v).bounds)[0]
        torch.testing.assert_close(points[1, i], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("targeted", [False, True])
def test_it_keeps_a_point_for_a_better_one_only(targeted):
    x = images((1, 6, 6), rows=12)
    target = torch.arange(12) % 3 if targeted else None
    points, result, y = seen_by(Square(ball=Linf(0.05), steps=60, rescale=True), x, target=target)
    weight = torch.randn(3, 36, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    logits = points.flatten(2) @ weight.T
    losses = torch.stack([cross_entropy(z, y, target) if targeted else margin(z, y) for z in logits])
    hits = torch.stack([z.argmax(1) == target if targeted else z.argmax(1) != y for z in logits])
    best = (losses + 1e6 * hits).argmax(0)
    assert torch.equal(result.success, hits.any(0))
    torch.testing.assert_close(result.loss, losses[best, torch.arange(12)])
    assert 0 < result.success.double().mean() < 1


@pytest.mark.parametrize("shape", [(12,), (3, 4), (1, 2, 6)], ids=str)
@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.3), L1(0.5)], ids=lambda ball: ball.norm)
def test_any_shape_and_two_classes(shape, ball):
    generator = torch.Generator().manual_seed(0)
    module = LinearModel(torch.randn(2, 12, generator=generator, dtype=torch.float64))
    x = 0.2 + 0.6 * torch.rand(10, 12, generator=generator, dtype=torch.float64)
    y = module(x).argmax(1)
    attack = Square(ball=ball, steps=150, rescale=True)
    found = attack(Classifier(lambda v: module(v.flatten(1))), x.view(-1, *shape), y)
    gain = margin(module(found.x.flatten(1)), y) - margin(module(x), y)
    most = module.optimum(x, y, ball, Classifier(module).bounds).margin - margin(module(x), y)
    assert (gain <= most * (1 + 1e-6)).all()
    assert (gain / most).min() > (0.99 if ball.norm == "linf" else 0.3)


def test_rows_that_are_fooled_leave():
    x = images((1, 6, 6), rows=12)
    weight = torch.randn(3, 36, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    module = LinearModel(weight)
    y = module(x).argmax(1)
    result = Square(ball=Linf(0.1), steps=200, keep=Keep.FIRST_SUCCESS)(Classifier(module), x, y)
    assert torch.equal(result.forwards[result.success], result.solved_at[result.success])
    assert (result.forwards[~result.success] == 201).all()
    assert 0 < result.success.double().mean() < 1


class Steps(torch.nn.Module):
    """A margin that depends on the look alone: row r has slopes[r] times log2 of the number of looks, less ``gap``."""

    def __init__(self, slopes, gap=4):
        super().__init__()
        self.slopes, self.gap, self.looks = slopes, gap, 0

    def forward(self, x):
        rows = (x.flatten(1)[:, 0] * len(self.slopes)).long()  # named by their first feature: some have left
        self.looks += 1
        margins = self.slopes[rows] * math.log2(self.looks) - self.gap
        return torch.stack([torch.zeros_like(margins), margins], 1) + 0 * x.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize("patience", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(("steps", "tests", "gap"), [(64, (8, 16, 32), 4), (12, (3, 6), 2), (7, (3,), 2), (3, (), 2)])
def test_patience_gives_up_rows_that_will_not_get_there_at_their_pace(patience, steps, tests, gap):
    slopes = torch.tensor([0.1, 0.3, 0.5, 0.85])  # of the margin per doubling of the looks
    x = ((torch.arange(4) + 0.5) / 4)[:, None, None, None].expand(4, 1, 4, 4).contiguous()
    attack = Square(ball=Linf(1e-9), steps=steps, patience=patience)
    result = attack(Classifier(Steps(slopes, gap)), x, torch.zeros(4, dtype=torch.int64))
    expected = []
    for slope in slopes.tolist():
        gains = {looks: slope * (math.log2(looks) - math.log2(looks // 2)) for looks in tests}
        ends = {
            looks: slope * math.log2(looks) - gap + patience * gains[looks] * math.log2(steps / looks)
            for looks in tests
        }
        expected.append(next((looks for looks in tests if ends[looks] < 0), steps + 1))
    assert result.forwards.tolist() == expected


def test_patience_needs_no_target_and_without_it_nobody_leaves():
    x = images((1, 4, 4), rows=4, dtype=torch.float32)
    y = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(SettingError, match="patience is for a loss that is 0 at the boundary"):
        Square(ball=Linf(0.1), steps=8, patience=1.0)(Classifier(Steps(torch.zeros(4))), x, y, target=y + 1)
    found = Square(ball=Linf(0.1), steps=40)(Classifier(Steps(torch.zeros(4))), x, y)
    assert found.forwards.tolist() == [41] * 4


def test_an_unbounded_radius_is_the_box():
    for ball in (Linf, L2, L1):
        points, result, _ = seen_by(Square(ball=ball(math.inf), steps=10), images((1, 6, 6)))
        assert points.isfinite().all()
        assert result.success.any()
    module = LinearModel(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]), torch.tensor([-1.0, 0.0]))
    nearest = Bisect(attack=Square(ball=Linf(math.inf), steps=20))(
        Classifier(module), torch.full((1, 4), 0.5), torch.tensor([0])
    )
    assert 0.25 <= nearest.distance.item() < 0.26


def test_nothing_fools_a_constant_model():
    x = images((1, 4, 4), dtype=torch.float32)
    model = Classifier(ConstantModel(torch.tensor([0.0, 1.0])))
    result = Square(ball=L2(0.5), steps=20)(model, x, torch.ones(len(x), dtype=torch.int64))
    assert not result.success.any()
    assert result.x.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ball": L0(3)}, "ball=L0 has no windows here; give Square Linf, L2 or L1"),
        ({"p_init": 0.0}, "p_init=0.0 must lie in (0, 1]"),
        ({"p_init": 1.5}, "p_init=1.5 must lie in (0, 1]"),
        ({"steps": -1}, "steps=-1"),
        ({"patience": -1.0}, "patience=-1.0 must be finite and >= 0, or None"),
        ({"patience": math.inf}, "patience=inf must be finite"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(SettingError) as error:
        Square(**{"ball": Linf(0.1), **settings})
    assert message in str(error.value)
