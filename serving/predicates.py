"""SQL conditions with parameters: the only place where a filter becomes text of a query. No value is ever inlined.

A condition over an unknown (NULL) value is NULL and so does not pass; `or_unknown` lets it pass. Conditions of profile
filters are joined inside one subquery, which is what makes them hold on the same profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

GID = "gid"
"""Ordinal of a row over all shards: the shard's first ordinal + row_id."""


@dataclass(frozen=True, slots=True)
class PlainTest:
    """A condition on one plain column: within inclusive bounds, or one of some values; `code_columns.py` finds its rows."""

    column: str
    least: Any = None
    most: Any = None
    values: tuple[Any, ...] = ()
    or_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition and the values of its `?`, in order; `test` says the same where it is as simple as that."""

    sql: str
    values: tuple[Any, ...] = ()
    test: PlainTest | None = None

    def or_unknown(self, column: str) -> Predicate:
        """Also true where `column` is unknown."""
        is_tested = self.test is not None and self.test.column == column
        test = replace(self.test, or_unknown=True) if is_tested and self.test is not None else None
        return Predicate(f"({self.sql} OR {quoted(column)} IS NULL)", self.values, test)


TRUE = Predicate("TRUE")


def quoted(name: str) -> str:
    """Column name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def between(column: str, least: Any, most: Any) -> Predicate:
    """Within inclusive bounds; None is no bound."""
    name = quoted(column)
    bounds = [(f"{name} >= ?", least), (f"{name} <= ?", most)]
    used = [(sql, value) for sql, value in bounds if value is not None]
    sql, values = " AND ".join(sql for sql, _ in used), tuple(value for _, value in used)
    return Predicate(sql, values, PlainTest(column, least, most))


def equals(column: str, value: Any) -> Predicate:
    """Equal to a value."""
    return Predicate(f"{quoted(column)} = ?", (value,), PlainTest(column, values=(value,)))


def one_of(column: str, values: Sequence[Any]) -> Predicate:
    """Equal to one of the values."""
    marks = ", ".join("?" for _ in values)
    return Predicate(f"{quoted(column)} IN ({marks})", tuple(values), PlainTest(column, values=tuple(values)))


def has_any(column: str, values: Sequence[Any]) -> Predicate:
    """A list column that holds one of the values."""
    return Predicate(f"list_has_any({quoted(column)}, ?)", (list(values),))


def has_none(column: str, values: Sequence[str]) -> Predicate:
    """A list column of texts that holds none of the values, or is unknown; an anti-join, as there may be many values."""
    listed = f"SELECT {GID}, unnest({quoted(column)}) AS item FROM docs"
    owners = f"SELECT {GID} FROM ({listed}) WHERE item IN (SELECT unnest(?::VARCHAR[]))"
    return Predicate(f"{GID} NOT IN ({owners})", (list(values),))


def has_all(column: str, values: Sequence[Any]) -> Predicate:
    """A list column that holds every value."""
    return Predicate(f"list_has_all({quoted(column)}, ?)", (list(values),))


def negated(predicate: Predicate) -> Predicate:
    """Not true; unknown stays unknown."""
    return Predicate(f"NOT ({predicate.sql})", predicate.values)


def not_known_true(predicate: Predicate) -> Predicate:
    """False or unknown: an exclusion needs evidence."""
    return Predicate(f"NOT coalesce({predicate.sql}, false)", predicate.values)


def any_item(column: str, condition: str, values: Sequence[Any]) -> Predicate:
    """A list of structs with an item `i` that meets `condition`."""
    return Predicate(f"len(list_filter({quoted(column)}, lambda i: {condition})) > 0", tuple(values))


def conjunction(parts: Sequence[Predicate]) -> Predicate:
    """All of them; true when there is none."""
    if not parts:
        return TRUE
    return Predicate(" AND ".join(f"({part.sql})" for part in parts), tuple(v for part in parts for v in part.values))


def disjunction(parts: Sequence[Predicate]) -> Predicate:
    """At least one of them."""
    return Predicate(" OR ".join(f"({part.sql})" for part in parts), tuple(v for part in parts for v in part.values))


def on_one_profile(parts: Sequence[Predicate]) -> Predicate:
    """All of them on the same profile of a creator."""
    inner = conjunction(parts)
    return Predicate(f"{GID} IN (SELECT {GID} FROM profiles WHERE {inner.sql})", inner.values)


def contains_text(column: str, needle: str) -> Predicate:
    """Normalised text column that contains normalised text; no entry is unknown, an absent text is empty."""
    return Predicate(f"contains({quoted(column)}, ?)", (needle,))
