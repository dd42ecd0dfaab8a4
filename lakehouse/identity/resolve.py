"""Identity resolution of anyone's own file: Parquet or CSV in and out, no lake, no Spark. Same core as the lake's steps.

`platform` is an open vocabulary here. Addresses are hashed before anything looks at them. The file is read twice: its keys, which
say what rows stay and are all that is held of it, and then everything, a chunk at a time.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from lakehouse.errors import NotFoundError, SchemaError
from lakehouse.identity import local
from lakehouse.identity.calibration import shared_platform
from lakehouse.identity.cluster import Graph, cluster, confidence
from lakehouse.identity.ids import mint_each
from lakehouse.identity.local import Found, Log, Parse, Scratch, told
from lakehouse.identity.model import Field, Model, default_model
from lakehouse.identity.nodes import NO_HANDLE, RAW
from lakehouse.settings import cores, load_settings
from lakehouse.silver.countries import country_code
from lakehouse.silver.emails import find_emails, hash_email, normalise_email
from lakehouse.silver.handles import handle_key
from lakehouse.silver.languages import language_code
from lakehouse.silver.mentions import WEB, Link, declared_links, find_links
from lakehouse.silver.platforms import platform_code
from lakehouse.silver.text import replace_surrogates
from lakehouse.silver.urls import website_domain
from lakehouse.storage.scratch import passing_folder

REQUIRED = ("platform", "platform_account_id")
TELLING = ("handle", "display_name", "links", "website", "email")
"""Columns that tell accounts apart; a file has at least one of them."""
OPTIONAL = (*TELLING, "bio", "location", "language", "followers_count")
BIO = "bio"
LINK_SEPARATORS = re.compile(r"[\s,;|]+")
"""Between the links of a CSV cell that is no JSON list."""
OUT = pa.schema(
    [
        ("platform", pa.string()),
        ("platform_account_id", pa.string()),
        ("creator_id", pa.string()),
        ("confidence", pa.float64()),
    ]
)
EDGE_COLUMNS = ("left_platform", "left_id", "right_platform", "right_id", "probability", "reasons")
EDGES = pa.schema([local.ROWED.field(name) for name in EDGE_COLUMNS])
REJECTED = pa.schema(
    [
        ("row", pa.int64()),
        ("platform", pa.string()),
        ("platform_account_id", pa.string()),
        ("reason", pa.string()),
    ]
)
"""A row that is left out; rows count from 1, without the header."""
NO_PLATFORM, NO_ID, TWICE = "no platform", "no platform_account_id", "key of an earlier row"
REASONS = ("", NO_PLATFORM, NO_ID, TWICE)
FORMATS = {".csv": "CSV", ".parquet": "Parquet"}
REJECTED_SUFFIX = ".rejected.csv"
SCRATCH = ".creatorlake-resolve"
"""Folder of scratch files, beside the output."""
FEW_ROWS = 50_000
"""Below so many rows one process is done before others have started."""
CHUNK_ROWS = 50_000
"""Rows that are parsed at once: about 100 MB as Python objects."""
WRITTEN_ROWS = 500_000
"""Rows that are written at once."""
CSV_BLOCK = 16 << 20
"""Bytes of a CSV that are read at once; no row is longer."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a run did: accounts that it read, creators that it found, and how many rows it left out for which reason."""

    accounts: int
    creators: int
    rejected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of rows: the platforms as the file writes them, the place of each row's there, and its id."""

    spelled: Sequence[str | None]
    platform: np.ndarray
    ids: pa.LargeStringArray

    def of(self, rows: np.ndarray) -> Keys:
        """Some of the rows."""
        return Keys(self.spelled, self.platform[rows], self.ids.take(pa.array(rows)))

    @property
    def codes(self) -> list[str]:
        """Platform code of each spelling, empty for none."""
        return [platform_code(name or "") for name in self.spelled]

    @property
    def ranks(self) -> np.ndarray:
        """Place of each row's platform among the codes in order."""
        ordered = {code: rank for rank, code in enumerate(sorted(set(self.codes)))}
        of_spelled = np.array([ordered[code] for code in self.codes], dtype=np.int32)
        return np.asarray(of_spelled[self.platform])

    def named(self, rows: np.ndarray) -> tuple[pa.Array, pa.Array]:
        """Platform as the file writes it, and id, of some rows."""
        platforms = pa.array(self.spelled, pa.string()).take(pa.array(self.platform[rows]))
        return platforms, self.ids.take(pa.array(rows)).cast(pa.string())


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that stay: chunks of them, what makes `RAW` rows of a chunk, how many, and to train, how likely two share a platform."""

    chunks: Iterable[pa.Table]
    parse: Parse
    count: int
    shared: float | None


def resolve_file(
    accounts_path: Path,
    out_path: Path,
    edges_path: Path | None = None,
    *,
    is_trained: bool = False,
    model: Model | None = None,
    log: Log = print,
) -> Resolved:
    """Give every account of a file a `creator_id`.

    Rows without a key, and all but the first of one key, are left out and written beside the output (`rejected_path`).

    Args:
        accounts_path: columns `REQUIRED`, at least one of `TELLING`, and any of `OPTIONAL`; (platform,
            platform_account_id) is the key.
        out_path: written with the columns of `OUT`, in the order of the input.
        edges_path: written with `EDGE_COLUMNS`, every scored pair with a probability of at least 0.01; in a CSV the
            reasons are JSON.
        is_trained: learn from the file itself what a score is worth (`calibration.py`).
        model: another than the packaged one; its fields are columns that the file has to have.
        log: takes lines of progress.

    Raises:
        NotFoundError: there is no such file.
        SchemaError: a column is missing, or a file cannot be read or is neither Parquet nor CSV.
        PermanentError: a process was killed.
    """
    for path in (out_path, edges_path):
        if path is not None:
            _suffix(path)
    model = model or default_model()
    columns = known_columns(accounts_path, [field.name for field in model.fields])
    keys, order, is_kept, rejected = _rows_that_stay(accounts_path, rejected_path(out_path), log)
    has_addresses = not {"email", BIO}.isdisjoint(columns)
    parse = partial(raw_rows, pepper=load_settings().pepper() if has_addresses else None, fields=model.fields)
    chunks, model = _chunks(accounts_path, columns, is_kept), model.sized(len(order))
    shared = shared_platform(np.bincount(keys.ranks)) if is_trained else None
    rows = Rows(chunks, parse, len(order), shared)
    with _found(rows, model, out_path.parent / SCRATCH, edges_path is not None, log) as found:
        creators = _write_creators(keys, order, found, model, out_path)
        log(f"{creators:,} creators of {len(order):,} accounts")
        if edges_path is not None:
            _write((as_given(table, keys) for table in found.tables), EDGES, edges_path)
    return Resolved(len(order), creators, rejected)


def rejected_path(out_path: Path) -> Path:
    """Where the rows that are left out are named."""
    return out_path.with_suffix(REJECTED_SUFFIX)


def _rows_that_stay(path: Path, rejected: Path, log: Log) -> tuple[Keys, np.ndarray, np.ndarray, dict[str, int]]:
    """Keys of the rows that stay, these rows ordered by platform and id, which rows of the file they are, and what is left out."""
    keys = read_keys(path, log)
    fault, order = faults(keys)
    left_out, is_kept = _write_rejected(keys, fault, rejected), fault == 0
    if left_out:
        keys, order = keys.of(np.flatnonzero(is_kept)), (np.cumsum(is_kept) - 1)[order]
    return keys, order, is_kept, left_out


@contextmanager
def _found(rows: Rows, model: Model, parent: Path, is_kept: bool, log: Log) -> Iterator[Found]:
    """Edges, in this process or by all cores; those of all cores lie in scratch files as long as this is open."""
    if rows.count < FEW_ROWS:
        yield local.find_edges_here(rows.chunks, rows.parse, model, log, is_trained=rows.shared is not None)
        return
    processes = cores()
    with passing_folder(parent) as folder:
        scratch = Scratch(folder, model, rows.count, local.parts_of(rows.count, processes))
        yield local.find_edges(
            rows.chunks, rows.parse, scratch, processes=processes, is_kept=is_kept, log=log, shared=rows.shared
        )


def _write_creators(keys: Keys, order: np.ndarray, found: Found, model: Model, path: Path) -> int:
    """Cluster, and write rows of `OUT`; how many creators. Ids are those of a first run: anchors are the smallest keys."""
    node = np.empty(len(order), dtype=np.int64)
    node[order] = np.arange(len(order))
    by_name_only = pc.starts_with(keys.ids, NO_HANDLE).to_numpy(zero_copy_only=False)
    platforms = np.where(by_name_only, -1, keys.ranks)[order]
    graph = Graph(len(order), node[found.left], node[found.right], found.log_odds, platforms)
    labels = cluster(graph, model)
    anchors, creator = np.unique(labels, return_inverse=True)
    certain, ids = confidence(graph, labels, anchors, model), _first_ids(keys, order[anchors])

    def rows() -> Iterator[pa.Table]:
        for some in _ranges(len(order)):
            of = ids.take(pa.array(creator[node[some]])).cast(pa.string())
            yield pa.Table.from_arrays([*keys.named(some), of, pa.array(certain[node[some]])], schema=OUT)

    _write(rows(), OUT, path)
    return len(anchors)


def _first_ids(keys: Keys, anchors: np.ndarray) -> pa.LargeStringArray:
    """Creator ids of anchors, as `ids.assign` gives them to creators without a past."""
    codes, made = keys.codes, [pa.array([], pa.large_string())]
    for some in _ranges(len(anchors)):
        rows = anchors[some]
        names = zip(keys.platform[rows].tolist(), keys.ids.take(pa.array(rows)).to_pylist(), strict=True)
        made.append(mint_each((codes[platform], name) for platform, name in names).cast(pa.large_string()))
    return pa.concat_arrays(made)


def as_given(edges: pa.Table, keys: Keys) -> pa.Table:
    """`EDGES` with the platforms as the input writes them, so that the two files join, of rows of `local.ROWED`."""
    for side in ("left", "right"):
        name = f"{side}_platform"
        platforms, _ = keys.named(edges.column(f"{side}_row").to_numpy())
        edges = edges.set_column(edges.column_names.index(name), EDGES.field(name), platforms)
    return edges.select(EDGE_COLUMNS)


# Reading


def known_columns(path: Path, fields: Sequence[str] = ()) -> list[str]:
    """Columns of an accounts file that are looked at.

    Raises:
        NotFoundError: there is no such file.
        SchemaError: a column is missing, or the file cannot be read or is neither Parquet nor CSV.
    """
    if not path.is_file():
        message = f"There is no file {path}."
        raise NotFoundError(message)
    with _readable(path):
        names = (_open_csv(path).schema if _suffix(path) == ".csv" else pq.read_schema(path)).names
    for name in (*REQUIRED, *fields):
        if name not in names:
            message = f"{path} lacks the column {name!r}; needed are {', '.join((*REQUIRED, *fields))}."
            raise SchemaError(message)
    if set(TELLING).isdisjoint(names) and not fields:
        message = f"{path} has none of the columns {', '.join(TELLING)}; at least one is needed."
        raise SchemaError(message)
    return [name for name in dict.fromkeys((*REQUIRED, *OPTIONAL, *fields)) if name in names]


def read_keys(path: Path, log: Log) -> Keys:
    """Keys of all rows of an accounts file."""
    spelled: dict[str | None, int] = {}
    platforms, ids = [np.zeros(0, dtype=np.int32)], [pa.array([], pa.large_string())]
    for table in told(_tables(path, REQUIRED), log, "rows read", lambda table: int(table.num_rows)):
        names, given = (_text(table, name) for name in REQUIRED)
        distinct = pc.unique(names)
        places = [spelled.setdefault(name, len(spelled)) for name in distinct.to_pylist()]
        platforms.append(np.array(places, dtype=np.int32)[pc.index_in(names, distinct).to_numpy()])
        ids.append(given.cast(pa.large_string()))
    return Keys(list(spelled), np.concatenate(platforms), pa.concat_arrays(ids))


def faults(keys: Keys) -> tuple[np.ndarray, np.ndarray]:
    """Place in `REASONS` of what is wrong with each row, 0 for nothing; and the other rows, ordered by platform and id."""
    ranks, has_code = keys.ranks, np.array([bool(code) for code in keys.codes], dtype=bool)
    no_id = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(keys.ids), ""), fill_value=True)
    fault = np.where(no_id.to_numpy(zero_copy_only=False), REASONS.index(NO_ID), 0).astype(np.int8)
    fault[~has_code[keys.platform]] = REASONS.index(NO_PLATFORM)
    rows = np.flatnonzero(fault == 0)
    table = pa.table({"platform": ranks[rows], "id": keys.ids.take(pa.array(rows))})
    order = pc.sort_indices(table, [("platform", "ascending"), ("id", "ascending")]).to_numpy()
    rows, ids = rows[order], table.column("id").combine_chunks().take(pa.array(order))
    is_again = np.zeros(len(rows), dtype=bool)
    is_again[1:] = (np.diff(ranks[rows]) == 0) & pc.equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    fault[rows[is_again]] = REASONS.index(TWICE)
    return fault, rows[~is_again]


def _chunks(path: Path, columns: Sequence[str], is_kept: np.ndarray) -> Iterator[pa.Table]:
    """Rows that stay, as they are read; at least one table.

    Raises:
        SchemaError: the file has more or fewer rows than before.
    """
    end = 0
    for table in _tables(path, columns):
        begin, end = end, end + table.num_rows
        if end <= len(is_kept):
            yield table.filter(pa.array(is_kept[begin:end]))
    if end != len(is_kept):
        message = f"{path} changed while it was read."
        raise SchemaError(message)


def _tables(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns, about `CHUNK_ROWS` rows at a time; at least one table.

    Raises:
        SchemaError: the file cannot be read.
    """
    with _readable(path):
        if _suffix(path) == ".csv":
            reader: pacsv.CSVStreamingReader | pq.ParquetFile = _open_csv(path, columns)
            schema, batches = reader.schema, iter(reader)
        else:
            reader = pq.ParquetFile(path)
            schema = pa.schema([reader.schema_arrow.field(name) for name in columns])
            batches = reader.iter_batches(CHUNK_ROWS, columns=list(columns))
        held: list[pa.RecordBatch] = []
        for batch in batches:
            batch.validate(full=True)  # a Parquet can hold texts that are none
            held.append(batch)
            if sum(map(len, held)) >= CHUNK_ROWS:
                yield pa.Table.from_batches(held)
                held = []
        yield pa.Table.from_batches(held, schema if not held else None)


def _open_csv(path: Path, columns: Sequence[str] = ()) -> pacsv.CSVStreamingReader:
    """Some columns, without any all, as text, so that ids keep their leading zeros; an empty cell is null."""
    options = pacsv.ConvertOptions(
        include_columns=columns,
        column_types=dict.fromkeys(columns, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
    )
    return pacsv.open_csv(
        path,
        read_options=pacsv.ReadOptions(block_size=CSV_BLOCK),
        convert_options=options,
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Says in one sentence that a file is not what its suffix says.

    Raises:
        SchemaError: so it is.
    """
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowIOError) as error:
        message = f"{path} is no readable {FORMATS[_suffix(path)]}: {error}."
        raise SchemaError(message) from error


# Parsing


def raw_rows(table: pa.Table, *, pepper: bytes | None, fields: Iterable[Field] = ()) -> pa.Table:
    """Rows of `nodes.RAW` and some fields, from rows of an accounts file; `pepper` keys the hashes of addresses."""
    links, websites, bios, emails = (_values(table, name) for name in ("links", "website", BIO, "email"))
    found = [_links(*given) for given in zip(links, websites, bios, strict=True)]
    columns = {
        "platform": _parsed(table, "platform", platform_code),
        "platform_account_id": _text(table, "platform_account_id"),
        "handle_key": _parsed(table, "handle", handle_key),
        "display_name": _text(table, "display_name"),
        "bio": _text(table, BIO),
        "country_code": _parsed(table, "location", country_code),
        "language_code": _parsed(table, "language", language_code),
        "followers_count": _parsed(table, "followers_count", _whole),
        "domains": [_domains(*given) for given in zip(websites, found, strict=True)],
        "emails": [_emails(*given, pepper) for given in zip(emails, bios, strict=True)],
        "links": [
            [
                {"target": replace_surrogates(f"{link.platform}:{link.target}"), "evidence": link.evidence}
                for link in listed
                if link.platform != WEB
            ]
            for listed in found
        ],
    }
    typed = [
        pa.array(columns[field.name], field.type)
        if isinstance(columns[field.name], list)
        else columns[field.name].cast(field.type)
        for field in RAW
    ]
    more = {field.column: _text(table, field.name) for field in fields}
    schema = pa.schema([*RAW, *(pa.field(name, pa.string()) for name in more)])
    return pa.Table.from_arrays([*typed, *more.values()], schema=schema)


def _values(table: pa.Table, name: str) -> list[object]:
    """A column as Python objects; None where there is no such column."""
    return list(table.column(name).to_pylist()) if name in table.column_names else [None] * table.num_rows


def _text(table: pa.Table, name: str) -> pa.Array:
    """A column as text, null where there is no such column; what Arrow has no text for is written as Python does.

    Raises:
        SchemaError: its bytes are no text.
    """
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    column = table.column(name).combine_chunks()
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowNotImplementedError:
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.array(texts, pa.string())
    except pa.ArrowInvalid as error:
        message = f"The column {name!r} is no text: {error}."
        raise SchemaError(message) from error


def _parsed(table: pa.Table, name: str, parse: Callable[[str], object]) -> pa.Array:
    """A column after parsing each of its values once."""
    texts = _text(table, name)
    distinct = pc.unique(texts)
    made = pa.array([None if text is None else parse(text) for text in distinct.to_pylist()])
    return made.take(pc.index_in(texts, distinct))


def _whole(text: str) -> int | None:
    try:
        number = int(float(text))
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**63 else None


def _links(links: object, website: object, bio: object) -> list[Link]:
    """Accounts and sites that an account declares or mentions, the strongest evidence of each."""
    declared = declared_links([*_listed(links), *_listed(website)])
    found = find_links(str(bio), evidence=BIO) if bio else []
    first = {(link.platform, link.target): link for link in reversed([*declared, *found])}
    return list(reversed(first.values()))


def _listed(value: object) -> list[object]:
    """A list of links from a list, a JSON list or separated text."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                return list(json.loads(value))
            except (ValueError, RecursionError):
                return []
        return [part for part in LINK_SEPARATORS.split(value.strip()) if part]
    return list(value) if isinstance(value, list) else []


def _domains(website: object, links: Iterable[Link]) -> list[str]:
    site = website_domain(str(website)) if website else None
    return sorted({link.target for link in links if link.platform == WEB} | ({site} if site else set()))


def _emails(email: object, bio: object, pepper: bytes | None) -> list[str]:
    if pepper is None:
        return []
    given = normalise_email(str(email)) if email else None
    in_bio = find_emails(str(bio)) if bio else []
    return sorted({hash_email(address, pepper=pepper) for address in [given, *in_bio] if address})


# Writing


def _write_rejected(keys: Keys, fault: np.ndarray, path: Path) -> dict[str, int]:
    """Name the rows that are left out, and take away what an earlier run named; how many for which reason."""
    rows = np.flatnonzero(fault)
    reasons = pa.array(REASONS).take(pa.array(fault[rows]))
    if len(rows):
        columns = [pa.array(rows + 1), *keys.named(rows), reasons]
        _write([pa.Table.from_arrays(columns, schema=REJECTED)], REJECTED, path)
    else:
        path.unlink(missing_ok=True)
    return dict(Counter(reasons.to_pylist()))


def _ranges(rows: int) -> Iterator[np.ndarray]:
    """Row numbers, `WRITTEN_ROWS` at a time."""
    for begin in range(0, rows, WRITTEN_ROWS):
        yield np.arange(begin, min(begin + WRITTEN_ROWS, rows))


def _write(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> None:
    """Write by suffix, beside the target first: a failure leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    try:
        with _writer(draft, schema, _suffix(path)) as write:
            for table in tables:
                write(table)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _writer(draft: Path, schema: pa.Schema, suffix: str) -> Iterator[Callable[[pa.Table], None]]:
    if suffix == ".csv":
        with pacsv.CSVWriter(draft, _flattened(schema.empty_table()).schema) as csv:
            yield lambda table: csv.write_table(_flattened(table))
    else:
        with pq.ParquetWriter(draft, schema) as parquet:
            yield parquet.write_table


def _flattened(table: pa.Table) -> pa.Table:
    """Lists as JSON text."""
    for index, column in enumerate(table.schema):
        if pa.types.is_list(column.type):
            texts = [json.dumps(value, ensure_ascii=False) for value in table.column(index).to_pylist()]
            table = table.set_column(index, column.name, pa.array(texts, pa.string()))
    return table


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        message = f"{path} must end in .parquet or .csv."
        raise SchemaError(message)
    return suffix
