"""A YAML file as plain text, lists and mappings; whatever else it may hold is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from saddlepoint.data.reading import base_name
from saddlepoint.errors import SaddlepointError, SpecError, shown

_LARGEST = 64 * 1024
_DEEPEST = 8


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, every scalar as the text that was written: 8/255, 1e-3 and no stay what they are.

    Raises:  SpecError if the file cannot be read, is no mapping, is large or deep, or has a key twice, an anchor, an
        alias or a tag anywhere.
    """
    with named(base_name(path)):
        try:
            with path.open("rb") as stream:
                content = stream.read(_LARGEST + 1)
        except OSError as error:
            raise SpecError(f"the file cannot be read ({error.strerror}); give the path of a YAML file") from error
        if len(content) > _LARGEST:
            raise SpecError(f"the file is larger than {_LARGEST // 1024} KiB; settings take less")
        try:
            text = content.decode("utf-8")
            _check(text)
            node = yaml.compose(text, yaml.SafeLoader)
        except UnicodeDecodeError as error:
            raise SpecError("the file is no UTF-8 text; save it as UTF-8") from error
        except yaml.YAMLError as error:
            problem = " ".join(str(getattr(error, "problem", None) or error).split())
            raise SpecError(f"the file is no YAML: {_line(getattr(error, 'problem_mark', None))}{problem}") from error
        found = None if node is None else _value(node)
        if not isinstance(found, dict):
            raise SpecError("the file holds no settings; write one key and its value per line, for example rows: 100")
        return found


@contextmanager
def named(name: str) -> Iterator[None]:
    """Errors inside begin with a name."""
    try:
        yield
    except SaddlepointError as error:
        raise type(error)(f"{name}: {error}") from error


def _check(text: str) -> None:
    """Only what settings need: nothing that names a type or stands for something elsewhere, nothing deep.

    Nothing is built meanwhile, so that it ends at the first thing that is odd.
    """
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        odd = None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            odd = "an anchor (&) or alias (*); write the value out"
        elif getattr(event, "tag", None) is not None:
            odd = "a tag (!); leave it out"
        elif depth > _DEEPEST:
            odd = "lists or mappings deep in each other; settings are names, numbers, and lists and mappings of them"
        if odd is not None:
            raise SpecError(f"{_line(event.start_mark)}found {odd}")


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(each) for each in node.value]
    if not isinstance(node, yaml.MappingNode):
        return node.value
    found: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise SpecError(f"{_line(key.start_mark)}a key must be a word")
        name = key.value.replace("-", "_")
        if name in found:
            raise SpecError(f"{_line(key.start_mark)}the key {shown(name)} stands here twice; keep one")
        found[name] = _value(value)
    return found


def _line(mark: Any) -> str:
    return "" if mark is None else f"line {mark.line + 1}: "
