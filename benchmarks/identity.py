"""Identity resolution on real people in an open world, beside Splink tuned on the very file.

`make bench-identity`: `CREATORLAKE_TEST_DATA` names the folder of real files, and `.venv-peers` holds Splink
(deploy/locks/peers.txt); without either its figures are left out. All sets and thousands of
unrelated creators are one input; each set is scored apart. Our model and threshold are the shipped ones, and beside them what
`--train` learns from the file without a label; of Splink's thresholds the one that is best on the set counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.identity_clusters import CLUSTERS, clusters
from benchmarks.identity_crowd import CROWD, PEER, PEERS_PYTHON, by_threshold, crowd, or_null
from benchmarks.identity_lake import LAKE, lake_figures
from benchmarks.identity_limit import LIMIT, limits
from benchmarks.identity_records import RECORDS, records
from benchmarks.identity_scale import ABLATION, DELTA, SKEW, SYNTHETIC, ablation, deltas, skew, synthetic
from benchmarks.report import Figure, publish
from lakehouse.identity.engine import calibrated
from lakehouse.identity.model import default_model
from lakehouse.identity.nodes import forms
from lakehouse.identity.quality import Quality, calibration_error, quality
from tests.identity_accounts import (
    Key,
    Outcome,
    Row,
    congress,
    holodex,
    raw,
    resolve,
    top_creators,
    youtube_2018,
)

REAL = "real"
"""First word of the figures of this part."""
PRECISE = 0.99
RECALL = "pair recall"
GRAM_CHARS, GRAMS = 5, 4
SETS: Mapping[str, Callable[[Path], list[tuple[Row, str]]]] = {
    "congress": congress,
    "holodex": holodex,
    "youtube_2018": youtube_2018,
}
MASKS: Mapping[str, tuple[str, ...]] = {
    "all signals": (),
    "no links": ("links",),
    "handles and names": ("links", "domains", "emails", "country_code", "bio"),
    "handles": ("links", "domains", "emails", "country_code", "bio", "display_name"),
}
"""Variants of the input: columns that are emptied."""
EMPTY: dict[str, Any] = {"links": [], "domains": [], "emails": []}


@dataclass(frozen=True)
class Pool:
    """Every account once, and for those of the sets which set and person they belong to."""

    rows: list[Row]
    person: dict[Key, tuple[str, str]]

    def masked(self, columns: tuple[str, ...]) -> list[Row]:
        """Rows with some columns emptied. An account that is known by its name alone keeps it: else it is nothing."""
        return [row | {name: EMPTY.get(name) for name in columns if _may_go(row, name)} for row in self.rows]

    def members(self, name: str) -> list[Key]:
        """Accounts of a set."""
        return [key for key, (own, _) in self.person.items() if own == name]


def main() -> None:
    """Measure and publish."""
    asked = os.environ.get("PART")
    for part, measure in PARTS.items():
        if asked in {None, "", part}:
            figures = list(measure())
            publish("identity", figures, command="make bench-identity", replaces=replaced(part, figures))


def replaced(part: str, figures: list[Figure]) -> tuple[str, ...]:
    """First words of the figures that a part measures: all of the part, or those of the sizes, or just those, that are asked for.

    A crowd beside one of Splink's engines says nothing of the others.
    """
    if part == CROWD and os.environ.get("ENGINES"):
        return tuple(figure.name for figure in figures)
    asked = os.environ.get("SIZES") if part in SIZED else None
    return tuple(f"{part} {int(size):,}" for size in asked.split(",")) if asked else (part,)


def _real() -> Iterator[Figure]:
    data = os.environ.get("CREATORLAKE_TEST_DATA")
    if data:
        yield from real(Path(data))
    else:
        sys.stdout.write("CREATORLAKE_TEST_DATA names no folder of real files: known people are left out.\n")


def real(data: Path) -> Iterator[Figure]:
    """Scores of each set and variant, ours beside the peer's."""
    pool = pool_of(data)
    yield Figure(f"{REAL} accounts in the pool", len(pool.rows), "accounts")
    for variant, columns in MASKS.items():
        rows = pool.masked(columns)
        started = time.monotonic()
        outcome = resolve(rows)
        seconds = time.monotonic() - started
        trained = resolve(rows, calibrated(raw(rows), default_model()))
        peer = _peer(rows, pool)
        said = f"Splink {peer.seconds:.1f} s" if peer else None
        yield Figure(f"{REAL} {variant}: seconds", round(seconds, 2), "s", peer=said)
        for name in SETS:
            yield from _scores(f"{REAL} {variant}, {name}", pool, name, outcome, peer)
            yield from _scores(f"{REAL} {variant}, trained, {name}", pool, name, trained, peer)
        yield Figure(f"{REAL} {variant}: calibration error of edges", round(_calibration(outcome, pool), 4), "", 0.02)
        after = round(_calibration(trained, pool), 4)
        yield Figure(f"{REAL} {variant}, trained: calibration error of edges", after, "", 0.02)


def pool_of(data: Path) -> Pool:
    """All sets and the crowd; an account that stands in several places is the first one's."""
    rows: dict[Key, Row] = {}
    person: dict[Key, tuple[str, str]] = {}
    for name, read in SETS.items():
        for row, who in read(data):
            key = _key(row)
            if key not in rows:
                rows[key], person[key] = row, (name, f"{name}:{who}")
    for row in top_creators(data):
        rows.setdefault(_key(row), row)
    return Pool(list(rows.values()), person)


def _scores(head: str, pool: Pool, name: str, outcome: Outcome, peer: Peer | None) -> Iterator[Figure]:
    members = pool.members(name)
    people = np.array([pool.person[key][1] for key in members])
    ours = quality(np.array([outcome.label[key] for key in members]), people)
    theirs, recall = peer.best(members, people) if peer else (None, 0.0)
    for what, value in _named(ours).items():
        other = None if theirs is None else f"Splink at its best F1 {_named(theirs)[what]:.3f}"
        if theirs is not None and what == RECALL:
            other = f"{other}, at precision {PRECISE} {recall:.3f}"
        yield Figure(f"{head}: {what}", round(value, 3), "", peer=other)


def _named(scores: Quality) -> dict[str, float]:
    return {
        "pair precision": scores.pairs.precision,
        RECALL: scores.pairs.recall,
        "pair F1": scores.pairs.f1,
        "B-cubed F1": scores.b_cubed.f1,
    }


def _calibration(outcome: Outcome, pool: Pool) -> float:
    """Of edges whose both ends are known people."""
    ends = [
        [
            pool.person.get(key)
            for key in zip(
                *(outcome.edges.column(f"{side}_{part}").to_pylist() for part in ("platform", "id")), strict=True
            )
        ]
        for side in ("left", "right")
    ]
    known = np.array([left is not None and right is not None for left, right in zip(*ends, strict=True)], dtype=bool)
    same = np.array([left == right for left, right in zip(*ends, strict=True)], dtype=bool)
    return calibration_error(outcome.edges.column("log_odds").to_numpy()[known], same[known])


@dataclass(frozen=True)
class Peer:
    """Splink's clusters of each threshold, by position of the account in the pool."""

    clusters: dict[float, np.ndarray]
    place: dict[Key, int]
    seconds: float

    def best(self, members: list[Key], people: np.ndarray) -> tuple[Quality, float]:
        """Scores at the threshold of the best F1, and the best recall at a precision of `PRECISE`."""
        at = np.array([self.place[key] for key in members])
        scores = [quality(labels[at], people) for labels in self.clusters.values()]
        recalls = [one.pairs.recall for one in scores if one.pairs.precision >= PRECISE]
        return max(scores, key=lambda one: one.pairs.f1), max(recalls, default=0.0)


def _peer(rows: list[Row], pool: Pool) -> Peer | None:
    if not PEERS_PYTHON.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "accounts.parquet", Path(folder) / "clusters.parquet"
        pq.write_table(prepared(rows, pool), source)
        done = subprocess.run(
            [str(PEERS_PYTHON), str(PEER), str(source), str(target), "duckdb"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        found = pq.read_table(target)
        seconds = sum(json.loads(done.stdout.splitlines()[-1]).values())
    return Peer(by_threshold(found, len(rows)), {_key(row): at for at, row in enumerate(rows)}, seconds)


def prepared(rows: list[Row], pool: Pool) -> pa.Table:
    """What the peer reads: our normal forms, the rarest n-grams, and the true person."""
    made = forms(raw(rows), default_model())
    own = [
        [one for one in pair if one]
        for pair in zip(*(made[n].to_pylist() for n in ("own_handle", "own_id")), strict=True)
    ]
    return pa.table(
        {
            "unique_id": pa.array(range(len(rows)), pa.int64()),
            "person": pa.array([pool.person.get(_key(row), ("", f"nobody {at}"))[1] for at, row in enumerate(rows)]),
            **{name: made[name] for name in ("platform", "handle", "stem", "name", "tokens", "links")},
            "own": pa.array(own, pa.list_(pa.string())),
            **{name: or_null(made[name]) for name in ("domains", "emails")},
            "grams": _rare_grams(made["stem"].to_pylist()),
        }
    )


def _rare_grams(texts: list[str | None]) -> pa.Array:
    """The rarest n-grams of each text that somebody else has too."""
    grams = [
        sorted({text[at : at + GRAM_CHARS] for at in range(len(text) - GRAM_CHARS + 1)}) if text else []
        for text in texts
    ]
    counts = Counter(gram for found in grams for gram in found)
    kept = [sorted((g for g in found if counts[g] > 1), key=lambda g: (counts[g], g))[:GRAMS] for found in grams]
    return pa.array(kept, pa.list_(pa.string()))


def _key(row: Row) -> Key:
    return row["platform"], row["platform_account_id"]


def _may_go(row: Row, name: str) -> bool:
    return name != "display_name" or row["handle_key"] is not None


PARTS: Mapping[str, Callable[[], Iterator[Figure]]] = {
    REAL: _real,
    RECORDS: records,
    SYNTHETIC: synthetic,
    ABLATION: ablation,
    DELTA: deltas,
    SKEW: skew,
    CLUSTERS: clusters,
    CROWD: crowd,
    LIMIT: limits,
    LAKE: lake_figures,
}
"""What can be measured alone by `PART=`."""
SIZED = frozenset({CLUSTERS, CROWD, LIMIT, LAKE})
"""Parts that measure the numbers of accounts that `SIZES` names; figures of others stay."""

if __name__ == "__main__":
    main()
