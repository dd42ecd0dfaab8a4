"""Identity resolution of anyone's own file: Parquet or CSV in and out, no lake, no Spark. Same core as the lake's steps.

`platform` is an open vocabulary here. Addresses are hashed before anything looks at them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from lakehouse.contracts.tables import EDGES
from lakehouse.errors import NotFoundError, SchemaError
from lakehouse.identity.cluster import cluster, confidence
from lakehouse.identity.delta import names_of
from lakehouse.identity.engine import Accounts, find_edges
from lakehouse.identity.ids import ACCOUNT, MEMBER, assign
from lakehouse.identity.model import Model, default_model
from lakehouse.identity.nodes import RAW
from lakehouse.settings import load_settings
from lakehouse.silver.countries import country_code
from lakehouse.silver.emails import find_emails, hash_email, normalise_email
from lakehouse.silver.handles import handle_key
from lakehouse.silver.languages import language_code
from lakehouse.silver.mentions import WEB, Link, declared_links, find_links
from lakehouse.silver.platforms import platform_code
from lakehouse.silver.urls import website_domain

REQUIRED = ("platform", "platform_account_id", "handle")
OPTIONAL = ("display_name", "bio", "website", "links", "email", "location", "language", "followers_count")
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
CHUNK_ROWS = 20_000


def resolve_file(accounts_path: Path, out_path: Path, edges_path: Path | None = None) -> int:
    """Give every account of a file a `creator_id`.

    Args:
        accounts_path: columns `REQUIRED`, and any of `OPTIONAL`; (platform, platform_account_id) is the key.
        out_path: written with the columns of `OUT`, in the order of the input.
        edges_path: written with `EDGE_COLUMNS`, every scored pair with a probability of at least 0.01; in a CSV the
            reasons are JSON.

    Returns:
        Number of creators.

    Raises:
        NotFoundError: there is no such file.
        SchemaError: a column is missing, a key is null or occurs twice, or a file is neither Parquet nor CSV.
    """
    for path in (out_path, edges_path):
        if path is not None:
            _suffix(path)
    model = default_model()
    table = read_accounts(accounts_path)
    has_addresses = not {"email", BIO}.isdisjoint(table.column_names)
    raw = raw_accounts(table, pepper=load_settings().pepper() if has_addresses else None)
    parts = [part for part in find_edges(raw, model) if part.num_rows]
    edges = pa.concat_tables(parts) if parts else EDGES.arrow_schema().empty_table()
    resolved = resolve_accounts(table, raw, edges, model)
    _write(resolved, out_path)
    if edges_path is not None:
        _write(as_given(edges.select(EDGE_COLUMNS), table, raw), edges_path)
    return len(resolved.column("creator_id").unique())


def resolve_accounts(table: pa.Table, raw: pa.Table, edges: pa.Table, model: Model) -> pa.Table:
    """Rows of `OUT`, aligned with the input. Ids are those of a first run: anchors are the smallest keys."""
    accounts, _ = Accounts.of(raw)
    graph = accounts.graph(edges)
    labels = cluster(graph, model)
    given = pa.table([accounts.platforms, accounts.ids, np.zeros(len(accounts.ids), dtype=np.int64)], schema=ACCOUNT)
    members = assign(MEMBER.empty_table(), {}, given, labels).members
    certain = confidence(graph, labels, np.unique(labels), model)
    place = pc.index_in(names_of(raw), names_of(members))
    creator, confident = members.column("creator_id").take(place), pa.array(certain).take(place)
    columns = [table.column("platform"), table.column("platform_account_id"), creator, confident]
    return pa.Table.from_arrays(columns, schema=OUT)


def as_given(edges: pa.Table, table: pa.Table, raw: pa.Table) -> pa.Table:
    """Edges with the platforms as the input writes them, so that the two files join."""
    given = dict(zip(_keys(raw), table.column("platform").to_pylist(), strict=True))
    for side in ("left", "right"):
        names = (f"{side}_platform", f"{side}_id")
        keys = zip(*(edges.column(name).to_pylist() for name in names), strict=True)
        column = pa.array([given[key] for key in keys], pa.string())
        edges = edges.set_column(edges.schema.get_field_index(names[0]), names[0], column)
    return edges


def _keys(raw: pa.Table) -> list[tuple[str, str]]:
    return list(zip(*(raw.column(name).to_pylist() for name in RAW.names[:2]), strict=True))


def read_accounts(path: Path) -> pa.Table:
    """Known columns of an accounts file, keys as text, checked.

    Raises:
        NotFoundError: there is no such file.
        SchemaError: a column is missing, a key is null or occurs twice, or the file is neither Parquet nor CSV.
    """
    if not path.is_file():
        message = f"There is no file {path}."
        raise NotFoundError(message)
    table = _read_csv(path) if _suffix(path) == ".csv" else pq.read_table(path)
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        message = f"{path} lacks the column {missing[0]!r}; needed are {', '.join(REQUIRED)}."
        raise SchemaError(message)
    table = table.select([name for name in (*REQUIRED, *OPTIONAL) if name in table.column_names])
    for index, name in enumerate(REQUIRED):
        table = table.set_column(index, name, pc.cast(table.column(name), pa.string()).combine_chunks())
    _check_keys(table, path)
    return table


def raw_accounts(table: pa.Table, *, pepper: bytes | None) -> pa.Table:
    """Rows of `nodes.RAW` from a checked table; `pepper` keys the hashes of addresses."""
    chunks = [
        _raw_rows(table.slice(start, CHUNK_ROWS).to_pylist(), pepper)
        for start in range(0, max(table.num_rows, 1), CHUNK_ROWS)
    ]
    return pa.concat_tables(chunks).combine_chunks()


def _raw_rows(rows: list[dict[str, object]], pepper: bytes | None) -> pa.Table:
    links = [_links(row) for row in rows]
    columns = {
        "platform": [platform_code(str(row["platform"])) for row in rows],
        "platform_account_id": [row["platform_account_id"] for row in rows],
        "handle_key": _parsed(rows, "handle", handle_key),
        "display_name": _parsed(rows, "display_name", str),
        "bio": _parsed(rows, "bio", str),
        "country_code": _parsed(rows, "location", country_code),
        "language_code": _parsed(rows, "language", language_code),
        "followers_count": _parsed(rows, "followers_count", _whole),
        "domains": [_domains(row, found) for row, found in zip(rows, links, strict=True)],
        "emails": [_emails(row, pepper) for row in rows],
        "links": [
            [
                {"target": f"{link.platform}:{link.target}", "evidence": link.evidence}
                for link in found
                if link.platform != WEB
            ]
            for found in links
        ],
    }
    return pa.table({name: pa.array(values, RAW.field(name).type) for name, values in columns.items()}, schema=RAW)


def _parsed(rows: list[dict[str, object]], name: str, parse: Callable[[str], object]) -> list[object]:
    return [None if (value := row.get(name)) is None else parse(str(value)) for row in rows]


def _whole(text: str) -> int | None:
    try:
        number = int(float(text))
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**63 else None


def _links(row: dict[str, object]) -> list[Link]:
    """Accounts and sites that an account declares or mentions, the strongest evidence of each."""
    declared = declared_links([*_listed(row.get("links")), *_listed(row.get("website"))])
    found = find_links(str(row["bio"]), evidence=BIO) if row.get("bio") else []
    first = {(link.platform, link.target): link for link in reversed([*declared, *found])}
    return list(reversed(first.values()))


def _listed(value: object) -> list[object]:
    """A list of links from a list, a JSON list or separated text."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                return list(json.loads(value))
            except ValueError:
                return []
        return [part for part in LINK_SEPARATORS.split(value.strip()) if part]
    return list(value) if isinstance(value, list) else []


def _domains(row: dict[str, object], links: Iterable[Link]) -> list[str]:
    site = website_domain(str(row["website"])) if row.get("website") else None
    return sorted({link.target for link in links if link.platform == WEB} | ({site} if site else set()))


def _emails(row: dict[str, object], pepper: bytes | None) -> list[str]:
    if pepper is None:
        return []
    given = normalise_email(str(row["email"])) if row.get("email") else None
    in_bio = find_emails(str(row["bio"])) if row.get("bio") else []
    return sorted({hash_email(address, pepper=pepper) for address in [given, *in_bio] if address})


def _check_keys(table: pa.Table, path: Path) -> None:
    for name in REQUIRED[:2]:
        column = table.column(name)
        empty = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), fill_value=True)
        if pc.any(empty).as_py():
            row = pc.index(empty, value=True).as_py() + 1
            message = f"{path} has no {name} in row {row}."
            raise SchemaError(message)
    spelled = pc.unique(table.column(REQUIRED[0]))
    codes = pa.array([platform_code(name) for name in spelled.to_pylist()], pa.string())
    platforms = pc.take(codes, pc.index_in(table.column(REQUIRED[0]), spelled))
    keys = pa.table([platforms, table.column(REQUIRED[1])], names=REQUIRED[:2])
    groups = keys.group_by(list(REQUIRED[:2])).aggregate([([], "count_all")])
    twice = groups.filter(pc.greater(groups.column("count_all"), 1))
    if twice.num_rows:
        first = twice.slice(0, 1).to_pylist()[0]
        message = (
            f"{path} has the account ({first['platform']}, {first['platform_account_id']}) {first['count_all']} times."
        )
        raise SchemaError(message)


def _read_csv(path: Path) -> pa.Table:
    """Known columns as text, so that ids keep their leading zeros; an empty cell is null."""
    options = pacsv.ConvertOptions(
        column_types=dict.fromkeys((*REQUIRED, *OPTIONAL), pa.string()), strings_can_be_null=True, null_values=[""]
    )
    try:
        return pacsv.read_csv(path, convert_options=options, parse_options=pacsv.ParseOptions(newlines_in_values=True))
    except pa.ArrowInvalid as error:
        message = f"{path} is no readable CSV: {error}."
        raise SchemaError(message) from error


def _write(table: pa.Table, path: Path) -> None:
    """Write by suffix, beside the target first: a failure leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    if _suffix(path) == ".csv":
        pacsv.write_csv(_flattened(table), draft)
    else:
        pq.write_table(table, draft)
    draft.replace(path)


def _flattened(table: pa.Table) -> pa.Table:
    """Lists as JSON text."""
    for index, column in enumerate(table.schema):
        if pa.types.is_list(column.type):
            texts = [json.dumps(value, ensure_ascii=False) for value in table.column(index).to_pylist()]
            table = table.set_column(index, column.name, pa.array(texts, pa.string()))
    return table


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in {".csv", ".parquet"}:
        message = f"{path} must end in .parquet or .csv."
        raise SchemaError(message)
    return suffix
