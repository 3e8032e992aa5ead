"""In which form each model was attacked: what the page and the terminal say of the trials of a run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from saddlepoint.errors import missing
from saddlepoint.records import Precision, RunRecord, Trial
from saddlepoint.report import text
from saddlepoint.report.privacy import public

if TYPE_CHECKING:
    from rich.console import Group as Renderables


@final
@dataclass(frozen=True, kw_only=True)
class Choice:
    """One model: its place, its name, what was picked and why, and of each form its name and what came of it."""

    series: int
    name: str
    picked: str
    said: str
    trials: list[tuple[str, str]]


def choices(run: RunRecord, names: list[str]) -> list[Choice]:
    """The models whose form was to be chosen; ``names`` are the models'."""
    return [
        Choice(
            series=series,
            name=name,
            picked=found.picked,
            said=_said(found),
            trials=[(trial.name, _outcome(trial, found.trials[0])) for trial in found.trials],
        )
        for series, (name, found) in enumerate(zip(names, (model.precision for model in run.models), strict=True))
        if found is not None
    ]


def summary(run: RunRecord) -> "Renderables":
    """For each model whose form was to be chosen a line with what was picked, and one with what was tried.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich.console import Group as Renderables
        from rich.text import Text
    except ImportError as error:
        raise missing("rich", "cli") from error
    shown, lines = public(run), []
    for choice in choices(shown, text.labels(shown.models)):
        tried = "; ".join(f"{name}: {outcome}" for name, outcome in choice.trials)
        lines.append(
            Text.assemble(
                f"{choice.name}: attacked in ",
                (choice.picked, "bold"),
                f" ({choice.said})",
                (f"\n  {tried}" if tried else "", "dim"),
            )
        )
    return Renderables(*lines)


def _said(found: Precision) -> str:
    """Why that was picked."""
    if found.note:
        return found.note
    rows = text.plural(found.rows, "row")
    if found.picked == found.trials[0].name:
        return f"no other form was faster by a tenth without losing a verdict on {rows}"
    return f"the fastest that lost no verdict on {rows}"


def _outcome(trial: Trial, first: Trial) -> str:
    """What came of one form.

    >>> first = Trial(name="float32", seconds=0.5, lost=0)
    >>> _outcome(Trial(name="bfloat16", seconds=0.25, lost=2), first)
    '0.250 s, 0.50 of float32, 2 verdicts lost'
    """
    if trial.seconds is None:
        return f"could not be run: {trial.why}"
    if trial is first:
        return f"{trial.seconds:.3f} s"
    part = f"{trial.seconds / first.seconds:.2f} of {first.name}, " if first.seconds else ""
    lost = text.plural(trial.lost or 0, "verdict") if trial.lost else "no verdict"
    return f"{trial.seconds:.3f} s, {part}{lost} lost"
