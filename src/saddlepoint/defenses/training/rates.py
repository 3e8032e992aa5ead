"""Learning rates in closed form: a number for each step, so that nothing has to be kept."""

import math
from itertools import pairwise

from saddlepoint.defenses.training.schedule import Schedule


def rate(schedule: Schedule, step: int, total: int) -> float:
    """The learning rate of a step, counted from 0, of ``total`` steps.

    >>> cyclic = Schedule(rate="cyclic", peak=0.2, rise=0.5)
    >>> [rate(cyclic, step, 8) for step in (0, 2, 4, 6)]
    [0.0, 0.1, 0.2, 0.1]
    """
    done = step / total
    match schedule.rate:
        case "one-cycle":
            return _one_cycle(schedule, step, max(total, 2))
        case "cyclic":
            return _straight(((0.0, 0.0), (schedule.rise, schedule.peak), (1.0, 0.0)), done)
        case "linear":
            return _straight(tuple((share, schedule.peak * multiple) for share, multiple in schedule.points), done)
    if done < schedule.warmup:
        return schedule.peak * done / schedule.warmup
    if schedule.rate == "cosine":
        return schedule.peak * (1 + math.cos(math.pi * (done - schedule.warmup) / (1 - schedule.warmup))) / 2
    drops = sum(step > share * total - 1e-6 for share in schedule.drops)  # rounded shares still fall on whole steps
    return schedule.peak * schedule.factor**drops


def _one_cycle(schedule: Schedule, step: int, total: int) -> float:
    """To the last bit what torch's OneCycleLR gives: embedded weights were made by it."""
    first, top = schedule.peak / 25.0, schedule.peak
    turn = schedule.rise * total - 1
    if step <= turn:
        start, end, share = first, top, step / turn if turn else 1.0  # it turns at once
    else:
        start, end, share = top, first / 1e4, (step - turn) / (total - 1 - turn)
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


def _straight(points: tuple[tuple[float, float], ...], at: float) -> float:
    """Linear between points (x, y), x rising."""
    for (left, low), (right, high) in pairwise(points):
        if at <= right:
            return low + (high - low) * (at - left) / (right - left)
    return points[-1][1]
