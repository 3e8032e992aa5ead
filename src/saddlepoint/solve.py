"""The driver owns the loop: every attack gets counting, budgets, best points and shrinking, and none writes them."""

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from saddlepoint._typing import Batch, Labels
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.losses import Loss, cross_entropy
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits, Problem, Seen, Spent
from saddlepoint.result import AttackResult, Keep


class State(Protocol):
    """What an attack carries from step to step: tensors with one entry per row, or shared values.

    Three more fields are read where they exist: ``done`` (n,), rows that the attack itself has finished, solved or not;
    ``aim`` (n,), the class that the loss of the next look steers to; and ``roams``, whether x may lie outside the ball:
    points that do are looked at, but neither succeed nor are kept.
    """

    @property
    def x(self) -> Batch:
        """(n, *f), where the driver looks next."""


S = TypeVar("S", bound=State)


class Attack(Protocol):
    """All that defenses, evaluation and reports know of an attack."""

    @property
    def name(self) -> str:
        """What reports call it."""

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
        confidence: a point counts as a success only with a margin of at least this, >= 0, in logit units.
    """

    ball: Ball
    loss: Loss = cross_entropy
    keep: Keep = Keep.MAX_LOSS
    confidence: float = 0.0
    name: ClassVar[str]
    needs_gradient: ClassVar[bool] = True
    needs_graph: ClassVar[bool] = False

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
        self, model: Classifier, x: Batch, y: Labels | None, *,
        target: Labels | None = None, noise: Noise = Noise(), limits: Limits = Limits(),
    ) -> AttackResult:  # fmt: skip
        """Attack a batch.

        Args:
            model: the classifier;  x: (n, *f) inputs in its bounds.
            y: (n,) true labels, or None for the model's own predictions (one forward pass).
            target: (n,) classes to reach; success is then prediction == target, else prediction != y.
            noise: seed and row ids of every random draw;  limits: budget per row.

        Raises:
            InputError, RadiusError, SettingError, ModelError: each says what to change.
        """
        problem = Problem.open(self, model, x, y, target, noise, limits)
        search(self, problem)
        return problem.result()


def aimed(
    attack: IterativeAttack[Any], model: Classifier, x: Batch, y: Labels, aim: Labels, *, noise: Noise, limits: Limits
) -> AttackResult:
    """Untargeted, but with the loss steered to the classes ``aim`` (n,); other arguments as in IterativeAttack."""
    problem = Problem.open(attack, model, x, y, None, noise, limits, aim)
    search(attack, problem)
    return problem.result()


def search(attack: IterativeAttack[Any], problem: Problem) -> None:
    """The loop: run an attack on a problem just opened; its record then holds the best points, not yet verified."""
    if problem.empty:
        return
    with problem.model.frozen(), suppress(Spent):
        state, length = attack.init(problem), attack.length(problem)
        for t in range(length + 1):  # the last point is looked at too: no wasted update
            problem, state = problem.shrink(state, t, eager=attack.needs_graph)  # a step there is many passes
            last, free = t == length, getattr(state, "roams", False)
            if not free:
                problem.record.put(state.x)
            if problem.empty or (last and attack.keep is Keep.LAST):
                break
            grad, graph = attack.needs_gradient and not last, attack.needs_graph and not last
            seen = problem.look(state.x, gradient=grad, graph=graph, aim=getattr(state, "aim", None), free=free)
            if not last:
                state = attack.step(problem, state, seen, t)
