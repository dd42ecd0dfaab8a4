"""Handles and platform ids of accounts: edits of the preferred handle, each platform's rules, nothing given out twice.

`wished` is a pure function of an account. Two accounts of one platform may wish the same handle: `find_taken` goes over
the whole world once, keeps 8 bytes an account, and says who came too late; those get a number that nobody wishes for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.simulate.columns import Words, join, numbers, padded, take, utf8_bytes, where, words
from lakehouse.simulate.draws import GOLDEN, MULTIPLIERS, Draws, Ids, Ints, Mask, scramble
from lakehouse.simulate.people import FAN, Creators, creators_of, presence
from lakehouse.simulate.vocabulary import vocabulary
from lakehouse.simulate.world import INSTAGRAM, PLATFORMS_COUNT, TIKTOK, YOUTUBE, World, X

HANDLE_WEIGHTS = (0.64, 0.26, 0.10)
"""The preferred handle, an edited one, one that has nothing to do with it. Two accounts of a creator then have equal handles
in about 42 % of pairs and unrelated ones in about 19 %: the measured ranges are 28-59 % and 15-23 % (identity.md section 2)."""
SAME, EDITED, OTHER = range(len(HANDLE_WEIGHTS))
PREFIX_RATIO, SUFFIX_RATIO, PLATFORM_RATIO = 0.25, 0.35, 0.25
JOINED_RATIO, SHORT_RATIO, LEET_RATIO = 0.20, 0.10, 0.15
"""How often an edited handle has each of the edits; most have one, some two."""
SHORT_CHARS = 8
CAPITAL_RATIO = 0.3
"""Share of YouTube and X handles that are shown with a capital."""
MAX_CHARS = (30, 24, 30, 15)
"""Longest handle of each platform."""
HASH_CHARS = 32
"""Handles are hashed as so many bytes, padded with blanks: more than the longest."""
NUMBER_DIGITS = 5
"""Digits of a number that tells late-comers apart, at least; wished handles have four at most."""
INSTAGRAM_ID_BITS, INSTAGRAM_ID_BASE = 36, 10**10
TIKTOK_ID_BITS, TIKTOK_ID_BASE = 60, 6_600_000_000_000_000_000
X_ID_BITS, X_ID_BASE = 59, 10**18
"""Numeric ids of about the length that the platforms give out today."""
BASE64 = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8)
SIX_BITS = np.uint64(63)
CHARS_PER_DRAW = 10
"""Base-64 characters that 64 random bits give."""
YOUTUBE_ID_CHARS = 22
"""Characters of a channel id after `UC`."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Accounts, by platform and sorted, whose wished handle belongs to an account with a smaller id."""

    late: tuple[Ids, ...] = field(default_factory=lambda: tuple(np.empty(0, np.uint64) for _ in PLATFORMS))


def account_ids(ids: Ids, platform: int) -> Ids:
    """Ids of the accounts of creators on a platform: distinct over the world."""
    return ids * np.uint64(PLATFORMS_COUNT) + np.uint64(platform)


def handle_keys(world: World, creators: Creators, platform: int, taken: Taken) -> Words:
    """Comparable handles (lower case), one platform, no two alike."""
    wish = wished(world, creators, platform)
    ids = account_ids(creators.ids, platform)
    is_late = np.isin(ids, taken.late[platform])
    return where(is_late, numbered(world, wish, ids, platform), wish) if is_late.any() else wish


def wished(world: World, creators: Creators, platform: int) -> Words:
    """The handle that each account asks for, lower case, within the platform's rules."""
    draws, ids = Draws(world.seed), account_ids(creators.ids, platform)
    choice = draws.pick("handle choice", ids, HANDLE_WEIGHTS)
    choice = np.where(creators.kind == FAN, SAME, choice)
    is_edited = choice == EDITED
    core = where(choice == OTHER, creators.other, creators.main)
    rows = np.flatnonzero(is_edited)
    if len(rows):
        core = pc.replace_with_mask(core, is_edited, _edited(draws, ids[rows], take(core, rows), platform))
    return _fitted(core, platform)


def numbered(world: World, keys: Words, ids: Ids, platform: int) -> Words:
    """Keys with the account's own number behind them: different from each other and from all wished ones."""
    width = max(NUMBER_DIGITS, len(str(world.creators_count * PLATFORMS_COUNT * 2)))
    head = pc.utf8_slice_codeunits(keys, 0, MAX_CHARS[platform] - width - 1)
    return join(pc.utf8_rtrim(head, characters="._"), "_", padded(ids.astype(np.int64), width))


def shown(world: World, keys: Words, ids: Ids, platform: int) -> Words:
    """Handles as the platform shows them: YouTube and X keep capitals."""
    if platform not in {YOUTUBE, X}:
        return keys
    return where(Draws(world.seed).is_hit("capital", ids, CAPITAL_RATIO), pc.utf8_capitalize(keys), keys)


def platform_ids(world: World, ids: Ids, platform: int) -> Words:
    """The platform's own ids of accounts, distinct on their platform."""
    draws = Draws(world.seed)
    if platform == YOUTUBE:
        return join("UC", base64_ids(draws, "channel", ids, YOUTUBE_ID_CHARS))
    bits, base = {
        INSTAGRAM: (INSTAGRAM_ID_BITS, INSTAGRAM_ID_BASE),
        TIKTOK: (TIKTOK_ID_BITS, TIKTOK_ID_BASE),
        X: (X_ID_BITS, X_ID_BASE),
    }[platform]
    key = draws.bits("platform id", np.array([platform], np.uint64))[0]
    return numbers(scramble(ids, key, bits).astype(np.int64) + base)


def base64_ids(draws: Draws, purpose: str, ids: Ids, chars: int) -> Words:
    """Random ids of so many base-64 characters."""
    table = np.empty((len(ids), chars), np.uint8)
    for start in range(0, chars, CHARS_PER_DRAW):
        bits = draws.bits(f"{purpose}/{start}", ids)
        for column in range(start, min(start + CHARS_PER_DRAW, chars)):
            table[:, column] = BASE64[(bits >> np.uint64(6 * (column - start))) & SIX_BITS]
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * chars
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(table))


def find_taken(world: World, creators_count: int) -> Taken:
    """Who comes too late for the wished handle among the first `creators_count` creators. The smaller id wins."""
    hashes: list[list[Ids]] = [[] for _ in PLATFORMS]
    owners: list[list[Ids]] = [[] for _ in PLATFORMS]
    for ids in id_chunks(0, creators_count, world.chunk_creators):
        creators, is_on = creators_of(world, ids), presence(world, ids)
        for platform in range(PLATFORMS_COUNT):
            rows = np.flatnonzero(is_on[:, platform])
            hashes[platform].append(_hashes(take(wished(world, creators, platform), rows)))
            owners[platform].append(account_ids(ids[rows], platform))
    return Taken(tuple(_late(np.concatenate(h), np.concatenate(o)) for h, o in zip(hashes, owners, strict=True)))


def id_chunks(start: int, stop: int, size: int) -> Iterator[Ids]:
    """Creator ids from `start` to `stop` in chunks."""
    for low in range(start, stop, size):
        yield np.arange(low, min(low + size, stop), dtype=np.uint64)


def _late(hashes: Ids, owners: Ids) -> Ids:
    """Owners of a hash that an earlier owner has; owners rise."""
    order = np.argsort(hashes, kind="stable")
    is_repeat = np.zeros(len(order), dtype=bool)
    is_repeat[1:] = hashes[order[1:]] == hashes[order[:-1]]
    return np.sort(owners[order[is_repeat]])


def _hashes(keys: Words) -> Ids:
    """64-bit hashes of ASCII texts of at most `HASH_CHARS` characters."""
    cells = np.frombuffer(utf8_bytes(pc.ascii_rpad(keys, width=HASH_CHARS, padding=" ")), np.uint64)
    mixed = np.zeros(len(keys), np.uint64)
    with np.errstate(over="ignore"):
        for column in cells.reshape(len(keys), -1).T:
            mixed = ((mixed ^ column) + GOLDEN) * MULTIPLIERS[0]
            mixed = (mixed ^ (mixed >> np.uint64(29))) * MULTIPLIERS[1]
    return mixed ^ (mixed >> np.uint64(32))


def _edited(draws: Draws, ids: Ids, core: Words, platform: int) -> Words:
    """Edits that people make where the preferred handle is not to be had."""
    lists = vocabulary().lists
    core = where(draws.is_hit("joined", ids, JOINED_RATIO), pc.replace_substring_regex(core, "[._]", ""), core)
    core = where(draws.is_hit("short", ids, SHORT_RATIO), pc.utf8_slice_codeunits(core, 0, SHORT_CHARS), core)
    core = _leet(draws, ids, core)
    prefix = _some(draws, "prefix", ids, PREFIX_RATIO, lists["prefixes"])
    suffix = _some(draws, "suffix", ids, SUFFIX_RATIO, lists["suffixes"])
    own = _some(draws, "platform suffix", ids, PLATFORM_RATIO, vocabulary().platform_suffixes[PLATFORMS[platform]])
    return join(prefix, core, suffix, own)


def _leet(draws: Draws, ids: Ids, core: Words) -> Words:
    """One letter as a digit, its first occurrence."""
    pairs = tuple(vocabulary().leet.items())
    choice = np.where(draws.is_hit("leet", ids, LEET_RATIO), draws.below("leet letter", ids, len(pairs)), -1)
    for position, (letter, digit) in enumerate(pairs):
        core = where(choice == position, pc.replace_substring(core, letter, digit, max_replacements=1), core)
    return core


def _some(draws: Draws, purpose: str, ids: Ids, ratio: float, values: tuple[str, ...]) -> Words:
    chosen = take(words(values), draws.below(purpose, ids, len(values)))
    return where(draws.is_hit(f"{purpose}/any", ids, ratio), chosen, "")


def _fitted(core: Words, platform: int) -> Words:
    """The platform's length and characters: no dots on X, no dot at the end anywhere."""
    if platform == X:
        core = pc.replace_substring(core, ".", "_")
    return pc.utf8_rtrim(pc.utf8_slice_codeunits(core, 0, MAX_CHARS[platform]), characters=".")


def first_present(is_on: Mask, order: Ints) -> Ints:
    """For each row the first platform of `order` (rows, n) that the creator is on, -1 where there is none."""
    found = np.take_along_axis(is_on, order, axis=1)
    first = np.take_along_axis(order, found.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(found.any(axis=1), first, -1)
