"""Attacks around attacks: restarts, every target, the worst case over several, the smallest radius."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks._turns import Timer, ball_of, in_turn, labelled, merged
from saddlepoint.balls import Ball
from saddlepoint.checks import check_batch, check_rows
from saddlepoint.classifier import Classifier
from saddlepoint.errors import SettingError
from saddlepoint.noise import Noise, drawing
from saddlepoint.problem import Limits
from saddlepoint.result import AttackResult, Keep
from saddlepoint.solve import Attack, IterativeAttack


@final
@dataclass(frozen=True, kw_only=True)
class Restarts:
    """An attack several times, each with noise of its own; the first uses the caller's noise unchanged.

    Rows that are fooled are not run again if the attack keeps its first success; otherwise all are, and the better of
    the points is kept: the nearer fooling one for minimum-norm attacks, else the one of higher loss.

    Args:  attack: one with a random part;  times: >= 1.
    """

    attack: Attack
    times: int = 10

    def __post_init__(self) -> None:
        if self.times < 1:
            raise SettingError(f"times={self.times} must be >= 1")

    @property
    def name(self) -> str:
        """The attack's name and the number of times."""
        return f"{self.attack.name}-x{self.times}"

    @property
    def ball(self) -> Ball:
        """That of the attack."""
        return ball_of(self.attack)

    def __call__(
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Attack a batch; arguments as in IterativeAttack, the budget is shared by all runs."""
        check_batch(model, x, y, target, noise)
        keep = getattr(self.attack, "keep", Keep.FIRST_SUCCESS)
        turns = [(self.attack, noise if i == 0 else noise.child(f"restart {i}"), None) for i in range(self.times)]
        return in_turn(turns, model, x, y, target, limits, keep)


@final
@dataclass(frozen=True, kw_only=True)
class EachTarget:
    """An attack once for each of a row's likeliest wrong classes, steered towards it; any wrong class is a success.

    Args:
        attack: whose loss is steered.
        classes: how many, by the logits of the clean input (one forward pass); None means all but the label.
    """

    attack: IterativeAttack[Any]
    classes: int | None = 9

    def __post_init__(self) -> None:
        if self.classes is not None and self.classes < 1:
            raise SettingError(f"classes={self.classes} must be >= 1, or None for all")

    @property
    def name(self) -> str:
        """The attack's name, and what is done to it."""
        return f"{self.attack.name}-each-target"

    @property
    def ball(self) -> Ball:
        """That of the attack."""
        return self.attack.ball

    def __call__(
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Attack a batch; arguments as in IterativeAttack.

        Raises:  SettingError if a target is given: this attack chooses its own aims.
        """
        if target is not None:
            raise SettingError("EachTarget steers to every likely class in turn; leave target out")
        check_batch(model, x, y, None, noise)
        if not len(x):
            return self.attack(model, x, y, noise=noise, limits=limits)
        with torch.no_grad(), model.frozen(), drawing(noise.child("likely")):
            logits = model.logits(x)[:, : model.answers]
        labels = logits.argmax(1) if y is None else y
        others = logits.scatter(1, labels[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :-1]
        count = others.shape[1] if self.classes is None else min(self.classes, others.shape[1])
        turns = [(self.attack, noise.child(f"aim {i}"), others[:, i]) for i in range(count)]
        return in_turn(turns, model, x, labels, None, limits, self.attack.keep, asked=model.draws)


@final
@dataclass(frozen=True, kw_only=True)
class Cascade:
    """The worst case over attacks: each sees only the rows that all before it left standing.

    Args:  attacks: at least one, all with one ball, cheap and strong ones first.
    """

    attacks: Sequence[Attack]

    def __post_init__(self) -> None:
        if not self.attacks or any(ball_of(attack) != ball_of(self.attacks[0]) for attack in self.attacks):
            raise SettingError("a cascade needs at least one attack, and all with the same ball")

    @property
    def name(self) -> str:
        """The names of the members."""
        return "+".join(attack.name for attack in self.attacks)

    @property
    def ball(self) -> Ball:
        """That of all members."""
        return ball_of(self.attacks[0])

    def __call__(
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Attack a batch; arguments as in IterativeAttack, the budget is shared by all members."""
        check_batch(model, x, y, target, noise)
        turns = [(attack, noise.child(f"member {i}"), None) for i, attack in enumerate(self.attacks)]
        return in_turn(turns, model, x, y, target, limits, Keep.FIRST_SUCCESS)


@final
@dataclass(frozen=True, kw_only=True)
class Bisect:
    """From a fixed radius to the smallest one: per row, halve the interval of radii between held and fooled.

    Args:
        attack: a fixed-budget attack; its eps, one or per row, is the largest radius tried.
        rounds: of halving; each runs the attack once on the rows that the full radius fools.

    Returns:  the nearest fooling point seen, else the input.
    """

    attack: IterativeAttack[Any]
    rounds: int = 10

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise SettingError(f"rounds={self.rounds} must be >= 0")

    @property
    def name(self) -> str:
        """The attack's name, and what is done to it."""
        return f"{self.attack.name}-bisect"

    @property
    def ball(self) -> Ball:
        """That of the attack: the largest radius."""
        return self.attack.ball

    @property
    def keep(self) -> Keep:
        """The nearest point counts."""
        return Keep.MIN_DISTANCE

    def __call__(
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Attack a batch; arguments as in IterativeAttack, the budget is shared by all rounds."""
        check_batch(model, x, y, target, noise)
        labels, asked = labelled(model, x, y, noise)
        ball, timer = self.attack.ball, Timer(limits)
        found = self.attack(model, x, labels, target=target, noise=noise, limits=timer.left(asked))
        found = replace(found, forwards=found.forwards + asked)
        eps = ball.eps.to(x) if isinstance(ball.eps, Tensor) else x.new_full((len(x),), ball.eps)
        low, high = torch.zeros_like(eps), torch.minimum(eps, found.distance)
        for i in range(self.rounds):
            index = (found.success & (high > low)).nonzero().squeeze(1)
            if not len(index):
                break
            middle = (low + high)[index] / 2
            attack = replace(self.attack, ball=replace(ball, eps=middle))
            drawn = noise.child(f"round {i}").at(check_rows(noise, x)[index])
            budget = timer.left(found.forwards[index], found.backwards[index], index)
            goal = None if target is None else target[index]
            later = attack(model, x[index], labels[index], target=goal, noise=drawn, limits=budget)
            low[index] = torch.where(later.success, low[index], middle)
            high[index] = torch.where(later.success, torch.minimum(middle, later.distance), high[index])
            found = merged(found, later, index, nearest=True)
        held = ~(found.success | found.undefined)
        column = held.view(-1, *[1] * (x.dim() - 1))
        return replace(
            found,
            x=torch.where(column, x.clamp(model.bounds.lower, model.bounds.upper), found.x),
            distance=torch.where(held, 0, found.distance),
        )
