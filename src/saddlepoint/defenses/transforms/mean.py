"""Mean filter: every pixel becomes the mean of its window."""

from typing import final

from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._images import images, window
from saddlepoint.defenses.transforms._separable import smoothed
from saddlepoint.defenses.transforms.transform import Transform


@final
class Mean(Transform):
    """The mean of a window around each pixel of images (n, c, h, w), channel by channel; differentiable.

    At the edge the image goes on mirrored, the edge pixel once more; an even window has its extra pixel above and to
    the left: ``scipy.ndimage.uniform_filter(mode="reflect")``.

    Args:  height, width: of the window, in pixels; without a width it is square;  bounds: the box of the inputs.

    Raises:  SettingError for a window without pixels;  InputError for what is no image, or smaller than the window.
    """

    name = "mean"
    differentiable = True

    def __init__(
        self, height: int, width: int | None = None, *, bounds: Bounds | tuple[float, float] = Bounds()
    ) -> None:
        super().__init__(bounds=bounds)
        self.height, self.width = window(self.name, height, width)

    def forward(self, x: Tensor) -> Tensor:
        x = images(x, self.bounds, self.name, self.height, self.width)
        return smoothed(x, (1.0,) * self.height, (1.0,) * self.width, self.bounds)

    def settings(self) -> dict[str, float | int | str]:
        return {"height": self.height, "width": self.width}
