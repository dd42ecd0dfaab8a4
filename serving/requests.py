"""Reads a search body: JSON value in, `SearchRequest` or one clear error out. No filter is ever ignored.

Names of columns of a foreign snapshot win over built-in filter names; they are marked here with `COLUMN_MARK`, which
begins no name, because it holds a NUL.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from serving.errors import RequestError
from serving.models import (
    Filters,
    Location,
    NicheFilter,
    Platforms,
    RiskFilter,
    SearchRequest,
    Sort,
    TextFilter,
    Weights,
)

COLUMN_MARK = "\0column:"

MAX_NAME_SHOWN = 100
"""Characters of an unknown name that an error repeats."""

_KEYS: dict[tuple[str, ...], tuple[str, ...]] = {
    (): tuple(SearchRequest.model_fields),
    ("weights",): tuple(Weights.model_fields),
    ("sort",): tuple(Sort.model_fields),
    ("filters", "platforms"): tuple(Platforms.model_fields),
    ("filters", "niche"): tuple(NicheFilter.model_fields),
    ("filters", "location"): tuple(Location.model_fields),
    ("filters", "risk"): tuple(RiskFilter.model_fields),
    ("filters", "text"): tuple(TextFilter.model_fields),
}
"""Keys that each object of the body takes; ranges take `_RANGE_KEYS`."""

_RANGE_KEYS = ("min", "max")


def parse_request(body: object, columns: Collection[str] = ()) -> SearchRequest:
    """Validate a body.

    Args:
        body: decoded JSON.
        columns: column names of a foreign snapshot, which are filters of their own; empty for the lake's own snapshots.

    Raises:
        RequestError: naming the first field that is wrong, and the nearest valid key for an unknown one.
    """
    if not isinstance(body, Mapping):
        raise RequestError("invalid_value", "The body must be a JSON object.")
    try:
        request = SearchRequest.model_validate(_marked(dict(body), columns))
    except ValidationError as error:
        raise _first_error(error) from error
    unknown = [name for name in request.filters.model_extra or {} if not name.startswith(COLUMN_MARK)]
    if unknown:
        raise unknown_filter(unknown[0], columns)
    return request


def unknown_filter(name: str, columns: Collection[str] = ()) -> RequestError:
    """Error for a filter that does not exist, with the nearest valid name."""
    return _unknown("unknown_filter", "filter", name, known=[*columns, *Filters.model_fields], path=("filters",))


def nearest(name: str, known: Collection[str]) -> str | None:
    """Most similar of the `known` names, None when there is none at all."""
    found = difflib.get_close_matches(name.casefold(), list(known), n=1, cutoff=0.0)
    return found[0] if found else None


def require_known(values: Collection[str], known: Collection[str], *, field: str, what: str) -> None:
    """Refuse the first of `values` that is not `known`.

    Raises:
        RequestError: naming it and the nearest valid one.
    """
    for value in values:
        if value not in known:
            close = nearest(value, known)
            hint = f"; did you mean {close!r}?" if close else "."
            raise RequestError(
                "invalid_value", f"Unknown {what} {value!r}{hint}", field=field, details={"nearest": close}
            )


def _marked(body: dict[str, Any], columns: Collection[str]) -> dict[str, Any]:
    filters = body.get("filters")
    if not columns or not isinstance(filters, Mapping):
        return body
    marked = {COLUMN_MARK + name if name in columns else name: value for name, value in filters.items()}
    return body | {"filters": marked}


def _first_error(error: ValidationError) -> RequestError:
    """The first problem of a body; the others are listed in `details`."""
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    path = tuple(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _KEYS.get(path[:-1], _RANGE_KEYS)
        return _unknown("unknown_field", "field", path[-1], known=known, path=path[:-1])
    listed = [{"field": _dotted(problem["loc"]), "message": _sentence(problem["msg"])} for problem in problems]
    return RequestError(
        "invalid_value",
        f"{_dotted(path) or 'The body'}: {_sentence(first['msg'])}.",
        field=_dotted(path) or None,
        details={"errors": listed},
    )


def _unknown(code: str, what: str, name: str, *, known: Collection[str], path: tuple[str, ...]) -> RequestError:
    shown = name if len(name) <= MAX_NAME_SHOWN else f"{name[:MAX_NAME_SHOWN]}…"
    close = nearest(shown, known)
    return RequestError(
        code,
        f"Unknown {what} {shown!r}; did you mean {close!r}?",
        field=".".join((*path, shown)),
        details={"nearest": close, "known": sorted(set(known))},
    )


def _dotted(path: tuple[int | str, ...]) -> str:
    """Path without the names of alternatives that pydantic adds for unions."""
    alternatives = ("bool", "literal['any']")
    return ".".join(str(part) for part in path if part not in alternatives).replace(COLUMN_MARK, "")


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ").replace(" after validation", "").rstrip(".")
