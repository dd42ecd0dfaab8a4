"""Planted damage, and the ledger that says exactly what was planted where. Damage never touches an account's truth.

Damaged lines are extra lines behind a real one; damaged values stand in real rows. Each kind names the reason under which
the pipeline must stop it, so that a test can compare the ledger with the quarantine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.simulate.columns import Words, compact, join, take, where, words
from lakehouse.simulate.draws import Draws, Ids, Ints, Mask
from lakehouse.simulate.render import json_text, json_word
from lakehouse.simulate.vocabulary import vocabulary
from lakehouse.simulate.world import World

LANDING, SILVER = "landing", "silver"
"""Stages that stop damage; damage without a stage is repaired or does no harm."""
CUT_BYTES = 60
"""Where a broken JSON line ends: inside its object, always."""
DUPLICATE_ROW, REDELIVERED_ROW, UNKNOWN_HEADER = "duplicate_row", "redelivered_row", "unknown_header"
TEXT_TAILS = (
    ("nul", r"\u0000 end"),
    ("lone_surrogate", r" \ud83d"),
    ("direction_mark", r" \u202eesrever\u202c"),
    ("direction_mark", r"\u200f"),
)
"""Damage behind bios, as JSON escapes."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A kind of broken line. `line` is what stands there; None: the start of the real line."""

    kind: str
    reason_code: str
    line: bytes | None


@dataclass(frozen=True, slots=True)
class Planted:
    """Damage in one file: how many rows (or values, or columns) of a kind, and which stage stops them why."""

    file_name: str
    kind: str
    count: int
    stage: str | None
    reason_code: str | None


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A column with damaged values, where it is undamaged, and how many values of each kind are not."""

    values: Words
    is_clean: Mask
    counts: dict[str, int]


VALUE_KINDS: dict[str, tuple[str | None, str | None]] = {
    "compact_number": (None, None),
    "missing_token": (None, None),
    "unparsable_number": (SILVER, "not_a_number"),
    "negative_number": (SILVER, "negative"),
    "nul": (None, None),
    "lone_surrogate": (None, None),
    "direction_mark": (None, None),
    DUPLICATE_ROW: (None, None),
    REDELIVERED_ROW: (None, None),
    UNKNOWN_HEADER: (LANDING, "unknown_header"),
}
"""Kinds of damage other than broken lines: stage and reason that stop them."""

_OF_ANY_JSON = (
    Damage("broken_json", "bad_json", None),
    Damage(
        "wrong_encoding",
        "bad_encoding",
        b'{"platform":"instagram","handle":"lost_export","display_name":"Ren\xe9 Caf\xe9"}',
    ),
    Damage("not_an_object", "not_an_object", b'["orphan","row",17]'),
    Damage("empty_row", "empty_row", b"{}"),
)
ACCOUNT_DAMAGE = (
    *_OF_ANY_JSON,
    Damage("no_account", "no_account_key", b'{"platform":"tiktok","followers":"12.4K","bio":"who am I"}'),
    Damage("unknown_platform", "unknown_platform", b'{"platform":"friendpage","handle":"lost_friend","followers":120}'),
    Damage("bad_time", "bad_observed_at", b'{"platform":"x","handle":"lost_in_time","observed_at":"yesterday"}'),
)
CHANNEL_DAMAGE = (
    *_OF_ANY_JSON,
    Damage("no_account", "no_account_key", b'{"kind":"youtube#channel","statistics":{"viewCount":"17"}}'),
)
POST_DAMAGE = (
    *_OF_ANY_JSON,
    Damage(
        "no_post_id", "missing_required_value", b'{"platform":"x","handle":"lost_author","caption":"where is my id"}'
    ),
)
VIDEO_DAMAGE = (*_OF_ANY_JSON, Damage("no_account", "no_account_key", b'{"kind":"youtube#video","id":"lostlostlos"}'))


def ranking_damage(header: str) -> tuple[Damage, ...]:
    """Broken lines of a ranking with that header: rows that miss something, else valid."""
    names = header.split(",")

    def row(cells: dict[str, bytes]) -> bytes:
        return b",".join({"Network": b"Instagram", "Date": b"2026-01-01", **cells}.get(name, b"") for name in names)

    return (
        Damage("short_row", "wrong_column_count", b"1,Instagram,lost_tail"),
        Damage("empty_row", "empty_row", b"," * (len(names) - 1)),
        Damage("no_account", "no_account_key", row({"Topic 1": b"Fashion"})),
        Damage("unknown_platform", "unknown_platform", row({"Network": b"Friendpage", "Account": b"lost_friend"})),
        Damage("wrong_encoding", "bad_encoding", row({"Account": b"lost_export", "Name": b"Ren\xe9"})),
    )


def damaged(
    world: World, lines: Words, ids: Ids, *, purpose: str, kinds: Sequence[Damage], is_clean: Mask
) -> tuple[pa.Array, dict[str, int]]:
    """Lines with line ends, extra broken lines and duplicates behind some of them.

    Args:
        world: rates and seed.
        lines: real rows without line ends.
        ids: their accounts or posts.
        purpose: what the draws are for: the name of the file.
        kinds: broken lines that the format can have.
        is_clean: rows that may be duplicated.

    Returns:
        Binary texts, and how many lines of each kind were added.
    """
    junk = world.junk
    edges = np.cumsum([junk.line_ratio] * len(kinds) + [junk.duplicate_ratio])
    chosen = np.searchsorted(edges, Draws(world.seed).uniform(f"damage/{purpose}", ids), side="right")
    chosen[(chosen == len(kinds)) & ~is_clean] = len(edges)
    rows = np.flatnonzero(chosen < len(edges))
    whole = join(lines, "\n").cast(pa.binary())
    if not len(rows):
        return whole, {}
    originals = whole.take(pa.array(rows)).to_pylist()
    doubled = [line + _extra(line, kinds, int(kind)) for line, kind in zip(originals, chosen[rows], strict=True)]
    names = [*(kind.kind for kind in kinds), DUPLICATE_ROW]
    added = np.bincount(chosen[rows], minlength=len(names))
    mask = np.zeros(len(whole), dtype=bool)
    mask[rows] = True
    return pc.replace_with_mask(whole, mask, pa.array(doubled, pa.binary())), _tally(names, added)


def spoiled_counts(world: World, ids: Ids, counts: pa.Array, *, purpose: str, is_json: bool = True) -> Spoiled:
    """Counts of which some are written as people and spreadsheets write them.

    Without damage JSON has numbers and CSV has short forms (`409.8K`).
    """
    junk, draws, lists = world.junk, Draws(world.seed), vocabulary().lists
    names = ("compact_number", "missing_token", "unparsable_number", "negative_number")
    rates = (
        junk.compact_ratio if is_json else 0.0,
        junk.missing_ratio,
        junk.unparsable_ratio,
        junk.unparsable_ratio / 2,
    )
    chosen = np.searchsorted(np.cumsum(rates), draws.uniform(f"spoil/{purpose}", ids), side="right")
    chosen[np.asarray(counts.is_null())] = len(names)
    values = np.asarray(counts.fill_null(0), dtype=np.int64)
    short = compact(values)
    plain = where(np.asarray(counts.is_null()), None, counts.cast(pa.string()) if is_json else short)
    missing, bad = words(lists["missing_counts"]), words(lists["bad_counts"])
    odd = where(chosen == 0, short, take(missing, draws.below(f"missing/{purpose}", ids, len(missing))))
    odd = where(chosen == 2, take(bad, draws.below(f"bad/{purpose}", ids, len(bad))), odd)
    odd = where(chosen == 3, join("-", counts.fill_null(0).cast(pa.string())), odd)
    is_clean = chosen == len(names)
    spoiled = where(is_clean, plain, json_word(odd) if is_json else odd)
    return Spoiled(spoiled, is_clean, _tally(names, np.bincount(chosen, minlength=len(names))))


def spoiled_bios(world: World, ids: Ids, texts: Words, *, purpose: str) -> Spoiled:
    """Bios as JSON strings of which some end in NUL, half an emoji or marks that turn the writing direction."""
    draws = Draws(world.seed)
    is_hit = draws.is_hit(f"text/{purpose}", ids, world.junk.text_ratio) & np.asarray(texts.is_valid())
    which = np.where(is_hit, draws.below(f"tail/{purpose}", ids, len(TEXT_TAILS)), len(TEXT_TAILS))
    tails = take(words([*(tail for _, tail in TEXT_TAILS), ""]), which)
    names = [kind for kind, _ in TEXT_TAILS]
    return Spoiled(json_text(texts, tails), ~is_hit, _tally(names, np.bincount(which, minlength=len(names))))


def planted(file_name: str, counts: dict[str, int], kinds: Sequence[Damage]) -> list[Planted]:
    """Ledger rows of a file, by kind; kinds that do not occur are left out."""
    reasons = {kind.kind: (LANDING, kind.reason_code) for kind in kinds}
    known: dict[str, tuple[str | None, str | None]] = {**VALUE_KINDS, **reasons}
    return [Planted(file_name, kind, count, *known[kind]) for kind, count in sorted(counts.items()) if count]


def _extra(line: bytes, kinds: Sequence[Damage], which: int) -> bytes:
    """The line behind: a copy, a broken one, or the start of this one."""
    if which == len(kinds):
        return line
    broken = kinds[which].line
    return (line[:CUT_BYTES] if broken is None else broken) + b"\n"


def _tally(names: Sequence[str], counts: Ints) -> dict[str, int]:
    """Counts by name; names may repeat."""
    total: dict[str, int] = {}
    for name, count in zip(names, counts, strict=False):
        total[name] = total.get(name, 0) + int(count)
    return total
