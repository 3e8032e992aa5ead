"""Two ways to do the same work, timed in interleaved pairs, in one process, in alternating order."""

import gc
import math
import statistics
import time

LEAST = 0.2  # seconds that one measurement lasts at least; what is quicker is repeated


def ratios(ours, theirs, pairs):
    """How long ``ours()`` takes, in units of ``theirs()``: medians and quartiles over the pairs, by wall and CPU clock.

    The CPU clock is that of this process, and hardly notices what else the machine does.
    """
    repeats = math.ceil(LEAST / min(_clocked(ours, 1)[0], _clocked(theirs, 1)[0]))  # this warms up, too
    spent = []
    for i in range(pairs):
        first, second = (ours, theirs) if i % 2 else (theirs, ours)
        pair = {first: _clocked(first, repeats), second: _clocked(second, repeats)}
        spent.append((pair[ours], pair[theirs]))
    return {
        "wall": spread([a[0] / b[0] for a, b in spent]),
        "cpu": spread([a[1] / b[1] for a, b in spent]),
        "seconds": [statistics.median(pair[side][0] for pair in spent) for side in (0, 1)],
    }


def spread(values):
    """[lower quartile, median, upper quartile]."""
    return [round(value, 4) for value in statistics.quantiles(values, n=4, method="inclusive")]


def _clocked(run, repeats):
    """Seconds by the wall and of the CPU for one run."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats
