"""The code of every grey level, its order, its inverse, and the gradient that it does not have."""

import numpy as np
import pytest
import torch
from torch import nn

import saddlepoint as sp
from saddlepoint.attacks import PGD
from saddlepoint.defenses.transforms import Thermometer
from saddlepoint.errors import ArgumentTypeError, InputError, SettingError, SpecError, WeightsError
from saddlepoint.models import load_weights, save_weights

CENTROIDS = torch.tensor([0.0, 0.1, 0.15, 0.6, 0.9], dtype=torch.float64)
GREYS = torch.arange(256, dtype=torch.float64) / 255


def floors(x, levels):
    return (0.99999 * x * levels).floor().long()


@pytest.mark.parametrize("levels", [2, 10, 15, 16, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_codes_of_all_grey_levels_are_the_published_ones(levels, dtype):
    known, x = floors(GREYS, levels), GREYS.to(dtype)[:, None]
    assert torch.equal(Thermometer(levels).buckets(x)[:, 0], known)
    thermometer = (torch.arange(levels) <= known[:, None]).to(dtype)
    assert torch.equal(Thermometer(levels)(x), thermometer)
    assert torch.equal(Thermometer(levels, "one-hot")(x), nn.functional.one_hot(known, levels).to(dtype))
    assert torch.equal(Thermometer(levels, "quantised")(x)[:, 0], known.to(dtype) / (levels - 1))


def test_the_order_is_channel_then_level():
    x = torch.rand(2, 3, 4, 5)
    codes = Thermometer(7)(x)
    assert codes.shape == (2, 21, 4, 5)
    for channel in range(3):
        for level in range(7):
            assert torch.equal(codes[:, channel * 7 + level], (floors(x[:, channel].double(), 7) >= level).float())


@pytest.mark.parametrize("mode", ["thermometer", "one-hot", "quantised"])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-2.0, 3.0)])
def test_decoding_gives_the_input_within_a_bucket(mode, bounds):
    encoder, width = Thermometer(16, mode, bounds=bounds), bounds[1] - bounds[0]
    x = bounds[0] + width * torch.rand(9, 2, 5, generator=torch.Generator().manual_seed(0))
    given = x.clone()
    codes = encoder(x)
    assert ((encoder.decode(codes) - x).abs() <= width / 16).all()
    assert torch.equal(x, given)  # no input is changed
    assert torch.allclose(encoder(encoder.decode(codes)), codes)  # b / (L - 1) lies in bucket b


def test_ends_and_edges():
    encoder = Thermometer(4)
    assert encoder.buckets(torch.tensor([[0.0, 1.0, -0.5, 1.5]])).tolist() == [[0, 3, 0, 3]]
    assert encoder.buckets(torch.tensor([[0.25, 0.5, 0.75]])).tolist() == [[0, 1, 2]]  # an edge is still below


def test_mixtures_of_one_bucket_are_its_code():
    x = torch.rand(3, 2, 4, 4)
    for mode in ("thermometer", "one-hot"):
        encoder = Thermometer(5, mode)
        weights = nn.functional.one_hot(encoder.buckets(x), 5).movedim(-1, 2).float()
        assert torch.equal(encoder.relaxed(weights), encoder(x))
        assert torch.equal(encoder.split(encoder(x)).flatten(1, 2), encoder(x))


def test_the_surrogate_is_a_ramp_over_one_bucket():
    levels, x = 8, torch.linspace(0.001, 0.999, 96, dtype=torch.float64)[:, None].requires_grad_()
    k = torch.arange(levels)
    ramps = Thermometer(levels).surrogate(x)
    assert torch.allclose(ramps, (levels * x - (k - 1)).clamp(0, 1))
    weights = torch.rand(levels, dtype=torch.float64)
    slope = torch.autograd.grad((ramps * weights).sum(), x)[0][:, 0]
    above = (levels * x.detach()[:, 0]).floor().long() + 1  # the one level whose ramp is under way
    known = torch.where(above < levels, levels * weights[above.clamp_max(levels - 1)], 0)
    assert torch.allclose(slope, known)
    one_hot = Thermometer(levels, "one-hot").surrogate(x)
    assert torch.allclose(one_hot.flip(1).cumsum(1).flip(1), ramps)
    assert torch.equal(Thermometer(levels, "quantised").surrogate(x), x)


def test_black_pixels_are_pushed_by_the_first_ramp_alone():
    x = torch.zeros(1, 1, requires_grad=True)
    slope = torch.autograd.grad(Thermometer(4).surrogate(x)[0], x, torch.tensor([5.0, 1.0, 0.0, 0.0]))[0]
    assert slope.item() == 4.0  # level 0 is always on


def test_attacks_that_take_its_gradient_stand_still():
    torch.manual_seed(0)
    net = nn.Sequential(Thermometer(8), nn.Flatten(), nn.Linear(8 * 16, 3))
    x, model = torch.rand(20, 1, 4, 4), sp.Classifier(net)
    y = model.predict(x)
    found = PGD(ball=sp.Linf(0.1), steps=5, random_start=False)(model, x, y)
    assert torch.equal(found.x, x)
    assert not found.success.any()


@pytest.mark.parametrize("levels", [3, 16, 40])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_nearest_value_of_a_bucket_lies_in_it(levels, bounds, dtype):
    generator, width = torch.Generator().manual_seed(1), bounds[1] - bounds[0]
    x = (bounds[0] + width * torch.rand(400, 3, generator=generator, dtype=torch.float64)).to(dtype)
    encoder, to = Thermometer(levels, bounds=bounds), torch.randint(levels, x.shape, generator=generator)
    found = encoder.nearest(x, to)
    assert torch.equal(encoder.buckets(found), to)
    assert torch.equal(found[encoder.buckets(x) == to], x[encoder.buckets(x) == to])
    near = (x - bounds[0]) / width * levels
    gap = torch.maximum(to - near, near - (to + 1)).clamp_min(0) / levels * width
    assert ((found - x).abs() <= gap + 2e-5 * width).all()


def test_settings_that_mean_nothing_are_refused():
    for levels in (1, 0, True):
        with pytest.raises(SettingError, match="must be an integer >= 2; one level gives all inputs the same code"):
            Thermometer(levels)
    with pytest.raises(SpecError, match="unknown mode 'onehot'; did you mean 'one-hot'"):
        Thermometer(4, "onehot")
    with pytest.raises(SettingError, match="mode='quantised' has no codes"):
        Thermometer(4, "quantised").relaxed(torch.ones(1, 1, 4))
    with pytest.raises(InputError, match=r"codes of shape \(2, 7\) are not 4 to a channel"):
        Thermometer(4).decode(torch.ones(2, 7))
    with pytest.raises(InputError, match=r"inputs of shape \(3,\) have no channels"):
        Thermometer(4)(torch.ones(3))
    assert Thermometer(4, "one-hot").settings() == {"levels": 4, "mode": "one-hot"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_centroids_the_bucket_is_that_of_the_nearest(dtype):
    x = torch.linspace(-0.1, 1.1, 1201, dtype=torch.float64)[:, None].to(dtype)
    known = (x - CENTROIDS.to(dtype)).abs().argmin(1)  # the first of two that are as near
    edge = ((x.double() - torch.tensor([0.05, 0.125, 0.375, 0.75])).abs() < 1e-6).any(1)  # there it is up to rounding
    assert torch.equal(Thermometer(5, centroids=CENTROIDS).buckets(x)[~edge, 0], known[~edge])
    code = (torch.arange(5) <= known[:, None])[~edge].to(dtype)
    assert torch.equal(Thermometer(5, centroids=CENTROIDS)(x)[~edge], code)
    one_hot = nn.functional.one_hot(known, 5)[~edge].to(dtype)
    assert torch.equal(Thermometer(5, "one-hot", centroids=CENTROIDS)(x)[~edge], one_hot)
    assert torch.equal(Thermometer(5, "quantised", centroids=CENTROIDS)(x)[~edge, 0], CENTROIDS.to(dtype)[known[~edge]])
    halves = torch.tensor([[0.25, 0.5]])
    assert Thermometer(2, centroids=torch.tensor([0.0, 0.5])).buckets(halves).tolist() == [[0, 1]]  # an edge is below


@pytest.mark.parametrize("mode", ["thermometer", "one-hot", "quantised"])
def test_codes_decode_to_their_centroid(mode):
    encoder, x = Thermometer(5, mode, centroids=CENTROIDS), torch.rand(9, 2, 4, dtype=torch.float64)
    decoded = encoder.decode(encoder(x))
    assert torch.equal(decoded, CENTROIDS[encoder.buckets(x)])
    assert torch.equal(encoder(decoded), encoder(x))


def test_the_ramps_go_from_centroid_to_centroid():
    x = torch.linspace(0.003, 0.997, 71, dtype=torch.float64)[:, None].requires_grad_()
    ramps = Thermometer(5, centroids=CENTROIDS).surrogate(x)
    assert torch.equal(ramps[:, 0], torch.ones(71))
    for k in range(1, 5):
        known = np.interp(x.detach()[:, 0], CENTROIDS[k - 1 : k + 1], [0.0, 1.0])
        assert torch.allclose(ramps[:, k], torch.from_numpy(known))
    slope = torch.autograd.grad(ramps.sum(), x)[0][:, 0]
    own = torch.searchsorted(CENTROIDS, x.detach()[:, 0]) - 1
    gaps = torch.cat([CENTROIDS.diff(), torch.tensor([torch.inf])])  # past the last there is none
    assert torch.allclose(slope, 1 / gaps[own])
    encoder = Thermometer(5, "one-hot", centroids=CENTROIDS)
    assert torch.allclose(encoder.surrogate(x).flip(1).cumsum(1).flip(1), ramps)
    assert torch.allclose(encoder.surrogate(CENTROIDS[:, None]), torch.eye(5, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_the_nearest_value_of_a_centroid_lies_in_its_bucket(dtype, scale):
    generator = torch.Generator().manual_seed(1)
    close = torch.cat([CENTROIDS[:2] - 1e-6, CENTROIDS]).sort().values.clamp_min(-1) * scale  # some 1e-6 apart
    encoder = Thermometer(7, centroids=close.to(dtype), bounds=(-scale, scale))
    x = (scale * torch.rand(400, 3, generator=generator, dtype=torch.float64)).to(dtype)
    to = torch.randint(7, x.shape, generator=generator)
    found, own = encoder.nearest(x, to), encoder.buckets(x)
    assert torch.equal(encoder.buckets(found), to)
    assert torch.equal(found[own == to], x[own == to])
    edges = torch.cat([torch.tensor([-torch.inf]), (close[1:] + close[:-1]) / 2, torch.tensor([torch.inf])])
    gap = torch.maximum(edges[to] - x, x - edges[to + 1]).clamp_min(0)
    assert ((found - x).abs() <= gap + 2e-6 * scale).all()


def test_fitted_centroids_are_the_distinct_percentiles():
    x = torch.rand(7, 1, 5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64).square()
    encoder = Thermometer.fitted(x, 9, "one-hot")
    assert np.allclose(encoder.centroids, np.percentile(x, np.linspace(0, 100, 9)), rtol=1e-12)
    assert encoder.settings() == {"levels": 9, "mode": "one-hot"}

    dark = torch.cat([torch.zeros(80), torch.linspace(0.1, 1, 20)]).view(10, 1, 10)
    encoder = Thermometer.fitted(dark, 11)
    known = np.unique(np.percentile(dark, np.linspace(0, 100, 11)).astype(np.float32))
    assert encoder.levels == len(known) == 4 == encoder(dark).shape[1]
    assert np.allclose(encoder.centroids, known)
    assert Thermometer.fitted(dark * 2 - 1, 11, bounds=(-1, 1)).centroids.tolist() == pytest.approx(known * 2 - 1)


def test_centroids_are_in_files_of_weights_and_in_the_fingerprint(tmp_path):
    x, nets = torch.rand(6, 1, 4, 4), []
    for power in (1.0, 2.0):
        torch.manual_seed(0)
        encoder = Thermometer(5, centroids=torch.linspace(0, 1, 5).pow(power))
        nets.append(nn.Sequential(encoder, nn.Flatten(), nn.Linear(80, 3)))
    assert sp.Classifier(nets[0]).fingerprint != sp.Classifier(nets[1]).fingerprint
    assert not torch.equal(nets[0](x), nets[1](x))
    save_weights(nets[1], tmp_path / "net.safetensors")
    load_weights(nets[0], tmp_path / "net.safetensors")
    assert torch.equal(nets[0](x), nets[1](x))
    assert sp.Classifier(nets[0]).fingerprint == sp.Classifier(nets[1]).fingerprint
    uniform = nn.Sequential(Thermometer(5), nn.Flatten(), nn.Linear(80, 3))
    assert list(uniform.state_dict()) == ["2.weight", "2.bias"]
    with pytest.raises(WeightsError, match="do not fit"):
        load_weights(uniform, tmp_path / "net.safetensors")


def test_centroids_that_mean_nothing_are_refused():
    for wrong in ([0.0, 0.5, 0.5], [0.5, 0.0, 1.0], [0.0, 0.5, torch.nan]):
        with pytest.raises(SettingError, match="must ascend; leave one of two equal ones out"):
            Thermometer(3, centroids=torch.tensor(wrong))
    with pytest.raises(SettingError, match=r"centroids of shape \(2,\) must be \(3,\): one for each level"):
        Thermometer(3, centroids=torch.tensor([0.0, 1.0]))
    with pytest.raises(SettingError, match=r"from 0 to 255 must lie in the box \(0, 1\)"):
        Thermometer(2, centroids=torch.tensor([0.0, 255.0]))
    with pytest.raises(ArgumentTypeError, match="must be a tensor of real numbers"):
        Thermometer(2, centroids=torch.tensor([0, 1]))
    with pytest.raises(SettingError, match="all 3 percentiles of x are 0; ask for more levels"):
        Thermometer.fitted(torch.zeros(4, 1, 2), 3)
    with pytest.raises(SettingError, match="x has no values"):
        Thermometer.fitted(torch.zeros(0, 1, 2), 3)
