"""What several commands share: consoles, progress, and the reading of numbers."""

import errno
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from tempfile import NamedTemporaryFile

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from saddlepoint import values
from saddlepoint.balls import L0, L1, L2, Ball, Linf, Perceptual
from saddlepoint.errors import RadiusError, RecordError, SettingError, SpecError, unknown
from saddlepoint.errors import shown as brief
from saddlepoint.evaluation.plan import Plan

_MOST_THREADS = 4096
BALLS: dict[str, type[Ball]] = {cls.norm: cls for cls in (Linf, L2, L1, L0, Perceptual)}


def console() -> Console:
    """Where results go."""
    return Console()


def errors_to() -> Console:
    """Where errors and progress go."""
    return Console(stderr=True)


@contextmanager
def bar() -> Iterator[Progress]:
    """A progress bar on standard error, with time spent and time left, if that is a terminal; texts are shown as is."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    screen = errors_to()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        yield progress


@contextmanager
def telling() -> Iterator[Callable[[int, int, str], None]]:
    """A function that shows (rows done, rows in all, what is running) on a progress bar."""
    with bar() as progress:
        task = progress.add_task("starting", total=None)

        def tell(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total, description=what)

        yield tell


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A moving bar that names what is running, and the time spent, where the end is not known."""
    with bar() as progress:
        progress.add_task(what, total=None)
        yield


@contextmanager
def resumable(out: Path | None) -> Iterator[None]:
    """Says, where what is inside is interrupted by hand, that what went to the folder is kept."""
    try:
        yield
    except KeyboardInterrupt:
        if out is not None:
            errors_to().print(
                f"interrupted: what is finished is kept in {shown(out)}; the same command goes on from there",
                highlight=False,
                soft_wrap=True,
            )
        raise


def number(text: str) -> float:
    """A number, or a fraction such as 8/255.

    Raises:  RadiusError for anything else.
    """
    try:
        value = values.number(text)
    except values.UNREADABLE as error:
        raise RadiusError(f"eps={text!r} must be a number or a fraction, such as 0.3 or 8/255") from error
    if not 0 <= value < math.inf:
        raise RadiusError(f"eps={text!r} must be finite and >= 0, in input units, such as 0.3 or 8/255")
    return value


def words(text: str) -> list[str]:
    """The parts of a comma list.

    Raises:  SpecError if there is none.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise SpecError(f"{text!r} names nothing; give at least one, separated by commas")
    return parts


def check_norm(norm: str) -> None:
    """Raises:  SpecError for an unknown norm, with the nearest ones."""
    if norm not in BALLS:
        raise unknown("norm", norm, BALLS)


def check_fitted(out: Path) -> None:
    """Raises:  SettingError for a file that what was fitted cannot be written to;  RecordError if it is there."""
    if out.suffix != ".safetensors" or not os.path.isdir(out.parent):
        raise SettingError(f"--out {out.name!r} must end in .safetensors, in a folder that exists")
    check_new(out)
    check_place(out)


def check_place(path: Path) -> None:
    """Try whether a file can be written there, before there is anything to lose.

    Raises:  RecordError if it cannot.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise unwritten(path, error) from error


def unwritten(path: Path, error: OSError) -> RecordError:
    """The error for an --out that cannot be written."""
    return RecordError(f"cannot write {brief(path.name)} ({error.strerror}); choose another --out")


def check_new(*paths: Path) -> None:
    """Raises:  RecordError if there is a file already that a command would write over."""
    for path in paths:
        if os.path.exists(path):  # False, not an error, for a path that cannot be looked at
            raise RecordError(f"{path.name!r} is there already; give another --out, or delete it to make it again")


def balls(norm: str, eps: str) -> list[Ball]:
    """One ball for each radius of a comma list; one without a border if the list is empty.

    Raises:  SpecError for an unknown norm;  RadiusError for a radius that is no number.
    """
    check_norm(norm)
    radii = [number(part) for part in words(eps)] if eps else [math.inf]
    return [BALLS[norm](value) for value in dict.fromkeys(radii)]


def batch_size(text: str) -> int | None:
    """A positive integer, or "auto".

    Raises:  SettingError for anything else.
    """
    if text == "auto":
        return None
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise SettingError(f"--batch-size {text[:40]!r} must be auto or an integer >= 1")
    return int(text)


def set_threads(threads: int | None) -> None:
    """Use that many CPU threads; None leaves torch's own choice.

    Raises:  SettingError if it is not positive, or more than any machine has.
    """
    if threads is None:
        return
    if not 1 <= threads <= _MOST_THREADS:
        raise SettingError(f"--threads {threads} must be >= 1 and at most {_MOST_THREADS}")
    torch.set_num_threads(threads)


def check_device(device: str | None) -> str | None:
    """The device, if torch can use it.

    Raises:  SettingError otherwise.
    """
    if device is None:
        return None
    try:
        torch.zeros(1, device=device).item()  # the meta device holds no values
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"--device {device!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


def command_line() -> str:
    """The command as typed, quoted so that a shell reads it back."""
    words, skip = [], False
    for word in sys.argv[1:]:
        if not (skip or word == "--shard" or word.startswith("--shard=")):  # a run is the same whoever did its parts
            words.append(word)
        skip = word == "--shard"
    return " ".join(["saddlepoint", *map(shlex.quote, words)])


def shard(text: str) -> tuple[int, int]:
    """The pair (i, m) of i/m, 1 <= i <= m.

    Raises:  SettingError for anything else.
    """
    i, _, m = text.partition("/")
    if not (i.isdecimal() and m.isdecimal() and len(i) <= len(m) < 10 and 1 <= int(i) <= int(m)):
        raise SettingError(f"--shard {text[:40]!r} must be i/m with 1 <= i <= m, such as 2/7")
    return int(i), int(m)


def jobs(plan: Plan) -> Table:
    """A table of the jobs of an evaluation, one line for each model, ball and attack."""
    table = Table(box=None, title="jobs", title_justify="left", title_style="bold")
    for column in ("what", "jobs", "rows"):
        table.add_column(column, justify="left" if column == "what" else "right")
    groups = groupby(plan.jobs(), key=lambda job: job.what)
    for what, group in groups:
        parts = list(group)
        table.add_row(Text(what), str(len(parts)), str(sum(len(job.rows) for job in parts)))
    return table


def shown(path: Path) -> str:
    """A path for the terminal, with rich markup in it switched off."""
    return escape(str(path))
