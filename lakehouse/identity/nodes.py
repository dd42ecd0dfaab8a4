"""Accounts as the core compares them: input schema, normal forms, and how surprising each value is (its bits).

Input is `RAW`; `forms` adds what follows from one account alone, `nodes` adds what needs the frequencies of the set.
Both work on Arrow batches of any size and give each account the same row in any batch.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.identity import text
from lakehouse.identity.counts import Counts
from lakehouse.identity.fields import field_bits, field_forms
from lakehouse.identity.hashing import ABSENT, Kind, as_key, combine, hash_strings
from lakehouse.identity.model import Model

_STRINGS = pa.list_(pa.string())
_FLOATS = pa.list_(pa.float32())
LINK = pa.struct([("target", pa.string()), ("evidence", pa.string())])
RAW = pa.schema(
    [
        ("platform", pa.string()),
        ("platform_account_id", pa.string()),
        ("handle_key", pa.string()),
        ("display_name", pa.string()),
        ("bio", pa.string()),
        ("country_code", pa.string()),
        ("language_code", pa.string()),
        ("followers_count", pa.int64()),
        ("domains", _STRINGS),
        ("emails", _STRINGS),
        ("links", pa.list_(LINK)),
    ]
)
"""One row per account. `target` of a link is `platform:key`, where key is a handle key or an account id."""
_TEXTS = [
    "platform",
    "platform_account_id",
    "handle_key",
    "display_name",
    "handle",
    "stem",
    "digits",
    "name",
    "name_stem",
    "country_code",
    "language_code",
    "sort_text",
]
_LISTS = {"tokens": "token_bits", "domains": "domain_bits", "emails": "email_bits", "links": "link_bits"}
NODE = pa.schema(
    [(name, pa.string()) for name in _TEXTS]
    + [
        ("followers_count", pa.int64()),
        ("inbound", pa.int32()),
        ("peers", pa.int32()),
        ("name_users", pa.int32()),
        ("stem_users", pa.int32()),
        ("is_latin", pa.bool_()),
    ]
    + [("is_fan", pa.bool_())]
    + [(name, pa.float32()) for name in ("handle_bits", "stem_bits", "name_bits")]
    + [field for name, bits in _LISTS.items() for field in ((name, _STRINGS), (bits, _FLOATS))]
    + [("target_bits", _FLOATS)]
)
"""What a compared account carries. `inbound`: links to it; `peers`: accounts of its platform with its name,
those known by name only left out; `name_users`, `stem_users`: accounts that use its name, or its stripped handle, as name or handle;
`link_bits`: of each link as a link, `target_bits`: as something listed in common."""
READ = (*RAW.names, "evidence")
"""What `forms` keeps of a `RAW` row as it was read."""
FOLLOWERS_STEPS = 4
"""Steps of a decade to which followers are rounded: identity asks for the order of magnitude, and few accounts change it in a night."""
LATIN = r"[a-z]"
NO_HANDLE = "~"
"""First character of the id of an account that is known by name only."""
NO_ID = "@"
"""First character of the id of an account that is known by handle only."""


def forms(raw: pa.Table, model: Model) -> dict[str, pa.Array]:
    """Normal forms of a batch of `RAW` rows, by name."""
    columns = {name: raw.column(name).combine_chunks() for name in RAW.names} | field_forms(raw, model)
    minimum = model.text.stem_chars_min
    handle = text.compact_handles(columns["handle_key"])
    name = text.compact(columns["display_name"])
    stem = text.strip_affixes(handle, model.affixes, chars_min=minimum)
    name_stem = text.strip_affixes(name, model.affixes, chars_min=minimum)
    links = columns.pop("links")
    return columns | {
        "followers_count": _rounded(columns["followers_count"]),
        "handle": handle,
        "stem": stem,
        "digits": text.outer_digits(handle),
        "name": name,
        "name_stem": name_stem,
        "tokens": text.tokens(columns["display_name"]),
        "own_handle": pc.binary_join_element_wise(columns["platform"], columns["handle_key"], ":"),
        "own_id": pc.binary_join_element_wise(columns["platform"], columns["platform_account_id"], ":"),
        "sort_text": pc.fill_null(pc.coalesce(stem, name), ""),
        "links": _relist(links, pc.struct_field(links.flatten(), "target")),
        "evidence": _relist(links, pc.struct_field(links.flatten(), "evidence")),
    }


def nodes(made: dict[str, pa.Array], counts: Counts, model: Model) -> pa.Table:
    """Batch of `NODE` rows, with the fields that the model declares, from `forms` and the frequencies of the account set."""
    peers = counts.of(peer_keys(made))
    stem_users = counts.of(as_key(hash_strings(made["stem"]), Kind.STEM))
    token_bits = _token_bits(made["tokens"], counts, model)
    schema = compared(model)
    columns = {name: made[name] for name in schema.names if name in made} | field_bits(made, counts, model)
    columns |= {
        "inbound": pa.array(_inbound(made, counts), pa.int32()),
        "peers": pa.array(peers, pa.int32()),
        "name_users": pa.array(counts.of(as_key(hash_strings(made["name"]), Kind.TEXT)), pa.int32()),
        "stem_users": pa.array(stem_users, pa.int32()),
        "is_fan": _is_fan(made, model),
        "is_latin": pc.match_substring_regex(made["name"], LATIN),
        "handle_bits": _handle_bits(made, counts, model),
        "stem_bits": _stem_bits(made, stem_users, counts, model),
        "name_bits": pa.array(_name_bits(made["tokens"], token_bits, peers, model), pa.float32()),
        "token_bits": _relist(made["tokens"], pa.array(token_bits, pa.float32())),
        "domain_bits": _shared_bits(made["domains"], Kind.DOMAIN, model.shared.domain, counts, model),
        "email_bits": _shared_bits(made["emails"], Kind.EMAIL, model.shared.email, counts, model),
        "link_bits": _link_bits(made, model),
        "target_bits": _shared_bits(made["links"], Kind.LINK, model.shared.link_target, counts, model),
    }
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def compared(model: Model) -> pa.Schema:
    """`NODE` and the fields that a model declares."""
    more = [pair for field in model.fields for pair in ((field.column, pa.string()), (field.bits_column, pa.float32()))]
    return pa.schema([*NODE, *(pa.field(*pair) for pair in more)])


def _rounded(followers: pa.Array) -> pa.Array:
    """Followers rounded to a step of a decade, with two digits."""
    known = pc.cast(pc.max_element_wise(followers, 1), pa.float64(), safe=False)
    steps = pc.round(pc.multiply(pc.log10(known), FOLLOWERS_STEPS))
    near = pc.round_to_multiple(pc.power(10.0, pc.divide(steps, FOLLOWERS_STEPS)), 1)
    return pc.if_else(pc.is_valid(followers), pc.cast(near, pa.int64()), None)


def _is_fan(made: dict[str, pa.Array], model: Model) -> pa.Array:
    """Whether name, handle or bio say that the account is about somebody else."""
    said = np.zeros(len(made["platform"]), dtype=bool)
    for name, pattern in model.fan_patterns.items():
        found = pc.fill_null(pc.match_substring_regex(made[name], pattern), fill_value=False)
        said |= found.to_numpy(zero_copy_only=False)
    return pa.array(said)


def peer_keys(made: dict[str, pa.Array]) -> np.ndarray:
    """Key of (platform, name), which is looked up but never blocks."""
    return as_key(combine(hash_strings(made["platform"]), hash_strings(made["name"])), Kind.TOKENS)


def stem_peer_keys(made: dict[str, pa.Array]) -> np.ndarray:
    """Key of (platform, stripped handle), which is looked up but never blocks."""
    return as_key(combine(hash_strings(made["platform"]), hash_strings(made["stem"])), Kind.STEM)


def counted_peer_keys(made: dict[str, pa.Array]) -> np.ndarray:
    """Peer keys that count.

    An account known by name only is no second bearer of the name; one known by handle only may be another's mention.
    """
    ids = made["platform_account_id"]
    by_name_only = pc.starts_with(ids, NO_HANDLE).to_numpy(zero_copy_only=False)
    by_handle_only = pc.starts_with(ids, NO_ID).to_numpy(zero_copy_only=False)
    names = np.where(by_name_only, ABSENT, peer_keys(made))
    return np.concatenate([names, np.where(by_handle_only, ABSENT, stem_peer_keys(made))])


def lengths(lists: pa.ListArray) -> np.ndarray:
    """Length of each list, 0 for null."""
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _relist(lists: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """The flat `values` in the same lists; null lists become empty."""
    offsets = np.r_[0, np.cumsum(lengths(lists))]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _chars(texts: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False), dtype=np.float64)


def _excess(count: np.ndarray, model: Model) -> np.ndarray:
    """Doublings of a count beyond what the accounts of one creator explain."""
    return np.asarray(np.log2(np.maximum(count / model.text.expected_uses, 1.0)), dtype=np.float64)


def _handle_bits(made: dict[str, pa.Array], counts: Counts, model: Model) -> pa.Array:
    """Bits of the whole handle: its stem in full, affixes and outer digits at a lower rate, less its popularity."""
    rules, stem_chars = model.text, _chars(made["stem"])
    bits = rules.bits_per_char * stem_chars + rules.affix_bits_per_char * (_chars(made["handle"]) - stem_chars)
    uses = counts.of(as_key(hash_strings(made["handle"]), Kind.TEXT))
    return pa.array(np.clip(bits - _excess(uses, model), 0, rules.handle_bits_max), pa.float32())


def _stem_bits(made: dict[str, pa.Array], users: np.ndarray, counts: Counts, model: Model) -> pa.Array:
    """Bits of the stripped handle: its length less the popularity and the rivals of the stripped form."""
    bits = model.text.bits_per_char * _chars(made["stem"]) - _excess(users, model)
    rivals = model.text.stem_rival_bits * np.log2(counts.of(stem_peer_keys(made)))
    return pa.array(np.maximum(np.minimum(bits, model.text.handle_bits_max) - rivals, 0), pa.float32())


def _token_bits(tokens: pa.ListArray, counts: Counts, model: Model) -> np.ndarray:
    """Bits of each token (flat): its length, more per character outside ASCII, less its popularity."""
    rules, flat = model.text, tokens.flatten()
    wide = pc.invert(pc.string_is_ascii(flat)).to_numpy(zero_copy_only=False)
    per_char = np.where(wide, rules.wide_bits_per_char, rules.token_bits_per_char)
    rare = np.minimum(per_char * _chars(flat), rules.token_bits_max)
    rare -= _excess(counts.of(as_key(hash_strings(flat), Kind.TOKEN)), model)
    generic = pc.is_in(flat, pa.array(sorted(model.generic_tokens))).to_numpy(zero_copy_only=False)
    rare = np.where(generic, np.minimum(rare, rules.generic_token_bits), rare)
    return np.asarray(np.maximum(rare, 0.0), dtype=np.float64)


def _name_bits(tokens: pa.ListArray, token_bits: np.ndarray, peers: np.ndarray, model: Model) -> np.ndarray:
    """Bits of the whole name: the sum of its tokens, capped, less every doubling of its bearers on one platform."""
    parents = np.repeat(np.arange(len(tokens)), lengths(tokens))
    summed = np.bincount(parents, weights=token_bits, minlength=len(tokens))
    capped = np.minimum(summed, model.text.name_bits_max)
    return np.asarray(np.maximum(capped - model.text.rival_bits * np.log2(peers), 0.0), dtype=np.float64)


def _shared_bits(lists: pa.ListArray, kind: Kind, base: float, counts: Counts, model: Model) -> pa.ListArray:
    uses = counts.of(as_key(hash_strings(lists.flatten()), kind))
    bits = np.maximum(base - model.shared.bits_per_doubling * _excess(uses, model), 0.0)
    return _relist(lists, pa.array(bits, pa.float32()))


def _inbound(made: dict[str, pa.Array], counts: Counts) -> np.ndarray:
    """Upper bound of the number of accounts that link to this one (by handle or by id, the larger)."""
    handle = counts.of(as_key(hash_strings(made["own_handle"]), Kind.LINK))
    return np.asarray(np.maximum(handle, counts.of(as_key(hash_strings(made["own_id"]), Kind.LINK))) - 1)


def platforms_of(targets: pa.Array) -> pa.Array:
    """Platform of each target of a link."""
    return pc.replace_substring_regex(targets, ":.*", "")


def _link_bits(made: dict[str, pa.Array], model: Model) -> pa.ListArray:
    """Bits of each outgoing link: by evidence, less every doubling of the targets listed on the same platform."""
    links, rules = made["links"], model.links
    by_code = {"declared": rules.declared, "bio": rules.bio, "post": rules.post}
    base = np.array(
        [by_code.get(code, rules.post) for code in made["evidence"].flatten().to_pylist()], dtype=np.float64
    )
    parents = np.repeat(np.arange(len(links)), lengths(links))
    platforms = hash_strings(platforms_of(links.flatten()))
    _, group = np.unique(combine(platforms, parents.astype(np.uint64) + np.uint64(1)), return_inverse=True)
    listed = np.bincount(group)[group] if len(group) else np.zeros(0)
    return _relist(links, pa.array(np.maximum(base - np.log2(np.maximum(listed, 1)), 0.0), pa.float32()))
