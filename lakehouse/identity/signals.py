"""The comparisons: from two aligned batches of accounts to log-odds and the reasons that add up to them.

Each signal yields `Vote`s: for some of the pairs a level of the model and the values compared. A missing value on
either side yields no vote, which is log-odds 0. What a level is worth is in `model.json`; the prior is a reason too, so
the reasons of a pair sum to its score exactly. Every signal is symmetric in left and right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz.distance import JaroWinkler
from rapidfuzz.process import cpdist

from lakehouse.contracts.fields import REASON
from lakehouse.identity.calibration import PAIR
from lakehouse.identity.fields import field_levels
from lakehouse.identity.hashing import account_digests, among, combine
from lakehouse.identity.likeness import LEVELS, STEPS
from lakehouse.identity.looks import NO_LOOKS, Said, are_equal, both_known, intersection, looks_of
from lakehouse.identity.model import Model
from lakehouse.identity.mutual import owners
from lakehouse.identity.nodes import NO_HANDLE, NO_ID, lengths

Mask = np.ndarray
CALIBRATION = "calibration:strangers"
"""Reason that says how often a pair that looks so alike is two people's in this set."""
_TWO_ACCOUNTS = "same_platform:two_accounts"
_LINKED = ("link:mutual", "link:one_way")
_FAN = "fan_page:one_side"
_SEEN_TWICE = ("same_handle_same_platform:one_without_id", "same_name_same_platform:one_without_handle")
_NOT_LIKENESS = frozenset({*_LINKED, _TWO_ACCOUNTS, _FAN, *_SEEN_TWICE})
"""Reasons beside how alike two accounts look; what they are worth is not learned."""
_NOT_TALLIED = frozenset({*_LINKED, _FAN, *_SEEN_TWICE})
"""Reasons of pairs that stand for no others: links, pages about others, and one account seen twice."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One reason for some pairs: `rows` (indices of pairs), their log-odds and the values on both sides."""

    label: str
    rows: np.ndarray
    log_odds: np.ndarray
    left: pa.Array
    right: pa.Array


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two aligned tables of `NODE` rows and the model that compares them."""

    left: pa.Table
    right: pa.Table
    model: Model

    def __len__(self) -> int:
        """Number of pairs."""
        return int(self.left.num_rows)

    def texts(self, name: str) -> tuple[pa.Array, pa.Array]:
        """Both sides of a column."""
        return self.left.column(name).combine_chunks(), self.right.column(name).combine_chunks()

    def numbers(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Both sides of a numeric column, NaN for null."""
        left, right = (pc.cast(side, pa.float64()) for side in self.texts(name))
        return left.to_numpy(zero_copy_only=False), right.to_numpy(zero_copy_only=False)

    def vote(self, signal: str, level: str, mask: Mask, bits: np.ndarray, shown: str) -> Vote:
        """Vote of a level for the pairs of `mask`; `bits` and the shown column are aligned with the pairs."""
        rows = np.flatnonzero(mask)
        left, right = self.texts(shown)
        weights = self.model.weigh(signal, level, bits[rows])
        return Vote(f"{signal}:{level}", rows, weights, left.take(pa.array(rows)), right.take(pa.array(rows)))


@dataclass(frozen=True, slots=True)
class Scored:
    """Score of each pair, the sum of its reasons (list of `REASON`)."""

    log_odds: np.ndarray
    votes: tuple[Vote, ...]

    def reasons(self, rows: np.ndarray) -> pa.ListArray:
        """Reasons of some pairs (ascending indices), in the order of the signals."""
        return _reasons(self.votes, rows)


def score(pairs: Pairs) -> Scored:
    """Compare all pairs."""
    votes = [vote for vote in _votes(pairs) if len(vote.rows)]
    log_odds = _sum(votes, len(pairs))
    moved = _moved(pairs, votes, _alike(votes, log_odds))
    rows = np.flatnonzero(moved)
    if len(rows):
        nothing = pa.nulls(len(rows), pa.string())
        votes.append(Vote(CALIBRATION, rows, moved[rows], nothing, nothing))
    return Scored(log_odds + moved, tuple(votes))


def telling(pairs: Pairs, owned: np.ndarray) -> pa.Table:
    """Those of the pairs that tell of strangers who look alike, or of people's accounts (`calibration.PAIR`).

    Args:
        pairs: the pairs.
        owned: accounts and platforms on which the account of their owner is known (`mutual.owned`).
    """
    votes = [vote for vote in _votes(pairs) if len(vote.rows)]
    has_handles, has_ids = (
        ~np.logical_or(*(_starts(side, mark) for side in pairs.texts("platform_account_id")))
        for mark in (NO_HANDLE, NO_ID)
    )
    is_tallied, is_same = has_handles & ~_said(votes, _NOT_TALLIED, len(pairs)), are_equal(*pairs.texts("platform"))
    is_linked = has_handles & ~is_same & _is_linked(votes, pairs) & ~_said(votes, (_FAN,), len(pairs))
    looks = looks_of(pairs.left, pairs.right, _parts(votes))
    columns = dict(zip(STEPS, looks.T, strict=True)) | {
        "score": _alike(votes, _sum(votes, len(pairs))),
        "kind": kinds_of(votes, len(pairs)),
        "is_same": is_same,
        "is_tallied": is_tallied,
        "has_ids": has_ids,
        "is_linked": is_linked,
        "is_known": is_tallied & has_ids & ~is_same & _is_elsewhere(pairs, owned),
        "digest": _digests(pairs),
    }
    kept = is_tallied | is_linked
    return pa.table({name: pa.array(columns[name][kept], PAIR.field(name).type) for name in PAIR.names}, schema=PAIR)


def _is_linked(votes: Sequence[Vote], pairs: Pairs) -> Mask:
    """Which pairs a link joins that says more than a mention in a post. None with declared fields, of which likeness knows nothing."""
    linked = np.zeros(len(pairs), dtype=bool)
    for vote in votes:
        if vote.label in _LINKED and not pairs.model.fields:
            linked[vote.rows[vote.log_odds > pairs.model.links.post]] = True
    return linked


def _is_elsewhere(pairs: Pairs, owned: np.ndarray) -> Mask:
    """In which pairs the owner of one account is known to have another on the platform of the other."""
    (left, right), ids = pairs.texts("platform"), pairs.texts("platform_account_id")
    sides = (left, ids[0], right), (right, ids[1], left)
    return np.asarray(np.any([among(owners(*side), owned) for side in sides], axis=0))


def _digests(pairs: Pairs) -> np.ndarray:
    """Digest of each pair of accounts, whichever is on the left."""
    sides = zip(pairs.texts("platform"), pairs.texts("platform_account_id"), strict=True)
    one, other = (account_digests(*side) for side in sides)
    return combine(np.minimum(one, other), np.maximum(one, other))


def _said(votes: Sequence[Vote], labels: Collection[str], size: int) -> Mask:
    """Which pairs have a vote of some labels."""
    said = np.zeros(size, dtype=bool)
    for vote in votes:
        if vote.label in labels:
            said[vote.rows] = True
    return said


def _parts(votes: Sequence[Vote]) -> Iterator[Said]:
    return ((vote.label, vote.rows, vote.log_odds) for vote in votes)


def kinds_of(votes: Sequence[Vote], size: int) -> np.ndarray:
    """How handles and names of each pair are alike, as an integer below `calibration.KINDS`."""
    kinds = np.zeros(size, dtype=np.int64)
    for vote in votes:
        kinds[vote.rows] += _KINDS.get(vote.label, 0)
    return kinds


def _sum(votes: Sequence[Vote], size: int) -> np.ndarray:
    log_odds = np.zeros(size)
    for vote in votes:
        log_odds[vote.rows] += vote.log_odds
    return log_odds


def _alike(votes: Sequence[Vote], log_odds: np.ndarray) -> np.ndarray:
    """Log-odds of how alike two accounts look: without what links and pages about others say, or lying on one platform costs."""
    alike = log_odds.copy()
    for vote in votes:
        if vote.label in _NOT_LIKENESS:
            alike[vote.rows] -= vote.log_odds
    return alike


def _moved(pairs: Pairs, votes: Sequence[Vote], alike: np.ndarray) -> np.ndarray:
    """What calibration adds to each pair. One that is linked cannot come to look less alike than any two, unless it does already."""
    calibration = pairs.model.calibration
    looks = NO_LOOKS if calibration.likeness is None else looks_of(pairs.left, pairs.right, _parts(votes))
    moved = calibration.adjustment(alike, kinds_of(votes, len(pairs)), looks)
    for vote in votes:
        if vote.label in _LINKED:
            least = np.minimum(pairs.model.prior - alike[vote.rows], 0.0)
            moved[vote.rows] = np.maximum(moved[vote.rows], least)
    return moved


def _votes(pairs: Pairs) -> Iterator[Vote]:
    every = np.arange(len(pairs))
    nothing = pa.nulls(len(pairs), pa.string())
    yield Vote("prior", every, np.full(len(pairs), pairs.model.prior), nothing, nothing)
    yield from _link_votes(pairs)
    for name, signal in (("emails", "email"), ("domains", "domain"), ("links", "link_target")):
        yield from _shared_votes(pairs, name, signal)
    handle_level, name_level = _handle_levels(pairs), _name_levels(pairs)
    crossed, crossed_bits = _cross_levels(pairs)
    # A name found again in the other's handle is said once: it neither adds to a similar handle nor contradicts a name.
    is_crossed = crossed != _NONE
    name_level[is_crossed & (name_level == "partial")] = "contained"
    handle_level[is_crossed & np.isin(handle_level, ["similar_95", "similar_90"])] = "similar_80"
    yield from _handle_votes(pairs, handle_level)
    yield from _name_votes(pairs, name_level)
    yield from _cross_votes(pairs, crossed, crossed_bits, handle_level, name_level)
    yield from _platform_votes(pairs)
    yield from _fan_votes(pairs)
    yield from _code_votes(pairs, "country_code", "country")
    yield from _code_votes(pairs, "language_code", "language")
    yield from _followers_votes(pairs)
    yield from _field_votes(pairs)


# Links, e-mails, domains


def _link_votes(pairs: Pairs) -> Iterator[Vote]:
    """Links from one side to the other: mutual, or one-way less the popularity of its target.

    Accounts that no more than mention each other in posts are not mutual: friends do.
    """
    forward, backward = _declared(pairs.left, pairs.right, pairs.model), _declared(pairs.right, pairs.left, pairs.model)
    mutual = (forward > 0) & (backward > 0) & (np.maximum(forward, backward) > pairs.model.links.post)
    for level, mask, bits in (
        ("mutual", mutual, forward),
        ("one_way", (forward > 0) & ~mutual, forward),
        ("one_way", (backward > 0) & ~mutual, backward),
    ):
        rows = np.flatnonzero(mask)
        shown = [_own_names(side, rows, "handle_key") for side in (pairs.left, pairs.right)]
        yield Vote(f"link:{level}", rows, pairs.model.weigh("link", level, bits[rows]), *shown)


def _declared(source: pa.Table, target: pa.Table, model: Model) -> np.ndarray:
    """Bits of the best link from source to target, 0 where there is none."""
    links = source.column("links").combine_chunks()
    parents = np.repeat(np.arange(len(links)), lengths(links))
    values = links.flatten()
    hit = np.zeros(len(parents), dtype=bool)
    for key in ("handle_key", "platform_account_id"):
        named = _own_names(target, parents, key)
        hit |= pc.fill_null(pc.equal(values, named), fill_value=False).to_numpy(zero_copy_only=False)
    bits = _flat_bits(source, "link_bits")
    best = np.zeros(len(links))
    np.maximum.at(best, parents[hit], bits[hit])
    inbound = target.column("inbound").to_numpy().astype(np.float64)
    popularity = np.log2(np.maximum(inbound / model.links.inbound_free, 1.0))
    weaker = np.maximum(best - model.shared.bits_per_doubling * popularity, 1.0)
    return np.where(best > 0, weaker, 0.0)


def _own_names(side: pa.Table, rows: np.ndarray, key: str) -> pa.Array:
    """What a link to each of some accounts says: `platform:key`."""
    columns = (side.column(name).combine_chunks().take(pa.array(rows)) for name in ("platform", key))
    return pc.binary_join_element_wise(*columns, ":")


def _shared_votes(pairs: Pairs, name: str, signal: str) -> Iterator[Vote]:
    """A value that both sides list, worth its bits; of several the best."""
    (left, right), bits = pairs.texts(name), _flat_bits(pairs.left, _BITS[name])
    match = intersection(left, right)
    hits = np.flatnonzero(match & (bits > 0))
    if not len(hits):
        return
    parents = np.repeat(np.arange(len(left)), lengths(left))
    order = hits[np.lexsort((-bits[hits], parents[hits]))]
    rows, first = np.unique(parents[order], return_index=True)
    values = left.flatten().take(pa.array(order[first]))
    weights = pairs.model.weigh(signal, "shared", bits[order[first]])
    yield Vote(f"{signal}:shared", rows, weights, values, values)


_BITS = {"emails": "email_bits", "domains": "domain_bits", "links": "target_bits", "tokens": "token_bits"}


def _flat_bits(side: pa.Table, name: str) -> np.ndarray:
    return np.asarray(side.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False), dtype=np.float64)


# Handles and names

_NONE = ""


_HANDLE_LEVELS, _NAME_LEVELS, _CROSSED_LEVELS = (LEVELS[name] for name in ("handle", "name", "name_as_handle"))
_NAME_KINDS = 2 * (1 + len(_NAME_LEVELS))
_KINDS = (
    {f"handle:{level}": _NAME_KINDS * max(at, 1) for at, level in enumerate(_HANDLE_LEVELS)}
    | {f"name:{level}": 2 * (1 + at) for at, level in enumerate(_NAME_LEVELS)}
    | {f"name_as_handle:{level}": 1 for level in _CROSSED_LEVELS}
)
"""Parts of the number of a kind of likeness; a comparison that said nothing adds nothing. Equal handles are of a kind with handles of the
same letters."""


def _handle_levels(pairs: Pairs) -> np.ndarray:
    """Level of the handle comparison of each pair, empty where a handle is missing. Similarity is that of the stems."""
    handles, stems, digits = pairs.texts("handle"), pairs.texts("stem"), pairs.texts("digits")
    present = both_known(*handles)
    exact, stripped = are_equal(*handles), are_equal(*stems)
    other_digits = present & ~are_equal(*digits) & ~_is_empty(digits[0]) & ~_is_empty(digits[1])
    similar = _similarity(*stems, rows=np.flatnonzero(present & ~exact & ~stripped), size=len(pairs))
    cut = pairs.model.similarity
    return np.select(
        [~present, exact & are_equal(*pairs.texts("handle_key")), exact, stripped & other_digits, stripped]
        + [similar >= cut[f"handle_{percent}"] for percent in (95, 90, 80)],
        [_NONE, "exact", "same_letters", "other_digits", "stripped_exact", "similar_95", "similar_90", "similar_80"],
        default="different",
    )


def _handle_votes(pairs: Pairs, levels: np.ndarray) -> Iterator[Vote]:
    whole = np.fmin(*pairs.numbers("handle_bits"))
    stem = np.fmin(*pairs.numbers("stem_bits"))
    yield pairs.vote("handle", "exact", levels == "exact", whole, "handle_key")
    for level in _HANDLE_LEVELS[1:]:
        yield pairs.vote("handle", level, levels == level, stem, "handle_key")


def _name_levels(pairs: Pairs) -> np.ndarray:
    """Level of the name comparison, empty where a name is missing or the two are in different scripts.

    A name that is the account's own handle is none: that it differs is no contradiction.
    """
    names, tokens = pairs.texts("name"), pairs.texts("tokens")
    latin = [side.to_numpy(zero_copy_only=False) for side in pairs.texts("is_latin")]
    present = both_known(*names) & (latin[0] == latin[1])
    exact = present & are_equal(*names)
    shared = _shared_tokens(pairs)[0]
    sizes = lengths(tokens[0]), lengths(tokens[1])
    same = (shared == sizes[0]) & (shared == sizes[1])
    similar = _similarity(*names, rows=np.flatnonzero(present & ~exact), size=len(pairs))
    is_handle = np.logical_or(*(are_equal(*sides) for sides in zip(names, pairs.texts("handle"), strict=True)))
    rules = {
        _NONE: ~present,
        "exact": exact,
        "same_tokens": same,
        "similar": similar >= pairs.model.similarity["name"],
        "contained": shared == np.minimum(*sizes),
        "partial": shared > 0,
    }
    default = np.where(is_handle, _NONE, "different")
    return np.select(list(rules.values()), list(rules), default=default)


def _name_votes(pairs: Pairs, levels: np.ndarray) -> Iterator[Vote]:
    whole = np.fmin(*pairs.numbers("name_bits"))
    shared = _shared_tokens(pairs)[1]
    for level in ("exact", "same_tokens", "similar", "different"):
        yield pairs.vote("name", level, levels == level, whole, "display_name")
    for level in ("contained", "partial"):
        yield pairs.vote("name", level, levels == level, shared, "display_name")


def _shared_tokens(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Number and summed bits of the tokens that both names have."""
    left, right = pairs.texts("tokens")
    match = intersection(left, right)
    parents = np.repeat(np.arange(len(left)), lengths(left))[match]
    bits = np.minimum(_flat_bits(pairs.left, "token_bits")[match], pairs.model.text.token_bits_max)
    return np.bincount(parents, minlength=len(left)), np.bincount(parents, weights=bits, minlength=len(left))


def _cross_levels(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """`exact` where one side's name is the other side's handle, `stripped` where it is its stem, else empty; and the bits.

    The other side then claims this name, so that another wording of its own display name is no contradiction. The bits
    are those of the handle or stem that was matched, of two the larger.
    """
    levels, worth = [], []
    for column in ("handle", "stem"):
        (left_name, right_name), (left, right) = pairs.texts("name"), pairs.texts(column)
        left_bits, right_bits = pairs.numbers(f"{column}_bits")
        is_left, is_right = are_equal(right_name, left), are_equal(left_name, right)
        levels.append(is_left | is_right)
        worth.append(np.fmax(np.where(is_left, left_bits, 0.0), np.where(is_right, right_bits, 0.0)))
    return np.select(levels, ["exact", "stripped"], default=_NONE), np.select(levels, worth, default=0.0)


def _cross_votes(
    pairs: Pairs, crossed: np.ndarray, bits: np.ndarray, handle_level: np.ndarray, name_level: np.ndarray
) -> Iterator[Vote]:
    """Name against handle. Counts only where handles and names have not said the same already.

    `exact` and `stripped`: neither handles nor names are equal. `beside_name`: names are equal and one side has no
    handle; the other side's handle then shows that the name is claimed.
    """
    same_handle = np.isin(handle_level, ["exact", "same_letters", "stripped_exact", "other_digits"])
    same_name = np.isin(name_level, ["exact", "same_tokens"])
    for level in ("exact", "stripped"):
        is_new = (crossed == level) & ~same_handle & ~same_name
        yield pairs.vote("name_as_handle", level, is_new, bits, "display_name")
    lone = (crossed != _NONE) & same_name & (handle_level == _NONE)
    yield pairs.vote("name_as_handle", "beside_name", lone, bits, "display_name")


# Platform, codes, numbers


def _platform_votes(pairs: Pairs) -> Iterator[Vote]:
    """Two accounts of one platform: the same account seen by handle or by name only, or a soft penalty."""
    nothing = np.zeros(len(pairs))
    same = are_equal(*pairs.texts("platform"))
    left, right = pairs.texts("platform_account_id")
    starts = {mark: (_starts(left, mark), _starts(right, mark)) for mark in (NO_HANDLE, NO_ID)}
    one_without_id = starts[NO_ID][0] != starts[NO_ID][1]
    one_without_handle = starts[NO_HANDLE][0] != starts[NO_HANDLE][1]
    same_handle = same & one_without_id & are_equal(*pairs.texts("handle_key"))
    same_name = same & one_without_handle & ~same_handle & are_equal(*pairs.texts("name"))
    is_only = np.fmax(*pairs.numbers("peers")) <= 1
    signal = "same_handle_same_platform", "same_name_same_platform"
    yield pairs.vote(signal[0], "one_without_id", same_handle, nothing, "handle_key")
    yield pairs.vote(signal[1], "one_without_handle", same_name & is_only, nothing, "display_name")
    yield pairs.vote("same_platform", "two_accounts", same & ~same_handle & ~same_name, nothing, "platform")


def _fan_votes(pairs: Pairs) -> Iterator[Vote]:
    """One side says that it is a page about somebody else, the other does not."""
    left, right = (side.to_numpy(zero_copy_only=False) for side in pairs.texts("is_fan"))
    yield pairs.vote("fan_page", "one_side", left != right, np.zeros(len(pairs)), "display_name")


def _code_votes(pairs: Pairs, column: str, signal: str) -> Iterator[Vote]:
    nothing, codes = np.zeros(len(pairs)), pairs.texts(column)
    equal = are_equal(*codes)
    yield pairs.vote(signal, "equal", equal, nothing, column)
    yield pairs.vote(signal, "different", both_known(*codes) & ~equal, nothing, column)


def _followers_votes(pairs: Pairs) -> Iterator[Vote]:
    """Audiences of the same order of magnitude, or of orders far apart."""
    left, right = (np.log10(np.maximum(side, 1.0)) for side in pairs.numbers("followers_count"))
    apart, rule = np.abs(left - right), pairs.model.followers_decades
    nothing = np.zeros(len(pairs))
    shown = "followers_text"
    known = Pairs(_with_followers_text(pairs.left), _with_followers_text(pairs.right), pairs.model)
    yield known.vote("followers", "near", apart <= rule["near"], nothing, shown)
    yield known.vote("followers", "far", apart >= rule["far"], nothing, shown)


def _with_followers_text(side: pa.Table) -> pa.Table:
    return pa.table({"followers_text": pc.cast(side.column("followers_count"), pa.string())})


def _field_votes(pairs: Pairs) -> Iterator[Vote]:
    """Fields that the model declares."""
    for field in pairs.model.fields:
        levels, bits = field_levels(field, *pairs.texts(field.column)), np.fmin(*pairs.numbers(field.bits_column))
        for level in field.kind.levels:
            yield pairs.vote(field.name, level, levels == level, bits, field.column)


# Small helpers


def _is_empty(texts: pa.Array) -> Mask:
    return np.asarray(pc.fill_null(pc.equal(texts, ""), fill_value=True).to_numpy(zero_copy_only=False))


def _starts(texts: pa.Array, mark: str) -> Mask:
    return np.asarray(pc.starts_with(texts, mark).to_numpy(zero_copy_only=False))


def _similarity(left: pa.Array, right: pa.Array, *, rows: np.ndarray, size: int) -> np.ndarray:
    """Jaro-Winkler similarity of some rows, 0 elsewhere."""
    similar = np.zeros(size, dtype=np.float32)
    if len(rows):
        some = pa.array(rows)
        similar[rows] = cpdist(left.take(some).to_pylist(), right.take(some).to_pylist(), scorer=JaroWinkler.similarity)
    return similar


def _reasons(votes: tuple[Vote, ...], rows: np.ndarray) -> pa.ListArray:
    kept = [np.isin(vote.rows, rows) for vote in votes]
    shown = [(vote.left, vote.right) for vote in votes]
    pair = np.concatenate([vote.rows[mask] for vote, mask in zip(votes, kept, strict=True)])
    order = np.argsort(pair, kind="stable")
    labels = np.repeat([vote.label for vote in votes], [int(mask.sum()) for mask in kept])
    weights = np.concatenate([vote.log_odds[mask] for vote, mask in zip(votes, kept, strict=True)])
    left, right = (
        pa.concat_arrays([sides[side].filter(pa.array(mask)) for sides, mask in zip(shown, kept, strict=True)])
        for side in (0, 1)
    )
    columns = [pa.array(labels, pa.string()), pa.array(weights), left, right]
    flat = pa.StructArray.from_arrays([column.take(pa.array(order)) for column in columns], fields=list(REASON))
    offsets = np.searchsorted(pair[order], np.r_[rows, rows[-1] + 1 if len(rows) else 0])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)
