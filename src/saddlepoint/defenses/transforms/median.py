"""Median filter: every pixel becomes the median of its window."""

from typing import final

import torch
from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._images import in_chunks, mirrored, require_images, settled, window
from saddlepoint.defenses.transforms._opencv import may_go_by_opencv, opencv
from saddlepoint.defenses.transforms._selection import select
from saddlepoint.defenses.transforms.transform import Transform

WHOLE = 2**19  # numbers of a batch for a 2 x 2 window, which has three temporaries and gains nothing by smaller parts
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
        require_images(x, self.name, self.height, self.width)
        small, cpu = (self.height, self.width) == (2, 2), x.device.type == "cpu"
        if torch.is_grad_enabled() and x.requires_grad:
            return in_chunks(self._median, CHUNK if cpu else 2**24, x.clamp(self.bounds.lower, self.bounds.upper))
        # From here on it is clipped at the end: the median of what is clipped is the clipped median.
        if (self.height, self.width) in ((3, 3), (5, 5)) and may_go_by_opencv(x):
            return settled(self._by_opencv(x.detach()), self.bounds)
        if small:
            return settled(in_chunks(_two_by_two, WHOLE if cpu else 2**24, x), self.bounds)
        return in_chunks(self._settled, CHUNK if cpu else 2**24, x)

    def _median(self, x: Tensor) -> Tensor:
        size = self.height * self.width
        return select(mirrored(x, self.height, self.width), self.height, self.width, size // 2)

    def _settled(self, x: Tensor) -> Tensor:
        return self._median(x).clamp(self.bounds.lower, self.bounds.upper)

    def _by_opencv(self, x: Tensor) -> Tensor:
        # All planes as one tall picture: one call, where one for each plane costs a third more. Beyond the edge OpenCV
        # repeats the edge pixel: for one pixel that is mirrored, else x is mirrored before.
        if self.height > 3:
            reach = slice(self.height // 2, -(self.height // 2))
            return _blurred(mirrored(x, self.height, self.width), self.height)[..., reach, reach].contiguous()
        out = _blurred(x, 3)
        # The first and the last line of a plane have seen its neighbour; they are filtered again, the edge twice.
        edges = _blurred(torch.cat([x[:, :, :1], x[:, :, :2], x[:, :, -2:], x[:, :, -1:]], 2), 3)
        out[:, :, 0], out[:, :, -1] = edges[:, :, 1], edges[:, :, 4]
        return out

    def settings(self) -> dict[str, float | int | str]:
        return {"height": self.height, "width": self.width}


def _blurred(x: Tensor, size: int) -> Tensor:
    """OpenCV's median of all lines of images (n, c, h, w) below each other."""
    cv2, given = opencv(), x.contiguous()
    assert cv2 is not None
    out = torch.empty_like(given)
    if given.numel():  # OpenCV refuses to filter nothing
        cv2.medianBlur(given.flatten(0, 2).numpy(), size, dst=out.flatten(0, 2).numpy())
    return out


def _two_by_two(x: Tensor) -> Tensor:
    """The second largest of every 2 x 2 pixels, as :func:`select` finds it, into three tensors and without a border.

    All is done on one long row, as there; at the edge, whose pixels count twice, it is the larger of two. It takes half
    the time.
    """
    x = x.contiguous()
    low, high, out = (torch.empty_like(x) for _ in range(3))
    flat, wide = x.view(-1), x.shape[3]
    here, above, count = flat[wide:], flat[:-wide], flat.numel() - wide
    lows = torch.minimum(here, above, out=low.view(-1)[:count])
    highs = torch.maximum(here, above, out=high.view(-1)[:count])
    found, spent = out.view(-1)[wide + 1 :], lows[1:]
    torch.maximum(spent, lows[:-1], out=found)
    torch.minimum(highs[1:], highs[:-1], out=spent)
    torch.maximum(found, spent, out=found)
    torch.maximum(x[:, :, 0, 1:], x[:, :, 0, :-1], out=out[:, :, 0, 1:])
    torch.maximum(x[:, :, 1:, 0], x[:, :, :-1, 0], out=out[:, :, 1:, 0])
    out[:, :, 0, 0] = x[:, :, 0, 0]
    return out
