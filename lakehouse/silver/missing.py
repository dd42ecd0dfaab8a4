"""Spellings of "no value" in dumps, and what a rule returns. Which spelling counts depends on the kind of field.

A number field knows many (`N/A`, `-`, `#VALOR!`); a text field, names and handles among them, fewer: exactly `nan` is what
a program wrote for an empty cell, and would make one account of all that lack a handle, while `Nan` may be somebody.
"""

from __future__ import annotations

Reason = str | None
"""Why a value was refused, None when it was accepted or simply missing."""

SPREADSHEET_ERRORS = frozenset(
    {
        "#valor!",
        "#value!",
        "#n/a",
        "#n/d",
        "#ref!",
        "#¡ref!",
        "#div/0!",
        "#¡div/0!",
        "#name?",
        "#¿nombre?",
        "#num!",
        "#null!",
    }
)
NUMBER_TOKENS = SPREADSHEET_ERRORS | {
    "", "n/a", "n/a'", "na", "n.a.", "-", "--", "–", "—", "?", "nan", "none", "null", "nil", "undefined", "unknown",
}  # fmt: skip
TEXT_TOKENS = SPREADSHEET_ERRORS | {"", "n/a", "n/a'", "-", "--", "–", "—", "[none]"}
EXACT_TEXT_TOKENS = frozenset({"nan", "NaN", "None", "NULL", "null", "undefined"})
"""Written by programs in exactly this case; `Nan` may be a person."""
PLACEHOLDERS = {
    "shares": frozenset({"share", "shares"}),
    "saves": frozenset({"save", "saves", "favorites"}),
    "comments": frozenset({"comment", "comments"}),
    "likes": frozenset({"like", "likes"}),
}
"""Button labels that a page shows instead of a count, by payload field."""

_MAX_TOKEN_CHARS = max(map(len, NUMBER_TOKENS | TEXT_TOKENS | EXACT_TEXT_TOKENS))
"""Folding never shortens, so longer text is no token."""


def is_missing_number(text: str) -> bool:
    """Whether stripped text in a number, code or time field means "no value"."""
    return len(text) <= _MAX_TOKEN_CHARS and text.casefold() in NUMBER_TOKENS


def is_missing_text(text: str) -> bool:
    """Whether stripped text in a free-text field means "no value"."""
    return len(text) <= _MAX_TOKEN_CHARS and (text in EXACT_TEXT_TOKENS or text.casefold() in TEXT_TOKENS)
