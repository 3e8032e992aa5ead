"""The IDX format of MNIST and its relatives: a header, then bytes, gzipped or not.

Four bytes of magic (0, 0, 8 for bytes, the number of axes), the length of each axis as a big-endian 32-bit integer, the
values. Source: Y. LeCun, http://yann.lecun.com/exdb/mnist/, "The IDX file format".
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saddlepoint.data.reading import base_name, unreadable
from saddlepoint.errors import DataError

_GZIP = b"\x1f\x8b"
_AGAIN = "copy or download it again"


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """The array of bytes in an IDX file; whether it is gzipped is seen from its first bytes, not from its name.

    Raises:  DataError if it cannot be read, is no IDX file of bytes with so many axes, is cut off or too long.
    """
    content, name = _content(path), base_name(path)
    magic, start = bytes([0, 0, 8, axes]), 4 + 4 * axes
    if content[:4] != magic:
        raise DataError(
            f"{name!r} starts with the bytes {content[:4].hex() or '(none)'}, an IDX file of bytes with {axes} "
            f"{'axis' if axes == 1 else 'axes'} with {magic.hex()}; give the original file of this name"
        )
    if len(content) < start:
        raise DataError(f"{name!r} is cut off: {len(content)} bytes, its header alone has {start}; {_AGAIN}")
    shape = tuple(int(length) for length in np.frombuffer(content, ">u4", axes, 4))
    found, promised = len(content) - start, math.prod(shape)
    if found != promised:
        wrong = "is cut off" if found < promised else "is too long"
        raise DataError(
            f"{name!r} {wrong}: its header says {' x '.join(map(str, shape))} bytes, {found} follow; {_AGAIN}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, "see that it is a file which you may read") from error
    if not content.startswith(_GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{base_name(path)!r} is gzipped, but damaged or cut off ({error}); {_AGAIN}") from error
