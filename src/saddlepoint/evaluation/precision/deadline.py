"""A limit of time for work that nothing else can stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Late(BaseException):
    """The time is over. No ``Exception``, so that what is stopped does not catch it and go on."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise Late inside the block after that many seconds; signal handlers are set back afterwards.

    Raises:  RuntimeError where time cannot be limited: without alarms (Windows), outside the main thread, or where
        somebody else has set an alarm.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        raise RuntimeError("its time can be limited in the main thread of a POSIX system only")
    before = signal.getsignal(signal.SIGALRM)
    if before is None or signal.getitimer(signal.ITIMER_REAL)[0]:
        raise RuntimeError("its time cannot be limited: the alarm of this process is in use")

    def ring(*_: object) -> None:
        raise Late

    signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
