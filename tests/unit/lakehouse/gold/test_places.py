"""Where reasons stood equals a plain search among the links of each side; addresses and hashes do not get through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakehouse.contracts.tables import EDGES
from lakehouse.gold.places import LINK, SIDES, signals, with_signals

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
REASONS = EDGES.arrow_schema().field("reasons").type
SECRET = "v1:0123456789abcdef"
HIDDEN = (
    SECRET,
    f"{SECRET}\n",
    f"{SECRET}\u2028",
    "me@there.example",
    "write to me@there.example\nor call",
    "me@there.рф",
    "me＠there.example",
    "mailto:who@there.example",
    "https://a.example/?email=me%40there.example",
    "https://a.example/u/me%2540there.example",
    "https://a.example/?m=me%EF%BC%A0there%2Eexample",
)
SHOWN = (
    "ana",
    "a:b",
    "v1: face",
    "@ana.official",
    "https://x.com/ana",
    "https://tiktok.com/@ana.official",
    "https://tiktok.com/%40ana.official",
    "https://shop.example/?size=%4012",
)
SCHEMA = pa.schema(
    [pa.field("reasons", REASONS)]
    + [pa.field(f"{side}_{name}", pa.string()) for side in SIDES for name in ("platform", "id", "handle_key")]
    + [pa.field(f"{side}_links", pa.list_(LINK)) for side in SIDES]
)

platforms = st.sampled_from(["x", "tiktok"])
keys = st.sampled_from(["ana", "a:b", SECRET])
texts = st.sampled_from([*HIDDEN, *SHOWN])
urls = st.one_of(st.none(), texts)
times = st.integers(0, 2).map(lambda days: FIRST + timedelta(days=days))
links = st.fixed_dictionaries(
    {
        "link_type_code": st.sampled_from(["account", "website", "email"]),
        "target_platform": st.one_of(st.none(), platforms),
        "target_key": keys,
        "evidence_code": st.sampled_from(["bio", "declared", "post"]),
        "target_url": urls,
        "first_seen_at": times,
        "last_seen_at": times,
    }
)
values = st.one_of(st.none(), keys, st.builds("{}:{}".format, platforms, keys), texts)
reasons = st.fixed_dictionaries(
    {
        "signal": st.sampled_from(
            ["prior", "email:shared", "domain:shared", "link:mutual", "link_target:shared", "name:exact"]
        ),
        "log_odds": st.sampled_from([-1.0, 2.5]),
        "left_value": values,
        "right_value": values,
    }
)
ends = {
    f"{side}_{name}": values
    for side in SIDES
    for name, values in (
        ("platform", platforms),
        ("id", keys),
        ("handle_key", st.one_of(st.none(), keys)),
        ("links", st.one_of(st.none(), st.lists(links, max_size=4))),
    )
}
pairs = st.fixed_dictionaries({"reasons": st.one_of(st.none(), st.lists(reasons, max_size=4)), **ends})


def shown(text):
    return None if text is None or any(text.endswith(hidden) for hidden in HIDDEN) else text


def targets(reason, row, beyond):
    """Type, platform and keys of the links that a reason stands on."""
    kind, value = reason["signal"].partition(":")[0], reason["left_value"]
    match kind:
        case "email" | "domain":
            return {"email": "email", "domain": "website"}[kind], None, {value}
        case "link":
            return "account", row[f"{beyond}_platform"], {row[f"{beyond}_id"], row[f"{beyond}_handle_key"]}
        case "link_target" if value and ":" in value:
            platform, _, key = value.partition(":")
            return "account", platform, {key}
    return None, None, set()


def told(reason, row, side, beyond):
    """What one side says of a reason, found by looking at each of its links."""
    code, platform, keys = targets(reason, row, beyond)
    names = ("evidence_code", "target_url", "first_seen_at", "last_seen_at")
    places = [
        tuple(link[name] for name in names)
        for link in row[f"{side}_links"] or []
        if (link["link_type_code"], link["target_platform"]) == (code, platform) and link["target_key"] in keys
    ]
    found = min(places, key=lambda place: (place[0], place[1] or "", *place[2:]), default=(None,) * 4)
    value = None if reason["signal"].startswith("email:") else shown(reason[f"{side}_value"])
    return {
        "value": value,
        "field": found[0],
        "url": shown(found[1]),
        "first_seen_at": found[2],
        "last_seen_at": found[3],
    }


def link_to_ana(url, days, field="bio"):
    target = {"link_type_code": "account", "target_platform": "x", "target_key": "ana"}
    return target | {
        "evidence_code": field,
        "target_url": url,
        "first_seen_at": FIRST + timedelta(days),
        "last_seen_at": FIRST,
    }


SEVERAL_PLACES = {
    "reasons": [{"signal": "link:mutual", "log_odds": 1.0, "left_value": None, "right_value": None}],
    "left_platform": "tiktok",
    "left_id": "bea",
    "left_handle_key": None,
    "left_links": [
        link_to_ana("https://x.com/ana", 0),
        link_to_ana(None, 2),
        link_to_ana(None, 1),
        link_to_ana(None, 0, "post"),
    ],
    "right_platform": "x",
    "right_id": "1",
    "right_handle_key": "ana",
    "right_links": None,
}


@settings(deadline=None)
@example([SEVERAL_PLACES])
@given(st.lists(pairs, max_size=5))
def test_places_are_those_of_a_search_link_by_link(rows):
    expected = [
        [
            {
                "signal": reason["signal"],
                "log_odds": reason["log_odds"],
                "left": told(reason, row, "left", "right"),
                "right": told(reason, row, "right", "left"),
            }
            for reason in row["reasons"] or []
        ]
        for row in rows
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert signals(table).to_pylist() == expected
    batches = [pa.RecordBatch.from_pylist(some, schema=SCHEMA) for some in ([], rows[:2], rows[2:])]
    made = list(with_signals(iter(batches), ["left_id"]))
    assert [row["signals"] for batch in made for row in batch.to_pylist()] == expected
    assert all(batch.schema.names == ["left_id", "signals"] for batch in made)


def test_a_long_text_is_looked_through_once():
    """Looked at from each of its letters it would take hours."""
    row = dict.fromkeys(SCHEMA.names) | {
        "reasons": [{"signal": "name:exact", "log_odds": 1.0, "left_value": "a" * 2_000_000, "right_value": SECRET}]
    }
    ((signal,),) = signals(pa.Table.from_pylist([row], schema=SCHEMA)).to_pylist()
    assert (len(signal["left"]["value"]), signal["right"]["value"]) == (2_000_000, None)
