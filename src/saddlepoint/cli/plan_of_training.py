"""What ``saddlepoint train --dry-run`` prints: the plan of a training, and what it costs."""

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from saddlepoint.cli.job import Job
from saddlepoint.cli.teachers import taught_by
from saddlepoint.defenses.training.cost import Cost, cost


def table(job: Job, teacher: str | None) -> Table:
    """One line for each thing that is settled.

    Args:  teacher: the spec of a model to learn from; None where there is none, or one is to be trained.
    """
    found = Table(box=None, show_header=False, title="plan", title_justify="left", title_style="bold")
    for name, value in _lines(job, teacher):
        found.add_row(Text(name, style="cyan"), Text(value))
    return found


def _lines(job: Job, teacher: str | None) -> list[tuple[str, str]]:
    recipe, schedule, module = job.recipe, job.recipe.schedule, job.net()
    learned = taught_by(job, teacher)
    validation = job.validation()
    lines = [
        ("recipe", f"{recipe.name}: {recipe.title}"),
        *([("source", recipe.source)] if recipe.source else []),
        ("data", f"{job.learn.name}, {len(job.learn)} rows"),
        ("net", f"{_net(job)}, {sum(p.numel() for p in module.parameters()):,} parameters, on {job.device}"),
        ("objective", _told({**recipe.objective, **({} if recipe.awp is None else {"awp": dict(recipe.awp) or "on"})})),
        *([("ball", f"{job.ball.norm}, eps {job.ball.eps:g}")] if recipe.robust else []),
        ("schedule", _told({k: v for k, v in schedule.describe().items() if v not in (None, 0, 0.0, [], False)})),
        ("validation", "none" if validation is None else _told(validation.describe())),
        ("out", job.out.name),
    ]
    if learned is not None and teacher is None:
        first = job.of_teacher()
        lines.append(("teacher", f"trained first, kept as {first.out.name}"))
        lines += _cost("teacher's cost", cost(module, first.objective(None), schedule, first.validation(),
                                              job.learn.x, job.learn.y))  # fmt: skip
    others = [] if learned is None else [learned]
    lines += _cost(
        "cost", cost(module, job.objective(learned), schedule, validation, job.learn.x, job.learn.y, *others)
    )
    return lines


def _cost(name: str, found: Cost) -> list[tuple[str, str]]:
    each = f"{found.forwards:g} forward and {found.backwards:g} backward passes per row and step"
    often = f" x {found.replays} times each" if found.replays > 1 else ""
    total = f"{found.rows:,} rows x {found.epochs} epochs{often}"
    checks = f", at most {found.validation:,} of them for validation" if found.validation else ""
    return [(name, each), ("", f"{total} = {found.total:,} passes of a row{checks}")]


def _told(values: Mapping[str, object]) -> str:
    told = ((name, _told(value) if isinstance(value, Mapping) else value) for name, value in values.items())
    return ", ".join(f"{name} {value}" for name, value in told if value is not None)


def _net(job: Job) -> str:
    return str(job.architecture.get("name", job.architecture.get("py")))
