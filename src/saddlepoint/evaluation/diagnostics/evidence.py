"""What was measured, as questions about rows; and when one attack beats another beyond chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import NamedTuple, final

import torch
from torch import Tensor

from saddlepoint.evaluation.diagnostics.battery import LETTERS
from saddlepoint.records import FOOLED, HELD, UNDEFINED, Cause, Concern

LEVEL = 0.01
"""Of a test: how often chance alone may look like a difference."""

GRAVE, SOME = 0.10, 0.05
"""Shares of the rows: a number that is off by the first is not to be cited, below the second nothing is said."""

RANDOM, LOUD = 1e-4, 1e-2
"""Of the spread of a row's logits: what may differ between two looks, by the order of a device's sums; and what can
change answers."""


class Versus(NamedTuple):
    """Of ``rows`` rows with a verdict under both attacks: those that only the first, or only the second, fooled."""

    rows: int
    first: int
    second: int
    held: int  # by the second

    @property
    def beats(self) -> bool:
        """Whether the first fools more, by McNemar's exact test (one-sided, on the rows that only one of them fools).

        Source:  McNemar 1947, Psychometrika 12, 153-157, with binomial probabilities.
        """
        return tail(self.first, self.first + self.second) < LEVEL

    @property
    def concern(self) -> Concern:
        """By how many rows the second falls behind, if beyond chance."""
        if not self.beats:
            return "none"
        return "do not cite" if self.first - self.second >= GRAVE * self.rows else "doubt"

    def __str__(self) -> str:
        return f"{self.first} of {self.rows} rows fooled by it alone, {self.second} by the other alone"

    @property
    def numbers(self) -> dict[str, float]:
        """As the record keeps them."""
        return {"rows": self.rows, "alone": self.first, "other_alone": self.second}


def tail(hits: int, tosses: int) -> float:
    """The probability of at least so many heads of a fair coin.

    >>> tail(0, 0), tail(7, 7)
    (1.0, 0.0078125)
    """
    return float(sum(comb(tosses, i) for i in range(hits, tosses + 1)) / 2**tosses)


@final
@dataclass(frozen=True)
class Measured:
    """The tensors of a diagnosis; ``letters``, of the run on the same rows, if there is one."""

    found: Mapping[str, Tensor]
    letters: str | None = None

    @cached_property
    def rows(self) -> int:
        """How many rows."""
        return len(self.found["rows"])

    def flag(self, name: str) -> Tensor:
        """One answer about each row (n,)."""
        return self.found[name].bool()

    @property
    def attacks(self) -> list[str]:
        """The names of the attacks that ran."""
        return [name.removeprefix("codes.") for name in self.found if name.startswith("codes.")]

    def fooled(self, attack: str) -> Tensor:
        """(m,), the first rows, or all."""
        return self.found[f"codes.{attack}"] == LETTERS.index(FOOLED)

    def undefined(self, attack: str) -> Tensor:
        """(m,)."""
        return self.found[f"codes.{attack}"] == LETTERS.index(UNDEFINED)

    def any_fooled(self, attacks: list[str]) -> Tensor:
        """(n,): whether one of them fooled the row; those that did not see it do not."""
        hit = torch.zeros(self.rows, dtype=torch.bool)
        for attack in attacks:
            some = self.fooled(attack)
            hit[: len(some)] |= some
        return hit

    def versus(self, first: str, second: str) -> Versus:
        """On the rows that both saw."""
        m = min(len(self.fooled(first)), len(self.fooled(second)))
        known = ~(self.undefined(first)[:m] | self.undefined(second)[:m])
        a, b = self.fooled(first)[:m] & known, self.fooled(second)[:m] & known
        return Versus(int(known.sum()), int((a & ~b).sum()), int((b & ~a).sum()), int((known & ~b).sum()))

    @cached_property
    def best(self) -> str:
        """The run of PGD that fools more rows; on the cross-entropy if both fool as many."""
        return max(("pgd-ce", "pgd-margin"), key=lambda name: int(self.fooled(name).sum()))

    @cached_property
    def noise(self) -> float:
        """By how much logits differ when they are asked for again, as a share of the spread of the row's: the most."""
        change, scale = self.found["change"].double(), self.found["scale"].double()
        return float((change / scale.clamp_min(1e-30)).max())

    @property
    def random(self) -> bool:
        """Whether that is beyond rounding."""
        return self.noise > RANDOM

    @cached_property
    def moving(self) -> Tensor:
        """(n,), whether anything in the ball was seen to move the row's logits: else nothing can be hidden there."""
        return self.flag("far")

    @cached_property
    def stepped(self) -> Tensor:
        """(n,), whether a row's logits are constant in pieces: wide steps move them, tiny ones do not."""
        return self.moving & self.flag("told") & ~self.flag("near")

    @cached_property
    def quantised(self) -> bool:
        """Whether that holds for half of the rows that tell."""
        told = int((self.moving & self.flag("told")).sum())
        return told > 0 and int(self.stepped.sum()) >= 0.5 * told

    @cached_property
    def blindness(self) -> Cause:
        """What to call it where gradients do not lead to what is there."""
        return "quantised input" if self.quantised else "masked gradients"

    def __len__(self) -> int:
        return self.rows


def held_by(letters: str, places: Tensor) -> Tensor:
    """(n,), whether a run calls the rows at these places of the data set held."""
    return torch.tensor([letters[place] == HELD for place in places.tolist()], dtype=torch.bool)
