"""The JSON schema of ``run.json``, made from the records themselves."""

import dataclasses
import inspect
import json
import types
import typing
from typing import Any

from saddlepoint import records
from saddlepoint.records import SCHEMA_VERSION, RunRecord

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schema() -> dict[str, Any]:
    """A schema (JSON Schema, draft 2020-12) that every ``run.json`` of this schema version follows."""
    found: dict[str, Any] = {}
    top = _schema(RunRecord, found)
    found["RunRecord"]["properties"]["schema"] = {"const": SCHEMA_VERSION}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"run.json of saddlepoint, schema version {SCHEMA_VERSION}",
        **top,
        "$defs": dict(sorted(found.items())),
    }


def text() -> str:
    """The schema as ``run.schema.json`` holds it."""
    return json.dumps(schema(), indent=1) + "\n"


def _schema(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The schema of one annotation; those of the records that it names are added to ``found``."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _schema(args[0], found) | dict(args[1:])
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin is list:
        return {"type": "array", "items": _schema(args[0], found)}
    if origin is tuple:
        parts = [_schema(arg, found) for arg in args]
        return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(args[1], found)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(arg, found) for arg in args]}
    if dataclasses.is_dataclass(kind):
        return _record(typing.cast(type, kind), found)
    return {} if kind is Any else {"type": _TYPES[kind]}


def _record(kind: type, found: dict[str, Any]) -> dict[str, Any]:
    """A reference to a record's schema: every field is there, and no other."""
    if kind.__name__ not in found:
        found[kind.__name__] = {}
        hints = typing.get_type_hints(kind, vars(records), include_extras=True)
        found[kind.__name__] = {
            "description": inspect.cleandoc(kind.__doc__ or ""),
            "type": "object",
            "properties": {name: _schema(hint, found) for name, hint in hints.items()},
            "required": list(hints),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}
