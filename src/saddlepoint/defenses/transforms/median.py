"""Median filter: every pixel becomes the median of its window."""

from typing import final

from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._images import in_chunks, mirrored, require_images, settled, window
from saddlepoint.defenses.transforms._opencv import each, may_go_by_opencv, opencv
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
        require_images(x, self.name, self.height, self.width)
        if (self.height, self.width) in ((3, 3), (5, 5)) and may_go_by_opencv(x):
            return settled(self._by_opencv(x.detach()), self.bounds)  # the median of what is clipped is the same
        x = x.clamp(self.bounds.lower, self.bounds.upper)
        return in_chunks(self._median, CHUNK if x.device.type == "cpu" else 2**24, x)

    def _median(self, x: Tensor) -> Tensor:
        size = self.height * self.width
        return select(mirrored(x, self.height, self.width), self.height, self.width, size // 2)

    def _by_opencv(self, x: Tensor) -> Tensor:
        # Beyond the edge it repeats the edge pixel: for one pixel that is mirrored, else x is mirrored before.
        size, cv2 = self.height, opencv()
        assert cv2 is not None
        around = x if size == 3 else mirrored(x, size, size)
        inner = slice(None) if size == 3 else slice(size // 2, -(size // 2))
        planes = each(lambda one, out: cv2.medianBlur(one, size, dst=out), around.contiguous().flatten(0, 1))
        return planes.view(around.shape)[..., inner, inner].contiguous()

    def settings(self) -> dict[str, float | int | str]:
        return {"height": self.height, "width": self.width}
