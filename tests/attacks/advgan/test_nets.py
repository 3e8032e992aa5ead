"""Generators and discriminators of any shape, in which rows do not mix."""

import pytest
import torch

from saddlepoint.attacks.advgan.nets import Discriminator, Generator
from saddlepoint.errors import SettingError

SHAPES = [(1, 28, 28), (3, 32, 32), (2, 5, 11), (3, 2, 2), (1, 1, 1), (7,), (4, 3), (2, 3, 4, 5)]


def inputs(shape, rows=3):
    return torch.rand(rows, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_perturbations_and_scores(shape):
    x, t = inputs(shape), torch.tensor([0, 1, 2])
    moved = Generator(shape, classes=3, width=4, blocks=1)(x, t)
    assert moved.shape == x.shape
    assert moved.abs().max() <= 1
    scores = Discriminator(shape, width=4)(x)
    assert scores.dim() == 2
    assert len(scores) == 3


@pytest.mark.parametrize("shape", [(1, 9, 6), (7,)])
def test_a_row_does_not_depend_on_the_others(shape):
    x, t = inputs(shape, 5), torch.tensor([0, 1, 2, 0, 1])
    generator, discriminator = Generator(shape, classes=3, width=4), Discriminator(shape, width=4)
    whole, scores = generator(x, t), discriminator(x)
    for i in range(5):
        torch.testing.assert_close(generator(x[i : i + 1], t[i : i + 1])[0], whole[i])
        torch.testing.assert_close(discriminator(x[i : i + 1])[0], scores[i])


@pytest.mark.parametrize("shape", [(1, 9, 6), (7,)])
def test_the_class_reaches_the_output(shape):
    generator = Generator(shape, classes=2, width=4)
    x, first, second = inputs(shape), torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64)
    torch.testing.assert_close(generator(x, first), generator(x, second))  # both begin alike
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("shift"):
                parameter[1] += torch.linspace(-1, 1, parameter.shape[1])
    assert not torch.allclose(generator(x, first), generator(x, second))


@pytest.mark.parametrize("wrong", [{"classes": 0}, {"width": 0}, {"blocks": -1}, {"shape": ()}, {"shape": (1, 0, 2)}])
def test_sizes_that_cannot_be(wrong):
    with pytest.raises(SettingError, match="must be >= 1"):
        Generator(**{"shape": (1, 8, 8), **wrong})
