"""Bit depth reduction: fewer levels."""

from typing import Literal, final

from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._images import clipped, from_unit, to_unit, whole
from saddlepoint.defenses.transforms.transform import Transform
from saddlepoint.errors import SettingError, shown


@final
class BitDepth(Transform):
    """Each feature on 2**depth levels. Any shape; its gradient is 0, and the identity stands in for it.

    ``round``: to the nearest of the levels 0, 1 / (2**depth - 1), ..., 1 of the box, halves to the even one: 1 bit maps
    0.5 to 0.  ``truncate``: the upper ``depth`` of 8 bits, the others 0, which is darker by half a level on average.

    Args:  depth: bits, from 1 to 8;  mode: see above;  bounds: the box of the inputs.

    Raises:  SettingError for a depth or mode that there is not.

    Source:  round: Xu, Evans & Qi 2018, arXiv:1704.01155, section 3.1;  truncate: Guo et al. 2018, arXiv:1711.00117.
    Departs:  what comes in is clipped to the box, and ``truncate`` makes 8 bits of it by rounding.

    >>> import torch
    >>> BitDepth(1)(torch.tensor([[0.2, 0.5, 0.7]]))
    tensor([[0., 0., 1.]])
    """

    name = "bit-depth"

    def __init__(
        self,
        depth: int,
        mode: Literal["round", "truncate"] = "round",
        *,
        bounds: Bounds | tuple[float, float] = Bounds(),
    ) -> None:
        super().__init__(bounds=bounds)
        self.depth = whole("depth", depth, 1, 8)
        if mode not in ("round", "truncate"):
            raise SettingError(f"mode={shown(mode)} must be 'round' or 'truncate'")
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        u = to_unit(clipped(x, self.bounds, self.name), self.bounds)  # a new tensor, so in place from here
        if self.mode == "round":
            levels = 2**self.depth - 1
            u = u.round_() if levels == 1 else u.mul_(levels).round_().div_(levels)
            return from_unit(u, self.bounds)
        step = 2 ** (8 - self.depth)
        return from_unit(u.mul_(255).round_().div_(step).floor_().mul_(step).div_(255), self.bounds)

    def settings(self) -> dict[str, float | int | str]:
        return {"depth": self.depth, "mode": self.mode}
