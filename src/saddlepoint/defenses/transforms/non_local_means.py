"""Non-local means: every pixel becomes a mean of pixels whose surroundings look alike."""

from types import ModuleType
from typing import final

import numpy as np
from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._bytes import Image, through_bytes
from saddlepoint.defenses.transforms._images import images, positive, whole
from saddlepoint.defenses.transforms.transform import Transform
from saddlepoint.errors import SettingError, missing


@final
class NonLocalMeans(Transform):
    """OpenCV's fast non-local means of images (n, c, h, w), in 8 bits; not differentiable, the identity stands in.

    Three channels are red, green and blue; OpenCV filters them as lightness and colours (CIE Lab, 8 bits), which moves
    even a constant colour by up to 3 levels of 255. Any other number is filtered one by one as grey images.

    Args:  search: width of the window that is searched, odd, in pixels;  block: width of what is compared, odd;  h: the
        strength, as a share of the box's width (OpenCV's is 255 times as high);  bounds: the box of the inputs.

    Raises:  SettingError for a setting out of its range;  InputError for what is no image, is smaller than the search
        window, or holds NaN;  MissingExtraError without OpenCV.

    Source:  Buades, Coll & Morel 2005;  Xu, Evans & Qi 2018, arXiv:1704.01155, whose release searches 11 or 13 pixels
        for blocks of 3, with h of 2 / 255 or 4 / 255.  Departs:  OpenCV gets the blue, green and red that it expects.
    """

    name = "non-local-means"

    def __init__(
        self,
        search: int = 11,
        block: int = 3,
        h: float = 4 / 255,
        *,
        bounds: Bounds | tuple[float, float] = Bounds(),
    ) -> None:
        super().__init__(bounds=bounds)
        self.search, self.block = whole("search", search, 1), whole("block", block, 1)
        for name, value in {"search": search, "block": block}.items():
            if value % 2 == 0:
                raise SettingError(f"{name}={value} must be odd, such as {value + 1}")
        self.h = positive("h", h, "shares of the box's width")

    def forward(self, x: Tensor) -> Tensor:
        x = images(x, self.bounds, self.name, self.search, self.search)
        cv2 = _opencv()

        def grey(image: Image) -> Image:
            out = cv2.fastNlMeansDenoising(image, None, 255 * self.h, self.block, self.search)
            return np.asarray(out, np.uint8)

        def colour(image: Image) -> Image:
            swapped = np.ascontiguousarray(image[..., ::-1])
            h = 255 * self.h
            out = cv2.fastNlMeansDenoisingColored(swapped, None, h, h, self.block, self.search)
            return np.asarray(out, np.uint8)[..., ::-1]

        return through_bytes(x, self.bounds, grey, colour)

    def settings(self) -> dict[str, float | int | str]:
        return {"search": self.search, "block": self.block, "h": self.h}


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise missing("opencv-python-headless", "images") from error
    return cv2  # type: ignore[no-any-return, unused-ignore]
