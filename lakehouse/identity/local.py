"""The core over all cores of one machine, through scratch files: edges of more accounts than one process holds.

Rows go in as chunks of any shape with a function that makes `RAW` rows of them; each chunk becomes files in a scratch folder, and
every process works on one chunk, or on one part of the keys, at a time. What a row or a pair means is not here (`engine.py`,
`pairs.py`), nor is reading and writing the user's files (`resolve.py`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import PermanentError
from lakehouse.identity import engine
from lakehouse.identity.counts import COUNT_MAX, Counts, listed, range_begins, summed
from lakehouse.identity.ids import names_of
from lakehouse.identity.model import Model
from lakehouse.identity.mutual import LINKED, links_of, owned
from lakehouse.identity.pairs import EDGE, PART_ACCOUNTS, by_part, edges_of_part, prepare, telling_pairs, without_lone

AHEAD = 2
"""Tasks a process that are handed out before their turn: none of them idles, and few chunks wait in memory."""
TOLD_SECONDS = 1.0
"""Between two lines of progress."""
ROW = "row"
ROWED = pa.schema([*EDGE, pa.field("left_row", pa.int64()), pa.field("right_row", pa.int64())])
"""An edge and the rows of its accounts, counted from 0 over all chunks."""
_PACKED = pa.ipc.IpcWriteOptions(compression="lz4")
_KEYS, _USES, _OWNED = "keys.npy", "uses.npy", "owned.npy"

Item = TypeVar("Item")
Result = TypeVar("Result")
Log = Callable[[str], None]
Parse = Callable[[pa.Table], pa.Table]
Ends = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Left row, right row and log-odds of scored pairs."""


@dataclass(frozen=True, slots=True)
class Found:
    """Scored pairs by row, and their edges (`ROWED`), which are read once."""

    left: np.ndarray
    right: np.ndarray
    log_odds: np.ndarray
    tables: Iterable[pa.Table]


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where a task finds what others left, and what they agreed upon."""

    folder: Path
    model: Model
    accounts: int
    parts: int

    def raw(self, chunk: int) -> Path:
        """`RAW` rows of a chunk."""
        return self.folder / f"raw-{chunk}.arrow"

    def counted(self, chunk: int) -> tuple[Path, Path]:
        """Keys of a chunk in ascending order, and how often each occurs there."""
        return self.folder / f"{chunk}-{_KEYS}", self.folder / f"{chunk}-{_USES}"

    def linked(self, chunk: int) -> Path:
        """Rows of `LINKED` of a chunk."""
        return self.folder / f"linked-{chunk}.arrow"

    def prepared(self, chunk: int) -> Path:
        """`PREPARED` rows of a chunk with their `ROW`, one record batch for each part of the keys."""
        return self.folder / f"prepared-{chunk}.arrow"

    def edges(self, part: int) -> Path:
        """`ROWED` edges of a part of the keys."""
        return self.folder / f"edges-{part}.arrow"

    def counts(self) -> Counts:
        """Frequencies of all accounts, mapped: all processes share one copy."""
        keys, uses = (np.asarray(np.load(self.folder / name, mmap_mode="r")) for name in (_KEYS, _USES))
        return Counts(keys, uses, self.accounts)


def find_edges_here(chunks: Iterable[pa.Table], parse: Parse, model: Model, log: Log, *, is_trained: bool) -> Found:
    """Edges of few accounts, in this process and without files; `is_trained`: by a model that is calibrated on them."""
    raw = pa.concat_tables(told(map(parse, chunks), log, "rows parsed", _rows)).combine_chunks()
    if is_trained:
        before, model = model, engine.calibrated(raw, model)
        _tell_learned(before, model, log)
    rowed = _with_rows(raw.select(raw.column_names[:2]), 0)
    found = _between_rows(engine.find_edges(raw, model), rowed)
    return Found(*_ends(found), [found])


def find_edges(
    chunks: Iterable[pa.Table],
    parse: Parse,
    scratch: Scratch,
    *,
    processes: int,
    is_kept: bool,
    log: Log,
    shared: float | None = None,
) -> Found:
    """Edges of many accounts: those of `find_edges_here` in another order.

    Args:
        chunks: rows as they are read, each a task.
        parse: makes the `RAW` rows of a chunk, in order; it has to be fit to cross to another process.
        scratch: an empty folder and what all tasks go by.
        processes: how many work at a time.
        is_kept: whether edges are asked for; without, `tables` is empty.
        log: takes lines of progress.
        shared: chance that two of the accounts are on one platform, to calibrate the model on them; None leaves it as it is.

    Raises:
        PermanentError: one of the processes was killed.
    """
    with _pool(processes) as pool:
        over = partial(_in_order, pool, processes * AHEAD)
        parsing = partial(_parse, scratch, parse, is_trained=shared is not None)
        sizes = list(told(over(parsing, enumerate(chunks)), log, "rows parsed", int))
        parts, of_parts = range(scratch.parts), f"of {scratch.parts:,} parts"
        counted = over(partial(_count, scratch, len(sizes)), parts)
        _keep_counts(scratch, len(sizes), list(told(counted, log, f"{of_parts} counted", _one)))
        begins = np.cumsum([0, *sizes])[:-1].tolist()
        for _ in told(over(partial(_prepare, scratch), enumerate(begins)), log, "rows prepared", int):
            pass
        if shared is not None:
            asked = engine.tallied_parts(scratch.accounts, scratch.parts)
            known = _keep_owned(scratch, len(sizes))
            asked_of = over(partial(_telling, scratch, len(sizes), known), range(asked))
            found = pa.concat_tables(told(asked_of, log, f"of {asked:,} parts asked", _one))
            learned = engine.fitted(scratch.model, found, shared)
            _tell_learned(scratch.model, learned, log)
            scratch = replace(scratch, model=learned)
        scored = over(partial(_score, scratch, len(sizes), is_kept=is_kept), parts)
        ends = list(told(scored, log, f"{of_parts} scored", _one))
    tables = (_read(scratch.edges(part)).read_all() for part in (parts if is_kept else ()))
    left, right, log_odds = (np.concatenate(column) for column in zip(*ends, strict=True))
    return Found(left, right, log_odds, tables)


def parts_of(accounts: int, processes: int) -> int:
    """Into how many parts the keys of so many accounts are split."""
    return max(accounts // PART_ACCOUNTS, processes)


def told(items: Iterable[Item], log: Log, what: str, size: Callable[[Item], int]) -> Iterator[Item]:
    """The items; how far they are is logged, at most once in `TOLD_SECONDS` and at their end."""
    begun = said = time.monotonic()
    done = 0
    for item in items:
        done += size(item)
        if time.monotonic() - said >= TOLD_SECONDS:
            said = time.monotonic()
            log(f"{done:,} {what} so far, {said - begun:.0f} s")
        yield item
    log(f"{done:,} {what}, {time.monotonic() - begun:.1f} s")


# Tasks


def _parse(scratch: Scratch, parse: Parse, task: tuple[int, pa.Table], *, is_trained: bool) -> int:
    """Keep the `RAW` rows of a chunk, the counts of its keys and, for training, its links; how many rows."""
    chunk, rows = task
    raw = parse(rows)
    _write(scratch.raw(chunk), raw.schema, raw.combine_chunks().to_batches())
    if is_trained:
        _write(scratch.linked(chunk), LINKED, links_of(raw, scratch.accounts).to_batches())
    keys, uses = summed([engine.count_keys(batch, scratch.model) for batch in engine.slices(raw)])
    for path, values in zip(scratch.counted(chunk), (keys, np.minimum(uses, COUNT_MAX).astype(np.uint8)), strict=True):
        np.save(path, values)
    return int(raw.num_rows)


def _count(scratch: Scratch, chunks: int, part: int) -> Counts:
    """Counts of one of as many ranges of keys as there are parts, over all chunks."""
    partials, bounds = [], range_begins(scratch.parts)[part : part + 2]
    for chunk in range(chunks):
        keys, uses = (np.asarray(np.load(path, mmap_mode="r")) for path in scratch.counted(chunk))
        begin, end, *_ = [*np.searchsorted(keys, bounds), len(keys)]
        partials.append((keys[begin:end], uses[begin:end]))
    return listed(*summed(partials), scratch.accounts)


def _prepare(scratch: Scratch, task: tuple[int, int]) -> int:
    """Turn the `RAW` rows of a chunk into `PREPARED` ones by part; how many rows."""
    chunk, begin = task
    raw, counts = _read(scratch.raw(chunk)).read_all(), scratch.counts()
    made = (without_lone(prepare(batch, counts, scratch.model), counts) for batch in engine.slices(raw))
    table = _with_rows(pa.concat_tables(made).combine_chunks(), begin)
    row, bounds = by_part(table, scratch.parts)
    met = table.take(pa.array(row))
    batch = pa.RecordBatch.from_arrays([column.combine_chunks() for column in met.columns], schema=met.schema)
    ranges = zip(bounds[:-1].tolist(), np.diff(bounds).tolist(), strict=True)
    _write(scratch.prepared(chunk), batch.schema, (batch.slice(*some) for some in ranges))
    scratch.raw(chunk).unlink()
    return int(raw.num_rows)


def _score(scratch: Scratch, chunks: int, part: int, *, is_kept: bool) -> Ends:
    """Score the pairs of one part of the keys; the rows of their accounts and their log-odds."""
    table = _part(scratch, chunks, part)
    rowed = _between_rows(edges_of_part(table, scratch.model, part=part, parts=scratch.parts), table)
    if is_kept:
        _write(scratch.edges(part), ROWED, rowed.to_batches())
    return _ends(rowed)


def _telling(scratch: Scratch, chunks: int, known: Path, part: int) -> pa.Table:
    """What the pairs of one part of the keys tell of strangers and of people's accounts, with those that are known."""
    owned_there = np.asarray(np.load(known, mmap_mode="r"))
    return telling_pairs(_part(scratch, chunks, part), scratch.model, owned_there, part=part, parts=scratch.parts)


# Small helpers


def _tell_learned(before: Model, after: Model, log: Log) -> None:
    if after.calibration == before.calibration:
        log("nothing learned: too few pairs, or too few or too many platforms; scores stay as they are")


def _part(scratch: Scratch, chunks: int, part: int) -> pa.Table:
    """`PREPARED` rows that have a key of a part."""
    batches = [_read(scratch.prepared(chunk)).get_batch(part) for chunk in range(chunks)]
    return pa.Table.from_batches(batches).combine_chunks()


def _with_rows(table: pa.Table, begin: int) -> pa.Table:
    """The table with a column `ROW` that counts from `begin`."""
    return table.append_column(ROW, pa.array(np.arange(begin, begin + table.num_rows), pa.int64()))


def _between_rows(tables: Iterable[pa.Table], table: pa.Table) -> pa.Table:
    """Edges as `ROWED`, from a table that has the `ROW` of all accounts at their ends."""
    found = pa.concat_tables([EDGE.empty_table(), *tables]).combine_chunks()
    names, rows = names_of(table), table.column(ROW).combine_chunks()
    for side in ("left", "right"):
        ends = found.select([f"{side}_platform", f"{side}_id"]).rename_columns(table.column_names[:2])
        found = found.append_column(f"{side}_{ROW}", rows.take(pc.index_in(names_of(ends), names)))
    return found


def _ends(rowed: pa.Table) -> Ends:
    left, right, log_odds = (rowed.column(name).to_numpy() for name in ("left_row", "right_row", "log_odds"))
    return left, right, log_odds


def _keep_counts(scratch: Scratch, chunks: int, ranges: list[Counts]) -> None:
    """Leave the counts of all ranges as one, and take those of the chunks away."""
    np.save(scratch.folder / _KEYS, np.concatenate([counts.keys for counts in ranges]))
    np.save(scratch.folder / _USES, np.concatenate([counts.uses for counts in ranges]))
    for path in (path for chunk in range(chunks) for path in scratch.counted(chunk)):
        path.unlink()


def _keep_owned(scratch: Scratch, chunks: int) -> Path:
    """Leave what `mutual.owned` says of all accounts where all processes find it, and take the links of the chunks away."""
    paths, known = [scratch.linked(chunk) for chunk in range(chunks)], scratch.folder / _OWNED
    np.save(known, owned(pa.concat_tables([_read(path).read_all() for path in paths])))
    for path in paths:
        path.unlink()
    return known


def _write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    with pa.ipc.new_file(path, schema, options=_PACKED) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _read(path: Path) -> pa.ipc.RecordBatchFileReader:
    return pa.ipc.open_file(pa.memory_map(str(path)))


def _rows(table: pa.Table) -> int:
    return int(table.num_rows)


def _one(_item: object) -> int:
    return 1


# Processes


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are started anew, so that they hold nothing of this one.

    Raises:
        PermanentError: one of them was killed.
    """
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _start)
    try:
        yield pool
    except BrokenProcessPool as error:
        message = "A process was killed, perhaps for want of memory; no ids were written, start again with more of it."
        raise PermanentError(message) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, ahead: int, work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """What `work` makes of the items, in order; items are drawn as results are taken, `ahead` of them."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _start() -> None:
    """Make a worker ready: one thread, interrupts are the parent's to handle, and without a parent it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pa.set_cpu_count(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
