"""Step: accounts and links -> `silver_identity__edges`, and beside them which keys each account takes.

Spark moves the rows; what happens to them is the pure core. Frequencies are drawn once and then frozen (`counts.py`), so that a
night scores only pairs of accounts that changed (`delta.py`) and ends at the edges of a whole computation. They are drawn anew
with another model, where the number of accounts has moved by more than `DRIFT`, and at each computation of a small set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import IntegerType, StructField, StructType

from lakehouse.contracts.layout import IDENTITY_COUNTS
from lakehouse.contracts.tables import ACCOUNTS, BLOCKING, EDGES, LINKS, TableSpec
from lakehouse.errors import NotFoundError
from lakehouse.identity.calibration import PAIR, Calibration, shared_platform
from lakehouse.identity.counts import Counts, digest_of, listed, range_begins, summed
from lakehouse.identity.delta import (
    ENDS,
    Changed,
    changed,
    changed_pairs,
    ends_of,
    ordered,
    score_pairs,
)
from lakehouse.identity.engine import count_keys, fitted, prepare_all, slices, tallied_parts
from lakehouse.identity.ids import names_of
from lakehouse.identity.keys import FORMAT
from lakehouse.identity.model import Model, default_model
from lakehouse.identity.mutual import LINKED, links_of, owned
from lakehouse.identity.nodes import RAW
from lakehouse.identity.packing import pack, unpack
from lakehouse.identity.pairs import (
    INDEX,
    PART_ACCOUNTS,
    PLACE,
    by_part,
    edges_of_part,
    placed_edges_of_part,
    prepare,
    telling_pairs,
    without_lone,
)
from lakehouse.ops.derive import ACCOUNT_KEY, touched
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.links import ACCOUNT_LINK, EMAIL_LINK, WEBSITE_LINK
from lakehouse.silver.mentions import BIO, DECLARED, POST
from lakehouse.storage.kept import KEPT
from lakehouse.storage.keys import Keys, frame_of

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import Column, DataFrame

    from lakehouse.storage.lake import Lake

Batches = Iterator[pa.RecordBatch]

EVIDENCE_RANK = {DECLARED: 1, BIO: 2, POST: 3}
"""Of more links than are kept, the strongest evidence stays."""
DRIFT = 1.25
"""Frozen frequencies serve while there are at most so many times as many accounts, or as few, as when they were drawn."""
DRAWN_ANEW = 50_000
"""Below so many accounts a computation from nothing takes seconds and draws frequencies anew."""
PACKED_ROWS = 50_000
"""Rows that are split into parts at once."""
NEAR_MAX, SCORED_MAX = 2_000_000, 1_000_000
"""Accounts that share a key with changed ones (150 bytes each), and pairs to be scored: beyond, everything is compared."""
_INDEX_PART = -1
_PACKED = "part int, body binary"
_MODEL, _CALIBRATION = "model", "calibration"
_COUNTS, _EDGES, _BLOCKING = "counts", "edges", "blocking"


@dataclass(frozen=True, slots=True)
class _Frozen:
    """Frequencies, the model with what its scores are worth by them, and the digest of the object that keeps both."""

    counts: Counts
    model: Model
    digest: str

    @classmethod
    def of(cls, body: bytes, model: Model) -> _Frozen | None:
        """From the object; None where it was made by another version of the model."""
        counts, said = Counts.from_bytes(body)
        if said[_MODEL] != _version(model):
            return None
        own = replace(model, calibration=Calibration.from_json(said[_CALIBRATION]))
        return cls(counts, own, digest_of(body))

    def to_bytes(self) -> bytes:
        """The object."""
        said = {_MODEL: _version(self.model), _CALIBRATION: self.model.calibration.to_json()}
        return self.counts.to_bytes(said)


def _version(model: Model) -> str:
    """What frozen frequencies depend on besides the accounts."""
    return f"{model.version} {FORMAT}"


def build_edges(ctx: StepContext) -> Report:
    """Bring the edges up to date with accounts and links.

    Returns:
        Accounts, edges, and how many accounts were looked at; how many keys were over the cap when frequencies were drawn.
    """
    model, accounts = default_model(), ctx.lake.count(ACCOUNTS)
    stored = _stored(ctx.lake, model, accounts)
    compared = _follow(ctx, stored) if stored is not None and _is_as_left(ctx, stored) else None
    frozen = stored if stored is not None and compared is not None else _build(ctx, stored, accounts, model)
    written = ctx.lake.count(EDGES)
    oversized = int((frozen.counts.uses > model.blocking.key_size_max).sum())
    said = "all" if compared is None else f"{compared:,} changed"
    ctx.log(f"{written:,} edges between {accounts:,} accounts, {said} compared; {oversized:,} oversized keys")
    return Report(
        rows_in=accounts,
        rows_out=written,
        metadata={
            "keys_oversized": oversized,
            "model": model.version,
            "accounts_compared": accounts if compared is None else compared,
            "accounts_when_frequencies_were_drawn": frozen.counts.accounts,
        },
        cursor={_COUNTS: frozen.digest, **_states(ctx.lake)},
    )


def raw_accounts(accounts: DataFrame, links: DataFrame, model: Model) -> DataFrame:
    """Rows of `nodes.RAW`: accounts with the targets, domains and address hashes of their links."""
    listed_max = model.links.listed_max
    target = F.concat_ws(":", "target_platform", "target_key")
    rank = F.element_at(
        F.create_map(*(F.lit(part) for item in EVIDENCE_RANK.items() for part in item)), F.col("evidence_code")
    )
    ranked = F.struct(rank.alias("rank"), target.alias("target"), F.col("evidence_code").alias("evidence"))
    is_own_site = F.col("evidence_code") != POST
    folded = links.groupBy(*ACCOUNT_KEY).agg(
        _kept(ranked, F.col("link_type_code") == ACCOUNT_LINK, listed_max).alias("ranked"),
        _kept(F.col("target_key"), (F.col("link_type_code") == WEBSITE_LINK) & is_own_site, listed_max).alias("sites"),
        _kept(F.col("target_key"), F.col("link_type_code") == EMAIL_LINK, listed_max).alias("addresses"),
    )
    joined = accounts.join(folded.hint("shuffle_hash"), list(ACCOUNT_KEY), "left")
    nothing = F.array().cast("array<string>")
    site = F.array_compact(F.array("website_domain"))
    return joined.select(
        *ACCOUNT_KEY,
        "handle_key",
        "display_name",
        "bio",
        "country_code",
        "language_code",
        "followers_count",
        F.array_union(site, F.coalesce("sites", nothing)).alias("domains"),
        F.array_union(F.coalesce("email_hashes", nothing), F.coalesce("addresses", nothing)).alias("emails"),
        F.transform(
            "ranked", lambda link: F.struct(link["target"].alias("target"), link["evidence"].alias("evidence"))
        ).alias("links"),
    )


# From nothing


def _build(ctx: StepContext, frozen: _Frozen | None, accounts: int, model: Model) -> _Frozen:
    """Compare all accounts and replace both tables; without frozen frequencies draw and store them first."""
    raw = raw_accounts(ctx.lake.read(ACCOUNTS), ctx.lake.read(LINKS), model)
    parts = max(accounts // PART_ACCOUNTS, ctx.settings.shuffle_partitions)
    if frozen is None:
        raw = raw.persist(KEPT)
    try:
        counts = frozen.counts if frozen is not None else count_keys_of(raw, accounts, model, parts)
        shared = raw.sparkSession.sparkContext.broadcast((counts.keys, counts.uses, counts.accounts))
        keyed = key_accounts(raw, shared, model, parts, only_shared=frozen is None).persist(KEPT)
        try:
            kept = frozen or _drawn(ctx.lake, raw, keyed, counts, model, parts)
            ctx.lake.replace(BLOCKING, index_of(keyed))
            ctx.lake.replace(EDGES, score_edges(keyed, parts, kept.model, is_exact=frozen is None))
        finally:
            keyed.unpersist()
            shared.destroy()
    finally:
        raw.unpersist()
    return kept


def _drawn(lake: Lake, raw: DataFrame, keyed: DataFrame, counts: Counts, model: Model, parts: int) -> _Frozen:
    """Frequencies, and what scores are worth by the pairs of some parts of the keys, stored for the nights to come."""
    asked = tallied_parts(counts.accounts, parts)
    known = owned_of(raw, counts.accounts, parts)
    found = told_by_parts(keyed.where(F.col("part").between(0, asked - 1)), parts, model, known)
    platforms = lake.read(ACCOUNTS).groupBy("platform").count().toArrow().column("count").to_numpy()
    drawn = _Frozen(counts, fitted(model, found, shared_platform(platforms)), "")
    body = drawn.to_bytes()
    lake.objects.replace(IDENTITY_COUNTS, body)
    return replace(drawn, digest=digest_of(body))


def owned_of(raw: DataFrame, accounts: int, parts: int) -> np.ndarray:
    """What `mutual.owned` says of all of so many `RAW` rows, in so many tasks: of a million synthetic accounts 1.6 MB."""

    def link(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        return (links_of(table, accounts) for table in tables)

    def meet(batches: Batches) -> Batches:
        found = owned(pa.Table.from_batches(batches, LINKED))
        yield pa.RecordBatch.from_pydict({"owner": found.view(np.int64)})

    linked = raw.mapInArrow(_over_tables(link, RAW), from_arrow_schema(LINKED)).repartition(parts, "pair")
    found = linked.mapInArrow(meet, "owner long").toArrow().column("owner")
    return np.unique(found.to_numpy().view(np.uint64))


def told_by_parts(keyed: DataFrame, parts: int, model: Model, known: np.ndarray) -> pa.Table:
    """What the pairs of what `key_accounts` gives tell (`calibration.PAIR`), with what `owned_of` found: of 250,000 accounts about 20 MB."""
    shared = keyed.sparkSession.sparkContext.broadcast(known)

    def ask(part: int, table: pa.Table) -> Iterator[pa.Table]:
        yield pa.table({"body": [pack(telling_pairs(table, model, shared.value, part=part, parts=parts))]})

    try:
        bodies = _by_part(keyed, parts, ask, "body binary").toArrow().column("body").to_pylist()
    finally:
        shared.destroy()
    return pa.concat_tables([PAIR.empty_table(), *map(unpack, bodies)])


def count_keys_of(raw: DataFrame, accounts: int, model: Model, parts: int) -> Counts:
    """Frequencies of all keys: summed in the tasks before they move, then by range of keys, and collected where more than one account has a key."""

    def count(batches: Batches) -> Batches:
        for table in _gathered(batches, lambda batch: pa.Table.from_batches([batch]).cast(RAW)):
            yield _packed(_by_range(*summed([count_keys(some, model) for some in slices(table)]), parts))

    def add(_part: int, table: pa.Table) -> Iterator[pa.Table]:
        keys, uses = summed([(table.column("key").to_numpy(), table.column("uses").to_numpy())])
        yield _counted(keys[uses > 1], uses[uses > 1])

    shared = _by_part(raw.mapInArrow(count, _PACKED), parts, add, "key long, uses long").toArrow()
    keys = shared.column("key").to_numpy().view(np.uint64)
    order = np.argsort(keys)
    return listed(keys[order], shared.column("uses").to_numpy()[order], accounts)


def key_accounts(
    raw: DataFrame,
    shared: Broadcast[tuple[np.ndarray, np.ndarray, int]],
    model: Model,
    parts: int,
    *,
    only_shared: bool,
) -> DataFrame:
    """Packed rows (`part`, `body`): in part -1 `INDEX` rows of all accounts, in part p `PREPARED` rows that have a key of p.

    Args:
        raw: `RAW` rows.
        shared: the frozen counts, as the parts of `Counts`.
        model: the model.
        parts: into how many parts the keys are split.
        only_shared: leave out keys that one account alone has; right where the counts are those of these very accounts.
    """

    def key(batches: Batches) -> Batches:
        frozen = Counts(*shared.value)
        for table in _gathered(batches, lambda batch: prepare(pa.Table.from_batches([batch]).cast(RAW), frozen, model)):
            met = without_lone(table, frozen) if only_shared else table
            yield _packed([(_INDEX_PART, table.select(INDEX.names)), *_parted(met, parts)])

    return raw.mapInArrow(key, _PACKED)


def index_of(keyed: DataFrame) -> DataFrame:
    """`INDEX` rows of what `key_accounts` gives."""
    packed = keyed.where(F.col("part") == _INDEX_PART).select("body")
    return packed.mapInArrow(_unpacked(lambda table: [table]), from_arrow_schema(INDEX))


def score_edges(keyed: DataFrame, parts: int, model: Model, *, is_exact: bool) -> DataFrame:
    """Edges of what `key_accounts` gives: one shuffle, pairs scored where they meet.

    `is_exact`: the counts are those of these very accounts. Else a pair may meet in several parts, and its edges are shuffled
    once more to keep one.
    """
    own, schema = keyed.where(F.col("part") >= 0), from_arrow_schema(EDGES.arrow_schema())

    def pair(part: int, table: pa.Table) -> Iterator[pa.Table]:
        return edges_of_part(table, model, part=part, parts=parts)

    def placed_pair(part: int, table: pa.Table) -> Iterator[pa.Table]:
        return placed_edges_of_part(table, model, part=part, parts=parts)

    if is_exact:
        return _by_part(own, parts, pair, schema)
    placed = _by_part(own, parts, placed_pair, StructType([*schema, StructField(PLACE, IntegerType())]))
    first = F.min_by(F.struct(*EDGES.columns), PLACE).alias("edge")
    return placed.groupBy(*EDGES.key).agg(first).select("edge.*")


def _by_part(
    keyed: DataFrame, parts: int, work: Callable[[int, pa.Table], Iterator[pa.Table]], schema: Any
) -> DataFrame:
    """What `work` makes of the `PREPARED` rows of each part."""

    def run(batches: Batches) -> Batches:
        bodies: dict[int, list[pa.Table]] = {}
        for batch in batches:
            for part, body in zip(batch.column("part").to_pylist(), batch.column("body"), strict=True):
                bodies.setdefault(part, []).append(unpack(body.as_buffer()))
        for part, tables in bodies.items():
            for made in work(part, pa.concat_tables(tables)):
                yield from made.to_batches()

    return keyed.repartitionById(parts, F.col("part")).mapInArrow(run, schema)


# What changed


def _stored(lake: Lake, model: Model, accounts: int) -> _Frozen | None:
    """Frequencies that still serve so many accounts under a model."""
    if accounts < DRAWN_ANEW:
        return None
    try:
        body = lake.objects.get(IDENTITY_COUNTS)
    except NotFoundError:
        return None
    frozen = _Frozen.of(body, model)
    if frozen is None or not accounts <= DRIFT * frozen.counts.accounts <= DRIFT**2 * accounts:
        return None
    return frozen


def _states(lake: Lake) -> dict[str, str | None]:
    """Both tables as this step leaves them."""
    return {_EDGES: lake.state(EDGES.name), _BLOCKING: lake.state(BLOCKING.name)}


def _is_as_left(ctx: StepContext, frozen: _Frozen) -> bool:
    """Whether both tables are as the last success left them and by these counts; after a kill between the two they are not."""
    return ctx.cursor == {_COUNTS: frozen.digest, **_states(ctx.lake)}


def _follow(ctx: StepContext, frozen: _Frozen) -> int | None:
    """Compare only accounts that changed with those they meet.

    Returns:
        How many changed; None where that takes a computation from nothing.
    """
    model = frozen.model
    keys = touched(ctx, BLOCKING, (ACCOUNTS, LINKS))
    old = ctx.lake.pick(BLOCKING, keys=keys) if keys is not None else None
    if keys is None or old is None:
        return None
    new = prepare_all(_raw_of(ctx.lake, keys, model), frozen.counts, model)
    what = changed(old.select(INDEX.names).cast(INDEX), new.select(INDEX.names))
    names = what.names
    if not len(names):
        return 0
    pairs = changed_pairs(lambda: _index(ctx.lake), what, rows_max=NEAR_MAX)
    if pairs is None or pairs.to_score.num_rows > SCORED_MAX:
        return None
    ends = Keys.of_table(ctx.lake.spark, ends_of(pairs.to_score))
    scored = score_pairs(_raw_of(ctx.lake, ends, model), pairs.to_score, frozen.counts, model)
    found = pa.concat_tables([EDGES.arrow_schema().empty_table(), *scored])
    looked_at = [_edges_at(ctx.lake, names), ordered(pairs.parted), ordered(pairs.to_score)]
    _upsert(ctx.lake, EDGES, found, pa.concat_tables(looked_at))
    _upsert(ctx.lake, BLOCKING, what.new, _accounts(what))
    return len(names)


def _index(lake: Lake) -> Iterator[pa.Table]:
    """`INDEX` rows of all accounts."""
    return (pa.Table.from_batches([batch]) for batch in lake.stream(BLOCKING, INDEX.names))


def _raw_of(lake: Lake, keys: Keys, model: Model) -> pa.Table:
    """`RAW` rows of some accounts."""
    return raw_accounts(lake.read_of(ACCOUNTS, keys), lake.read_of(LINKS, keys), model).toArrow().cast(RAW)


def _accounts(what: Changed) -> pa.Table:
    """Keys of the accounts that changed."""
    sides = [table.select(list(ACCOUNT_KEY)) for table in (what.old, what.new)]
    return pa.concat_tables(sides).group_by(list(ACCOUNT_KEY)).aggregate([])


def _edges_at(lake: Lake, names: pa.Array) -> pa.Table:
    """Keys of the edges at some accounts."""
    found = [pa.table({name: pa.array([], pa.string()) for name in ENDS})]
    for batch in lake.stream(EDGES, ENDS):
        table = pa.Table.from_batches([batch])
        sides = [table.select(list(ENDS[at : at + 2])).rename_columns(list(ACCOUNT_KEY)) for at in (0, 2)]
        found.append(table.filter(pc.or_(*(pc.is_in(names_of(side), names) for side in sides))))
    return pa.concat_tables(found)


def _upsert(lake: Lake, spec: TableSpec, rows: pa.Table, keys: pa.Table) -> None:
    lake.upsert(spec, frame_of(lake.spark, rows), of=Keys.of_table(lake.spark, keys))


# Small helpers


def _kept(value: Column, condition: Column, most: int) -> Column:
    """Distinct values where a condition holds, the smallest `most` of them."""
    return F.slice(F.array_sort(F.collect_set(F.when(condition, value))), 1, most)


def _over_tables(
    work: Callable[[Iterator[pa.Table]], Iterable[pa.Table]], schema: pa.Schema
) -> Callable[[Batches], Batches]:
    """A function over Arrow tables of `schema` as Spark's `mapInArrow` wants it."""

    def run(batches: Batches) -> Batches:
        for table in work(pa.Table.from_batches([batch]).cast(schema) for batch in batches):
            yield from table.to_batches()

    return run


def _unpacked(work: Callable[[pa.Table], Iterable[pa.Table]]) -> Callable[[Batches], Batches]:
    """A function over packed tables as Spark's `mapInArrow` wants it."""

    def run(batches: Batches) -> Batches:
        for batch in batches:
            for body in batch.column("body"):
                for table in work(unpack(body.as_buffer())):
                    yield from table.to_batches()

    return run


def _gathered(batches: Batches, work: Callable[[pa.RecordBatch], pa.Table]) -> Iterator[pa.Table]:
    """What `work` makes of batches, about `PACKED_ROWS` rows at a time."""
    held: list[pa.Table] = []
    for batch in batches:
        held.append(work(batch))
        if sum(table.num_rows for table in held) >= PACKED_ROWS:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _parted(table: pa.Table, parts: int) -> Iterator[tuple[int, pa.Table]]:
    """`PREPARED` rows by part of the keys."""
    row, begin = by_part(table, parts)
    for number in np.flatnonzero(np.diff(begin)).tolist():
        yield number, table.take(pa.array(row[begin[number] : begin[number + 1]]))


def _by_range(keys: np.ndarray, uses: np.ndarray, parts: int) -> list[tuple[int, pa.Table]]:
    """Counts of keys in ascending order, by range of the keys, but for ranges without any."""
    counts, begin = _counted(keys.view(np.int64), uses), np.searchsorted(keys, range_begins(parts))
    sizes = np.diff(begin, append=len(keys))
    return [(part, counts.slice(begin[part], sizes[part])) for part in np.flatnonzero(sizes).tolist()]


def _counted(keys: np.ndarray, uses: np.ndarray) -> pa.Table:
    return pa.table({"key": pa.array(keys, pa.int64()), "uses": pa.array(uses.astype(np.int64))})


def _packed(parted: Sequence[tuple[int, pa.Table]]) -> pa.RecordBatch:
    bodies = [pack(table) for _, table in parted]
    return pa.RecordBatch.from_pydict(
        {"part": pa.array([part for part, _ in parted], pa.int32()), "body": pa.array(bodies, pa.binary())}
    )
