import gzip
import struct

import numpy as np
import pytest

from saddlepoint.data.idx import read_idx
from saddlepoint.errors import DataError

ARRAY = np.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize("array", [ARRAY, np.arange(5), np.zeros((0, 28, 28))])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_array_comes_back_gzipped_or_not(tmp_path, idx, array, pack):
    path = tmp_path / "rows"  # what it is called does not matter
    path.write_bytes(pack(idx(array)))
    read = read_idx(path, array.ndim)
    assert read.dtype == np.uint8
    assert read.shape == array.shape
    assert (read == array).all()


WHOLE = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 3, 4) + bytes(24)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"starts with the bytes \(none\), an IDX file of bytes with 3 axes with 00000803; give the original"),
        (b"\x00\x00\x08\x01" + WHOLE[4:], "starts with the bytes 00000801"),
        (b"\x00\x00\x0d\x03" + WHOLE[4:], "starts with the bytes 00000d03"),  # floats
        (b"\x89PNG\r\n", "starts with the bytes 89504e47"),
        (WHOLE[:10], "is cut off: 10 bytes, its header alone has 16; copy or download it again"),
        (WHOLE[:-1], "is cut off: its header says 2 x 3 x 4 bytes, 23 follow; copy or download it again"),
        (WHOLE + b"\0", "is too long: its header says 2 x 3 x 4 bytes, 25 follow"),
        (WHOLE[:4] + b"\xff" * 12 + bytes(24), "is cut off: its header says 4294967295 x"),
        (gzip.compress(WHOLE, mtime=0)[:-9], "is gzipped, but damaged or cut off"),
        (
            gzip.compress(WHOLE, mtime=0)[:-8] + bytes(8),
            "is gzipped, but damaged or cut off .*; copy or download it again",
        ),
        (b"\x1f\x8b not gzip at all", "is gzipped, but damaged"),
    ],
)
def test_damaged_file_is_refused(tmp_path, content, message):
    path = tmp_path / "rows"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"'rows' {message}") as caught:
        read_idx(path, 3)
    assert str(tmp_path) not in str(caught.value)


def test_unreadable_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read .*; see that it is a file"):
        read_idx(tmp_path, 1)
