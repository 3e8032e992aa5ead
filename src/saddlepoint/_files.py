"""Files: written whole or not at all, and locks that the system releases when a process ends."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path``: a reader sees the old bytes or the new ones, never a part, also after a crash.

    A temporary file of a unique name in the same folder is synced, then renamed, then the folder is synced.

    Raises:  OSError; then ``path`` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold a lock on the file ``path``, which is made where it is missing; nothing where the system has no such locks.

    Args:  shared: others may hold it too, if they ask for it shared;  wait: until it is free.
    Raises:  BlockingIOError if another process holds it, and there is no waiting;  OSError if the file cannot be made.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("ab") as stream:
        fcntl.flock(stream, (0 if wait else fcntl.LOCK_NB) | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
        yield
