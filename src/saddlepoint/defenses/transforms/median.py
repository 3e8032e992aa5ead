"""Median filter: every pixel becomes the median of its window."""

from functools import cache
from types import ModuleType
from typing import final

import torch
from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._images import images, in_chunks, mirrored, window
from saddlepoint.defenses.transforms._selection import select
from saddlepoint.defenses.transforms.transform import Transform

CHUNK = 2**15  # numbers at a time: the fastest of 2**13 to 2**17, with some 10 temporaries


@final
class Median(Transform):
    """The median of a window around each pixel of images (n, c, h, w), channel by channel; differentiable.

    Of an even number of values it is the upper one. At the edge the image goes on mirrored, the edge pixel once more;
    an even window has its extra pixel above and to the left: ``scipy.ndimage.median_filter(mode="reflect")``, to the
    last bit. The gradient goes to the pixel that is the median; where several are, it is shared among them.

    Args:  height, width: of the window, in pixels; without a width it is square;  bounds: the box of the inputs.

    Raises:  SettingError for a window without pixels;  InputError for what is no image, or smaller than the window.

    Source:  Xu, Evans & Qi 2018, arXiv:1704.01155, section 3.2.
    """

    name = "median"
    differentiable = True

    def __init__(
        self, height: int, width: int | None = None, *, bounds: Bounds | tuple[float, float] = Bounds()
    ) -> None:
        super().__init__(bounds=bounds)
        self.height, self.width = window(self.name, height, width)

    def forward(self, x: Tensor) -> Tensor:
        x = images(x, self.bounds, self.name, self.height, self.width)
        if self._opencv_has_it(x) and (cv2 := _opencv()):
            return _by_opencv(cv2, x, self.height)
        return in_chunks(self._median, x, CHUNK if x.device.type == "cpu" else 2**24)

    def _median(self, x: Tensor) -> Tensor:
        size = self.height * self.width
        return select(mirrored(x, self.height, self.width), self.height, self.width, size // 2)

    def _opencv_has_it(self, x: Tensor) -> bool:
        return (
            (self.height, self.width) in ((3, 3), (5, 5))
            and (x.device.type, x.dtype) == ("cpu", torch.float32)
            and not (torch.is_grad_enabled() and x.requires_grad)
        )

    def settings(self) -> dict[str, float | int | str]:
        return {"height": self.height, "width": self.width}


@cache
def _opencv() -> ModuleType | None:
    """OpenCV where it is installed: on a CPU it has the same medians in a third of the time, but no gradient."""
    try:
        import cv2
    except ImportError:
        return None
    return cv2  # type: ignore[no-any-return, unused-ignore]


def _by_opencv(cv2: ModuleType, x: Tensor, size: int) -> Tensor:
    # Beyond the edge it repeats the edge pixel: the same as mirrored if that is one pixel, else x is mirrored before.
    inner = slice(None) if size == 3 else slice(size // 2, -(size // 2))
    x = x.detach() if size == 3 else mirrored(x.detach(), size, size)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    for plane, median in zip(x.contiguous().flatten(0, 1).numpy(), out.flatten(0, 1).numpy(), strict=True):
        cv2.medianBlur(plane, size, dst=median)
    return out[..., inner, inner].contiguous()
