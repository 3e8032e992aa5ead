"""Filters of C libraries, which take one image of 8 bits at a time: run side by side in threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saddlepoint.balls import Bounds
from saddlepoint.defenses.transforms._images import from_unit, to_unit
from saddlepoint.errors import InputError

Image = NDArray[np.uint8]


def through_bytes(
    x: Tensor, bounds: Bounds, grey: Callable[[Image], Image], colour: Callable[[Image], Image]
) -> Tensor:
    """Images (n, c, h, w) in the box, each by ``colour`` (h, w, 3) if it has three channels, else channels by ``grey``.

    Values are rounded to 8 bits. As many threads as torch has; what is returned has no gradient.
    """
    pixels = to_unit(x.detach(), bounds).mul(255).round_()
    if bool(pixels.isnan().any()):
        raise InputError("x holds NaN, which 8 bits cannot; leave out the rows that hold it")
    if x.shape[1] == 3:
        run, given = colour, pixels.movedim(1, -1)
    else:
        run, given = grey, pixels.flatten(0, 1)
    done = _each(run, given.to("cpu", torch.uint8).contiguous().numpy())
    back = done.movedim(-1, 1) if x.shape[1] == 3 else done.view(x.shape)
    return from_unit(back.to(x.device).to(x.dtype).div_(255), bounds).contiguous()


def _each(run: Callable[[Image], Image], given: Image) -> Tensor:
    out = np.empty_like(given)

    def place(i: int) -> None:
        out[i] = run(given[i])

    workers = min(torch.get_num_threads(), len(given))
    if workers < 2:
        for i in range(len(given)):
            place(i)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(place, range(len(given))))
    return torch.from_numpy(out)
