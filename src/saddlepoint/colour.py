"""Colour as the eye tells it apart: from sRGB to Lab, and the CIEDE2000 difference, differentiable everywhere."""

import math

import torch
from torch import Tensor

_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9504))
_WHITE = (0.950489, 1.0, 1.08884)  # D65, seen by the observer of 1931
_SEVENTH = 25.0**7
_GREY = 1e-20
"""Added to the squared chroma: a colour this near to grey has no hue, and its root still has a slope."""


def lab(rgb: Tensor) -> Tensor:
    """CIELAB of sRGB colours: lightness L in [0, 100], a from green to red, b from blue to yellow.

    Args:  rgb: (n, 3, ...) in [0, 1].
    Returns:  (n, 3, ...), L, a, b along axis 1.
    Source:  IEC 61966-2-1 (sRGB, whose matrix is rounded to four digits); CIE 15:2004 (Lab, D65).

    >>> lab(torch.tensor([[[1.0], [1.0], [1.0]]])).flatten().round(decimals=2).tolist()[0]
    100.0
    """
    bright = ((rgb.clamp_min(0.04045) + 0.055) / 1.055).log().mul(2.4).exp()  # a third of the time of a power
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, bright)
    r, g, b = linear.unbind(1)
    x, y, z = (
        _response((r * row[0] + g * row[1] + b * row[2]) / white) for row, white in zip(_TO_XYZ, _WHITE, strict=True)
    )
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _response(share: Tensor) -> Tensor:
    """The cube root, with a straight line in its place near black."""
    edge = 216 / 24389
    root = (share.clamp_min(edge).log() / 3).exp()
    return torch.where(share > edge, root, share * (24389 / 27 / 116) + 16 / 116)


def squared_difference(first: Tensor, second: Tensor) -> Tensor:
    """The square of the CIEDE2000 colour difference, whose gradient is finite everywhere: it has no root at 0.

    Hues are unit vectors (a', b) / C', so that but one angle is taken: sin(dh / 2) is a cross product over the length
    of their sum, the mean hue is the direction of that sum, and T is a polynomial in its cosine and sine.

    Args:  first, second: (n, 3, ...), Lab.
    Returns:  (n, ...), not negative.
    Source:  Sharma, Wu & Dalal 2005, Color Research and Application 30, 21-30, all parametric factors 1.
    Departs:  1e-20 is added to squared chromas; hues that are opposite to rounding have the mean that is 90 degrees
        beyond the lower.
    """
    (l1, a1, b1), (l2, a2, b2) = first.unbind(1), second.unbind(1)
    mean = (_length(a1, b1) + _length(a2, b2)) / 2
    stretch = 1.5 - 0.5 * _saturation(mean)
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = _length(a1, b1), _length(a2, b2)
    (p1, q1), (p2, q2) = (a1 / c1, b1 / c1), (a2 / c2, b2 / c2)
    square = (p1 + p2).square() + (q1 + q2).square()  # 4 cos(dh / 2)^2
    cross, least = p1 * q2 - p2 * q1, 100 * torch.finfo(square.dtype).eps ** 2
    opposite = (square < least) & (p1 * p2 < -q1 * q2)  # so that there is no mean, nor a side; two greys are not
    sine = torch.where(  # 2 sin(dh / 2); beyond 120 degrees from the cosine, where the sum nearly vanishes
        square > 1,
        2 * cross * square.clamp_min(1).rsqrt(),
        torch.where(opposite, 1, cross.sign()) * (4 - square).clamp_min(1).sqrt(),
    )
    light, chroma = (l1 + l2) / 2 - 50, (c1 + c2) / 2
    cos, sin = _mean_hue(p1, q1, p2, q2, square.clamp_min(least), opposite)
    light = light.square()
    d_l = (l2 - l1) / (1 + 0.015 * light * (20 + light).rsqrt())
    d_c = (c2 - c1) / (1 + 0.045 * chroma)
    d_h = (c1 * c2).sqrt() * sine / (1 + 0.015 * chroma * _hue_weight(cos, sin))
    turn = -2 * _saturation(chroma) * _blue(cos, sin)
    return (d_l.square() + d_c.square() + d_h.square() + turn * d_c * d_h).clamp_min(0)


def difference(first: Tensor, second: Tensor) -> Tensor:
    """The CIEDE2000 colour difference (n, ...) of Lab colours (n, 3, ...); 1 is about what can just be told apart.

    >>> blue, bluer = torch.tensor([[50.0, 2.6772, -79.7751]]), torch.tensor([[50.0, 0.0, -82.7485]])
    >>> difference(blue, bluer)
    tensor([2.0425])
    """
    return squared_difference(first, second).sqrt()


def _length(a: Tensor, b: Tensor) -> Tensor:
    return (a.square() + b.square() + _GREY).sqrt()


def _saturation(chroma: Tensor) -> Tensor:
    """sqrt(c^7 / (c^7 + 25^7))."""
    square = chroma.square()
    seventh = square * square * square * chroma
    return (seventh / (seventh + _SEVENTH) + _GREY).sqrt()


def _mean_hue(
    p1: Tensor, q1: Tensor, p2: Tensor, q2: Tensor, square: Tensor, opposite: Tensor
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the mean hue; of the only one there is where the other colour is grey."""
    lower = (q1 > 0) | ((q1 == 0) & (p1 > 0))  # the first hue is below 180 degrees
    side = torch.where(lower, 1.0, -1.0).to(square)
    cos, sin = torch.where(opposite, -q1 * side, p1 + p2), torch.where(opposite, p1 * side, q1 + q2)
    scale = torch.where(opposite, 1, square).rsqrt()
    return cos * scale, sin * scale


def _hue_weight(cos: Tensor, sin: Tensor) -> Tensor:
    """T = 1 - .17 cos(h - 30) + .24 cos(2h) + .32 cos(3h + 6) - .20 cos(4h - 63), degrees: two polynomials in cos h."""
    even = (((-1.6 * _cos(63)) * cos + 1.28 * _cos(6)) * cos + (0.48 + 1.6 * _cos(63))) * cos
    even = (even - (0.17 * _cos(30) + 0.96 * _cos(6))) * cos + (0.76 - 0.20 * _cos(63))
    odd = ((-1.6 * _sin(63)) * cos - 1.28 * _sin(6)) * cos + 0.8 * _sin(63)
    return even + sin * (odd * cos + (0.32 * _sin(6) - 0.17 * _sin(30)))


def _blue(cos: Tensor, sin: Tensor) -> Tensor:
    """sin(2 dtheta), dtheta = 30 exp(-((h - 275) / 25)^2) degrees: only near blue is it not 0."""
    past = torch.atan2(sin * _cos(275) - cos * _sin(275), cos * _cos(275) + sin * _sin(275))
    past = torch.where(past > math.radians(85), past - 2 * math.pi, past)  # hues are from 0 to 360 degrees
    return torch.sin(math.radians(60) * torch.exp(-(past / math.radians(25)).square()))


def _cos(degrees: float) -> float:
    return math.cos(math.radians(degrees))


def _sin(degrees: float) -> float:
    return math.sin(math.radians(degrees))
