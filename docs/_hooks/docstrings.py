"""Reads the house style of docstrings: sections on one line ("Raises:  ..."), and doctests without a heading."""

import re

import griffe

_SHORT = re.compile(r"^(Args|Raises|Returns|Source|Departs):[ \t]+(?=\S)")
_DOCTEST = re.compile(r"^(>>>|\.\.\.)( |$)")
_ROLE = re.compile(r":(?:attr|class|func|meth|mod):(?=`)")
_SHAPE = re.compile(r"(?<=\(n, )\*(?=f\b)")  # "(n, *f)": no emphasis is meant


def as_markdown(text: str) -> str:
    """The docstring with short sections as paragraphs that begin in bold, doctests as code, and no roles."""
    lines: list[str] = []
    code = False
    for line in text.splitlines():
        if not code and _DOCTEST.match(line):
            lines += ["", "```pycon"]
            code = True
        elif code and not line.strip():
            lines.append("```")
            code = False
        lines += [line] if code else _prose(line)
    return "\n".join([*lines, "```"] if code else lines)


def _prose(line: str) -> list[str]:
    parts = _ROLE.sub("", line).split("`")  # odd parts are code
    line = "`".join(part if i % 2 else _SHAPE.sub(r"\\*", part) for i, part in enumerate(parts))
    return ["", _SHORT.sub(r"**\1** ", line)] if _SHORT.match(line) else [line]


class ShortSections(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Called by griffe for everything that it has read."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
