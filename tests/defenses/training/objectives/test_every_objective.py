"""What holds for all objectives: where their points are, what they leave alone, which inputs they take."""

import dataclasses

import pytest
import torch
from all_objectives import every, grads_of, loss_of, moving, net_of, points_of, rows_of, twin
from torch import nn
from torch.nn import functional

from saddlepoint.balls import L0, L1, L2, Bounds, Linf
from saddlepoint.defenses import training
from saddlepoint.defenses.training import Adversarial, Mart
from saddlepoint.errors import ArgumentTypeError, InputError, ModelError, RadiusError, SettingError

BALLS = {"linf": Linf(0.1), "l2": L2(0.5), "l1": L1(0.8)}
MOVING, EVERY = sorted(moving(Linf(0.1))), sorted(every(Linf(0.1)))
MODES = [name for name in MOVING if name != "Free"]


@pytest.fixture(params=BALLS.values(), ids=BALLS)
def ball(request):
    return request.param


def state(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def in_mode(objective, bn):
    return dataclasses.replace(objective, bn=bn)


def test_the_table_leaves_none_out():
    known = {type(objective).__name__ for objective in every(Linf(0.1)).values()}
    shipped = {name for name in training.__all__ if hasattr(getattr(training, name), "loss")} - {"Objective"}
    assert known == shipped - {"Reconstruction"}  # not of classifiers


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize("bounds", [Bounds(), Bounds(-1.0, 2.0)], ids=str)
def test_points_lie_in_ball_and_box(name, ball, bounds):
    x, y = rows_of()
    x = bounds.lower + bounds.width * x
    net, memory = net_of(dropout=0.0).train(), {}
    for _ in range(3):  # the later ones start from what is kept
        objective = moving(ball, bounds)[name]
        points = points_of(objective, net, x, y, memory=memory)
        objective.loss(net, x, points, y).backward()
        distance = ball.distance(points.detach(), x)
        assert distance.max() <= ball.eps * (1 + 1e-5)
        assert bounds.lower <= points.min()
        assert points.max() <= bounds.upper
        assert points.dtype == x.dtype
    assert (distance > 0.1 * ball.eps).all()


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("bn", ["eval", "train"])
def test_points_leave_everything_as_it_was(name, bn, ball):
    x, y = rows_of()
    net = net_of().train()
    net[0].eval()
    net[1].weight.requires_grad_(False)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    flags = [part.training for part in net.modules()], [p.requires_grad for p in net.parameters()]
    before, given, generator = state(net), (x.clone(), y.clone()), torch.get_rng_state()
    points_of(in_mode(moving(ball)[name], bn), net, x, y)
    assert flags == ([part.training for part in net.modules()], [p.requires_grad for p in net.parameters()])
    assert same(state(net), before)
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(x, given[0])
    assert torch.equal(y, given[1])


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize(
    ("bn", "frozen", "mode"), [("eval", False, False), ("train", False, True), ("train", True, False)]
)
def test_the_mode_of_the_attack(name, bn, frozen, mode):
    x, y = rows_of()
    net, seen = net_of().train(), []
    if frozen:  # a layer that the caller has frozen stays so
        net[2].eval()
    for part in (net[2], net[4]):
        part.register_forward_hook(lambda part, *_: seen.append((type(part).__name__, part.training)))
    net.register_forward_hook(lambda *_: seen.append(any(p.requires_grad for p in net.parameters())))
    points_of(in_mode(moving(Linf(0.1))[name], bn), net, x, y)
    assert set(seen) == {("BatchNorm1d", mode), ("Dropout", False), False}


@pytest.mark.parametrize("bn", ["eval", "train"])
def test_a_model_that_fails_gets_its_flags_and_statistics_back(bn):
    x, y = rows_of()
    net = net_of().train()
    before = state(net)
    handle = net[5].register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(ModelError, match="the model failed on inputs of shape"):
        points_of(in_mode(moving(Linf(0.1))["Adversarial"], bn), net, x, y)
    handle.remove()
    assert all(part.training for part in net.modules())
    assert all(p.requires_grad for p in net.parameters())
    assert same(state(net), before)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("shape", "k", "dtype"),
    [
        ((7,), 2, torch.float32),
        ((1, 6, 6), 3, torch.float64),
        ((2, 3, 2, 2), 3, torch.float32),
        ((5,), 1000, torch.float32),
    ],
    ids=str,
)
def test_any_rank_type_and_number_of_classes(name, shape, k, dtype):
    x, y = rows_of(shape=shape, k=k, dtype=dtype)
    net = net_of(shape, k, dtype=dtype).train()
    loss = loss_of(every(Linf(0.1), teacher=net_of(shape, k, dtype=dtype, seed=5))[name], net, x, y)
    assert loss.shape == ()
    assert loss.dtype == dtype
    grads = grads_of(loss, net)
    assert all(grad.isfinite().all() for grad in (loss, *grads))
    assert all(grad.any() for grad in grads)


@pytest.mark.parametrize("name", EVERY)
def test_points_and_memory_stay_on_the_device(name, device):
    x, y = (part.to(device) for part in rows_of())
    net, memory = net_of().to(device).train(), {}
    objective = every(L2(0.5), teacher=net_of(seed=5).to(device))[name]
    for n in (8, 5, 8):
        points = points_of(objective, net, x[:n], y[:n], memory=memory, rows=torch.arange(n, device=device))
        loss = objective.loss(net, x[:n], points, y[:n])
        loss.backward()
        assert loss.isfinite()
        assert {tensor.device.type for tensor in (points, loss, *memory.values())} == {device.type}


@pytest.mark.parametrize("name", EVERY)
def test_one_row_is_enough(name):
    x, y = rows_of(1)
    net = net_of(dropout=0.0).eval()
    loss = loss_of(every(L2(0.5))[name], net, x, y)
    assert all(grad.isfinite().all() for grad in (loss, *grads_of(loss, net)))


@pytest.mark.parametrize("name", MOVING)
def test_points_are_the_rows_own(name, ball):
    x, y = rows_of()
    net, order = net_of().eval(), torch.arange(8).flip(0)
    objective = moving(ball)[name]
    one = points_of(objective, net, x, y)
    other = points_of(objective, net, x[order], y[order], rows=order)
    assert torch.allclose(one, other[order], atol=1e-6)


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize("zero", [Linf(0.0), L2(0.0), L1(0.0)], ids=lambda ball: ball.norm)
def test_radius_zero_is_the_base_loss(name, zero):
    x, y = rows_of()
    net = net_of(dropout=0.0, dtype=torch.float64).eval()
    x = x.double()
    objective = moving(zero)[name]
    points = points_of(objective, net, x, y)
    assert torch.equal(points.detach(), x)
    logits = net(x)
    known = functional.cross_entropy(logits, y)
    if isinstance(objective, Mart):
        other = logits.softmax(1).scatter(1, y[:, None], 0).amax(1)
        known = known - (1.0001 - other).log().mean()
    loss = objective.loss(net, x, points, y)
    assert loss.item() == pytest.approx(known.item(), rel=1e-12)
    for one, two in zip(grads_of(loss, net), grads_of(known, net), strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_a_model_without_any_slope_gives_no_nan(name):
    x, y = rows_of()
    net = net_of().train()
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    for ball in (L2(0.5), L1(0.8)):
        loss = loss_of(every(ball)[name], net, x, y)
        assert all(grad.isfinite().all() for grad in (loss, *grads_of(loss, net)))


@pytest.mark.parametrize("name", EVERY)
def test_huge_logits_stay_finite(name):
    x, y = rows_of()
    net = net_of(dropout=0.0).train()
    with torch.no_grad():
        net[5].weight.mul_(1000)
    loss = loss_of(every(Linf(0.1))[name], net, x, y)
    assert all(grad.isfinite().all() for grad in (loss, *grads_of(loss, net)))


class Halved(nn.Module):
    """Logits in half precision, as under autocast."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x).to(torch.bfloat16)


@pytest.mark.parametrize("name", EVERY)
def test_logits_of_half_precision_are_judged_in_float32(name):
    x, y = rows_of()
    net = Halved(net_of(dropout=0.0).train())
    loss = loss_of(every(Linf(0.1))[name], net, x, y)
    assert loss.dtype == torch.float32
    assert all(grad.isfinite().all() for grad in (loss, *grads_of(loss, net)))


@pytest.mark.parametrize("name", EVERY)
def test_it_is_a_value(name):
    teacher = net_of(seed=5)
    one, other = every(Linf(0.1), teacher=teacher)[name], every(Linf(0.1), teacher=teacher)[name]
    assert one == other
    assert hash(one) == hash(other)
    assert one.replays == (4 if name.endswith("Free") else 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.replays = 2


@pytest.mark.parametrize("name", EVERY)
def test_one_class_is_refused(name):
    x, y = rows_of(k=1)
    objective = every(Linf(0.1))[name]
    with pytest.raises(
        ModelError, match=r"returned \(8, 1\) for 8 inputs; training needs logits \(n, k\) of at least two"
    ):
        objective.loss(net_of(k=1), x, x.clone(), y)


@pytest.mark.parametrize("name", MOVING)
def test_inputs_outside_the_box_are_refused(name):
    x, y = rows_of()
    with pytest.raises(InputError, match="inputs range from 0 to 255"):
        points_of(moving(Linf(0.1))[name], net_of(), x * 255, y)


@pytest.mark.parametrize("name", MOVING)
def test_a_radius_in_other_units_is_refused(name):
    x, y = rows_of()
    with pytest.raises(RadiusError, match="did you mean 0.03137, that is 8/255"):
        points_of(moving(Linf(8.0))[name], net_of(), x, y)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", [name for name in MOVING if name != "Adversarial"])
def test_balls_that_training_cannot_use_are_refused(name):
    for bad, error, told in (
        (Linf(torch.tensor([0.1, 0.2])), SettingError, "one eps per row; training needs one eps"),
        (L2(float("inf")), RadiusError, "eps=inf is for minimum-norm attacks"),
        (L0(3.0), ArgumentTypeError, "must be Linf, L2 or L1"),
        (0.1, ArgumentTypeError, "ball=0.1 must be Linf, L2 or L1"),
    ):
        with pytest.raises(error, match=told):
            dataclasses.replace(moving(Linf(0.1))[name], ball=bad)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", MODES)
def test_another_mode_is_refused(name):
    with pytest.raises(SettingError, match="bn='batch' must be 'eval' or 'train'"):
        in_mode(moving(Linf(0.1))[name], "batch")


@pytest.mark.parametrize("made", [Adversarial, training.Fast, training.Trades, Mart])
def test_the_published_mode_is_a_mode(made):
    assert made.as_published in ("eval", "train")


def test_training_mode_uses_the_statistics_of_the_batch():
    x, y = rows_of()
    net, objective = net_of().train(), moving(Linf(0.1))["Trades"]
    with torch.no_grad():
        for tensor in (net[2].running_mean, net[2].running_var):
            tensor.uniform_(0.5, 3, generator=torch.Generator().manual_seed(0))
    known = twin(net)
    known[4].eval()
    running = points_of(in_mode(objective, "eval"), net, x, y)
    batch = points_of(in_mode(objective, "train"), net, x, y)
    assert not torch.equal(running, batch)
    known[2].track_running_stats, known[2].running_mean, known[2].running_var = False, None, None
    assert torch.allclose(points_of(in_mode(objective, "eval"), known, x, y), batch, atol=1e-6)
