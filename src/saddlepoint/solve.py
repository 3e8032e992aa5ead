"""The driver owns the loop: every attack gets counting, budgets, best points and shrinking, and none writes them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from saddlepoint._typing import Batch, Labels
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.errors import ArgumentTypeError
from saddlepoint.losses import Loss, cross_entropy
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits, Problem, Seen, Spent
from saddlepoint.result import AttackResult, Keep


class State(Protocol):
    """What an attack carries from step to step: tensors with one entry per row, or shared values.

    Two more fields are read where they exist: ``done`` (n,), rows that the attack itself has finished, solved or not,
    and ``aim`` (n,), the class that the loss of the next look steers to.
    """

    @property
    def x(self) -> Batch:
        """(n, *f), where the driver looks next."""


S = TypeVar("S", bound=State)


class Attack(Protocol):
    """All that defenses, evaluation and reports know of an attack."""

    name: ClassVar[str]

    def __call__(
        self,
        model: Classifier,
        x: Batch,
        y: Labels | None,
        *,
        target: Labels | None = None,
        noise: Noise = ...,
        limits: Limits = ...,
    ) -> AttackResult:
        """Attack the rows x (n, *f) with true labels y (n,), or the model's own predictions where y is None."""


@dataclass(frozen=True, kw_only=True)
class IterativeAttack(ABC, Generic[S]):
    """An attack as a first state and a step; subclasses are final frozen dataclasses.

    Args:
        ball: the perturbation set.
        loss: what is maximised.
        keep: which of the points looked at is returned.
    """

    ball: Ball
    loss: Loss = cross_entropy
    keep: Keep = Keep.MAX_LOSS
    name: ClassVar[str]
    needs_gradient: ClassVar[bool] = True

    @abstractmethod
    def length(self, problem: Problem) -> int:
        """Number of steps; the driver looks at most once more than that."""

    @abstractmethod
    def init(self, problem: Problem) -> S:
        """The first state; its x is looked at first."""

    @abstractmethod
    def step(self, problem: Problem, state: S, seen: Seen, t: int) -> S:
        """The next state from what was seen at state.x in step t = 0, 1, ...; out of place."""

    def __call__(
        self,
        model: Classifier,
        x: Batch,
        y: Labels | None,
        *,
        target: Labels | None = None,
        noise: Noise = Noise(),
        limits: Limits = Limits(),
    ) -> AttackResult:
        """Attack a batch.

        Args:
            model: the classifier;  x: (n, *f) inputs in its bounds.
            y: (n,) true labels, or None for the model's own predictions (one forward pass).
            target: (n,) classes to reach; success is then prediction == target, else prediction != y.
            noise: seed and row ids of every random draw;  limits: budget per row.

        Raises:
            InputError, RadiusError, SettingError, ModelError: each says what to change.
        """
        if not isinstance(model, Classifier):
            raise ArgumentTypeError(
                f"model is {type(model).__name__}; wrap it, so that its input range is clear: "
                "saddlepoint.Classifier(model, bounds=(0, 1))"
            )
        with model.frozen():
            problem = search(self, model, x, y, target=target, noise=noise, limits=limits)
            return problem.record.result(model, self.ball, self.loss, problem.x0, problem.y, problem.target)


def search(
    attack: IterativeAttack[Any],
    model: Classifier,
    x: Batch,
    y: Labels | None,
    *,
    target: Labels | None,
    noise: Noise,
    limits: Limits,
) -> Problem:
    """Run the loop on a frozen model; returns the problem as opened. Its record holds the best points, not verified."""
    opened = problem = Problem.open(
        model, x, y, target, ball=attack.ball, loss=attack.loss, keep=attack.keep, noise=noise, limits=limits
    )
    if problem.empty:
        return opened
    try:
        state, length = attack.init(problem), attack.length(problem)
        for t in range(length + 1):  # the last point is looked at too: no wasted update
            problem, state = problem.shrink(state, t)
            if problem.empty:
                break
            if attack.keep is Keep.LAST:
                problem.record.put(state.x)
                if t == length:
                    break
            gradient = attack.needs_gradient and t < length
            seen = problem.look(state.x, gradient=gradient, aim=getattr(state, "aim", None))
            if t < length:
                state = attack.step(problem, state, seen, t)
    except Spent:
        pass
    return opened
