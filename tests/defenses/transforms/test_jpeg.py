"""JPEG: Pillow's, image by image."""

import io

import numpy as np
import pytest
import torch

import saddlepoint as sp
from saddlepoint.defenses.transforms import JPEG
from saddlepoint.errors import InputError, SettingError

PIL = pytest.importorskip("PIL.Image")


def by_pillow(pixels, quality):
    """8-bit pixels (n, h, w) or (n, h, w, 3) through the codec."""
    out = []
    for image in pixels:
        file = io.BytesIO()
        PIL.fromarray(image).save(file, "JPEG", quality=quality)
        out.append(np.asarray(PIL.open(file)))
    return np.stack(out)


@pytest.fixture(scope="module")
def patches():
    return sp.load_data("photopatch10:test")[::50].x


@pytest.mark.parametrize("quality", [10, 75, 95])
def test_on_8_bits_it_is_pillow(patches, quality):
    pixels = (patches * 255).round().to(torch.uint8).movedim(1, -1).numpy()
    expected = torch.from_numpy(by_pillow(pixels, quality)).movedim(-1, 1).float() / 255
    assert torch.equal(JPEG(quality)(patches), expected)
    grey = torch.from_numpy(by_pillow(pixels[..., 1].copy(), quality)).unsqueeze(1).float() / 255
    assert torch.equal(JPEG(quality)(patches[:, 1:2]), grey)
    assert torch.equal(JPEG(quality)(patches[:, :2])[:, 1:], grey)  # two channels are two grey images


def test_8_bits_are_made_by_rounding(patches):
    assert torch.equal(JPEG(75)(patches + 0.4 / 255), JPEG(75)(patches))
    assert torch.equal(JPEG(75)((patches - 0.4 / 255).clamp(0)), JPEG(75)(patches))


def test_many_threads_do_the_same(patches):
    one = JPEG(75)(patches)
    torch.set_num_threads(2)
    try:
        assert torch.equal(JPEG(75)(patches), one)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("quality", [25, 75])
def test_the_codec_of_kornia_is_near(patches, channels, quality):
    pytest.importorskip("kornia")
    x, jpeg = patches[:, :channels], JPEG(quality, backward="codec")
    near, far = (jpeg.surrogate(x) - jpeg(x)).abs().mean(), (x - jpeg(x)).abs().mean()
    assert near < 0.5 * far
    assert JPEG(quality).surrogate(x) is x


def test_the_codec_has_a_gradient(patches):
    pytest.importorskip("kornia")
    x = (2 * patches - 1).requires_grad_()
    (grad,) = torch.autograd.grad(JPEG(75, backward="codec", bounds=(-1, 1)).surrogate(x).square().sum(), x)
    assert torch.isfinite(grad).all()
    assert (grad.flatten(1).norm(dim=1) > 0).all()


def test_what_cannot_be_coded_is_refused(unchecked):
    with pytest.raises(InputError, match="x holds NaN, which 8 bits cannot"):
        JPEG()(torch.full((1, 1, 8, 8), float("nan")))
    with pytest.raises(SettingError, match="quality=0 must be an integer from 1 to 100"):
        JPEG(0)
    with pytest.raises(SettingError, match="backward='straight' must be 'identity' or 'codec'"):
        JPEG(75, backward="straight")


def test_what_an_attacker_uses_is_told_apart():
    model = sp.load_model("zoo:fashion-standard")
    one, other = (model.prepend(JPEG(75, backward=way)) for way in ("identity", "codec"))
    assert len({one.fingerprint, other.fingerprint, model.fingerprint}) == 3
    assert JPEG(75, backward="codec").settings() == {"quality": 75, "backward": "codec"}
