"""Filters on the columns of a foreign snapshot: a value, a list of values, or a range, checked against the column's type."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from serving import predicates as sql
from serving.errors import RequestError
from serving.models import read_time
from serving.predicates import Predicate

INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
REALS = ("FLOAT", "DOUBLE", "DECIMAL")
TIMES = ("DATE", "TIMESTAMP")

LARGEST_INTEGER = 2**64
"""Every integer column but HUGEINT ends below; DuckDB takes no Python integer above 128 bits."""

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""JSON can write half a character, UTF-8 cannot."""


def raw_predicate(column: str, value: Any, column_type: str) -> Predicate:
    """Condition of a filter on a column of DuckDB type `column_type`.

    Raises:
        RequestError: the value does not fit the column.
    """
    is_list = column_type.endswith("[]")
    read = _reader(column, column_type.removesuffix("[]"))
    if isinstance(value, Mapping):
        return _range(column, value, read, is_list=is_list)
    values = [read(item) for item in (value if isinstance(value, list | tuple) else [value])]
    if not values:
        raise _error(column, "an empty list matches nothing")
    return sql.has_any(column, values) if is_list else sql.one_of(column, values)


def _range(column: str, value: Mapping[str, Any], read: Callable[[Any], Any], *, is_list: bool) -> Predicate:
    unknown = sorted(set(value) - {"min", "max"})
    if unknown or not value or is_list:
        raise _error(column, "it takes a value, a list of values, or {min, max} where the column is no list")
    least, most = (read(value[key]) if value.get(key) is not None else None for key in ("min", "max"))
    if least is None and most is None:
        raise _error(column, "a range needs min or max")
    if least is not None and most is not None and least > most:
        raise _error(column, "min is above max")
    return sql.between(column, least, most)


def _reader(column: str, kind: str) -> Callable[[Any], Any]:
    """Function that checks one value against the column's type."""
    for prefixes, read in _READERS:
        if kind.startswith(prefixes):
            return lambda value: _read(column, value, read)
    raise _error(column, f"its type {kind} cannot be filtered")


def _read(column: str, value: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return read(value)
    except (TypeError, ValueError) as error:
        raise _error(column, str(error)) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("the column holds text")
    if LONE_SURROGATE.search(value):
        raise ValueError("the text is not valid Unicode")
    return value


def _number(value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("the column holds numbers")
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ValueError("a whole number has at most 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is finite")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("the column holds true and false")
    return value


def _time(value: Any) -> datetime:
    return read_time(_text(value))


_READERS: tuple[tuple[tuple[str, ...], Callable[[Any], Any]], ...] = (
    (("VARCHAR",), _text),
    (("BOOLEAN",), _flag),
    ((*INTEGERS, *REALS), _number),
    (TIMES, _time),
)


def _error(column: str, problem: str) -> RequestError:
    return RequestError("invalid_value", f"Filter {column!r}: {problem}.", field=f"filters.{column}")
