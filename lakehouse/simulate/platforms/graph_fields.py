"""The fields expression of the Graph API: `a,b.after(C).limit(2){c,d{e}}` as a tree."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ARGUMENT = re.compile(r"\.([a-z_]+)\(([^()]*)\)")
MOST_DEPTH = 6
"""Braces inside braces; nothing here needs more than three."""


class FieldsError(Exception):
    """Not a fields expression; the message says where."""


@dataclass(slots=True)
class Field:
    """One field: its arguments (`.limit(2)`) and the fields inside its braces."""

    name: str
    arguments: dict[str, str] = field(default_factory=dict)
    inner: list[Field] = field(default_factory=list)

    def names(self) -> list[str]:
        """Names of the fields inside."""
        return [one.name for one in self.inner]


def parse_fields(expression: str) -> list[Field]:
    """Read a whole expression.

    Raises:
        FieldsError: it is none.
    """
    found, end = _list(expression, 0, 0)
    if end != len(expression):
        raise FieldsError(f"Syntax error at character {end} of the fields")
    return found


def _list(expression: str, start: int, depth: int) -> tuple[list[Field], int]:
    if depth > MOST_DEPTH:
        raise FieldsError("Too many braces in the fields")
    found, place = [], start
    while True:
        one, place = _one(expression, place, depth)
        found.append(one)
        if expression[place : place + 1] != ",":
            return found, place
        place += 1


def _one(expression: str, start: int, depth: int) -> tuple[Field, int]:
    match = NAME.match(expression, start)
    if match is None:
        raise FieldsError(f"Expected a field name at character {start}")
    one, place = Field(match.group()), match.end()
    while argument := ARGUMENT.match(expression, place):
        one.arguments[argument.group(1)] = argument.group(2)
        place = argument.end()
    if expression[place : place + 1] == "{":
        if expression[place + 1 : place + 2] == "}":
            return one, place + 2
        one.inner, place = _list(expression, place + 1, depth + 1)
        if expression[place : place + 1] != "}":
            raise FieldsError(f"Expected a brace at character {place}")
        place += 1
    return one, place
