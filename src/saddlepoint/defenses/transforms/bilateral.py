"""Bilateral filter: near pixels of a like colour count more, so that edges stay."""

import math
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._images import images, in_chunks, positive, settled, whole
from saddlepoint.defenses.transforms._opencv import each, may_go_by_opencv, opencv
from saddlepoint.defenses.transforms.transform import Transform
from saddlepoint.errors import SettingError

CHUNK = 2**15  # numbers at a time


@final
class Bilateral(Transform):
    """A mean of the near pixels of a like colour, for images (n, c, h, w); differentiable.

    The weight of pixel q at p is exp(-|p - q|_2**2 / (2 sigma_space**2) - |x_p - x_q|_1**2 / (2 sigma_color**2)), the
    second distance over all channels at once, for every q in the disc around p. At the edge the image goes on mirrored,
    without the edge pixel again. So it is ``cv2.bilateralFilter``, with a gradient and for any number of channels.

    Args:  diameter: of the disc, odd, in pixels;  sigma_color: as a share of the box's width (OpenCV's is 255 times as
        high for 8 bits);  sigma_space: in pixels;  bounds: the box of the inputs.

    Raises:  SettingError for a setting out of its range;  InputError for what is no image, or smaller than the disc.

    Source:  Tomasi & Manduchi 1998.  Departs:  the disc, and the L1 distance of colours, are OpenCV's.
    """

    name = "bilateral"
    differentiable = True

    def __init__(
        self,
        diameter: int = 5,
        sigma_color: float = 0.1,
        sigma_space: float = 1.5,
        *,
        bounds: Bounds | tuple[float, float] = Bounds(),
    ) -> None:
        super().__init__(bounds=bounds)
        self.diameter = whole("diameter", diameter, 1)
        if diameter % 2 == 0:
            raise SettingError(f"diameter={diameter} must be odd, such as {diameter + 1}")
        self.sigma_color = positive("sigma_color", sigma_color, "shares of the box's width")
        self.sigma_space = positive("sigma_space", sigma_space, "pixels")

    def forward(self, x: Tensor) -> Tensor:
        x = images(x, self.bounds, self.name, self.diameter, self.diameter)
        if self.diameter == 1 or not len(x):
            return x
        if x.shape[1] in (1, 3) and may_go_by_opencv(x):
            return settled(self._by_opencv(x.detach()), self.bounds)
        numbers = CHUNK if x.device.type == "cpu" else 2**24
        return settled(in_chunks(self._filtered, numbers, x), self.bounds)

    def _by_opencv(self, x: Tensor) -> Tensor:
        cv2, color = opencv(), self.sigma_color * self.bounds.width
        assert cv2 is not None
        given = (x.movedim(1, -1) if x.shape[1] == 3 else x.squeeze(1)).contiguous()
        done = each(lambda one, out: cv2.bilateralFilter(one, self.diameter, color, self.sigma_space, dst=out), given)
        return done.movedim(-1, 1).contiguous() if x.shape[1] == 3 else done.unsqueeze(1)

    def _filtered(self, x: Tensor) -> Tensor:
        """Sums of weights times differences from the pixel itself: so a constant stays what it is.

        Each pair of pixels is looked at once, in lines that follow one another in memory: the pixel of a step (down,
        across) lies ``apart`` places later. From ``start`` on, ``size`` places hold all pixels of the image itself;
        those at the ends of its lines are computed for nothing.
        """
        radius, (h, w) = self.diameter // 2, x.shape[2:]
        wide, unit = w + 2 * radius, math.sqrt(2) * self.sigma_color * self.bounds.width
        lines = functional.pad(x / unit, (radius,) * 4, mode="reflect").flatten(2)
        start, size = radius * wide + radius, (h - 1) * wide + w
        moved, weights = x.new_zeros(*x.shape[:2], size), x.new_ones(len(x), 1, size)
        for down, across in self._steps(radius):
            apart = down * wide + across
            difference = lines[..., start : start + size + apart] - lines[..., start - apart : start + size]
            distance = difference if x.shape[1] == 1 else difference.abs().sum(1, keepdim=True)
            space = x.new_tensor(-0.5 * (down**2 + across**2) / self.sigma_space**2)
            weight = torch.addcmul(space, distance, distance, value=-1).exp_()
            move = weight * difference
            moved.add_(move[..., apart:]).sub_(move[..., :size])
            weights.add_(weight[..., apart:]).add_(weight[..., :size])
        moved = functional.pad(moved / weights * unit, (0, wide - w))
        return x + moved.view(*x.shape[:3], wide)[..., :w]

    @staticmethod
    def _steps(radius: int) -> list[tuple[int, int]]:
        """One of each pair of opposite steps within the disc."""
        reach = range(-radius, radius + 1)
        steps = [(down, across) for down in reach for across in reach if down**2 + across**2 <= radius**2]
        return [step for step in steps if step > (0, 0)]

    def settings(self) -> dict[str, float | int | str]:
        return {"diameter": self.diameter, "sigma_color": self.sigma_color, "sigma_space": self.sigma_space}
