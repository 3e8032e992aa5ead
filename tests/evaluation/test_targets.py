import pytest
import torch

from saddlepoint.classifier import Classifier
from saddlepoint.errors import SpecError
from saddlepoint.evaluation.targets import choose
from saddlepoint.noise import Noise


@pytest.fixture
def model(net):
    return Classifier(net)


def test_none_means_untargeted(model, data):
    assert choose("none", model, data.x, data.y, Noise(0)) is None
    assert model.meter.forwards == 0


def test_least_likely_is_the_smallest_logit_of_the_clean_input(model, data):
    with torch.no_grad():
        known = model.module(data.x).argmin(1)
    assert torch.equal(choose("least-likely", model, data.x, data.y, Noise(0)), known)


@pytest.mark.parametrize("index", [0, 3])
def test_a_class_index_is_the_target_of_all(model, data, index):
    assert choose(str(index), model, data.x, data.y, Noise(0)).tolist() == [index] * len(data)


@pytest.mark.parametrize("spec", ["4", "-1", "1.5", "", "least", "Random", "²", " 1"])
def test_anything_else_is_refused(model, data, spec):
    with pytest.raises(SpecError, match="must be none, least-likely, random, or a class of the model, 0 to 3"):
        choose(spec, model, data.x, data.y, Noise(0))


def test_random_targets_are_every_class_but_the_label(model):
    n = 3000
    x, y = torch.zeros(n, 1, 6, 6), torch.arange(n) % 4
    target = choose("random", model, x, y, Noise(5).at(torch.arange(n)))
    shift = (target - y) % 4
    counts = torch.bincount(shift, minlength=4).tolist()
    assert counts[0] == 0
    assert all(abs(count - n / 3) < 5 * (n * 2 / 9) ** 0.5 for count in counts[1:])
    assert int(target.min()) >= 0


def test_random_targets_of_two_classes_are_the_other_one():
    model = Classifier(lambda x: x[:, 0] - 0.5)
    y = torch.tensor([0, 1, 1, 0])
    assert choose("random", model, torch.zeros(4, 1), y, Noise(1)).tolist() == [1, 0, 0, 1]


def test_random_targets_belong_to_the_row_not_to_the_batch(model, data):
    whole = choose("random", model, data.x, data.y, Noise(2).at(data.rows))
    part = torch.tensor([31, 4, 17])
    alone = choose("random", model, data.x[part], data.y[part], Noise(2).at(data.rows[part]))
    assert torch.equal(alone, whole[part])
    assert not torch.equal(whole, choose("random", model, data.x, data.y, Noise(3).at(data.rows)))


def test_the_mode_of_the_module_is_not_touched(model, data):
    model.module.train()
    choose("least-likely", model, data.x, data.y, Noise(0))
    assert all(part.training for part in model.module.modules())
    assert all(parameter.requires_grad for parameter in model.module.parameters())
