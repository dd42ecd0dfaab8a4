"""The core in one process: from a table of accounts to edges, clusters and ids. No Spark, no files.

Spark runs the same functions over its own partitions (`edges.py`); files go through here (`resolve.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.evidence import PAIR, Account, Judgement, Kind
from lakehouse.identity.calibration import calibrate, shared_platform
from lakehouse.identity.cluster import Graph, Judged
from lakehouse.identity.counts import Counts, partial_counts, total
from lakehouse.identity.fields import value_keys
from lakehouse.identity.hashing import ABSENT
from lakehouse.identity.ids import SEPARATOR
from lakehouse.identity.keys import potential_keys
from lakehouse.identity.model import Model
from lakehouse.identity.mutual import links_of, owned
from lakehouse.identity.nodes import NO_HANDLE, counted_peer_keys, forms
from lakehouse.identity.pairs import edges, prepare, telling_pairs

TALLIED = 250_000
"""Accounts whose pairs are enough to learn what a score is worth: among a million twice as many found as much (docs/identity.md)."""
BATCH_ROWS = 20_000
"""Accounts prepared at once: their key matrices take about 20 MB."""


def count_keys(raw: pa.Table, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Partial counts of everything whose frequency matters."""
    made = forms(raw, model)
    peers = counted_peer_keys(made)
    keys = potential_keys(made, model)
    return partial_counts(np.concatenate([some[some != ABSENT] for some in (keys, peers, value_keys(made, model))]))


def count_all(raw: pa.Table, model: Model) -> Counts:
    """Frequencies of a whole table of `RAW` rows."""
    return total([count_keys(batch, model) for batch in slices(raw)], raw.num_rows)


def prepare_all(raw: pa.Table, counts: Counts, model: Model) -> pa.Table:
    """`PREPARED` rows of a whole table of `RAW` rows, in order."""
    return pa.concat_tables([prepare(batch, counts, model) for batch in slices(raw)]).combine_chunks()


def find_edges(raw: pa.Table, model: Model, counts: Counts | None = None) -> Iterator[pa.Table]:
    """Scored edges of a whole table of `RAW` rows, in batches; by its own frequencies or by given ones."""
    return edges(prepare_all(raw, counts or count_all(raw, model), model), model)


def calibrated(raw: pa.Table, model: Model, counts: Counts | None = None) -> Model:
    """The model with what its scores are worth in a table of `RAW` rows, learned from about `TALLIED` accounts' pairs."""
    table = prepare_all(raw, counts or count_all(raw, model), model)
    known = owned(links_of(raw, raw.num_rows))
    found = telling_pairs(table, model, known, parts=max(raw.num_rows // TALLIED, 1))
    accounts = pc.value_counts(raw.column("platform")).field("counts").to_numpy()
    return fitted(model, found, shared_platform(accounts))


def fitted(model: Model, told: pa.Table, shared: float) -> Model:
    """The model with a calibration that fits some pairs (`calibration.PAIR`), as it is where they tell too little."""
    calibration = calibrate(told, shared)
    return model if calibration is None else replace(model, calibration=calibration)


def tallied_parts(accounts: int, parts: int) -> int:
    """How many of the parts of the keys hold the pairs of about `TALLIED` accounts; one at least."""
    return min(max(parts * TALLIED // max(accounts, 1), 1), parts)


@dataclass(frozen=True, slots=True)
class Accounts:
    """Accounts in canonical order, by platform and id; the node numbers of `cluster.Graph`."""

    platforms: pa.Array
    ids: pa.Array

    @classmethod
    def of(cls, table: pa.Table) -> tuple[Accounts, pa.Table]:
        """Accounts of a table with `platform` and `platform_account_id`, and the table in their order."""
        ordered = table.sort_by([("platform", "ascending"), ("platform_account_id", "ascending")]).combine_chunks()
        return cls(*(ordered.column(name).combine_chunks() for name in ("platform", "platform_account_id"))), ordered

    def judged(self, stands: Sequence[Judgement]) -> Judged:
        """What standing judgements say of the accounts that are here; of others they say nothing."""
        place = self._places({account for one in stands for account in one.accounts})
        together, apart, closed = [], [], np.full(len(self.ids), -1, dtype=np.int64)
        for one in stands:
            here = [place[account] for account in one.accounts if account in place]
            if one.kind is Kind.UNLINK:
                apart += [here] if len(here) == PAIR else []
            else:
                together += [[here[0], other] for other in here[1:]]
            if one.kind is Kind.FREEZE:
                closed[here] = one.number
        pairs = [np.array(found, dtype=np.int64).reshape(-1, PAIR) for found in (together, apart)]
        return Judged(pairs[0], pairs[1], closed)

    def _places(self, accounts: Collection[Account]) -> dict[Account, int]:
        """Node of each of some accounts that are here."""
        if not accounts:
            return {}
        wanted = sorted(accounts)
        names = pc.binary_join_element_wise(self.platforms, self.ids, SEPARATOR)
        found = pc.index_in(pa.array([SEPARATOR.join(account) for account in wanted], pa.string()), names)
        return {account: at for account, at in zip(wanted, found.to_pylist(), strict=True) if at is not None}

    def graph(self, edges_table: pa.Table) -> Graph:
        """Graph of the edges, whose columns are `left_platform`, `left_id`, `right_platform`, `right_id`, `log_odds`.

        Edges of accounts that are not here (any more) are left out.
        """
        names = pc.binary_join_element_wise(self.platforms, self.ids, SEPARATOR)
        ends = [
            pc.index_in(pc.binary_join_element_wise(*_side(edges_table, side), SEPARATOR), names)
            for side in ("left", "right")
        ]
        known = pc.and_(ends[0].is_valid(), ends[1].is_valid())
        left, right = (end.filter(known).to_numpy().astype(np.int64) for end in ends)
        log_odds = edges_table.column("log_odds").combine_chunks().filter(known).to_numpy()
        codes = self.platforms.dictionary_encode().indices.to_numpy().astype(np.int64)
        by_name_only = pc.starts_with(self.ids, NO_HANDLE).to_numpy(zero_copy_only=False)
        return Graph(len(self.ids), left, right, log_odds, np.where(by_name_only, -1, codes))


def _side(edges_table: pa.Table, side: str) -> tuple[pa.Array, pa.Array]:
    return tuple(edges_table.column(f"{side}_{name}").combine_chunks() for name in ("platform", "id"))  # type: ignore[return-value]


def slices(raw: pa.Table) -> Iterator[pa.Table]:
    """`RAW` rows, `BATCH_ROWS` at a time; of none one empty batch."""
    for start in range(0, max(raw.num_rows, 1), BATCH_ROWS):
        yield raw.slice(start, BATCH_ROWS)
