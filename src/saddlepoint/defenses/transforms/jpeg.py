"""JPEG: what the codec leaves of an image."""

import io
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._bytes import Image, through_bytes
from saddlepoint.defenses.transforms._images import from_unit, images, to_unit, whole
from saddlepoint.defenses.transforms.transform import Transform
from saddlepoint.errors import SettingError, missing, shown


@final
class JPEG(Transform):
    """Images (n, c, h, w), rounded to 8 bits, coded by Pillow and decoded again; not differentiable.

    Three channels are red, green and blue, with the colours at half the resolution (4:2:0); any other number is coded
    one by one as grey images. A constant grey image comes back as it was, a constant colour within the rounding of the
    codec's colours.

    An attacker may use, in place of its gradient: ``identity``, or ``codec``, the differentiable codec of kornia. It
    differs from Pillow by 0.5 to 2 levels of 255 on average, a sixth to a half of what the coding itself changes
    (patches of photopatch10, qualities 10 to 95).

    Args:  quality: from 1 to 100, of libjpeg;  backward: see above;  bounds: the box of the inputs.

    Raises:  SettingError for a quality or backward that there is not;  InputError for what is no image, or holds NaN;
        MissingExtraError without Pillow, or without kornia where it is asked for.

    Source:  Guo et al. 2018, arXiv:1711.00117, at quality 75;  Das et al. 2017, arXiv:1705.02900;  for the codec, Reich
        et al. 2024, as kornia has it.
    """

    name = "jpeg"

    def __init__(
        self,
        quality: int = 75,
        *,
        backward: Literal["identity", "codec"] = "identity",
        bounds: Bounds | tuple[float, float] = Bounds(),
    ) -> None:
        super().__init__(bounds=bounds)
        self.quality = whole("quality", quality, 1, 100)
        if backward not in ("identity", "codec"):
            raise SettingError(f"backward={shown(backward)} must be 'identity' or 'codec'")
        self.backward = backward

    def forward(self, x: Tensor) -> Tensor:
        return through_bytes(images(x, self.bounds, self.name), self.bounds, self._coded, self._coded)

    def surrogate(self, x: Tensor) -> Tensor:
        if self.backward == "identity":
            return x
        try:
            from kornia.enhance import jpeg_codec_differentiable
        except ImportError as error:
            raise missing("kornia", "images") from error
        u = to_unit(images(x, self.bounds, self.name), self.bounds)
        quality = torch.tensor([float(self.quality)], dtype=u.dtype, device=u.device)
        if u.shape[1] == 3:
            return from_unit(jpeg_codec_differentiable(u, quality), self.bounds)
        grey = u.flatten(0, 1).unsqueeze(1).expand(-1, 3, -1, -1)
        return from_unit(jpeg_codec_differentiable(grey, quality)[:, 0].view(u.shape), self.bounds)

    def _coded(self, image: Image) -> Image:
        try:
            import PIL.Image
        except ImportError as error:
            raise missing("Pillow", "cli") from error
        file = io.BytesIO()
        PIL.Image.fromarray(image).save(file, "JPEG", quality=self.quality)
        with PIL.Image.open(file) as decoded:
            return np.asarray(decoded)

    def settings(self) -> dict[str, float | int | str]:
        return {"quality": self.quality, "backward": self.backward}
