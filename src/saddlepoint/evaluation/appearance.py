"""How a changed colour image looks beside the clean one: colour differences and structural similarity."""

import torch
from torch import Tensor
from torch.nn import functional

from saddlepoint import colour
from saddlepoint.balls import Bounds
from saddlepoint.balls.perceptual import rows_at_once

_SIDE, _SIGMA = 11, 1.5


def measure(x: Tensor, x0: Tensor, bounds: Bounds) -> dict[str, Tensor]:
    """Of each image (n,): mean and 99th percentile of CIEDE2000 over its pixels, and its SSIM.

    Args:  x, x0: (n, 3, h, w) RGB images in the bounds.
    """
    x, x0 = ((each.double() - bounds.lower) / bounds.width for each in (x, x0))
    rows = rows_at_once(x)
    parts = [
        colour.difference(colour.lab(a), colour.lab(b)).flatten(1)
        for a, b in zip(x0.split(rows), x.split(rows), strict=True)
    ]
    found = torch.cat(parts)
    high = found.quantile(0.99, dim=1) if len(found) else found.new_zeros(0)
    return {"colour": found.mean(1), "colour_high": high, "ssim": ssim(x, x0)}


def ssim(x: Tensor, x0: Tensor) -> Tensor:
    """Structural similarity (n,) of images (n, c, h, w) in [0, 1], 1 for equal ones; NaN where they are too small.

    Means over the channels, and over the pixels that a Gaussian window of 11 x 11 around them fits; sigma 1.5.

    Source:  Wang et al. 2004, IEEE Trans. Image Process. 13, 600-612, section III.B.  Departs: edges are left out.
    """
    if min(x.shape[2:]) < _SIDE:
        return x.new_full((len(x),), torch.nan)
    places = torch.arange(_SIDE, dtype=x.dtype, device=x.device) - _SIDE // 2
    line = torch.exp(-(places / _SIGMA).square() / 2)
    line = line / line.sum()

    def blurred(each: Tensor) -> Tensor:
        flat = each.flatten(0, 1).unsqueeze(1)
        return functional.conv2d(functional.conv2d(flat, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))

    a, b = blurred(x), blurred(x0)
    spread = blurred(x * x) - a * a + blurred(x0 * x0) - b * b
    shared = blurred(x * x0) - a * b
    first, second = 0.01**2, 0.03**2
    found = (2 * a * b + first) * (2 * shared + second) / ((a * a + b * b + first) * (spread + second))
    each: Tensor = found.unflatten(0, (len(x), x.shape[1]))
    return each.mean((1, 2, 3, 4))
