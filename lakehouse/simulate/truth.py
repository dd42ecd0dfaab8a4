"""What is true of every account: whose it is, what it is about, what is wrong with it. Written apart from the input."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.simulate.accounts import Accounts
from lakehouse.simulate.columns import Words, join, padded, take, where, words
from lakehouse.simulate.draws import Ids, Ints
from lakehouse.simulate.metrics import ANOMALIES
from lakehouse.simulate.people import FAN, KINDS
from lakehouse.simulate.vocabulary import NICHE_CODES, vocabulary
from lakehouse.simulate.world import World

PERSON_ID_DIGITS = 9
ALCOHOL_NICHE, ALCOHOL_RISK = "alcohol", "drugs_tobacco_alcohol"
CODES = pa.list_(pa.string())

TRUTH_SCHEMA = pa.schema(
    {
        "platform": pa.string(),
        "platform_account_id": pa.string(),
        "handle": pa.string(),
        "person_id": pa.string(),
        "kind": pa.string(),
        "about_person_id": pa.string(),
        "niche_code": pa.string(),
        "niche_codes": CODES,
        "risk_codes": CODES,
        "is_anomalous": pa.bool_(),
        "anomaly_code": pa.string(),
        "country_code": pa.string(),
        "language_code": pa.string(),
        "followers_count": pa.int64(),
    }
)
"""One row per account of silver. An account that a ranking lists by handle though its id is known has two rows, since
silver has two accounts; the second has no text, so no risk. `niche_code` is null where the account's text names none; `about_person_id` is whom a fan page is
about."""


def truth_of(world: World, accounts: Accounts, *, is_ranked: bool = True) -> pa.Table:
    """Truth of accounts, in `TRUTH_SCHEMA`. `is_ranked`: rankings are delivered too, with their second rows."""
    own = _rows(world, accounts, accounts.silver_ids())
    if not is_ranked:
        return own
    listed = own.filter(pa.array(accounts.traits.is_listed))
    nothing = pa.array([[]] * listed.num_rows, CODES)
    for name, column in (
        ("platform_account_id", pc.binary_join_element_wise("@", listed["handle"], "")),
        ("risk_codes", nothing),
    ):
        listed = listed.set_column(TRUTH_SCHEMA.get_field_index(name), TRUTH_SCHEMA.field(name), column)
    return pa.concat_tables([own, listed])


def person_ids(ids: Ids) -> Words:
    """Creator ids as text."""
    return join("p", padded(ids.astype(np.int64), PERSON_ID_DIGITS))


def _rows(world: World, accounts: Accounts, silver_ids: Words) -> pa.Table:
    owners, traits, anomaly = accounts.owners, accounts.traits, accounts.metrics.anomaly
    places = vocabulary().places
    columns = [
        words([PLATFORMS[accounts.platform]] * len(accounts)),
        silver_ids,
        accounts.keys,
        person_ids(owners.ids),
        take(words(KINDS), owners.kind),
        where(owners.kind == FAN, person_ids(owners.target), None),
        where(traits.is_bland, None, take(words(NICHE_CODES), owners.niche)),
        _niche_lists(
            owners.niche, np.where(owners.second_niche == owners.niche, -1, owners.second_niche), traits.is_bland
        ),
        _lists([traits.risk, _linked_risk(accounts)], words(vocabulary().risk_codes)),
        pa.array(anomaly >= 0),
        where(anomaly >= 0, take(words(ANOMALIES), np.maximum(anomaly, 0)), None),
        take(words(places.codes), owners.country),
        take(words(vocabulary().languages), owners.language),
        pa.array(accounts.metrics.followers_on(world.last_date, world)),
    ]
    return pa.Table.from_arrays(columns, schema=TRUTH_SCHEMA)


def _linked_risk(accounts: Accounts) -> Ints:
    """Risk that comes with the niche: whoever posts about drinks is about alcohol; -1 where the account has it already."""
    traits, linked = accounts.traits, vocabulary().risk_codes.index(ALCOHOL_RISK)
    is_said = ~traits.is_bland & (traits.has_profile | traits.has_posts)
    is_linked = (accounts.owners.niche == NICHE_CODES.index(ALCOHOL_NICHE)) & is_said & (traits.risk != linked)
    return np.where(is_linked, linked, -1)


def _niche_lists(first: Ints, second: Ints, is_bland: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Array:
    return _lists([np.where(is_bland, -1, first), np.where(is_bland, -1, second)], words(NICHE_CODES))


def _lists(columns: list[Ints], codes: Words) -> pa.Array:
    """One list of codes a row from columns of positions; -1 is left out."""
    table = np.stack(columns, axis=1)
    is_there = table >= 0
    offsets = np.concatenate([[0], np.cumsum(is_there.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), take(codes, table[is_there]))
