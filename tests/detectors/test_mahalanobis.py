import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from torch import nn

from saddlepoint import Classifier, Linf
from saddlepoint.attacks import PGD
from saddlepoint.detectors import Mahalanobis
from saddlepoint.detectors.mahalanobis import distance, pooled
from saddlepoint.errors import DataError, SettingError


def test_the_distance_is_that_of_scikit_learn(model, rows):
    x, y = rows
    scorer = Mahalanobis(layers=("1",)).fit(model, x, y)
    with torch.no_grad(), model.frozen():
        z = model.module[:2]((x - 0.5) / 0.25).double().numpy()
        found = scorer.parts(x)[1][:, 0].numpy()
    means = [z[y.numpy() == c].mean(0) for c in range(3)]
    about = np.stack([z[i] - means[c] for i, c in enumerate(y.tolist())])
    known = EmpiricalCovariance(assume_centered=True).fit(about)
    every = np.stack([known.mahalanobis(z - mean) for mean in means]).min(0)
    assert found == pytest.approx(every, rel=1e-3)


def test_many_classes_take_no_more_memory_than_their_means():
    drawn = torch.Generator().manual_seed(0)
    features, means = (torch.randn(n, 64, generator=drawn, dtype=torch.float64) + 100 for n in (32, 500))
    factor = torch.randn(64, 80, generator=drawn, dtype=torch.float64)
    root = torch.linalg.cholesky(factor @ factor.mT)
    features.requires_grad_()
    apart = (features[:, None] - means).flatten(0, 1)
    known = torch.linalg.solve_triangular(root, apart.mT, upper=False).square().sum(0).view(32, 500).amin(1)
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: largest.append(kept.numel()) or kept, lambda kept: kept):
        largest = []
        found = distance(features, means, root)
    torch.testing.assert_close(found, known, rtol=1e-10, atol=1e-10)
    grads = [torch.autograd.grad(each.sum(), features)[0] for each in (found, known)]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-9)
    assert max(largest) <= 64 * (32 + 500), "a whitened copy of each vector, not of each pair"


def test_a_step_towards_the_nearest_class_brings_it_nearer(model, rows):
    x, y = rows
    plain, moved = (Mahalanobis(eps=eps).fit(model, x, y) for eps in (0.0, 0.01))
    with torch.no_grad(), model.frozen():
        one, two = plain.parts(x)[1], moved.parts(x)[1]
    assert (two <= one + 1e-6).double().mean() > 0.9
    assert (two < one).double().mean() > 0.5


def test_maps_are_averaged_over_positions(rows):
    assert torch.equal(pooled(torch.arange(16.0).view(2, 2, 2, 2)), torch.tensor([[1.5, 5.5], [9.5, 13.5]]))
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    model = Classifier(net)
    x = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    scorer = Mahalanobis(layers=("0", None)).fit(model, x, torch.arange(60) % 3)
    assert scorer.means0.shape == (3, 4)
    assert scorer.means1.shape == (3, 64), "more features than rows"
    assert scorer.scores(x).isfinite().all()


def test_with_an_attack_it_learns_to_tell_it_from_clean_rows(model, rows):
    x, y = rows
    attack = PGD(ball=Linf(0.3), steps=10)
    scorer = Mahalanobis(attack=attack, layers=("1", None)).fit(model, x, y)
    found = attack(model, x, y)
    assert scorer.scores(found.x[found.success]).mean() > scorer.scores(x).mean()


def test_what_cannot_be_fitted_is_refused(model, rows):
    x, y = rows
    with pytest.raises(DataError, match=r"no row has the class \[2\]"):
        Mahalanobis().fit(model, x[y != 2], y[y != 2])
    with pytest.raises(DataError, match=r"no covariance follows from them"):
        Mahalanobis().fit(model, x[:1].repeat(6, 1), torch.arange(6) % 3)
    with pytest.raises(SettingError, match=r"eps=-1 must be a finite number >= 0"):
        Mahalanobis(eps=-1)
