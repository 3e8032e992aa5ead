"""Attacks one after the other on the rows that still stand, under one budget per row; the better points are kept."""

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from saddlepoint import _tree
from saddlepoint._typing import Batch, Labels, Mask
from saddlepoint.balls import Ball
from saddlepoint.checks import check_rows
from saddlepoint.classifier import Classifier
from saddlepoint.errors import SettingError
from saddlepoint.noise import Noise, drawing
from saddlepoint.problem import Limits
from saddlepoint.result import AttackResult, Keep
from saddlepoint.solve import Attack, IterativeAttack, aimed

A = TypeVar("A")


@final
class Timer:
    """What is left of a budget."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.end = limits, time.monotonic() + limits.seconds

    def left(self, forwards: int | Tensor = 0, backwards: int | Tensor = 0, index: Tensor | None = None) -> Limits:
        """What these passes (m,) leave of it to the rows at ``index`` (m,), or to all."""
        limits, rest = self.limits, max(0.0, self.end - time.monotonic())
        return replace(
            limits,
            forwards=_less(limits.forwards, forwards, index),
            backwards=_less(limits.backwards, backwards, index),
            seconds=rest,
        )


def _less(limit: float | Tensor, spent: int | Tensor, index: Tensor | None) -> float | Tensor:
    if isinstance(limit, Tensor) and index is not None:  # as an outer combinator gives it
        limit = limit[index]
    if isinstance(limit, float) and math.isinf(limit):
        return limit
    rest = limit - spent  # asking for the labels may already have been too much
    return rest.clamp_min(0) if isinstance(rest, Tensor) else max(0, rest)


def in_turn(  # one call per combinator
    turns: Sequence[tuple[Attack, Noise, Labels | None]], model: Classifier, x: Batch, y: Labels | None,
    target: Labels | None, limits: Limits, keep: Keep, *, asked: int = 0,
) -> AttackResult:  # fmt: skip
    """Run attacks one after the other; under FIRST_SUCCESS only on the rows that still stand."""
    if y is None:
        y, asked = labelled(model, x, y, turns[0][1])
    timer, found = Timer(limits), None
    index = torch.arange(len(x), device=x.device)
    for attack, noise, aim in turns:
        if found is not None and keep is Keep.FIRST_SUCCESS:
            index = (~found.success & ~found.undefined).nonzero().squeeze(1)
            if not len(index):
                break
        forwards, backwards = (asked, 0) if found is None else (found.forwards[index], found.backwards[index])
        left = timer.left(forwards, backwards, index)
        later = _run(_on(attack, index), model, x, y, target, noise, left, aim, index)
        if found is None:
            found = replace(later, forwards=later.forwards + asked)
        else:
            found = merged(found, later, index, nearest=keep is Keep.MIN_DISTANCE)
    assert found is not None
    return found


def _run(  # one call
    attack: Attack, model: Classifier, x: Batch, y: Labels, target: Labels | None,
    noise: Noise, limits: Limits, aim: Labels | None, index: Tensor,
) -> AttackResult:  # fmt: skip
    """One attack on the rows at ``index``."""
    drawn, goal = noise.at(check_rows(noise, x)[index]), None if target is None else target[index]
    if aim is None:
        return attack(model, x[index], y[index], target=goal, noise=drawn, limits=limits)
    assert isinstance(attack, IterativeAttack)
    return aimed(attack, model, x[index], y[index], aim[index], noise=drawn, limits=limits)


def merged(found: AttackResult, later: AttackResult, index: Tensor, *, nearest: bool) -> AttackResult:
    """The better point of each row at ``index``; counters add up."""
    old = _tree.take(found, index)
    pick = _better(old, later, nearest=nearest)
    new = _tree.where(pick, later, old)
    first_later = torch.where(later.solved_at >= 0, old.forwards + later.solved_at, -1)
    new = replace(
        new,
        undefined=(old.undefined | later.undefined) & ~new.success,
        forwards=old.forwards + later.forwards,
        backwards=old.backwards + later.backwards,
        solved_at=torch.where(old.solved_at >= 0, old.solved_at, first_later),
    )
    fields = [field.name for field in dataclasses.fields(AttackResult)]
    return replace(found, **{f: getattr(found, f).index_copy(0, index, getattr(new, f)) for f in fields})


def _better(old: AttackResult, later: AttackResult, *, nearest: bool) -> Mask:
    """Rows (n,) whose later point is to be kept: success first, then evidence of an undefined output, then rank."""
    higher = later.distance < old.distance if nearest else later.loss > old.loss
    both, neither = old.success & later.success, ~old.success & ~later.success
    rank = (both | (neither & (not nearest) & ~old.undefined)) & higher
    return (later.success & ~old.success) | (neither & later.undefined & ~old.undefined) | rank


def labelled(model: Classifier, x: Batch, y: Labels | None, noise: Noise) -> tuple[Labels, int]:
    """The labels, and the forward passes that asking for them took."""
    with drawing(noise.child("labels")):
        return (model.predict(x), model.draws) if y is None else (y, 0)


def _on(attack: A, index: Tensor) -> A:
    """The attack for these rows of the batch: with one eps, or one starting point, per row, theirs."""
    changes: dict[str, Any] = {}
    if dataclasses.is_dataclass(attack) and not isinstance(attack, type):
        for field in dataclasses.fields(attack):
            value = getattr(attack, field.name)
            if isinstance(value, Ball):
                changes[field.name] = value.take(index)
            elif isinstance(value, Tensor) and len(value) > 1:  # one entry per row, as in a state; one serves all
                changes[field.name] = value.index_select(0, index)
            elif field.name == "attack":
                changes[field.name] = _on(value, index)
            elif field.name == "attacks":
                changes[field.name] = tuple(_on(member, index) for member in value)
        return replace(attack, **changes)
    return attack


def ball_of(attack: Attack) -> Ball:
    ball = getattr(attack, "ball", None)
    if not isinstance(ball, Ball):
        raise SettingError(f"{attack.name} has no ball; combine attacks that have one")
    return ball
