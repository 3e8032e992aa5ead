"""What a training says while it runs: a bar, a line for each epoch, and TensorBoard's events."""

from pathlib import Path
from typing import Any, final

from rich.progress import Progress
from rich.text import Text

from saddlepoint.defenses.training import Epoch, Event
from saddlepoint.errors import missing


@final
class Teller:
    """Tells of one training.

    Args:  progress: the bars;  what: is running;  epochs: planned;  quiet: say nothing, as all processes but the first
        do;  folder: for TensorBoard, or None.

    Raises:  MissingExtraError if tensorboard is asked for and not installed.
    """

    def __init__(self, progress: Progress, what: str, epochs: int, *, quiet: bool, folder: Path | None = None) -> None:
        self._progress, self._epochs, self._quiet = progress, epochs, quiet
        self._task = progress.add_task(what)
        self._events = None if quiet or folder is None else _writer(folder)

    def watch(self, done: int, total: int) -> None:
        """After every step."""
        self._progress.update(self._task, completed=done, total=total)

    def told(self, epoch: Epoch, event: Event | None) -> None:
        """After every epoch."""
        if self._quiet:
            return
        self._progress.console.print(Text(line(epoch, self._epochs)), soft_wrap=True)
        if event is not None:
            self._progress.console.print(
                Text.assemble(("guard ", "bold red"), f"epoch {epoch.number}: {event.reason}; {_done(event)}"),
                soft_wrap=True,
            )
        if self._events is not None:
            for name in ("loss", "rate", "seconds", "clean", "fgsm", "pgd"):
                if (value := getattr(epoch, name)) is not None:
                    self._events.add_scalar(name, value, epoch.number)
            self._events.flush()

    def measuring(self) -> None:
        """After the last epoch."""
        self._progress.update(self._task, description="measuring", total=None)


def line(epoch: Epoch, planned: int) -> str:
    """One epoch on one line.

    >>> line(Epoch(number=3, loss=0.25, rate=0.005, seconds=7.2, clean=0.97, fgsm=0.9, pgd=0.88), 10)
    'epoch  3/10  loss 0.2500  rate 0.005  clean 97.0 %  FGSM 90.0 %  PGD 88.0 %  7 s'
    """
    shares = (("clean", epoch.clean), ("FGSM", epoch.fgsm), ("PGD", epoch.pgd))
    told = [f"{name} {100 * share:.1f} %" for name, share in shares if share is not None]
    number = f"epoch {epoch.number:>{len(str(planned))}}/{planned}"
    return "  ".join([number, f"loss {epoch.loss:.4f}", f"rate {epoch.rate:.3g}", *told, f"{epoch.seconds:.0f} s"])


def _done(event: Event) -> str:
    if event.action == "warned":
        return "the training goes on"
    return "rolled back to the last weights that were not suspect, and stopped"


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise missing("tensorboard", "train") from error
    return SummaryWriter(str(folder))
