import pytest
import torch
from torch import nn

from saddlepoint.balls import Bounds, Linf
from saddlepoint.defenses.training import AWP, ContractivePenalty, Distillation, Fast, Schedule, Standard, fit
from saddlepoint.defenses.training.augment import augment, flip, shift
from saddlepoint.errors import InputError
from saddlepoint.noise import Noise


@pytest.fixture
def images():
    return 0.1 + torch.rand(200, 2, 5, 4, generator=torch.Generator().manual_seed(0))


def moved(image, down, right, fill):
    """The image moved by hand, pixel by pixel."""
    out = torch.full_like(image, fill)
    _, height, width = image.shape
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - right < width:
                out[:, i, j] = image[:, i - down, j - right]
    return out


@pytest.mark.parametrize(("most", "fill"), [(1, 0.0), (2, 0.5)])
def test_each_image_is_moved_by_whole_pixels(images, most, fill):
    found = shift(images, Noise(1), most, fill)
    steps = range(-most, most + 1)
    counts = torch.zeros(2 * most + 1, 2 * most + 1)
    for image, row in zip(images, found, strict=True):
        hits = [(a, b) for a in steps for b in steps if torch.equal(moved(image, a, b, fill), row)]
        assert len(hits) == 1
        counts[hits[0][0] + most, hits[0][1] + most] += 1
    expected = 200 / counts.numel()
    assert ((counts - expected).abs() < 5 * expected**0.5).all()  # all moves are equally likely


def test_no_shift_is_the_identity(images):
    assert torch.equal(shift(images, Noise(1), 0), images)


def test_an_image_moves_the_same_whoever_is_beside_it(images):
    rows = torch.tensor([7, 130, 2])
    whole = shift(images, Noise(4).at(torch.arange(200)), 2)
    assert torch.equal(shift(images[rows], Noise(4).at(rows), 2), whole[rows])
    assert not torch.equal(shift(images, Noise(5).at(torch.arange(200)), 2), whole)


def test_what_is_no_image_is_refused():
    with pytest.raises(InputError, match=r"x has shape \(3, 4\); shifting needs images .*set shift=0"):
        shift(torch.zeros(3, 4), Noise(0), 1)


def test_half_of_the_images_are_mirrored(images):
    found = flip(images, Noise(3))
    mirrored = torch.tensor([torch.equal(row, image.flip(2)) for row, image in zip(found, images, strict=True)])
    same = torch.tensor([torch.equal(row, image) for row, image in zip(found, images, strict=True)])
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130
    rows = torch.tensor([9, 4])
    assert torch.equal(flip(images[rows], Noise(3).at(rows)), found[rows])


def test_a_schedule_chooses_the_views(images):
    noise = Noise(2)
    assert augment(images, noise, Schedule()) is images
    assert torch.equal(augment(images, noise, Schedule(shift=1)), shift(images, noise, 1))
    both = augment(images, noise, Schedule(crop=2, flip=True))
    for image, row in zip(images, both, strict=True):
        views = [moved(image, a, b, 0.0) for a in range(-2, 3) for b in range(-2, 3)]
        assert any(torch.equal(row, view) or torch.equal(row, view.flip(2)) for view in views)
    assert not torch.equal(augment(images, noise, Schedule(crop=1)), shift(images, noise, 1))  # draws of their own
    grey = torch.full((100, 1, 8, 8), 0.5)
    noisy = augment(grey, noise, Schedule(noise=0.1)) - grey
    assert noisy.std().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(augment(grey[[7]], noise.at(torch.tensor([7])), Schedule(noise=0.1)) - grey[[7]], noisy[[7]])


def test_flat_rows_are_not_mirrored():
    with pytest.raises(InputError, match="mirroring needs images .* or set flip=False"):
        augment(torch.zeros(3, 4), Noise(0), Schedule(flip=True))
    with pytest.raises(InputError, match="shifting needs images .* or set crop=0"):
        augment(torch.zeros(3, 4), Noise(0), Schedule(crop=4))


WIDE = Bounds(-1.0, 1.0)


def seen_by(objective, x):
    """The inputs of the pass with a gradient, in a training with noise."""
    net, seen = nn.Linear(4, 2), []
    net.register_forward_hook(lambda _, args, __: seen.append(args[0].detach()) if torch.is_grad_enabled() else None)
    fit(net, x, torch.arange(len(x)) % 2, objective, Schedule(epochs=1, batch_size=len(x), noise=1e-3))
    return seen[-1]


@pytest.mark.parametrize(
    "objective",
    [
        Standard(),
        AWP(objective=Standard()),
        Distillation(teacher=nn.Linear(4, 2)),
        Fast(ball=Linf(0.0), bounds=WIDE),
        AWP(objective=Fast(ball=Linf(0.0), bounds=WIDE)),
        ContractivePenalty(objective=Fast(ball=Linf(0.0), bounds=WIDE), bounds=WIDE),
        AWP(objective=ContractivePenalty(objective=Standard(), bounds=WIDE)),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_noise_does_not_cut_inputs_of_another_box(objective):
    x = torch.linspace(-0.9, 0.9, 40).view(10, 4)
    found = seen_by(objective, x).flatten().sort().values
    assert torch.allclose(found, x.flatten(), atol=0.01)
    assert not torch.equal(found, x.flatten())


@pytest.mark.parametrize("around", [lambda o: o, lambda o: AWP(objective=o)], ids=["bare", "AWP"])
def test_noise_is_cut_off_at_the_bounds_of_the_objective(around):
    x = torch.ones(10, 4)
    found = seen_by(around(Fast(ball=Linf(0.0))), x)
    assert found.max() == 1
    assert found.min() < 1
    assert seen_by(around(Standard()), x).max() > 1  # no box, nothing to cut off at
