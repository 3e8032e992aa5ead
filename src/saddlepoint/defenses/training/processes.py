"""One process or many: the same training, each process with its part of every batch."""

import os
from collections.abc import Iterable
from typing import Protocol, TypeVar, final

import torch
from torch import Tensor, nn

from saddlepoint.errors import SettingError, missing

T = TypeVar("T")


class Processes(Protocol):
    """The processes that train together. All methods but ``share`` are calls that every process makes."""

    @property
    def index(self) -> int:
        """The number of this process, from 0."""

    @property
    def count(self) -> int:
        """How many there are."""

    def share(self, rows: Tensor) -> Tensor:
        """The part of these rows that this process takes; all parts in order are the rows."""

    def average(self, module: nn.Module, loss: Tensor, rows: int, batch: int, due: bool) -> tuple[Tensor, bool]:
        """Give every process the gradient of the whole batch; its loss; and whether the first process says ``due``.

        Args:  loss: mean over the rows of this process;  rows, batch: how many it has, and all have together.
        """

    def total(self, counts: Tensor) -> Tensor:
        """The sum over processes."""

    def follow(self, module: nn.Module) -> None:
        """Give every process the buffers of the first, such as the averages of BatchNorm."""

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in order, at least in the first."""

    def spread(self, value: T) -> T:
        """The first process's value."""


@final
class Alone:
    """One process."""

    index, count = 0, 1

    def share(self, rows: Tensor) -> Tensor:
        return rows

    def average(self, module: nn.Module, loss: Tensor, rows: int, batch: int, due: bool) -> tuple[Tensor, bool]:
        return loss, due

    def total(self, counts: Tensor) -> Tensor:
        return counts

    def follow(self, module: nn.Module) -> None:
        """Nothing to follow."""

    def gather(self, value: T) -> list[T]:
        return [value]

    def spread(self, value: T) -> T:
        return value


@final
class Together:
    """The processes that ``torchrun`` or ``accelerate launch`` started, joined by accelerate.

    Args:  device: of this process's module.

    Raises:  MissingExtraError if accelerate is not installed.
    """

    def __init__(self, device: torch.device) -> None:
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise missing("accelerate", "train") from error
        # Mixed precision, placement and data are the trainer's own; of accelerate it takes the processes.
        self._accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
        self.index: int = self._accelerator.process_index
        self.count: int = self._accelerator.num_processes

    def share(self, rows: Tensor) -> Tensor:
        return rows.tensor_split(self.count)[self.index]

    def average(self, module: nn.Module, loss: Tensor, rows: int, batch: int, due: bool) -> tuple[Tensor, bool]:
        # Not DistributedDataParallel: it expects one forward pass of the wrapper for each backward pass, while an
        # objective calls the module several times, and also with other weights (functional_call). So the gradients
        # are averaged after the backward pass, weighted by rows, because parts of a batch may differ by one row.
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        told = torch.stack((loss.detach() * rows, loss.new_tensor(float(due and self.index == 0))))
        flat = torch.cat([*(grad.flatten() * rows for grad in grads), told])
        flat = self._sum(flat)
        for parameter, part in zip(trained, flat[:-2].split([p.numel() for p in trained]), strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype) / batch
        return flat[-2] / batch, bool(flat[-1] > 0)

    def total(self, counts: Tensor) -> Tensor:
        return self._sum(counts)

    def follow(self, module: nn.Module) -> None:
        from accelerate.utils import broadcast

        for dtype in dict.fromkeys(buffer.dtype for buffer in module.buffers()):
            buffers = [buffer for buffer in module.buffers() if buffer.dtype == dtype]
            flat = broadcast(torch.cat([buffer.flatten() for buffer in buffers]))
            for buffer, part in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
                buffer.copy_(part.view_as(buffer))

    def gather(self, value: T) -> list[T]:
        from accelerate.utils import gather_object

        found: Iterable[T] = gather_object([value])
        return list(found)

    def spread(self, value: T) -> T:
        from accelerate.utils import broadcast_object_list

        found: list[T] = broadcast_object_list([value])
        return found[0]

    def _sum(self, values: Tensor) -> Tensor:
        found: Tensor = self._accelerator.reduce(values, reduction="sum")
        return found


def started() -> tuple[int, int]:
    """Index and number of the processes of this training, from the variables that launchers set; (0, 1) without.

    Raises:  SettingError if they are no numbers.
    """
    told = [os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"))]
    try:
        index, count = map(int, told)
    except ValueError as error:
        raise SettingError(
            f"RANK={told[0]!r} and WORLD_SIZE={told[1]!r} in the environment must be integers; "
            "start with torchrun or accelerate launch, or unset them"
        ) from error
    return index, count


def processes(device: torch.device) -> Processes:
    """Those that were started together, or this one alone."""
    return Together(device) if started()[1] > 1 else Alone()
