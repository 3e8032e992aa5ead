"""Blocks inside a residual net that bears torchvision's names."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional

import saddlepoint as sp
from saddlepoint.defenses.blocks import KINDS, Denoise, denoise
from saddlepoint.defenses.training import Adversarial, Schedule, fit
from saddlepoint.errors import ArgumentTypeError, ModelError, SettingError, SpecError


class BasicBlock(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.downsample = None
        if stride > 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        inner = functional.relu(self.bn1(self.conv1(x)))
        short = x if self.downsample is None else self.downsample(x)
        return functional.relu(self.bn2(self.conv2(inner)) + short)


class ResNet(nn.Module):
    def __init__(self, width=8, classes=10):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width)
        stages = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 8 * width, 2)]
        for number, (before, after, stride) in enumerate(stages, 1):
            setattr(self, f"layer{number}", nn.Sequential(BasicBlock(before, after, stride)))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8 * width, classes)
        self.unused = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.fc(self.avgpool(x).flatten(1))


STAGES = ["layer1", "layer2", "layer3", "layer4"]


def resnet(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ResNet()


@pytest.fixture
def x():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("training", [True, False])
def test_it_is_exactly_the_network_at_start(kind, training, x):
    net = resnet().train(training)
    before = copy.deepcopy(net.state_dict())
    found = denoise(net, STAGES, like=x[:1], kind=kind)
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())
    assert len(list(net.modules())) < len(list(found.modules()))
    assert torch.equal(found(x), net(x))
    for key, value in net.state_dict().items():  # the weights keep their names
        assert torch.equal(found.state_dict()[key], value)
    assert [m.channels for m in found.modules() if isinstance(m, Denoise)] == [8, 16, 32, 64]
    assert all(module.training == training for module in found.modules())


def test_layers_of_any_kind_and_inside_one_another(x):
    net = resnet().eval()
    found = denoise(net, ["layer2", "layer2.0", "layer2.0.bn2", "conv1"], like=x, kind="mean")
    assert torch.equal(found(x), net(x))
    assert isinstance(found.layer2[1], Denoise)
    assert isinstance(found.layer2[0][1], Denoise)
    assert isinstance(found.layer2[0][0].bn2[1], Denoise)
    assert isinstance(found.conv1[1], Denoise)
    for made in found.modules():
        if isinstance(made, Denoise):
            nn.init.ones_(made.norm.weight)
    assert not torch.allclose(found(x), net(x))


def test_blocks_have_the_type_of_the_input(x):
    found = denoise(resnet().double(), ["layer1"], like=x.double())
    assert found(x.double()).dtype is torch.float64


def test_names_and_layers_that_cannot_be_are_refused(x):
    net = resnet()
    with pytest.raises(SpecError, match="unknown layer 'layr1'; did you mean 'layer1'"):
        denoise(net, ["layr1"], like=x)
    with pytest.raises(SettingError, match="must name at least one layer, and none twice"):
        denoise(net, ["layer1", "layer1"], like=x)
    with pytest.raises(SettingError, match="must name at least one layer"):
        denoise(net, [], like=x)
    with pytest.raises(ModelError, match="the layer 'unused' is not called"):
        denoise(net, ["unused"], like=x)
    with pytest.raises(ModelError, match=r"the layer 'fc' returns \(4, 10\); a block needs feature maps"):
        denoise(net, ["fc"], like=x)
    with pytest.raises(ArgumentTypeError, match=r"must be a list of names, such as \['layer1'\]"):
        denoise(net, "layer1", like=x)
    assert not net._forward_hooks


def trained(rows):
    data = sp.load_data("photopatch10:train")[:rows]
    net = denoise(resnet(), STAGES, like=data.x[:1])
    before = sp.attacks.PGD(ball=sp.Linf(8 / 255), steps=3)(sp.Classifier(net), data.x[:60], data.y[:60]).loss.mean()
    objective = Adversarial(attack=sp.attacks.PGD(ball=sp.Linf(8 / 255), steps=2))
    record = fit(net, data.x, data.y, objective, Schedule(epochs=1, batch_size=32, peak=2e-3))
    found = sp.attacks.PGD(ball=sp.Linf(8 / 255), steps=3)(sp.Classifier(net), data.x[:60], data.y[:60]).loss.mean()
    scales = [m.norm.weight.abs().max().item() for m in net.modules() if isinstance(m, Denoise)]
    return record, before, found, scales


def test_it_trains_against_pgd_on_photographs():
    record, _, _, scales = trained(96)
    assert len(record.epochs) == 1
    assert min(scales) > 0  # every block has left the identity


@pytest.mark.slow
def test_a_whole_epoch_of_pgd_on_photographs_lowers_the_loss():
    _, before, found, scales = trained(None)
    assert found < before
    assert min(scales) > 0


def test_a_sequence_with_names_of_its_own_loses_no_layer():
    torch.manual_seed(0)
    named = OrderedDict([("1", nn.Conv2d(3, 4, 3, padding=1)), ("2", nn.ReLU())])
    net = nn.Sequential(OrderedDict([("body", nn.Sequential(named)), ("rest", nn.Flatten())])).eval()
    x = torch.rand(2, 3, 6, 6)
    found = denoise(net, ["body"], like=x)
    assert [type(part) for part in found.body] == [nn.Conv2d, nn.ReLU, Denoise]
    assert torch.equal(found(x), net(x)), "the block begins as the identity"
