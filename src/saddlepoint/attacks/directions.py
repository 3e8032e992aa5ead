"""What turns gradients into a direction of ascent; attacks differ in it, not in their loops."""

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample

from saddlepoint._typing import Batch


def momentum(velocity: Batch, grad: Batch, decay: float) -> Batch:
    """Decayed sum of the gradients of a row, each scaled to unit L1 norm: g <- decay g + q / |q|_1.

    Args:  velocity, grad: (n, *f), a zero gradient adds nothing;  decay: 0 keeps only the latest gradient.
    Returns:  (n, *f), no unit.
    Source:  Dong et al. 2018, arXiv:1710.06081, Eq. (6).
    """
    # Scaled by the largest entry first, so that tiny gradients neither underflow nor divide by zero.
    flat = grad.flatten(1)
    flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(torch.finfo(grad.dtype).tiny)
    unit = flat / flat.abs().sum(1, keepdim=True).clamp_min(1)
    return decay * velocity + unit.view(grad.shape)


def smoothed(grad: Batch, size: int) -> Batch:
    """Gradients of images convolved with a Gaussian, each channel by itself: roughly the mean over shifted images.

    Args:  grad: (n, c, h, w);  size: of the kernel in pixels, odd, its edge at three standard deviations; in a smaller
        image the largest odd size that fits; 1 changes nothing.
    Source:  Dong et al. 2019, arXiv:1904.02884, section 3.
    """
    least = min(grad.shape[2:])
    size = min(size, least - 1 + least % 2)
    if size == 1:
        return grad
    bell = torch.exp(-(torch.linspace(-3, 3, size, dtype=grad.dtype, device=grad.device) ** 2) / 2)
    kernel = (bell / bell.sum()).expand(grad.shape[1], 1, 1, size)
    along = partial(conv2d, groups=grad.shape[1])
    return along(
        along(grad, kernel, padding=(0, size // 2)), kernel.transpose(2, 3).contiguous(), padding=(size // 2, 0)
    )


def diverse(x: Batch, draws: Tensor, probability: float, widest: float, fill: float) -> Batch:
    """Each image, with some probability, a little smaller at a random place: resized, padded, and resized back.

    A row is enlarged to r pixels, r uniform in [h, R) with R = ``widest`` h, placed uniformly on a canvas of R pixels,
    and the canvas brought back to h; both axes alike. All of it is one bilinear interpolation, linear in x - fill.

    Args:  x: (n, c, h, w);  draws: (n, 4) uniform on [0, 1): whether, r, and the place;  fill: of the border.
    Source:  Xie et al. 2019, arXiv:1803.06978, section 3.2 (there 299 pixels, and a canvas of 330).
    """
    scales, places = [], []
    for pixels, place in zip(x.shape[2:], draws[:, 2:].unbind(1), strict=True):
        canvas = max(pixels + 1, round(pixels * widest))
        r = pixels + (draws[:, 1] * (canvas - pixels)).floor()
        offset = (place * (canvas - r + 1)).floor()
        scales.append(canvas / r)
        places.append((canvas - 2 * offset) / r - 1)
    theta = x.new_zeros(len(x), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scales[1], scales[0]  # torch counts axes from the last one
    theta[:, 0, 2], theta[:, 1, 2] = places[1], places[0]
    grid = affine_grid(theta, list(x.shape), align_corners=False)
    moved = grid_sample(x - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + fill
    return torch.where((draws[:, 0] < probability).view(-1, 1, 1, 1), moved, x)
