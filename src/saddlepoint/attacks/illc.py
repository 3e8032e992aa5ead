"""The iterative least-likely class method."""

from dataclasses import dataclass
from typing import ClassVar, final

from saddlepoint._typing import Batch, Labels
from saddlepoint.attacks._gradient import ascend, check_size, check_steps, kurakin_size, kurakin_steps
from saddlepoint.errors import SettingError
from saddlepoint.problem import Problem, Seen
from saddlepoint.solve import IterativeAttack


@final
@dataclass(frozen=True)
class Aimed:
    """A point x (n, *f) and the class that each row is steered to (n,)."""

    x: Batch
    aim: Labels


@final
@dataclass(frozen=True, kw_only=True)
class ILLC(IterativeAttack[Aimed]):
    """BIM towards the class that the model finds least likely for the clean input.

    y_LL = argmin_k z_k(x), chosen once, on logits (probabilities underflow and tie);
    x_{n+1} = Clip_{x,eps}(x_n - alpha sign(grad_x J(x_n, y_LL))). Any wrong class counts as success. Cost: one forward
    more than BIM.

    Args:  ball, steps, step_size: as in BIM.
    Raises:  SettingError if a target is given: the attack chooses its own; or if steps is None with one eps per row.
    Source:  Kurakin, Goodfellow & Bengio 2017, arXiv:1607.02533, section 2.3.
    Departs:  returns the best point seen, not the last (``keep=Keep.LAST`` is the paper's).
    """

    steps: int | None = None
    step_size: float | None = None
    name: ClassVar[str] = "illc"

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_size(self.step_size)

    def length(self, problem: Problem) -> int:
        return kurakin_steps(self.ball, self.steps, problem)

    def init(self, problem: Problem) -> Aimed:
        if problem.target is not None:
            raise SettingError(
                "ILLC steers to the least likely class of each row; leave target out, or use BIM with your target"
            )
        return Aimed(problem.x0, problem.logits(problem.x0)[:, : problem.model.answers].argmin(1))

    def step(self, problem: Problem, state: Aimed, seen: Seen, t: int) -> Aimed:
        size = kurakin_size(self.ball, self.step_size, self.length(problem), problem)
        return Aimed(ascend(problem, state.x, size, seen.grad), state.aim)
