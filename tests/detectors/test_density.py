import math

import pytest
import torch
from detected import net_of, rows_of
from sklearn.neighbors import KernelDensity
from torch import nn

from saddlepoint import Classifier
from saddlepoint.detectors import KDensity
from saddlepoint.detectors.density import log_density, squared_distances
from saddlepoint.errors import DataError, ModelError, SettingError, SpecError


def features_of(model, x):
    """The input of the last linear layer."""
    with torch.no_grad(), model.frozen():
        return model.module[:4]((x - 0.5) / 0.25)


def test_a_single_kernel_at_the_point_has_log_density_0():
    z = torch.randn(1, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert log_density(squared_distances(z, z), 0.7).item() == pytest.approx(0, abs=1e-12)


def test_the_log_domain_agrees_with_the_direct_sum_and_does_not_underflow():
    z, kernels = (torch.randn(n, 8, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in (5, 30))
    distances = torch.stack([(kernels - row).square().sum(1) for row in z])
    direct = (-distances / 5.0).exp().mean(1).log()
    assert torch.allclose(log_density(squared_distances(z, kernels), 5.0), direct, atol=1e-6)
    assert log_density(torch.tensor([[1e4, 1e4]]), 1.0).item() == -1e4


@pytest.mark.parametrize("bandwidth", [0.7, "median", "likelihood"])
def test_it_agrees_with_scikit_learn(bandwidth, model, rows):
    x, y = rows
    scorer = KDensity(bandwidth=bandwidth).fit(model, x, y)
    z, variance = features_of(model, x), scorer.variance.item()
    inputs = rows_of(50, seed=7)
    predicted, points = model.predict(inputs), features_of(model, inputs)
    found, scores = scorer.log_densities(points), scorer.scores(inputs)
    for c in range(3):
        # one leaf: bounds on nodes of a tree lose small densities to rounding
        tree = KernelDensity(bandwidth=math.sqrt(variance / 2), leaf_size=999).fit(z[y == c].double().numpy())
        known = torch.from_numpy(tree.score_samples(points.double().numpy())) + 8 / 2 * math.log(math.pi * variance)
        mine = predicted == c
        assert mine.any()
        assert torch.allclose(found[:, c], known, rtol=1e-6, atol=1e-6)
        assert torch.allclose(-scores[mine].double(), known[mine], rtol=1e-4)  # features in float32


def test_the_median_rule(model, rows):
    x, y = rows
    z, pairs = features_of(model, x).double(), []
    for c in range(3):
        group = z[y == c]
        distances = torch.cdist(group, group).square()
        pairs.append(distances[~torch.eye(len(group), dtype=torch.bool)])
    known = torch.cat(pairs).median() / math.log(len(x) / 3)
    assert KDensity().fit(model, x, y).variance.item() == pytest.approx(known.item(), rel=1e-4)


def test_the_likeliest_bandwidth_is_that_of_a_grid(model, rows):
    x, y = rows
    z, found = features_of(model, x).double(), KDensity(bandwidth="likelihood").fit(model, x, y).variance.item()

    def likelihood(variance):
        total = 0.0
        for c in range(3):
            group = z[y == c].numpy()
            for i in range(0, len(group), 3):
                others = [j for j in range(len(group)) if j != i]
                total += KernelDensity(bandwidth=math.sqrt(variance / 2)).fit(group[others]).score(group[i : i + 1])
        return total

    best = likelihood(found)
    assert best > likelihood(found * 2)
    assert best > likelihood(found / 2)


def test_many_classes_go_in_groups_without_another_result(model, rows, monkeypatch):
    scorer = KDensity().fit(model, *rows)
    before = scorer.scores(rows[0])
    monkeypatch.setattr("saddlepoint.detectors.density._AT_ONCE", 100)
    assert torch.allclose(scorer.scores(rows[0]), before)


def test_kernels_are_drawn_by_seed_and_by_class(model, rows):
    first, again, other = (KDensity(kernels=5, seed=seed).fit(model, *rows).kernels for seed in (0, 0, 1))
    assert len(first) == 15
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_named_layer_and_one_that_is_not_there(model, rows):
    assert KDensity(layer="1").fit(model, *rows).kernels.shape[1] == 8
    assert KDensity(layer="0").fit(model, *rows).kernels.shape[1] == 6
    with pytest.raises(SpecError, match=r"unknown layer 'fc'; known: 0, 1, 2, 3, 4"):
        KDensity(layer="fc").fit(model, *rows)
    with pytest.raises(ModelError, match=r"the model has no linear layer; name another one"):
        KDensity().fit(Classifier(nn.Sequential(nn.Flatten())), rows[0], rows[1])
    with pytest.raises(ModelError, match=r"the model is a function, whose layers cannot be seen"):
        KDensity().fit(Classifier(lambda x: x[:, :3]), *rows)
    assert not model.module[4]._forward_pre_hooks, "no hook is left behind"


def test_a_class_without_samples_is_refused(model, rows):
    x, y = rows
    with pytest.raises(DataError, match=r"no row has the class \[2\]: every class needs kernels; give rows of all 3"):
        KDensity().fit(model, x[y != 2], y[y != 2])


def test_rows_that_are_all_alike_have_no_bandwidth(model):
    x, y = rows_of(1).repeat(9, 1), torch.arange(9) % 3
    with pytest.raises(DataError, match=r"no bandwidth follows from them"):
        KDensity().fit(model, x, y)
    assert KDensity(bandwidth=1.0).fit(model, x, y).scores(x) == pytest.approx(torch.zeros(9), abs=1e-5)


@pytest.mark.parametrize("k", [1, 2])
def test_two_classes(k):
    model = Classifier(net_of(k=k))
    x = rows_of(100)
    y = model.predict(x)
    assert len(y.unique()) == 2
    scores = KDensity().fit(model, x, y).scores(x)
    assert scores.isfinite().all()
    assert scores.max() > scores.min()


@pytest.mark.parametrize("bandwidth", [0, -1.0, float("inf"), "rule"])
def test_a_bandwidth_that_is_none_is_refused(bandwidth):
    with pytest.raises(SettingError, match=r"bandwidth=.* must be 'median', 'likelihood', or a finite number > 0"):
        KDensity(bandwidth=bandwidth)
