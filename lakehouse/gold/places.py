"""Where what a pair has in common stood: reasons of scored pairs with the links behind them, as they may be shown.

Arrow in, Arrow out. An address or its hash does not get through. Which pairs are told, and what else of them, is in
`evidence.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.tables import GOLD_EVIDENCE, LINKS
from lakehouse.silver.links import ACCOUNT_LINK, EMAIL_LINK, WEBSITE_LINK

SIDES = ("left", "right")
_AT = r"(?:[@＠]|(?i:%(?:25)*(?:40|EF%(?:25)*BC%(?:25)*A0)))"
_DOT = r"(?:\.|(?i:%(?:25)*2E))"
NOT_SHOWN = rf"\bv\d+:[0-9a-f]{{16}}|[^\s/:@]{_AT}[^\s/@]+{_DOT}\pL{{2}}"
"""Hashes and addresses, also as links spell them: a text with one is left out."""
_PLACE = {
    "evidence_code": "field",
    "target_url": "url",
    "first_seen_at": "first_seen_at",
    "last_seen_at": "last_seen_at",
}
_TARGET_OF_LINK = ("link_type_code", "target_platform", "target_key")
LINK_COLUMNS = (*_TARGET_OF_LINK, *_PLACE)
"""Of a link, what reasons are looked up in."""
LINK = pa.struct([LINKS.arrow_schema().field(name) for name in LINK_COLUMNS])
SIGNALS = GOLD_EVIDENCE.arrow_schema().field("signals").type
_EMAIL, _LINK, _TARGET, _DOMAIN = "email", "link", "link_target", "domain"
_CODES = {_EMAIL: EMAIL_LINK, _DOMAIN: WEBSITE_LINK, _LINK: ACCOUNT_LINK, _TARGET: ACCOUNT_LINK}
"""Signals that stand among links, by the first part of their name, and the type of these links."""
_TARGETS = ["row", *_TARGET_OF_LINK]


def with_signals(batches: Iterator[pa.RecordBatch], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of batches of pairs, and their `signals`."""
    for batch in batches:
        if batch.num_rows:
            rows = pa.Table.from_batches([batch])
            told = rows.select(columns).append_column("signals", signals(rows))
            yield from told.combine_chunks().to_batches()


def signals(rows: pa.Table) -> pa.Array:
    """What `GOLD_EVIDENCE` says of the reasons of some pairs.

    Args:
        rows: of each pair `reasons` as in `EDGES`, or null, and for both sides `platform`, `id`, `handle_key` and `links`
            (lists of `LINK`), named as `left_platform`.

    Returns:
        As many lists as rows, of the type of `signals`: each reason with what was compared on each side, and where that
        stood among the side's links. Of several places it is the first in the order of field, link and times.
    """
    lists = rows["reasons"].combine_chunks()
    offsets = np.concatenate([[0], np.cumsum(pc.fill_null(pc.list_value_length(lists), 0).to_numpy())])
    reasons = pa.Table.from_struct_array(lists.flatten())
    reasons = reasons.append_column("row", pc.list_parent_indices(lists).cast(pa.int64()))
    kinds = _first_part(reasons["signal"])
    asked = reasons.append_column("kind", kinds).append_column("reason", pa.array(np.arange(len(reasons))))
    asked = asked.filter(pc.is_in(kinds, pa.array(list(_CODES))))
    is_hidden = pc.equal(kinds, _EMAIL)
    sides = []
    for side, beyond in (SIDES, SIDES[::-1]):
        places = _places(_spelled(asked, rows, beyond), _links(rows, side), len(reasons))
        value = pc.if_else(is_hidden, None, _shown(reasons[f"{side}_value"]))
        columns = {"value": value, **places, "url": _shown(places["url"])}
        names = [field.name for field in SIGNALS.value_type.field(side).type]
        sides.append(pa.table([columns[name] for name in names], names=names).to_struct_array())
    table = pa.table([reasons["signal"], reasons["log_odds"], *sides], names=["signal", "log_odds", *SIDES])
    flat = table.cast(pa.schema(list(SIGNALS.value_type))).to_struct_array().combine_chunks()
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type=SIGNALS)


def _spelled(asked: pa.Table, rows: pa.Table, beyond: str) -> pa.Table:
    """Of reasons that stand among links, each spelling of the link's target; a link to the other side may name its id or its handle."""
    parts = []
    for kind, code in _CODES.items():
        some = asked.filter(pc.equal(asked["kind"], kind))
        platform, keys = pa.nulls(len(some), pa.string()), [some["left_value"]]
        if kind == _LINK:
            others = [rows[f"{beyond}_{name}"].take(some["row"]) for name in ("platform", "id", "handle_key")]
            platform, keys = others[0], others[1:]
        elif kind == _TARGET:
            halves = pc.extract_regex(some["left_value"], r"(?s)^(?P<platform>[^:]*):(?P<key>.*)$")
            platform, keys = pc.struct_field(halves, "platform"), [pc.struct_field(halves, "key")]
        codes = pa.array([code] * len(some), pa.string())
        parts += [
            pa.table([some["reason"], some["row"], codes, platform, key], names=["reason", *_TARGETS]) for key in keys
        ]
    return _joinable(pa.concat_tables(parts))


def _links(rows: pa.Table, side: str) -> pa.Table:
    lists = rows[f"{side}_links"].combine_chunks()
    return _joinable(
        pa.Table.from_struct_array(lists.flatten()).append_column("row", pc.list_parent_indices(lists).cast(pa.int64()))
    )


def _joinable(table: pa.Table) -> pa.Table:
    """Rows with a target; no platform is one of its own, for nulls meet nothing in a join."""
    named = table.filter(pc.is_valid(table["target_key"]))
    at = named.schema.get_field_index("target_platform")
    return named.set_column(at, "target_platform", pc.fill_null(named["target_platform"].cast(pa.string()), ""))


def _places(asked: pa.Table, links: pa.Table, count: int) -> dict[str, pa.ChunkedArray]:
    """Of each of `count` reasons the first place where it stands, null where there is none."""
    met = (
        asked.join(links, _TARGETS, join_type="inner")
        .select(["reason", *_PLACE])
        .rename_columns(["reason", *_PLACE.values()])
    )
    order = [(name, "ascending", "at_start") for name in met.column_names]
    met = met.take(pc.sort_indices(met, order))
    reasons, first = np.unique(met["reason"].to_numpy(), return_index=True)
    at = np.full(count, -1)
    at[reasons] = first
    chosen = met.take(pa.array(at, mask=at < 0))
    return {name: chosen[name] for name in _PLACE.values()}


def _first_part(signal: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.replace_substring_regex(signal, r":.*$", "")


def _shown(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.match_substring_regex(texts, NOT_SHOWN), None, texts)
