"""How many lines of code stand between ``PGD(ball=Linf(eps))(model, x, y)`` and the gradient that it steps along.

Blank lines, comments and docstrings aside. Checks of the arguments (checks.py) and the noise hash (noise.py) are
library calls here; settling, shrinking and verification come after the gradient.
"""

import ast
import inspect
import textwrap

from saddlepoint.attacks import PGD, _gradient
from saddlepoint.balls import Linf
from saddlepoint.balls.ball import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.losses import cross_entropy
from saddlepoint.problem import Problem, Seen
from saddlepoint.solve import IterativeAttack, search

PATH = [
    PGD,
    IterativeAttack.__call__,
    Problem.open,
    search,
    Problem.random_start,
    Linf.random_start,
    Ball.radius,
    Problem.look,
    Seen,
    Problem._forward,
    Problem._afford,
    Classifier.logits,
    Classifier._normalised,
    cross_entropy,
    Problem._gradient,
    _gradient.ascend,
    Problem.project,
    Linf.project,
    Problem.steepest_step,
    Linf.steepest_step,
]


def code_lines(thing: object) -> int:
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))
    tree = ast.parse(source)
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            skipped.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    kept = [line for i, line in enumerate(source.splitlines(), 1) if i not in skipped]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in kept)


if __name__ == "__main__":
    for thing in PATH:
        print(f"{code_lines(thing):4d}  {thing.__qualname__}")
    print(f"{sum(map(code_lines, PATH)):4d}  in all")
