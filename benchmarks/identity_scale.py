"""Identity as it grows, changes and is attacked: synthetic people of several sizes, nights of changes, a key that everybody has.

All in one process and on one core, without a lake: what Spark adds is measured by `make bench-pipeline PART=scale`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.identity_world import people
from benchmarks.report import Figure
from jobs.memory import PeakMemory
from lakehouse.contracts.tables import EDGES
from lakehouse.identity.cluster import cluster
from lakehouse.identity.counts import Counts
from lakehouse.identity.delta import changed, changed_pairs, ends_of, ordered, score_pairs
from lakehouse.identity.engine import Accounts, calibrated, count_all, find_edges, prepare_all
from lakehouse.identity.ids import names_of
from lakehouse.identity.model import Model, default_model
from lakehouse.identity.pairs import INDEX, first_meetings, near
from lakehouse.identity.quality import calibration_error, quality

SYNTHETIC, ABLATION, DELTA, SKEW = "synthetic", "ablation", "delta", "skew"
"""First words of the figures."""
SIZES = (100_000, 1_000_000)
DELTA_ACCOUNTS, NIGHTS, CHANGED = 100_000, 100, 0.01
SKEW_ACCOUNTS, SHARED = 200_000, 0.01
ENDS = EDGES.key
MASKED = ("links", "emails", "domains")
ABLATED = {
    "nothing": (),
    "handles": ("handle_key",),
    "names": ("display_name",),
    "links": ("links",),
    "e-mails": ("emails",),
    "sites": ("domains",),
    "bios": ("bio",),
    "country and language": ("country_code", "language_code"),
    "followers": ("followers_count",),
    "links, e-mails and sites": MASKED,
}
"""What is taken away, and the columns that hold it."""
ABLATION_ACCOUNTS = 50_000


def synthetic(sizes: tuple[int, ...] = SIZES) -> Iterator[Figure]:
    """Quality, cost and candidates by number of accounts."""
    per_account: list[float] = []
    for size in sizes:
        world = people(size)
        accounts, head = world.raw.num_rows, f"{SYNTHETIC} {size:,}"
        with PeakMemory() as peak:
            started = time.monotonic()
            labels, edges = _labels(world.raw)
            seconds = time.monotonic() - started
        per_account.append(seconds / accounts)
        yield Figure(f"{head}: accounts", accounts, "accounts")
        yield Figure(f"{head}: normal forms to clusters, one core", round(seconds, 1), "s")
        yield Figure(f"{head}: peak memory", round(peak.gib, 2), "GiB", 8)
        yield from _candidates(head, world.raw)
        yield from quality_figures(head, labels, world.person)
        yield Figure(f"{head}: calibration error of edges", round(_error(world.raw, edges, world.person), 4), "", 0.02)
        yield from quality_figures(f"{head}, no links, e-mails, sites", _labels(_without(world.raw))[0], world.person)
    for before, after, size in zip(per_account, per_account[1:], sizes[1:], strict=False):
        yield Figure(f"{SYNTHETIC} {size:,}: cost per account, of the size before", round(after / before, 3), "", 1.25)


def ablation() -> Iterator[Figure]:
    """What each signal is worth: quality without it."""
    world = people(ABLATION_ACCOUNTS)
    for name, columns in ABLATED.items():
        scores = quality(_labels(_without(world.raw, columns))[0], world.person)
        head = f"{ABLATION} without {name}"
        yield Figure(f"{head}: pair precision", round(scores.pairs.precision, 3), "")
        yield Figure(f"{head}: pair recall", round(scores.pairs.recall, 3), "")


def deltas() -> Iterator[Figure]:
    """A hundred nights that each change one account in a hundred: after each the edges are those of a whole computation."""
    world, draw = people(DELTA_ACCOUNTS), np.random.default_rng(5)
    followed = _Followed(world.raw, draw)
    night_seconds, whole_seconds, unlike = [], [], 0
    for night in range(NIGHTS):
        night_seconds.append(followed.night())
        if night % 10 == 0 or night == NIGHTS - 1:
            started = time.monotonic()
            whole = pa.concat_tables(find_edges(followed.raw, followed.model, followed.counts))
            whole_seconds.append(time.monotonic() - started)
            unlike += not _in_order(whole).equals(_in_order(followed.edges))
    share = float(np.median(night_seconds) / np.median(whole_seconds))
    yield Figure(f"{DELTA} nights that change 1 % of {world.raw.num_rows:,} accounts", NIGHTS, "nights")
    yield Figure(
        f"{DELTA} comparisons with a whole computation that differ", unlike, "", 0, peer=f"of {len(whole_seconds)}"
    )
    yield Figure(f"{DELTA} a night, median", round(float(np.median(night_seconds)), 2), "s")
    yield Figure(
        f"{DELTA} a whole computation with the same counts, median", round(float(np.median(whole_seconds)), 2), "s"
    )
    yield Figure(f"{DELTA} a night, of a whole computation", round(share, 3), "share", 0.05)
    yield Figure(f"{DELTA} pairs scored in a night, median", float(np.median(followed.scored)), "pairs")


def skew() -> Iterator[Figure]:
    """One account in a hundred has the same name, site and address: time, and what it costs the others."""
    world = people(SKEW_ACCOUNTS)
    hot = _hot(world.raw, round(SHARED * world.raw.num_rows))
    attacked = pa.concat_tables([world.raw.slice(hot.num_rows), hot]).combine_chunks()
    alone = world.raw.slice(hot.num_rows).combine_chunks()
    seconds = {"alone": [], "attacked": []}
    for _ in range(3):
        for name, raw in (("alone", world.raw), ("attacked", attacked)):
            started = time.monotonic()
            labels, edges = _labels(raw)
            seconds[name].append(time.monotonic() - started)
            del labels, edges
    ratio = float(np.median(seconds["attacked"]) / np.median(seconds["alone"]))
    person = world.person[hot.num_rows :]
    before = quality(_labels(alone)[0], person)
    after = quality(_labels(attacked)[0][: alone.num_rows], person)
    head = f"{SKEW} 1 % of {attacked.num_rows:,} accounts share name, site and address"
    yield Figure(f"{head}: time, of the same number without", round(ratio, 3), "", 1.3)
    lost = round(before.pairs.recall - after.pairs.recall, 4)
    yield Figure(f"{head}: recall that the others lose", lost, "", 0.005, peer=f"{before.pairs.recall:.3f} without")
    yield from _candidates(head, attacked)


@dataclass
class _Followed:
    """Index and edges that follow nightly changes of a table of `RAW` rows."""

    raw: pa.Table
    draw: np.random.Generator
    counts: Counts = field(init=False)
    model: Model = field(init=False)
    index: pa.Table = field(init=False)
    edges: pa.Table = field(init=False)
    scored: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = count_all(self.raw, default_model())
        self.model = calibrated(self.raw, default_model(), self.counts)
        self.index = prepare_all(self.raw, self.counts, self.model).select(INDEX.names)
        self.edges = pa.concat_tables(find_edges(self.raw, self.model, self.counts))

    def night(self) -> float:
        """Change one account in a hundred and bring index and edges up to date; seconds without the drawing."""
        rows = self.draw.choice(self.raw.num_rows, round(CHANGED * self.raw.num_rows), replace=False)
        kept = np.ones(self.raw.num_rows, dtype=bool)
        kept[rows] = False
        old = names_of(self.raw.take(pa.array(rows)))
        fresh = self._edited(self.raw.take(pa.array(rows[len(rows) // 5 :])))
        self.raw = pa.concat_tables([self.raw.filter(pa.array(kept)), fresh]).combine_chunks()
        started = time.monotonic()
        self._follow(old, fresh)
        return time.monotonic() - started

    def _edited(self, rows: pa.Table) -> pa.Table:
        """A third with the handle of another, a third without links, a third as newcomers; a fifth of the changed is gone."""
        third = rows.num_rows // 3
        order = pa.array(np.r_[self.draw.permutation(third), np.arange(third, rows.num_rows)])
        rows = rows.set_column(2, "handle_key", rows.column("handle_key").take(order))
        newcomer = np.arange(rows.num_rows) >= 2 * third
        ids = rows.column("platform_account_id").to_pylist()
        salt = self.draw.integers(10**9)
        named = [f"{salt}-{at}" if is_new else own for at, (own, is_new) in enumerate(zip(ids, newcomer, strict=True))]
        rows = rows.set_column(1, "platform_account_id", pa.array(named, pa.string()))
        bare = (np.arange(rows.num_rows) >= third) & ~newcomer
        place = rows.schema.get_field_index("links")
        none = pa.array([[]] * rows.num_rows, rows.schema.field("links").type)
        return rows.set_column(place, "links", pc.if_else(pa.array(bare), none, rows.column("links").combine_chunks()))

    def _follow(self, old: pa.Array, fresh: pa.Table) -> None:
        model = self.model
        new = prepare_all(fresh, self.counts, model).select(INDEX.names)
        touched = pc.unique(pa.concat_arrays([old, names_of(new)]))
        there = self.index.filter(pc.is_in(names_of(self.index), touched))
        what = changed(there, new)
        pairs = changed_pairs(lambda: [self.index], what, rows_max=10**7)
        names, ends = what.names, ends_of(pairs.to_score)
        needed = self.raw.filter(pc.is_in(names_of(self.raw), names_of(ends)))
        found = score_pairs(needed.combine_chunks(), pairs.to_score, self.counts, model)
        at_changed = pc.or_(*(pc.is_in(names_of(side), names) for side in _sides(self.edges)))
        anew = pa.concat_arrays([_pair_names(ordered(some)) for some in (pairs.parted, pairs.to_score)])
        kept = pc.invert(pc.or_(at_changed, pc.is_in(_pair_names(self.edges), anew)))
        self.edges = pa.concat_tables([self.edges.filter(kept), *found]).combine_chunks()
        stays = pc.invert(pc.is_in(names_of(self.index), names))
        self.index = pa.concat_tables([self.index.filter(stays), what.new]).combine_chunks()
        self.scored.append(pairs.to_score.num_rows)


def _labels(raw: pa.Table) -> tuple[np.ndarray, pa.Table]:
    """Cluster of each row, and the edges, by a model that is calibrated on them."""
    model, edges = edges_of(raw)
    return labels_of(raw, edges, model), edges


def edges_of(raw: pa.Table) -> tuple[Model, pa.Table]:
    """A model that is calibrated on `RAW` rows, and the edges that it finds."""
    counts = count_all(raw, default_model())
    model = calibrated(raw, default_model(), counts)
    return model, pa.concat_tables([EDGES.arrow_schema().empty_table(), *find_edges(raw, model, counts)])


def labels_of(raw: pa.Table, edges: pa.Table, model: Model) -> np.ndarray:
    """Cluster of each row by scored edges."""
    accounts, _ = Accounts.of(raw)
    labels = cluster(accounts.graph(edges), model)
    return labels[_places(accounts, names_of(raw))]


def rows_of(raw: pa.Table, edges: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Row of the account at either end of each edge."""
    left, right = (pc.index_in(names_of(side), names_of(raw)).to_numpy() for side in _sides(edges))
    return left, right


def _places(accounts: Accounts, names: pa.Array) -> np.ndarray:
    own = pc.binary_join_element_wise(accounts.platforms, accounts.ids, "\0")
    return pc.index_in(names, own).to_numpy()


def _error(raw: pa.Table, edges: pa.Table, person: np.ndarray) -> float:
    """Calibration error of the edges."""
    left, right = rows_of(raw, edges)
    return calibration_error(edges.column("log_odds").to_numpy(), person[left] == person[right])


def _sides(edges: pa.Table) -> list[pa.Table]:
    return [edges.select(ENDS[at : at + 2]).rename_columns(INDEX.names[:2]) for at in (0, 2)]


def quality_figures(head: str, labels: np.ndarray, person: np.ndarray) -> Iterator[Figure]:
    """Scores of clusters against the person of each row."""
    scores = quality(labels, person)
    yield Figure(f"{head}: pair precision", round(scores.pairs.precision, 3), "")
    yield Figure(f"{head}: pair recall", round(scores.pairs.recall, 3), "")
    yield Figure(f"{head}: B-cubed F1", round(scores.b_cubed.f1, 3), "")
    yield Figure(f"{head}: largest cluster", scores.largest, "accounts")


def _candidates(head: str, raw: pa.Table) -> Iterator[Figure]:
    model = default_model()
    table = prepare_all(raw, count_all(raw, model), model)
    met = first_meetings(near(table, np.arange(len(table.column("blocking_keys").combine_chunks().flatten()))))
    per_account = np.bincount(np.r_[met.left, met.right], minlength=raw.num_rows)
    yield Figure(f"{head}: candidates per account, mean", round(float(per_account.mean()), 2), "accounts")
    yield Figure(
        f"{head}: candidates per account, most", int(per_account.max()), "accounts", model.blocking.candidates_max
    )


def _without(raw: pa.Table, columns: tuple[str, ...] = MASKED) -> pa.Table:
    for name in columns:
        place, kind = raw.schema.get_field_index(name), raw.schema.field(name).type
        raw = raw.set_column(place, name, pa.array([[] if pa.types.is_list(kind) else None] * raw.num_rows, kind))
    return raw


def _hot(raw: pa.Table, count: int) -> pa.Table:
    """Some rows with one name, one site and one address, ids and handles their own."""
    rows = raw.slice(0, count)
    for name, value in (("display_name", "The Gamer"), ("domains", ["agency.com"]), ("emails", ["v1:0"])):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, name, pa.array([value] * count, rows.schema.field(name).type))
    return rows


def _in_order(edges: pa.Table) -> pa.Table:
    return edges.sort_by([(name, "ascending") for name in ENDS]).combine_chunks()


def _pair_names(edges: pa.Table) -> pa.Array:
    return pc.binary_join_element_wise(*(edges.column(name).combine_chunks() for name in ENDS), "\0")
