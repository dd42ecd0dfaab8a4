"""Plain columns of creators and profiles as arrays: ranges and values are found without a query, 1 ms a million rows.

Numbers are kept as float32 where that holds them exactly, else as float64, nan where not known; texts of few different values
as codes. Columns that fit neither (longer numbers, free text, lists) are left to DuckDB, which finds the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.arrays import open_arrays, save_arrays
from serving.catalog import Catalog, Mask
from serving.filters import Scope
from serving.predicates import PlainTest
from serving.raw_columns import INTEGERS

EXACT = 2**53
"""Whole numbers up to which float64 has no gaps."""

CODES_MAX = 65_535
"""Different texts of a column that two bytes can tell apart; the last code is for unknown."""

NUMBERS = (*INTEGERS, "FLOAT", "DOUBLE", "BOOLEAN")
VOCABULARIES = "texts.json"


@dataclass(frozen=True, slots=True)
class CodeColumns:
    """Columns by `scope.name`: numbers, or codes of the texts in `texts`."""

    arrays: Mapping[str, npt.NDArray[Any]]
    texts: Mapping[str, Mapping[str, int]]

    @classmethod
    def load(cls, catalog: Catalog) -> CodeColumns:
        """Read those that fit from a catalog."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        texts: dict[str, dict[str, int]] = {}
        tables: dict[Scope, Mapping[str, str]] = {"creator": catalog.docs, "profile": catalog.profiles}
        for scope, columns in tables.items():
            if scope == "profile" and catalog.is_own_profile:
                continue
            for name, kind in columns.items():
                key = f"{scope}.{name}"
                if kind in NUMBERS and (numbers := _numbers(catalog, scope, name)) is not None:
                    arrays[key] = numbers
                elif kind == "VARCHAR" and (found := _codes(catalog, scope, name)) is not None:
                    arrays[key], texts[key] = found
        return cls(arrays, texts)

    def save(self, folder: Path) -> None:
        """Write them into a new folder."""
        save_arrays(folder, self.arrays)
        (folder / VOCABULARIES).write_text(json.dumps(self.texts), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> CodeColumns:
        """Map what `save` wrote.

        Raises:
            ValueError: it is not that.
        """
        return cls(open_arrays(folder), json.loads((folder / VOCABULARIES).read_text(encoding="utf-8")))

    def mask(self, scope: Scope, test: PlainTest) -> Mask | None:
        """Rows that pass a test, None where only DuckDB can tell."""
        key = f"{scope}.{test.column}"
        column = self.arrays.get(key)
        if column is None or not _is_comparable(test, is_text=key in self.texts):
            return None
        return _text_mask(column, self.texts[key], test) if key in self.texts else _number_mask(column, test)


def _is_comparable(test: PlainTest, *, is_text: bool) -> bool:
    """Whether the test's values are of the column's kind and exact as floats."""
    given = [value for value in (test.least, test.most, *test.values) if value is not None]
    if is_text:
        return test.least is None and test.most is None and all(isinstance(value, str) for value in given)
    return all(isinstance(value, bool | int | float) and abs(value) < EXACT for value in given)


def _number_mask(column: npt.NDArray[Any], test: PlainTest) -> Mask:
    mask = np.isin(column, np.array(test.values, dtype=np.float64)) if test.values else np.ones(len(column), dtype=bool)
    if test.least is not None:
        mask &= column >= np.float64(test.least)
    if test.most is not None:
        mask &= column <= np.float64(test.most)
    known = ~np.isnan(column)
    return np.asarray(mask | ~known if test.or_unknown else mask & known)


def _text_mask(column: npt.NDArray[Any], texts: Mapping[str, int], test: PlainTest) -> Mask:
    passes = np.zeros(CODES_MAX + 1, dtype=bool)
    passes[[texts[value] for value in test.values if value in texts]] = True
    passes[CODES_MAX] = test.or_unknown
    return np.asarray(passes[column])


def _numbers(catalog: Catalog, scope: Scope, name: str) -> npt.NDArray[Any] | None:
    values = catalog.column(scope, name, "DOUBLE")
    found = np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)
    if (np.abs(found) >= EXACT).any():
        return None
    small = found.astype(np.float32)
    return small if np.array_equal(small.astype(np.float64), found, equal_nan=True) else found


def _codes(catalog: Catalog, scope: Scope, name: str) -> tuple[npt.NDArray[Any], dict[str, int]] | None:
    texts = catalog.distinct(scope, name, limit=CODES_MAX)
    if texts is None:
        return None
    codes = catalog.codes(scope, name, texts, unknown=CODES_MAX)
    return codes, {text: code for code, text in enumerate(texts)}
