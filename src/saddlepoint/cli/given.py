"""Settings of a command from a YAML file: read as plain text, checked, and overridden by words of the command line."""

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final, get_args, get_type_hints

import typer

from saddlepoint.cli.yaml_file import named, read
from saddlepoint.data.reading import base_name
from saddlepoint.errors import SaddlepointError, SettingError, SpecError, shown, unknown
from saddlepoint.values import READERS, UNREADABLE

_HIDDEN = ("config", "ctx", "specs")  # parameters of commands that are no keys
_REPLACED_BY = {"models": ("specs",), "data": ("specs", "data"), "threats": ("norm", "eps")}
"""The words of the command line that replace a key, where they are not the option of its name."""


@final
@dataclass(frozen=True)
class Given:
    """What the file of a running command says; nothing without a file.

    Args:
        ctx: of the command;  name: of the file, without its folder.
        values: by key; text, lists and mappings only.
    """

    ctx: typer.Context
    name: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def get(self, key: str) -> Any | None:
        """What the file says of a key; None if it says nothing, or words of the command line replace it."""
        words = _REPLACED_BY.get(key, (key,))
        return None if any(map(self.typed, words)) else self.values.get(key)

    @contextmanager
    def at(self, place: str = "") -> Iterator[None]:
        """Errors inside name the file and the place in it, such as ``attacks[1].steps``, if the file gave the value.

        Without a place it is the argument that the error begins with: ``target='x' must be ...``.
        """
        try:
            yield
        except SaddlepointError as error:
            where = place or str(error).partition("=")[0]
            if self.get(re.split(r"[.\[]", where)[0]) is None:
                raise
            raise type(error)(f"{self.name}: {where}: {error}") from error

    @property
    def prefix(self) -> str:
        """What an error about a missing key begins with."""
        return f"{self.name}: " if self.name else ""

    def names(self, key: str) -> bool:
        """Whether a key was typed, or is in the file."""
        return self.typed(key) or key in self.values

    def typed(self, word: str) -> bool:
        """Whether a word was given on the command line."""
        source = self.ctx.get_parameter_source(word)
        return source is not None and source.name == "COMMANDLINE"


def option(*structured: str) -> Any:
    """The option ``--config``: the keys of the file are the options and arguments of the command.

    The command reads its values as if they had been typed; what was typed goes first.

    Args:  structured: keys that the command itself takes from :func:`of`, because they hold more than text.
    """

    def use(ctx: typer.Context, value: Path | None) -> Path | None:
        if value is not None and not ctx.resilient_parsing:
            name, values = base_name(value), read(value)
            kinds = _kinds(ctx)
            for key in values:
                if key not in (*kinds, *structured):
                    with named(name):
                        raise unknown("key", key, (*kinds, *structured))
            plain = {
                key: _plain(name, key, kinds[key], value) for key, value in values.items() if key not in structured
            }
            ctx.default_map, ctx.obj = plain, Given(ctx, name, values)
        return value

    return typer.Option(
        "--config", callback=use, is_eager=True, help="YAML file with options of this command; typed ones go first."
    )


def of(ctx: typer.Context) -> Given:
    """The file of the command that is running, or an empty one."""
    return ctx.obj if isinstance(ctx.obj, Given) else Given(ctx)


def entries(place: str, value: Any) -> list[tuple[str, Any]]:
    """The items of a list, or the only one, each with its place.

    Raises:  SpecError if there is none.
    """
    if not value:
        raise SpecError(f"{shown(value)} is empty; give at least one")
    return [(f"{place}[{i}]", item) for i, item in enumerate(value)] if isinstance(value, list) else [(place, value)]


def fields(value: Any, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The value, a mapping with these keys.

    Raises:  SpecError if it is none, has another key or lacks one.
    """
    if not isinstance(value, dict):
        raise SpecError(f"{shown(value)} must be a mapping with the keys {', '.join((*required, *optional))}")
    for key in value:
        if key not in (*required, *optional):
            raise unknown("key", key, (*required, *optional))
    for key in required:
        if key not in value:
            raise SpecError(f"the key {key!r} is missing; write {key}: and its value")
    return value


def words(value: Any) -> str:
    """Text, or a list of it joined by commas.

    Raises:  SettingError for anything else, or nothing.
    """
    parts = value if isinstance(value, list) else [value]
    if not parts or not all(isinstance(part, str) and part for part in parts):
        raise SettingError(f"{shown(value)} must be text or a list of it; to leave it open, leave the key out")
    return ",".join(parts)


def _kinds(ctx: typer.Context) -> dict[str, Any]:
    """The type of every option and argument of the command."""
    assert ctx.command.callback is not None
    hints = get_type_hints(inspect.unwrap(ctx.command.callback))
    return {param.name: hints[param.name] for param in ctx.command.params if param.name in hints.keys() - _HIDDEN}


def _plain(name: str, key: str, kind: Any, value: Any) -> Any:
    """A value as its option takes it."""
    with named(f"{name}: {key}"):
        members = get_args(kind) or (kind,)
        found = next((READERS[each] for each in members if each in READERS), None)
        if found is None:
            return words(value)
        reader, rule = found
        try:
            return reader(value)
        except UNREADABLE as error:
            raise SettingError(f"{shown(value)} must be {rule}; to leave it open, leave the key out") from error
