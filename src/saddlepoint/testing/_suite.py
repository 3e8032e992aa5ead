"""Named checks of a subject, run at once or as one test of pytest each."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from saddlepoint.errors import SettingError, unknown

S = TypeVar("S")


def expect(holds: bool | Tensor, message: str) -> None:
    """Fail the check unless all of ``holds`` is true; a plain ``assert`` would vanish under ``python -O``."""
    if not bool(torch.as_tensor(holds).all()):
        raise AssertionError(message)


def expect_close(found: Tensor, wanted: Tensor, atol: float, message: str) -> None:
    """Fail the check unless both have one shape and differ by at most ``atol`` everywhere; NaN equals NaN."""
    expect(found.shape == wanted.shape, f"{message}: shape {tuple(found.shape)}, not {tuple(wanted.shape)}")
    if not torch.allclose(found, wanted.to(found), rtol=0, atol=atol, equal_nan=True):
        raise AssertionError(f"{message}: they differ by {(found - wanted.to(found)).abs().max().item():.3g}")


def named(*checks: Callable[[S], None]) -> dict[str, Callable[[S], None]]:
    """The checks by name."""
    return {check.__name__: check for check in checks}


def chosen(checks: Mapping[str, Callable[[S], None]], skip: Mapping[str, str]) -> dict[str, Callable[[S], None]]:
    """The checks that are not skipped.

    Raises:  SpecError for the name of no check, SettingError for a skip without a reason.
    """
    for name, reason in skip.items():
        if name not in checks:
            raise unknown("check", name, checks)
        if not reason:
            raise SettingError(f"skip[{name!r}] is empty; it must be the reason why the check does not apply")
    return {name: check for name, check in checks.items() if name not in skip}


def failures(checks: Mapping[str, Callable[[S], None]], subject: S) -> dict[str, str]:
    """What each failing check says, by name."""
    found = {}
    for name, check in checks.items():
        try:
            with _one_thread():
                check(subject)
        except Exception as error:  # noqa: BLE001 (an attack may fail in any way: that is a finding, too)
            found[name] = f"{type(error).__name__}: {error}"
    return found


def raise_failures(kind: str, checks: Mapping[str, Callable[[S], None]], subject: S) -> None:
    """Run the checks and raise one AssertionError that lists all that fail."""
    if found := failures(checks, subject):
        lines = "\n".join(f"  {name}: {message}" for name, message in found.items())
        raise AssertionError(f"{kind} fails {len(found)} of {len(checks)} checks:\n{lines}")


def collected(checks: Mapping[str, Callable[[S], None]], subject: S, skip: Mapping[str, str]) -> Callable[..., None]:
    """A function that pytest collects as one test for each check; those skipped show with their reason."""
    import pytest

    chosen(checks, skip)
    parameters: list[Any] = [
        pytest.param(check, id=name, marks=[pytest.mark.skip(reason=skip[name])] if name in skip else [])
        for name, check in checks.items()
    ]

    @pytest.mark.parametrize("check", parameters)
    def test(check: Callable[[S], None]) -> None:
        with _one_thread():
            check(subject)

    return test


@contextmanager
def _one_thread() -> Iterator[None]:
    """On tensors this small, threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
