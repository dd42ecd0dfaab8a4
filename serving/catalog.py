"""The documents and side tables of one snapshot in DuckDB: which rows match, what is on them, whose account is whose.

The database is a file that `tables.py` has made once. Rows are addressed by `gid`, their ordinal over all shards. What a
hit shows is read by `documents.py`, vectors and scores are elsewhere (`shards.py`, `rank.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index_build.manifest import Manifest, created_at
from lakehouse.contracts.fields import PROFILE
from lakehouse.errors import IntegrityError
from serving.filters import TEXT_FIELDS, FilterSet, Scope, Vocabulary
from serving.predicates import GID, Predicate, quoted
from serving.words import SQL_MACRO

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]

ADDED = ("row_id", "list_id", "row_check")
"""Columns that the index build added."""

HIDDEN = ("doc_text", "vector")
"""Columns that no card shows: long, and made for the encoder."""

FACET_SQL: dict[str, tuple[str, str]] = {
    "platform": ("platforms", "unnest(platforms)"),
    "niche": ("niche_codes", "unnest(niche_codes)"),
    "country": ("country_codes", "unnest(country_codes)"),
    "language": ("language_codes", "unnest(language_codes)"),
    "risk": ("risk_codes", "unnest(risk_codes)"),
}
"""Facets of creators: the column that is needed and the codes of a row."""

IS_CREATOR = "creator_id IS NOT NULL"
"""Rows of a renewed snapshot whose creator is gone or has another row have no id, and nothing else."""

LOOKED_UP: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "profiles": (("platform", "handle"),),
    "side_accounts": (("platform", "platform_account_id"), ("platform", "handle_key")),
    "side_aliases": (("creator_id",),),
}
"""Columns by which single rows are found, beside those that a table is ordered by. Texts count in lower case."""

BATCH_ROWS = 65_536
"""Rows of a batch of shown columns."""

NAIVE_TIME = re.compile(r"\bTIMESTAMP(_NS|_MS|_S)?\b(?! WITH TIME ZONE)")
"""A time without zone in a DuckDB type."""

JOINED_MACRO = (
    "CREATE MACRO joined(v) AS ' ' || array_to_string(list_transform(list_distinct(list_filter(v, lambda x: x IS NOT NULL)), "
    "lambda x: array_to_string(words(x), ' ')), ' | ') || ' '"
)
"""A list of texts as one normalised text: words in single blanks, ` | ` between texts, blanks at both ends."""


class Catalog:
    """DuckDB over one snapshot. Every call opens its own cursor, so threads do not wait for each other."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, manifest: Manifest) -> None:
        """Wrap a loaded database; use `make` or `open`."""
        self._connection = connection
        self.rows = manifest.rows_count
        self.has_removed = manifest.creators_count < manifest.rows_count
        self.docs = self._types("docs")
        self.profiles = self._types("profiles")
        self.is_own_profile = "profiles" not in self.docs
        self.profiles_count = self._count("profiles")
        self.sides = tuple(table.name for table in manifest.side_tables)
        self.shown = [name for name in self.docs if name not in HIDDEN and not name.startswith("_text_")]

    @classmethod
    def make(cls, path: Path, folder: Path, manifest: Manifest, *, threads: int) -> Catalog:
        """Load documents and side tables into a new database file.

        Args:
            path: of the file.
            folder: verified snapshot folder.
            manifest: its manifest.
            threads: DuckDB's threads.

        Raises:
            IntegrityError: a file cannot be read as what the manifest says it is.
        """
        spill = str(path.with_suffix(".tmp"))
        connection = duckdb.connect(str(path), config={"threads": str(threads), "temp_directory": spill})
        try:
            connection.execute("SET TimeZone = 'UTC'")
            _load(connection, folder, manifest)
            return cls(connection, manifest)
        except (duckdb.Error, ValueError) as error:  # Arrow's errors are ValueErrors
            connection.close()
            raise IntegrityError(
                f"The documents of snapshot {manifest.snapshot_id} cannot be loaded: {error}"
            ) from error

    @classmethod
    def open(cls, path: Path, manifest: Manifest, *, threads: int) -> Catalog:
        """Open a database that `make` made, for reading."""
        spill = str(path.parents[2] / "spill")  # not beside the file, which may be pruned while it is open
        connection = duckdb.connect(
            str(path), read_only=True, config={"threads": str(threads), "temp_directory": spill}
        )
        connection.execute("SET TimeZone = 'UTC'")
        return cls(connection, manifest)

    def close(self) -> None:
        """Free the tables."""
        self._connection.close()

    def vocabulary(self, manifest: Manifest) -> Vocabulary:
        """What requests can filter by."""
        codes = {facet: frozenset(self.facet_codes(facet)) for facet in FACET_SQL}
        if "platform" in self.profiles:
            found = self.records("SELECT DISTINCT platform FROM profiles WHERE platform IS NOT NULL")
            codes["platform"] |= {str(row["platform"]) for row in found}
        as_of = datetime.fromisoformat(manifest.as_of) if manifest.as_of else created_at(manifest)
        return Vocabulary(
            docs=self.docs,
            profiles=self.profiles,
            is_foreign=self.is_own_profile,
            as_of=as_of if as_of.tzinfo else as_of.replace(tzinfo=UTC),
            codes=codes,
        )

    def match(self, filters: FilterSet) -> Mask:
        """Rows that pass, bool (rows,), by one query: what `matching.py` must find too."""
        condition = filters.predicate()
        found = self.arrays(f"SELECT {GID} FROM docs WHERE {IS_CREATOR} AND {condition.sql}", condition.values)[GID]
        mask = np.zeros(self.rows, dtype=bool)
        mask[found.astype(np.int64)] = True
        return mask

    def rows_where(self, scope: Scope, predicate: Predicate) -> Ids:
        """Creators (their gid) or profiles (their place among all profiles) that meet one condition, in no order."""
        query = f"SELECT rowid AS row FROM {_table(scope)} WHERE {predicate.sql}"
        found = self.arrays(query, predicate.values)["row"]
        return found.astype(np.int64, copy=False)

    def column(self, scope: Scope, name: str, kind: str) -> npt.NDArray[Any]:
        """One column as a DuckDB type, in row order, masked where a value is null."""
        found: npt.NDArray[Any] = self.arrays(f"SELECT {quoted(name)}::{kind} AS v FROM {_table(scope)}")["v"]
        return found

    def distinct(self, scope: Scope, name: str, *, limit: int) -> list[str] | None:
        """Different texts of a column, ascending; None where they are more than `limit`."""
        query = f"SELECT DISTINCT {quoted(name)} AS v FROM {_table(scope)} WHERE v IS NOT NULL LIMIT {int(limit) + 1}"
        found = sorted(row["v"] for row in self.records(query))
        return found if len(found) <= limit else None

    def codes(self, scope: Scope, name: str, texts: Sequence[str], *, unknown: int) -> npt.NDArray[np.uint16]:
        """Place of each row's text among `texts`, in row order; `unknown` where it is null."""
        listed = pa.table({"text": pa.array(texts, pa.string()), "code": pa.array(range(len(texts)), pa.uint16())})
        cursor = self._connection.cursor()
        cursor.register("listed", listed)
        query = (
            f"SELECT t.rowid AS row, l.code AS code FROM {_table(scope)} t JOIN listed l ON l.text = t.{quoted(name)}"
        )
        found = cursor.execute(query).fetchnumpy()
        codes = np.full(self.rows if scope == "creator" else self.profiles_count, unknown, dtype=np.uint16)
        codes[found["row"].astype(np.int64)] = found["code"]
        return codes

    def profile_owners(self) -> Ids:
        """Creator (gid) of every profile, ascending."""
        return self.arrays(f"SELECT {GID} FROM profiles")[GID].astype(np.int64)

    def gids_in(self, docs: Path, *, unknown: int) -> Ids:
        """Row of the creator of each row of a shard's documents, by row_id; `unknown` where there is none."""
        query = f"SELECT coalesce(d.{GID}, ?) AS {GID} FROM read_parquet(?) s LEFT JOIN docs d USING (creator_id) ORDER BY s.row_id"
        return self.arrays(query, [unknown, str(docs)])[GID].astype(np.int64)

    def arrays(self, query: str, values: Sequence[Any] = ()) -> dict[str, npt.NDArray[Any]]:
        """Columns of a query as numpy arrays, masked where a value is null."""
        result: dict[str, npt.NDArray[Any]] = self._connection.cursor().execute(query, list(values)).fetchnumpy()
        return result

    def records(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows of a query as dictionaries."""
        relation = self._connection.cursor().sql(query, params=list(values))
        rows: list[dict[str, Any]] = relation.to_arrow_table().to_pylist()
        return rows

    def shown_batches(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Shown columns of all rows in gid order: their schema, and batches of `BATCH_ROWS` or so."""
        query = f"SELECT {', '.join(quoted(name) for name in self.shown)} FROM docs"
        reader = self._connection.sql(query).to_arrow_reader(BATCH_ROWS)
        return reader.schema, iter(reader)

    def ordered(self, filters: FilterSet, column: str, order: str, *, offset: int, limit: int) -> list[int]:
        """Rows that pass, ordered by a column, unknown last, ties by creator_id."""
        condition = filters.predicate()
        direction = "DESC" if order == "desc" else "ASC"
        query = (
            f"SELECT {GID} FROM docs WHERE {IS_CREATOR} AND {condition.sql} "
            f"ORDER BY {quoted(column)} {direction} NULLS LAST, creator_id LIMIT {int(limit)} OFFSET {int(offset)}"
        )
        return [int(gid) for gid in self.arrays(query, condition.values)[GID]]

    def alias_target(self, creator_id: str) -> str | None:
        """Today's id of a former one."""
        if "aliases" not in self.sides:
            return None
        found = self.records("SELECT creator_id FROM side_aliases WHERE alias_id = ?", [creator_id])
        return found[0]["creator_id"] if found else None

    def aliases(self, creator_id: str) -> list[str]:
        """Former ids of a creator."""
        if "aliases" not in self.sides:
            return []
        query = f"SELECT alias_id FROM side_aliases WHERE {_by_key('side_aliases', [1])} AND creator_id = ? ORDER BY alias_id"
        return [row["alias_id"] for row in self.records(query, [creator_id, creator_id])]

    def side(self, name: str, creator_id: str, *, order_by: str, limit: int) -> list[dict[str, Any]]:
        """Rows of a side table that belong to a creator; none where the snapshot has no such table."""
        if name not in self.sides:
            return []
        query = f"SELECT * FROM side_{name} WHERE creator_id = ? ORDER BY {order_by} LIMIT {int(limit)}"
        return self.records(query, [creator_id])

    def account_owner(self, platform: str, keys: Sequence[str]) -> str | None:
        """Creator of the account with one of these handle keys, the largest profile first."""
        if not {"platform", "handle"} <= self.profiles.keys():
            return None
        marks = ", ".join("?" for _ in keys)
        size = "followers_count" if "followers_count" in self.profiles else GID
        query = (
            f"SELECT d.creator_id FROM (SELECT * FROM profiles WHERE {_by_key('profiles', [2] * len(keys))}) p "
            f"JOIN docs d USING ({GID}) WHERE p.platform = ? AND lower(p.handle) IN ({marks}) "
            f"ORDER BY p.{size} DESC NULLS LAST, d.creator_id LIMIT 1"
        )
        found = self.records(query, [*_paired(platform, keys), platform, *keys])
        return found[0]["creator_id"] if found else None

    def account_row(self, platform: str, key: str, keys: Sequence[str]) -> dict[str, Any] | None:
        """The account with an id, else with one of these handle keys: one that is known by an id first, the largest first."""
        if "accounts" not in self.sides:
            return None
        marks = ", ".join("?" for _ in keys)
        query = (
            f"SELECT * FROM side_accounts WHERE {_by_key('side_accounts', [2] * (1 + len(keys)))} "
            f"AND platform = ? AND (platform_account_id = ? OR handle_key IN ({marks})) "
            "ORDER BY platform_account_id = ? DESC, platform_account_id[1] IN ('@', '~'), "
            "followers_count DESC NULLS LAST, platform_account_id LIMIT 1"
        )
        found = self.records(query, [*_paired(platform, [key, *keys]), platform, key, *keys, key])
        return found[0] if found else None

    def facet_codes(self, facet: str) -> dict[str, int]:
        """Codes that occur, with the number of creators, most frequent first."""
        column, codes = FACET_SQL[facet]
        if not self.docs.get(column, "").endswith("[]"):
            return {}
        query = (
            f"SELECT code, count(DISTINCT {GID}) AS n FROM (SELECT {GID}, {codes} AS code FROM docs) "
            "WHERE code IS NOT NULL GROUP BY code ORDER BY n DESC, code"
        )
        return {row["code"]: row["n"] for row in self.records(query)}

    def _count(self, table: str) -> int:
        return int(self.arrays(f"SELECT count(*) AS n FROM {table}")["n"][0])

    def _types(self, table: str) -> dict[str, str]:
        found = self._connection.execute(f"DESCRIBE {table}").fetchall()
        return {row[0]: row[1] for row in found}


def _by_key(table: str, lengths: Sequence[int]) -> str:
    """Condition that a row is one of those that keys of so many values each may mean: few rows, which the caller tells apart."""
    places = (f"SELECT place FROM {table}_keys WHERE key = {_hash(['?'] * length)}" for length in lengths)
    return f"rowid IN ({' UNION ALL '.join(places)})"  # an IN of several hashes would read all of them


def _paired(first: str, others: Sequence[str]) -> list[str]:
    return [value for other in others for value in (first, other)]


def _hash(values: Sequence[str]) -> str:
    return f"hash({', '.join(f'lower({value}::VARCHAR)' for value in values)})"


def _table(scope: Scope) -> str:
    return "docs" if scope == "creator" else "profiles"


def _load(connection: duckdb.DuckDBPyConnection, folder: Path, manifest: Manifest) -> None:
    connection.execute(SQL_MACRO)
    connection.execute(JOINED_MACRO)
    _load_docs(connection, folder, manifest)
    _load_profiles(connection)
    for table in manifest.side_tables:
        paths = [str(folder / entry.path) for entry in table.files]
        source = connection.read_parquet(paths)
        types = dict(zip(source.columns, map(str, source.types), strict=True))
        key = "alias_id" if "alias_id" in types else "creator_id"
        columns = ", ".join(_in_utc(types))
        connection.execute(f"CREATE TABLE side_{table.name} AS SELECT {columns} FROM source ORDER BY {quoted(key)}")
    for name in LOOKED_UP:
        _load_keys(connection, name)


def _load_keys(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Hashes of what rows are looked up by, in order, and the rows' places: a look-up reads one block of them, not the table."""
    known = {
        row[0] for row in connection.execute("SELECT table_name || '.' || column_name FROM duckdb_columns()").fetchall()
    }
    keys = [columns for columns in LOOKED_UP[table] if {f"{table}.{name}" for name in columns} <= known]
    if not keys:
        return
    each = " UNION ALL ".join(
        f"SELECT {_hash([quoted(name) for name in columns])} AS key, rowid AS place FROM {table} "
        f"WHERE {' AND '.join(f'{quoted(name)} IS NOT NULL' for name in columns)}"
        for columns in keys
    )
    connection.execute(f"CREATE TABLE {table}_keys AS SELECT key, place FROM ({each}) ORDER BY key")


def _load_docs(connection: duckdb.DuckDBPyConnection, folder: Path, manifest: Manifest) -> None:
    """Documents of all shards in gid order, with the normalised text columns."""
    first = 0
    selects = []
    for shard in manifest.shards:
        path = str(folder / shard.docs.path).replace("'", "''")
        selects.append(f"SELECT row_id + {first} AS {GID}, * EXCLUDE ({', '.join(ADDED)}) FROM read_parquet('{path}')")
        first += shard.rows
    connection.execute("CREATE TEMP VIEW loaded AS " + " UNION ALL BY NAME ".join(selects))
    types = {row[0]: row[1] for row in connection.execute("DESCRIBE loaded").fetchall()}
    texts = [f"joined({values}) AS {TEXT_FIELDS[name]}" for name, values in _text_values(types).items()]
    columns = [_finite(types[name], column) for name, column in zip(types, _in_utc(types), strict=True)]
    connection.execute(f"CREATE TABLE docs AS SELECT {', '.join([*columns, *texts])} FROM loaded")
    connection.execute("DROP VIEW loaded")
    _require_order(connection.execute(f"SELECT {GID} FROM docs").fetchnumpy()[GID], "docs")


def _in_utc(types: Mapping[str, str]) -> list[str]:
    """Columns with every time, also inside lists and structs, as a time with zone; Spark's Parquet has none, it means UTC."""
    wanted = {name: NAIVE_TIME.sub("TIMESTAMP WITH TIME ZONE", kind) for name, kind in types.items()}
    return [
        quoted(name) if wanted[name] == kind else f"{quoted(name)}::{wanted[name]} AS {quoted(name)}"
        for name, kind in types.items()
    ]


def _finite(kind: str, column: str) -> str:
    """A column of numbers without NaN and infinity: they are unknown."""
    return f"CASE WHEN isfinite({column}) THEN {column} END AS {column}" if kind in ("FLOAT", "DOUBLE") else column


def _text_values(types: Mapping[str, str]) -> dict[str, str]:
    """SQL list of the values behind each text field that the columns allow."""
    own = {
        "handle": "handles",
        "name": "display_name",
        "bio": "bio",
        "category": "category_labels",
        "content": "doc_text",
    }
    on_profile = {"handle": "handle", "name": "display_name", "bio": "bio"}
    found: dict[str, list[str]] = {}
    for field, column in own.items():
        if column in types:
            found.setdefault(field, []).append(column if types[column].endswith("[]") else f"[{column}]")
        if field in on_profile and "profiles" in types:
            found.setdefault(field, []).append(f"list_transform(profiles, lambda p: p.{on_profile[field]})")
    if "profiles" not in types:
        known = {*own.values(), "creator_id"}
        others = [quoted(name) for name, kind in types.items() if kind == "VARCHAR" and name not in known]
        found.setdefault("content", []).extend([f"[{', '.join(others)}]"] if others else [])
    return {field: _concatenated(parts) for field, parts in found.items() if parts}


def _concatenated(parts: Sequence[str]) -> str:
    return (
        f"list_concat({', '.join(f'coalesce({part}, [])' for part in parts)})"
        if len(parts) > 1
        else f"coalesce({parts[0]}, [])"
    )


def _load_profiles(connection: duckdb.DuckDBPyConnection) -> None:
    """One row per profile; the row itself is the only profile of a foreign document."""
    types = {row[0]: row[1] for row in connection.execute("DESCRIBE docs").fetchall()}
    if "profiles" in types:
        unnested = f"SELECT {GID}, unnest(p) FROM (SELECT {GID}, unnest(profiles) AS p FROM docs)"
        kinds = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {unnested}").fetchall()}
        query = f"SELECT {', '.join(_finite(kind, quoted(name)) for name, kind in kinds.items())} FROM ({unnested})"
    else:
        names = [field.name for field in PROFILE if field.name in types]
        query = f"SELECT {', '.join([GID, *map(quoted, names)])} FROM docs"
    connection.execute(f"CREATE TABLE profiles AS {query}")
    _require_order(connection.execute(f"SELECT {GID} FROM profiles").fetchnumpy()[GID], "profiles")


def _require_order(gids: Ids, table: str) -> None:
    """Rows must lie as they came, in gid order: sorting them again would take more memory than the tables do.

    Raises:
        ValueError: they do not.
    """
    is_ordered = np.array_equal(gids, np.arange(len(gids))) if table == "docs" else (np.diff(gids) >= 0).all()
    if not is_ordered:
        raise ValueError(f"the rows of {table} are out of order")
